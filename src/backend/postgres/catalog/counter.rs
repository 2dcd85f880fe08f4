//! The server's own count of what a transaction changed.
//!
//! `pg_stat_get_xact_tuples_*` counts every row this session changed in a table,
//! by whatever way: triggers, cascades, rules, functions, DO. The numbers are
//! not those of the transaction (what an earlier one left unreported is still in
//! them) and keep counting what a savepoint rolled back, so only the difference
//! around one statement means something. A truncation sets them back; that shows
//! as a new file node.

use std::fmt::Write;

use super::snapshot::Oid;

/// Columns of a row of [`counter_query`].
pub const COUNTER_COLUMNS: usize = 4;

/// What the server says about one table at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Table.
    pub oid: Oid,
    /// Rows inserted, updated and deleted, as far as the server has them in mind.
    pub changed: u64,
    /// File of the table; none when the table is gone or has no storage.
    pub filenode: Option<u32>,
    /// Whether the server counts at all.
    pub tracked: bool,
}

/// SQL that answers with one row per table: oid, changed, file node, track_counts.
///
/// Holds in any search_path and for any role; PostgreSQL 13 and later. Send it
/// inside the transaction, before and after the statement, on the same link.
pub fn counter_query(oids: &[Oid]) -> String {
    let mut list = String::with_capacity(oids.len() * 7);
    for (index, oid) in oids.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(list, "{comma}{oid}");
    }
    format!(
        "SELECT o.oid, \
         pg_catalog.pg_stat_get_xact_tuples_inserted(o.oid) \
         OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_updated(o.oid) \
         OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_deleted(o.oid), \
         pg_catalog.pg_relation_filenode(o.oid), \
         pg_catalog.current_setting('track_counts') \
         FROM pg_catalog.unnest('{{{list}}}'::pg_catalog.oid[]) AS o(oid)"
    )
}

/// Reads one row of [`counter_query`] in text format; none when it is not one.
pub fn parse_counter(fields: &[Option<&[u8]>]) -> Option<Counter> {
    let [Some(oid), Some(changed), filenode, Some(tracked)] = fields else {
        return None;
    };
    Some(Counter {
        oid: number(oid)?,
        changed: number(changed)?,
        filenode: match filenode {
            Some(text) => Some(number(text)?),
            None => None,
        },
        tracked: *tracked == b"on",
    })
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_names_that_no_search_path_can_capture() {
        let sql = counter_query(&[16384, 99]);
        assert!(sql.contains("'{16384,99}'::pg_catalog.oid[]"), "{sql}");
        assert!(!sql.contains(" + "), "{sql}");
    }

    #[test]
    fn reads_a_row_and_refuses_nonsense() {
        let row = |fields: &[&str]| {
            let fields: Vec<Option<&[u8]>> = fields
                .iter()
                .map(|text| (*text != "NULL").then_some(text.as_bytes()))
                .collect();
            parse_counter(&fields)
        };
        assert_eq!(
            row(&["5", "17", "900", "on"]),
            Some(Counter {
                oid: 5,
                changed: 17,
                filenode: Some(900),
                tracked: true
            })
        );
        assert_eq!(
            row(&["5", "0", "NULL", "off"]).map(|c| (c.filenode, c.tracked)),
            Some((None, false))
        );
        assert_eq!(row(&["5", "-1", "900", "on"]), None);
        assert_eq!(row(&["5", "1", "900"]), None);
    }
}
