//! The keys of doors and of those who come in by them.

use super::{Section, key};

/// `[[listen]]`
pub const LISTEN: Section = Section {
    path: "listen",
    repeated: true,
    text: "A door: an address on which clients are served. Lists of networks are looked at before a byte is read, \
           and a connection from outside them is closed without an answer.",
    keys: &[
        key(
            "protocol",
            "`\"postgres\"`",
            "`\"postgres\"`",
            "Wire protocol that is spoken there.",
        ),
        key(
            "address",
            "`\"ADDRESS:PORT\"`, `\"unix:FOLDER:PORT\"` or `\"unix:PATH\"`",
            "needed",
            "Where to listen; port 0 takes a free one. A folder and a port make the name that libpq looks for, `FOLDER/.s.PGSQL.PORT`; `unix:@NAME` has no file (Linux).",
        ),
        key(
            "socket_mode",
            "octal digits",
            "`\"0777\"`",
            "Mode bits of a Unix socket: who of the system may connect.",
        ),
        key("tls", "table", "not offered", "Encryption."),
        key(
            "allow",
            "list of networks",
            "everybody",
            "Who may connect: `\"10.0.0.0/8\"`, `\"2001:db8::/32\"` or one address.",
        ),
        key(
            "deny",
            "list of networks",
            "nobody",
            "Who may not, even when `allow` names it.",
        ),
        key(
            "proxy_protocol",
            "table",
            "nobody is trusted",
            "Balancers that say where their clients come from.",
        ),
    ],
};

/// `listen.proxy_protocol`
pub const PROXY_PROTOCOL: Section = Section {
    path: "listen.proxy_protocol",
    repeated: false,
    text: "The PROXY protocol, version 2. A connection from one of these networks must begin with its header; the \
           address in it is what lists, rules, policies, rates and the log see. From anybody else the header is not \
           understood. A header without an address (`LOCAL`, a balancer's own check) stands for the balancer, which \
           must then be allowed itself.",
    keys: &[key(
        "from",
        "list of networks",
        "needed",
        "Addresses of the balancers.",
    )],
};

/// `[[user]]`
pub const USER: Section = Section {
    path: "user",
    repeated: true,
    text: "Somebody who may log in, with SCRAM-SHA-256, a client certificate, both, or as a user of the system. `trust` works only when it is written out.",
    keys: &[
        key("name", "string", "needed", "Name that clients log in with."),
        key(
            "password",
            "secret, SCRAM verifier or MD5 hash",
            "needed with `scram-sha-256` and `md5`",
            "How the user proves to be who it says; verifiers and hashes as PostgreSQL keeps them in `pg_authid`.",
        ),
        key(
            "auth",
            "`\"scram-sha-256\"`, `\"md5\"`, `\"cert\"`, `\"peer\"` or `\"trust\"`",
            "`\"scram-sha-256\"`, `\"md5\"` with an MD5 hash",
            "Where no `[[auth]]` rule decides. `cert` asks for a client certificate alone, `peer` asks the system who is on the other end of a Unix socket; `trust` lets everybody in under this name.",
        ),
        key(
            "common_name",
            "string",
            "the user's name with `cert`, else none",
            "Common name of the client certificate that the user must show, also in addition to a password.",
        ),
        key(
            "system_users",
            "list of names",
            "the user's name",
            "Users of the system that may log in under this name with `peer`.",
        ),
        key(
            "databases",
            "list of names",
            "all",
            "Databases the user may connect to.",
        ),
        key(
            "allow",
            "list of networks",
            "everywhere",
            "Where the user may come from. Elsewhere it looks like one that does not exist.",
        ),
        key(
            "deny",
            "list of networks",
            "nowhere",
            "Where it may not come from, even when `allow` names it.",
        ),
        key(
            "server",
            "table",
            "the URL's user",
            "Server user that its statements run as.",
        ),
        key(
            "pool",
            "table",
            "the database's",
            "What is different from the pool of the database.",
        ),
        key(
            "timeouts",
            "table",
            "the database's",
            "What is different from the timeouts of the database.",
        ),
    ],
};

/// `user.server`
pub const SERVER: Section = Section {
    path: "user.server",
    repeated: false,
    text: "The server user that the user's statements run as.",
    keys: &[
        key("user", "string", "the URL's user", "Server user."),
        key("password", "secret", "none", "Its password."),
        key(
            "set_role",
            "string",
            "none",
            "Role that is set on the connection before the client gets it.",
        ),
    ],
};
