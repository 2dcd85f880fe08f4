//! What a server user may do, asked of the server before anybody depends on it.

use super::Error;
use super::link::Link;
use super::login::{Target, login};
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::server;
use crate::wire::postgres::message;
use crate::wire::postgres::report::Report;

use tokio::io::AsyncWriteExt;

/// System tables that the catalog of the gate is read from.
const CATALOG: &[&str] = &[
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_depend",
    "pg_inherits",
    "pg_namespace",
    "pg_proc",
    "pg_rewrite",
    "pg_trigger",
    "pg_type",
];

/// What was found out about a server user that can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// System tables that it cannot read.
    pub unreadable: Vec<String>,
    /// Whether the server counts changed rows.
    pub track_counts: bool,
    /// The server's version.
    pub version: String,
}

/// Logs in as the target's user, and in this role, as a session would.
pub async fn examine(target: &Target, role: Option<&str>) -> Result<Rights, Error> {
    let parameters: Vec<(String, String)> = role
        .map(|role| ("role".to_owned(), role.to_owned()))
        .into_iter()
        .collect();
    let work = async {
        let mut link = login(target, &parameters).await?;
        let unreadable = rows(&mut link, &unreadable()).await?;
        Ok(Rights {
            unreadable,
            track_counts: link.about.track_counts,
            version: version(&link),
        })
    };
    let bounded = tokio::time::timeout(target.timeout * 2, work).await;
    bounded.unwrap_or_else(|_| Err(Error::Connect(std::io::ErrorKind::TimedOut.into())))
}

fn unreadable() -> String {
    let names: Vec<String> = CATALOG.iter().map(|name| format!("('{name}')")).collect();
    format!(
        "SELECT t.name FROM (VALUES {}) AS t (name) WHERE NOT \
         pg_catalog.has_table_privilege('pg_catalog.' || t.name, 'SELECT') ORDER BY 1",
        names.join(", ")
    )
}

fn version(link: &Link) -> String {
    let parameters = &link.about.parameters;
    let found = parameters
        .iter()
        .find(|(name, _)| &**name == "server_version");
    found.map_or_else(String::new, |(_, value)| value.to_string())
}

/// The first column of what a query returns.
async fn rows(link: &mut Link, query: &str) -> Result<Vec<String>, Error> {
    let mut out = bytes::BytesMut::new();
    encode::query(&mut out, query);
    link.socket.write_all_buf(&mut out).await?;
    link.socket.flush().await?;
    let (mut found, mut problem) = (Vec::new(), None);
    loop {
        let (tag, body) = link.read_frame().await?;
        match tag {
            server::DATA_ROW => {
                let row = message::data_row(&body)?;
                let text = row.first().copied().flatten().unwrap_or_default();
                found.push(String::from_utf8_lossy(text).into_owned());
            }
            server::ERROR => problem = Some(Error::Refused(Box::new(Report::read(&body)))),
            server::READY => break,
            _ => {}
        }
    }
    problem.map_or(Ok(found), Err)
}
