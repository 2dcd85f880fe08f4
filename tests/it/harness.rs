//! The tools themselves, tried on PostgreSQL without a gate between.

use crate::support::database::fresh_database;
use crate::support::raw::{Login, Raw};

#[test]
fn a_script_gets_the_servers_own_answers() {
    let Some(database) = fresh_database() else {
        return;
    };
    let mut client = database.direct();
    let lines = client.lines(
        "Q select 1 as one; select 'a' as two
         ---
         P s select $1::int4 + 1 as n
         B - s x00000029
         D P -
         E -
         S
         ---
         Q select nothing
         ---
         P - select generate_series(1, 3)
         B p -
         E p 2
         H
         ---
         S",
    );
    let expected = [
        "RowDescription one #0 type=23/4/-1 format=0",
        "DataRow 1",
        "CommandComplete SELECT 1",
        "RowDescription two #0 type=25/-1/-1 format=0",
        "DataRow a",
        "CommandComplete SELECT 1",
        "ReadyForQuery I",
        "ParseComplete",
        "BindComplete",
        "RowDescription n #0 type=23/4/-1 format=0",
        "DataRow 42",
        "CommandComplete SELECT 1",
        "ReadyForQuery I",
        "ErrorResponse ERROR 42703 column \"nothing\" does not exist position=8",
        "ReadyForQuery I",
        "ParseComplete",
        "BindComplete",
        "DataRow 1",
        "DataRow 2",
        "PortalSuspended",
        "ReadyForQuery I",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn every_way_to_log_in_is_available() {
    let Some(database) = fresh_database() else {
        return;
    };
    for (user, method) in crate::support::postgres::LOGINS {
        let login = Login::new(user, &database.name).password(&format!("secret of {user}"));
        Raw::login(database.address, &login);
        let wrong = Login::new(user, &database.name).password("wrong");
        let refused = Raw::try_login(database.address, &wrong)
            .err()
            .expect("refused");
        assert_eq!(refused.code(), "28P01", "{method}");
    }
}
