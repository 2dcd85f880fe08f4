//! Asks a server how it says that a relation is not there.

use std::borrow::Cow;

use tokio_postgres::Client;

use crate::wire::postgres::places::{Place, Places};

/// Nobody has a relation of this name.
const NOWHERE: &str = "\"portcullis: nothing has this name\"";

/// The places of this server; what cannot be learned is as in [`Places::default`].
pub(super) async fn learn(client: &Client) -> Places {
    let mut places = Places::default();
    for (qualified, schema) in ["", "pg_catalog."].into_iter().enumerate() {
        let query = format!("SELECT 1 FROM {schema}{NOWHERE}");
        take(client, &query, &mut places.query[qualified]).await;
        let utility = format!("COPY {schema}{NOWHERE} TO STDOUT");
        take(client, &utility, &mut places.utility[qualified]).await;
    }
    // Never committed, should somebody have it after all.
    if client.batch_execute("BEGIN").await.is_ok() {
        take(client, &format!("DROP TABLE {NOWHERE}"), &mut places.drop).await;
        let _ = client.batch_execute("ROLLBACK").await;
    }
    places
}

async fn take(client: &Client, sql: &str, place: &mut Place) {
    let Err(error) = client.batch_execute(sql).await else {
        return;
    };
    let Some(error) = error.as_db_error().filter(|e| e.code().code() == "42P01") else {
        return;
    };
    if let (Some(file), Some(line), Some(routine)) = (error.file(), error.line(), error.routine()) {
        *place = Place {
            file: Cow::Owned(file.to_owned()),
            line: Cow::Owned(line.to_string()),
            routine: Cow::Owned(routine.to_owned()),
        };
    }
}
