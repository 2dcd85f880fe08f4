//! The tables. Columns, their order and their types are those of PgBouncer 1.24;
//! where there is one more, it stands last, and `docs/console.md` says why.
//!
//! Deliberately not here: finding out (`gather` asks the workers), bytes (`table`).
//!
//! Read the list of [`Show`] first, then the file of the table in question.

mod config;
mod links;
mod lists;
mod ours;
mod stats;

use std::time::SystemTime;

use super::gather::Picture;
use super::table::{Columns, Kind, Table};
use super::{Console, ITSELF};
use crate::model::UserMessage;

macro_rules! shows {
    ($($name:ident $word:literal $columns:expr,)*) => {
        /// What can be shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::console) enum Show {
            $($name,)*
        }

        impl Show {
            /// All, in the order of the documentation.
            pub(in crate::console) const ALL: &[Show] = &[$(Show::$name,)*];

            /// The word for it.
            pub(in crate::console) fn word(self) -> &'static str {
                match self {
                    $(Show::$name => $word,)*
                }
            }

            /// Names and types of its columns.
            pub(in crate::console) fn columns(self) -> Columns {
                match self {
                    $(Show::$name => $columns,)*
                }
            }
        }
    };
}

shows! {
    Help "help" &[],
    Version "version" &[("version", Kind::Text)],
    Pools "pools" links::POOLS,
    Clients "clients" links::SOCKETS,
    Servers "servers" links::SOCKETS,
    Sockets "sockets" links::SOCKETS_LONG,
    ActiveSockets "active_sockets" links::SOCKETS_LONG,
    Pins "pins" links::PINS,
    Databases "databases" lists::DATABASES,
    Users "users" lists::USERS,
    Stats "stats" stats::STATS,
    StatsTotals "stats_totals" stats::PLAIN,
    StatsAverages "stats_averages" stats::PLAIN,
    Totals "totals" stats::TOTALS,
    Lists "lists" lists::LISTS,
    Mem "mem" lists::MEM,
    Config "config" config::CONFIG,
    State "state" lists::STATE,
    DnsHosts "dns_hosts" lists::DNS_HOSTS,
    DnsZones "dns_zones" lists::DNS_ZONES,
    Peers "peers" lists::PEERS,
    PeerPools "peer_pools" lists::PEER_POOLS,
    Policies "policies" ours::POLICIES,
    Limits "limits" ours::LIMITS,
}

impl Show {
    /// By the word, in small letters.
    pub(super) fn named(word: &str) -> Option<Show> {
        Show::ALL.iter().copied().find(|show| show.word() == word)
    }

    /// The rows of this moment.
    pub(super) async fn table(self, console: &Console) -> Result<Table, UserMessage> {
        let mut table = Table::new(self.columns());
        match self {
            Show::Help => {}
            Show::Version => table.row(vec![version().into()]),
            Show::State => lists::state(console, &mut table),
            Show::Config => config::fill(console, &mut table),
            Show::DnsZones | Show::Peers | Show::PeerPools => {}
            _ => {
                let picture = Picture::take(&console.plant).await?;
                self.fill(console, &picture, &mut table);
            }
        }
        Ok(table)
    }

    fn fill(self, console: &Console, picture: &Picture, table: &mut Table) {
        match self {
            Show::Pools => links::pools(console, picture, table),
            Show::Clients => links::clients(picture, table, false),
            Show::Servers => links::servers(picture, table, false),
            Show::Sockets => {
                links::clients(picture, table, true);
                links::servers(picture, table, true);
            }
            Show::ActiveSockets => {
                links::clients(picture, table, true);
                links::servers(picture, table, true);
                let at = links::STATE_AT;
                table.rows.retain(|row| links::is_active(&row[at]));
            }
            Show::Pins => links::pins(picture, table),
            Show::Databases => lists::databases(console, picture, table),
            Show::Users => lists::users(console, picture, table),
            Show::Stats => stats::stats(console, picture, table),
            Show::StatsTotals => stats::plain(console, picture, table, false),
            Show::StatsAverages => stats::plain(console, picture, table, true),
            Show::Totals => stats::totals(console, picture, table),
            Show::Lists => lists::lists(console, picture, table),
            Show::Mem => lists::mem(picture, table),
            Show::DnsHosts => lists::dns_hosts(console, picture, table),
            Show::Policies => ours::policies(console, picture, table),
            Show::Limits => ours::limits(console, picture, table),
            Show::Help
            | Show::Version
            | Show::State
            | Show::Config
            | Show::DnsZones
            | Show::Peers
            | Show::PeerPools => {}
        }
    }
}

/// Programs look for PgBouncer's own version to know which columns there are.
fn version() -> &'static str {
    concat!(
        "Portcullis ",
        env!("CARGO_PKG_VERSION"),
        " (console of PgBouncer 1.24.1)"
    )
}

/// What SHOW HELP tells.
pub(super) fn help() -> String {
    let shows: Vec<String> = Show::ALL
        .iter()
        .map(|show| show.word().to_uppercase())
        .collect();
    let mut text = String::new();
    for line in shows.chunks(6) {
        text.push_str(&format!("\n\tSHOW {}", line.join("|")));
    }
    for line in super::act::HELP {
        text.push_str(&format!("\n\t{line}"));
    }
    text
}

/// As PgBouncer writes times.
fn moment(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(
        |_| String::new(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn mode(mode: crate::config::PoolMode) -> &'static str {
    match mode {
        crate::config::PoolMode::Session => "session",
        crate::config::PoolMode::Transaction => "transaction",
        crate::config::PoolMode::Statement => "statement",
    }
}

fn is_itself(database: &str) -> bool {
    crate::config::console::CONSOLE_NAMES.contains(&database) || database == ITSELF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_there_is() {
        let page = include_str!("../../../docs/console.md");
        for show in Show::ALL {
            let word = format!("`SHOW {}`", show.word().to_uppercase());
            assert!(page.contains(&word), "docs/console.md lacks {word}");
        }
        for line in super::super::act::HELP {
            let word = line.split(' ').next().unwrap_or_default();
            let there = page.contains(&format!("`{word}`")) || page.contains(&format!("`{word} "));
            assert!(there, "docs/console.md lacks {word}");
        }
    }

    #[test]
    fn times_are_written_as_pgbouncer_does() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_399);
        assert_eq!(moment(at), "1970-01-01 23:59:59 UTC");
    }
}
