//! The keys of authentication.

use super::{Key, Section, key};

/// `[[auth]]`
pub const AUTH: Section = Section {
    path: "auth",
    repeated: true,
    text: "Rules about who proves what, as in pg_hba.conf: the first one that fits decides, and where none fits the \
           connection is refused. A rule never lets in more than the user itself allows: its `allow`, `deny`, \
           `common_name` and `databases` hold under every rule. Without any rule each user's own `auth` decides.",
    keys: &[
        key(
            "addresses",
            "list of networks",
            "anywhere",
            "Where the client comes from; `\"local\"` stands for Unix sockets.",
        ),
        key(
            "users",
            "list of names",
            "all",
            "Names, exactly as the client writes them; `*` stands for any characters.",
        ),
        key(
            "databases",
            "list of names",
            "all",
            "Databases, in the same way.",
        ),
        key(
            "tls",
            "`\"any\"`, `\"required\"` or `\"off\"`",
            "`\"any\"`",
            "Whether the rule is about encrypted connections, the others, or both.",
        ),
        key(
            "method",
            "`\"scram-sha-256\"`, `\"md5\"`, `\"password\"`, `\"cert\"`, `\"peer\"`, `\"trust\"` or `\"reject\"`",
            "needed",
            "What has to be proven. `md5` asks for SCRAM where only a verifier is known; `password` sends the password itself and needs TLS or a Unix socket.",
        ),
    ],
};

const LOOKED_UP: &[Key] = &[
    key(
        "user",
        "string",
        "the operator, or the URL's user",
        "Server user that asks. The default query needs the right to read `pg_authid`.",
    ),
    key("password", "secret", "none", "Its password."),
    key(
        "database",
        "string",
        "the one the client wants",
        "Database on the server in which to ask.",
    ),
    key(
        "query",
        "SQL",
        "`pg_authid`",
        "Has one parameter, the name, and returns name and password: a SCRAM verifier, an MD5 hash, or NULL for none. Runs with `search_path=pg_catalog`: qualify your own names.",
    ),
    key(
        "cache",
        "duration",
        "`\"10s\"`",
        "How long an answer is used. A wrong password asks again, at most once a second for each name.",
    ),
    key(
        "timeout",
        "duration",
        "`\"3s\"`",
        "How long asking may take.",
    ),
    key(
        "act_as",
        "`\"self\"` or `\"server\"`",
        "`\"self\"`",
        "As whom the statements of such users run: as themselves, with what they have proven to the gate, or as the URL's user.",
    ),
];

/// `[auth_query]`
pub const AUTH_QUERY: Section = Section {
    path: "auth_query",
    repeated: false,
    text: "Users that are not in this file are looked up on the server of the database they want. They need no \
           `[[user]]`; one that stands here is never looked up.",
    keys: LOOKED_UP,
};

/// `database.auth_query`
pub const DATABASE_AUTH_QUERY: Section = Section {
    path: "database.auth_query",
    repeated: false,
    text: "Looking users up for this database, in place of `[auth_query]`.",
    keys: LOOKED_UP,
};
