//! The keys of pools and timeouts.

use super::{Key, Section, key};

/// `database.pool`
pub const POOL: Section = Section {
    path: "database.pool",
    repeated: false,
    text: "Connections to the server. In transaction mode they are shared among clients: settings, prepared statements \
           and roles follow the client from connection to connection. A timeout of `0` is off.",
    keys: &[
        key(
            "mode",
            "`\"session\"`, `\"transaction\"` or `\"statement\"`",
            "`\"session\"`",
            "When a connection goes back to the pool: when its client leaves, after each transaction, or after each statement.",
        ),
        key("max", "number", "`40`", "Most connections to the server."),
        key(
            "min",
            "number",
            "`0`",
            "Connections for the URL's user that are made in the background and kept ready; in transaction and statement mode.",
        ),
        key(
            "reserve",
            "number",
            "`0`",
            "Connections beyond `max` for clients that have waited for `reserve_timeout`; closed when nobody waits.",
        ),
        key(
            "reserve_timeout",
            "duration",
            "`\"5s\"`",
            "How long a client waits before the reserve is for it.",
        ),
        key(
            "user_max",
            "number",
            "`max`",
            "Most connections of one server user.",
        ),
        key(
            "clients_max",
            "number",
            "`limits.clients_max`",
            "Most clients of this database; more are refused (53300).",
        ),
        key(
            "wait_timeout",
            "duration",
            "`\"10s\"`",
            "How long a client may wait for one.",
        ),
        key(
            "wait_notice",
            "duration",
            "`\"5s\"`",
            "A client that waits longer is told so by a notice.",
        ),
        key(
            "connect_timeout",
            "duration",
            "`\"5s\"`",
            "How long connecting and logging in may take.",
        ),
        key(
            "resolve_every",
            "duration",
            "`\"15s\"`",
            "How often host names are looked up anew. Connections to an address that has gone are closed as they become free.",
        ),
        key(
            "idle_timeout",
            "duration",
            "`\"10m\"`",
            "Idle connections older than this are closed.",
        ),
        key(
            "lifetime",
            "duration",
            "`\"1h\"`",
            "Connections older than this are closed once they are idle; up to a fifth earlier, so that they do not all end at once.",
        ),
        key(
            "clean_timeout",
            "duration",
            "`\"5s\"`",
            "How long putting a connection in order between two clients may take; it is closed otherwise.",
        ),
        key(
            "check_after",
            "duration",
            "`\"30s\"`",
            "A connection that was idle for so long is tried with an empty query before a client gets it.",
        ),
        key(
            "round_robin",
            "true or false",
            "`false`",
            "Take the connection that was idle longest, instead of the youngest.",
        ),
        key(
            "prepared_max",
            "number",
            "`500`",
            "Prepared statements kept on one connection in transaction and statement mode; the one not used for longest goes first.",
        ),
    ],
};

/// `user.pool`
pub const USER_POOL: Section = Section {
    path: "user.pool",
    repeated: false,
    text: "What is different for this user from `pool` of the database.",
    keys: &[
        key(
            "mode",
            "`\"session\"`, `\"transaction\"` or `\"statement\"`",
            "the database's",
            "When a connection goes back to the pool.",
        ),
        key(
            "max",
            "number",
            "the database's `user_max`",
            "Most connections of its own, in each database. They are not shared with other users.",
        ),
        key(
            "clients_max",
            "number",
            "the database's",
            "Most clients under this name, over all databases; more are refused (53300).",
        ),
        key(
            "wait_timeout",
            "duration",
            "the database's",
            "How long its clients may wait for a connection.",
        ),
        key(
            "wait_notice",
            "duration",
            "the database's",
            "A client that waits longer is told so by a notice.",
        ),
    ],
};

const TIMEOUTS: &[Key] = &[
    key(
        "query",
        "duration",
        "off",
        "One statement, from being sent to its answer: it is cancelled (57014), and the connection stays usable. Statements that are answered together, a string or a pipeline up to its Sync, count as one.",
    ),
    key(
        "transaction",
        "duration",
        "off",
        "One transaction, implicit ones included: it is rolled back and the connection ends (25P04).",
    ),
    key(
        "idle_transaction",
        "duration",
        "off",
        "A client that has a transaction open and sends nothing: it is rolled back and the connection ends (25P03).",
    ),
    key(
        "client_idle",
        "duration",
        "off",
        "A client that has nothing open and sends nothing: the connection ends (57P05).",
    ),
    key(
        "cancel",
        "duration",
        "`\"10s\"`",
        "A server that was asked to cancel a statement: its connection is closed when it does not answer.",
    ),
];

/// `database.timeouts`
pub const DATABASE_TIMEOUTS: Section = Section {
    path: "database.timeouts",
    repeated: false,
    text: "How long things may take. `0` is off. Looked at ten times a second: nothing ends early, and little late. \
           Others stand elsewhere: `limits.login_timeout`, and in `pool` those of waiting, connecting and cleaning.",
    keys: TIMEOUTS,
};

/// `user.timeouts`
pub const USER_TIMEOUTS: Section = Section {
    path: "user.timeouts",
    repeated: false,
    text: "As at a database, for this user; what is absent is the database's.",
    keys: TIMEOUTS,
};
