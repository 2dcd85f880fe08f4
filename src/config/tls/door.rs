//! `listen.tls`.

use super::pem::{Reader, one, origin};
use super::{ClientCertificates, DoorTls, Identity, TlsMode};
use crate::config::reader::{At, Table};
use crate::config::values::Surroundings;
use crate::config::{Listen, reference};

fn identity(table: Table<'_>, reader: &mut Reader<'_>) -> Option<Identity> {
    for (there, other) in [("certificate", "key"), ("key", "certificate")] {
        if table.table.contains_key(there) && !table.table.contains_key(other) {
            table.problems.error(
                table.span(),
                format!("there is a `{there}`, but no `{other}`"),
                format!("add `{other} = \"PATH\"`"),
            );
        }
    }
    let chain = one(table, reader, "certificate", Reader::certificates);
    let key = one(table, reader, "key", Reader::key);
    Some(Identity {
        chain: chain?,
        key: key?,
    })
}

/// `listen.tls`
pub(in crate::config) fn door(
    listen: Table<'_>,
    surroundings: Surroundings<'_>,
) -> Option<DoorTls> {
    let table = listen.table("tls", &reference::LISTEN_TLS)?;
    let modes = [
        ("off", TlsMode::Off),
        ("optional", TlsMode::Optional),
        ("required", TlsMode::Required),
    ];
    let mode = table
        .choice("mode", &modes)
        .map_or(TlsMode::Required, |mode| mode.value);
    let mut reader = Reader {
        surroundings,
        files: Vec::new(),
    };
    let identity = identity(table, &mut reader);
    if mode != TlsMode::Off && !table.table.contains_key("certificate") {
        table.problems.error(
            table.span(),
            "TLS needs a certificate and its key",
            "add `certificate = \"PATH\", key = \"PATH\"`, or write `mode = \"off\"`",
        );
    }
    let client_ca = one(table, &mut reader, "client_ca", Reader::roots);
    let wishes = [
        ("off", ClientCertificates::Off),
        ("optional", ClientCertificates::Optional),
        ("required", ClientCertificates::Required),
    ];
    let asked = table.choice("client_certificates", &wishes);
    let has_ca = table.table.contains_key("client_ca");
    if let Some(At { value, span }) = &asked
        && *value != ClientCertificates::Off
        && !has_ca
    {
        table.problems.error(
            span.clone(),
            "certificates of clients cannot be verified without an authority",
            "add `client_ca = \"PATH\"`",
        );
    }
    Some(DoorTls {
        mode,
        identity,
        client_ca,
        client_certificates: match asked {
            Some(asked) => asked.value,
            None if has_ca => ClientCertificates::Optional,
            None => ClientCertificates::Off,
        },
        origin: origin(table, reader.files),
    })
}

/// Whether clients can show certificates there.
pub(in crate::config) fn asks_for_certificates(door: &Listen) -> bool {
    door.tls.as_ref().is_some_and(|tls| {
        tls.mode != TlsMode::Off && tls.client_certificates != ClientCertificates::Off
    })
}
