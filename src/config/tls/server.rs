//! `database.tls`, and what the backend's URL says in libpq's words.

use super::pem::{Complaint, Reader, origin};
use super::{ChannelBinding, Identity, ServerTls, SslMode};
use crate::config::reader::{At, Span, Table};
use crate::config::values::{self, Surroundings};
use crate::config::{nearest, reference};

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const NEGOTIATIONS: &[(&str, bool)] = &[("postgres", false), ("direct", true)];

const BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

/// A key of the table, and the URL's parameter that says the same.
const KEYS: &[(&str, &str)] = &[
    ("mode", "sslmode"),
    ("negotiation", "sslnegotiation"),
    ("channel_binding", "channel_binding"),
    ("ca", "sslrootcert"),
    ("certificate", "sslcert"),
    ("key", "sslkey"),
];

/// Whether a parameter of a backend URL is read here.
pub(in crate::config) fn is_url_parameter(name: &str) -> bool {
    KEYS.iter().any(|(_, parameter)| *parameter == name)
}

/// What a URL or a table says, before files are read.
struct Words<'a> {
    table: Option<Table<'a>>,
    url: Vec<(&'static str, At<String>)>,
}

impl Words<'_> {
    /// What stands in the table counts before what stands in the URL.
    fn get(&self, key: &str) -> Option<At<String>> {
        if let Some(text) = self.table.and_then(|table| table.text(key)) {
            return Some(At {
                value: text.value.to_owned(),
                span: text.span,
            });
        }
        let found = self.url.iter().find(|(known, _)| *known == key)?;
        Some(found.1.clone())
    }

    /// One of a few words; the default when there is none.
    fn choice<T: Copy + Default>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<T, (Span, Complaint)> {
        let Some(word) = self.get(key) else {
            return Ok(T::default());
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.value) {
            return Ok(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = match nearest(&word.value, names.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write one of {}", names.join(", ")),
        };
        let parameter = KEYS.iter().find(|(known, _)| *known == key);
        let name = parameter.map_or(key, |(_, parameter)| *parameter);
        Err((
            word.span,
            (format!("there is no {name} `{}`", word.value), hint),
        ))
    }
}

fn complaint(message: &str, hint: &str) -> Complaint {
    (message.to_owned(), hint.to_owned())
}

/// The table and the `ssl…` parameters of the backend's URL together.
pub(in crate::config) fn server(
    database: Table<'_>,
    url: &str,
    url_span: Span,
    surroundings: Surroundings<'_>,
) -> Option<ServerTls> {
    let mut words = Words {
        table: database.table("tls", &reference::DATABASE_TLS),
        url: Vec::new(),
    };
    for (name, value) in values::url_parameters(url) {
        if let Some((key, _)) = KEYS.iter().find(|(_, parameter)| *parameter == name) {
            // The URL itself was read before: what cannot be decoded was reported.
            let value = values::percent_decode(value).ok()?;
            // The last one counts, as in libpq.
            words.url.retain(|(known, _)| known != key);
            words.url.push((
                key,
                At {
                    value,
                    span: url_span.clone(),
                },
            ));
        }
    }
    let at = words.table.unwrap_or(database);
    read(&words, at, surroundings)
        .map_err(|(span, (message, hint))| database.problems.error(span, message, hint))
        .ok()
}

fn read(
    words: &Words<'_>,
    at: Table<'_>,
    surroundings: Surroundings<'_>,
) -> Result<ServerTls, (Span, Complaint)> {
    let mode = words.choice("mode", SSL_MODES)?;
    let span_of = |key: &str| words.get(key).map_or(at.span(), |word| word.span);
    let direct = words.choice("negotiation", NEGOTIATIONS)?;
    if direct && mode < SslMode::Require {
        let complaint = complaint(
            "direct negotiation cannot fall back to plain text",
            "use it with `require`, `verify-ca` or `verify-full`",
        );
        return Err((span_of("negotiation"), complaint));
    }
    let channel_binding = words.choice("channel_binding", BINDINGS)?;
    if channel_binding == ChannelBinding::Require && mode < SslMode::Require {
        let complaint = complaint(
            "there is nothing to bind to in plain text",
            "use it with `require`, `verify-ca` or `verify-full`",
        );
        return Err((span_of("channel_binding"), complaint));
    }
    let mut reader = Reader {
        surroundings,
        files: Vec::new(),
    };
    let roots = match words.get("ca") {
        Some(word) => reader
            .roots(&word.value)
            .map_err(|complaint| (word.span, complaint))?,
        None if mode >= SslMode::VerifyCa => {
            let complaint = complaint(
                "the server's certificate cannot be verified without an authority",
                "name its file: `sslrootcert=PATH` in the URL or `ca` in `tls`; \
                 \"system\" stands for the system's",
            );
            return Err((span_of("mode"), complaint));
        }
        None => None,
    };
    let identity = identity(words, &mut reader)?;
    Ok(ServerTls {
        mode,
        direct,
        channel_binding,
        roots,
        identity,
        origin: origin(at, reader.files),
    })
}

fn identity(
    words: &Words<'_>,
    reader: &mut Reader<'_>,
) -> Result<Option<Identity>, (Span, Complaint)> {
    match (words.get("certificate"), words.get("key")) {
        (Some(certificate), Some(key)) => {
            let chain = reader.certificates(&certificate.value);
            let chain = chain.map_err(|complaint| (certificate.span, complaint))?;
            let key = reader
                .key(&key.value)
                .map_err(|complaint| (key.span, complaint))?;
            Ok(chain.zip(key).map(|(chain, key)| Identity { chain, key }))
        }
        (Some(word), None) | (None, Some(word)) => {
            let complaint = complaint(
                "a certificate and its key go together, and one is missing",
                "name both files",
            );
            Err((word.span, complaint))
        }
        (None, None) => Ok(None),
    }
}
