//! The keys of encryption, at doors and towards servers.

use super::{Section, key};

/// `listen.tls`
pub const LISTEN_TLS: Section = Section {
    path: "listen.tls",
    repeated: false,
    text: "Encryption at a door. Files are in PEM form; `env:NAME` takes the text itself from a variable. Files \
           that change are read again at once, and connections that are open stay open. Over TLS, \
           SCRAM-SHA-256-PLUS binds the password to the channel.",
    keys: &[
        key(
            "mode",
            "`\"off\"`, `\"optional\"` or `\"required\"`",
            "`\"required\"`",
            "Whether clients come in without TLS.",
        ),
        key(
            "certificate",
            "path",
            "needed",
            "The door's certificate, followed by those that lead to its root.",
        ),
        key(
            "key",
            "path",
            "needed",
            "Its private key, without a passphrase.",
        ),
        key(
            "client_ca",
            "path or `\"system\"`",
            "none",
            "Authorities that sign the certificates of clients.",
        ),
        key(
            "client_certificates",
            "`\"off\"`, `\"optional\"` or `\"required\"`",
            "`\"optional\"` with a `client_ca`, else `\"off\"`",
            "Whether clients show certificates; one that is shown must be valid.",
        ),
    ],
};

/// `database.tls`
pub const DATABASE_TLS: Section = Section {
    path: "database.tls",
    repeated: false,
    text: "Encryption on the way to the server, for statements, cancel requests and the catalog alike. The URL may \
           say the same as in libpq: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `sslnegotiation`, `channel_binding`; what stands \
           here counts. Unix sockets are never encrypted.",
    keys: &[
        key(
            "mode",
            "`\"disable\"`, `\"allow\"`, `\"prefer\"`, `\"require\"`, `\"verify-ca\"` or `\"verify-full\"`",
            "`\"prefer\"`",
            "As libpq's `sslmode`; `require` with a `ca` verifies like `verify-ca`.",
        ),
        key(
            "ca",
            "path or `\"system\"`",
            "none",
            "Authorities that may have signed the server's certificate.",
        ),
        key(
            "certificate",
            "path",
            "none",
            "What the gate shows the server.",
        ),
        key(
            "key",
            "path",
            "none",
            "Its private key, without a passphrase.",
        ),
        key(
            "negotiation",
            "`\"postgres\"` or `\"direct\"`",
            "`\"postgres\"`",
            "`direct` begins with the handshake; PostgreSQL 17 and newer understand it.",
        ),
        key(
            "channel_binding",
            "`\"disable\"`, `\"prefer\"` or `\"require\"`",
            "`\"prefer\"`",
            "`require` gives no password to a server that cannot be bound to its certificate.",
        ),
    ],
};
