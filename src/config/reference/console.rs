//! Keys of the console.

use super::{Section, key};

/// `[console]`
pub const CONSOLE: Section = Section {
    path: "console",
    repeated: false,
    text: "The admin console: the databases `portcullis` and `pgbouncer` on every listener, for the users named \
           here (see [console.md](console.md)). Without any there is no console.",
    keys: &[
        key(
            "admins",
            "list of users",
            "none",
            "Users that may look at everything and give commands.",
        ),
        key(
            "readers",
            "list of users",
            "none",
            "Users that may only look (`SHOW …`), such as an exporter of metrics.",
        ),
        key(
            "stats_period",
            "duration",
            "`\"60s\"`",
            "Time over which the averages of `SHOW STATS` are taken.",
        ),
    ],
};
