//! Sums and averages, by database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::is_itself;
use crate::console::gather::Picture;
use crate::console::table::{Columns, Kind, Table, Value};
use crate::console::{Console, ITSELF};
use crate::gate::roster::Counts;

use Kind::{Numeric, Text};

pub(super) const STATS: Columns = &[
    ("database", Text),
    ("total_server_assignment_count", Numeric),
    ("total_xact_count", Numeric),
    ("total_query_count", Numeric),
    ("total_received", Numeric),
    ("total_sent", Numeric),
    ("total_xact_time", Numeric),
    ("total_query_time", Numeric),
    ("total_wait_time", Numeric),
    ("total_client_parse_count", Numeric),
    ("total_server_parse_count", Numeric),
    ("total_bind_count", Numeric),
    ("avg_server_assignment_count", Numeric),
    ("avg_xact_count", Numeric),
    ("avg_query_count", Numeric),
    ("avg_recv", Numeric),
    ("avg_sent", Numeric),
    ("avg_xact_time", Numeric),
    ("avg_query_time", Numeric),
    ("avg_wait_time", Numeric),
    ("avg_client_parse_count", Numeric),
    ("avg_server_parse_count", Numeric),
    ("avg_bind_count", Numeric),
    // PgBouncer's name for it before 1.8; Debian's exporter reads no other.
    ("total_requests", Numeric),
];

pub(super) const PLAIN: Columns = &[
    ("database", Text),
    ("server_assignment_count", Numeric),
    ("xact_count", Numeric),
    ("query_count", Numeric),
    ("bytes_received", Numeric),
    ("bytes_sent", Numeric),
    ("xact_time", Numeric),
    ("query_time", Numeric),
    ("wait_time", Numeric),
    ("client_parse_count", Numeric),
    ("server_parse_count", Numeric),
    ("bind_count", Numeric),
];

pub(super) const TOTALS: Columns = &[("name", Text), ("value", Numeric)];

const TOTAL_NAMES: [&str; 22] = [
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_client_bytes",
    "total_server_bytes",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "total_client_parse_count",
    "total_server_parse_count",
    "total_bind_count",
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_client_bytes",
    "avg_server_bytes",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
];

fn sums(counts: &Counts) -> [u64; 11] {
    [
        counts.assignments,
        counts.transactions,
        counts.queries,
        counts.received,
        counts.sent,
        counts.transaction_us,
        counts.query_us,
        counts.wait_us,
        counts.client_parses,
        counts.server_parses,
        counts.binds,
    ]
}

/// Counts become counts a second, times become times of one.
fn averages(recent: &Counts, period: Duration) -> [u64; 11] {
    let micros = period.as_micros().max(1);
    let rate =
        |count: u64| u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX);
    let each = |time: u64, count: u64| time.checked_div(count).unwrap_or(0);
    [
        rate(recent.assignments),
        rate(recent.transactions),
        rate(recent.queries),
        rate(recent.received),
        rate(recent.sent),
        each(recent.transaction_us, recent.transactions),
        each(recent.query_us, recent.queries),
        each(recent.wait_us, recent.assignments),
        rate(recent.client_parses),
        rate(recent.server_parses),
        rate(recent.binds),
    ]
}

/// A row for every database that there is, used or not; the console's own first.
fn by_database(console: &Console, picture: &Picture) -> BTreeMap<Arc<str>, Counts> {
    let mut all: BTreeMap<Arc<str>, Counts> = BTreeMap::new();
    all.insert(ITSELF.into(), Counts::default());
    for database in &console.plant.config.load().databases {
        all.insert(database.name.clone(), Counts::default());
    }
    for (name, counts) in &picture.counts {
        let name = if is_itself(name) {
            ITSELF.into()
        } else {
            name.clone()
        };
        let sum = all.entry(name).or_default();
        *sum = sum.plus(*counts);
    }
    all
}

pub(super) fn stats(console: &Console, picture: &Picture, table: &mut Table) {
    for (name, counts) in by_database(console, picture) {
        let (recent, period) = console.recent(&name, counts);
        let mut row = vec![Value::from(&*name)];
        row.extend(sums(&counts).map(Value::from));
        row.extend(averages(&recent, period).map(Value::from));
        row.push(counts.queries.into());
        table.row(row);
    }
}

pub(super) fn plain(console: &Console, picture: &Picture, table: &mut Table, average: bool) {
    for (name, counts) in by_database(console, picture) {
        let numbers = if average {
            let (recent, period) = console.recent(&name, counts);
            averages(&recent, period)
        } else {
            sums(&counts)
        };
        let mut row = vec![Value::from(&*name)];
        row.extend(numbers.map(Value::from));
        table.row(row);
    }
}

pub(super) fn totals(console: &Console, picture: &Picture, table: &mut Table) {
    let (mut all, mut lately) = (Counts::default(), Counts::default());
    let mut period = Duration::ZERO;
    for (name, counts) in by_database(console, picture) {
        let (recent, time) = console.recent(&name, counts);
        (all, lately, period) = (all.plus(counts), lately.plus(recent), time);
    }
    let numbers = sums(&all).into_iter().chain(averages(&lately, period));
    for (name, number) in TOTAL_NAMES.into_iter().zip(numbers) {
        table.row(vec![name.into(), number.into()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_rates_and_times_become_averages() {
        let recent = Counts {
            queries: 120,
            query_us: 6_000,
            assignments: 0,
            wait_us: 50,
            ..Counts::default()
        };
        let averages = averages(&recent, Duration::from_secs(60));
        assert_eq!(averages[2], 2, "queries a second");
        assert_eq!(averages[6], 50, "microseconds of one");
        assert_eq!(averages[7], 0, "nobody got a link");
    }

    #[test]
    fn the_columns_belong_to_the_numbers() {
        assert_eq!(STATS.len(), 1 + 11 + 11 + 1);
        assert_eq!(PLAIN.len(), 1 + 11);
        for (at, name) in TOTAL_NAMES.iter().enumerate() {
            let column = STATS[at + 1].0;
            let renamed = column
                .replace("received", "client_bytes")
                .replace("recv", "client_bytes")
                .replace("sent", "server_bytes");
            assert_eq!(*name, renamed);
        }
    }
}
