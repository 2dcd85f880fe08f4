//! The keys of authentication.

use super::{Section, key};

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
