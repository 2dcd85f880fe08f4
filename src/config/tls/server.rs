//! `database.tls`, and what the backend's URL says in libpq's words.

use super::pem::{Complaint, Reader, origin};
use super::{Identity, ServerTls, SslMode};
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

/// What a URL or a table says, before files are read.
#[derive(Default)]
struct Words {
    mode: Option<At<String>>,
    negotiation: Option<At<String>>,
    roots: Option<At<String>>,
    certificate: Option<At<String>>,
    key: Option<At<String>>,
}

impl Words {
    fn slot(&mut self, name: &str) -> Option<&mut Option<At<String>>> {
        Some(match name {
            "sslmode" | "mode" => &mut self.mode,
            "sslnegotiation" | "negotiation" => &mut self.negotiation,
            "sslrootcert" | "ca" => &mut self.roots,
            "sslcert" | "certificate" => &mut self.certificate,
            "sslkey" | "key" => &mut self.key,
            _ => return None,
        })
    }
}

/// Whether a parameter of a backend URL is read here.
pub(in crate::config) fn is_url_parameter(name: &str) -> bool {
    name.starts_with("ssl") && Words::default().slot(name).is_some()
}

/// `database.tls` and the `ssl…` parameters of the backend's URL; the table counts.
pub(in crate::config) fn server(
    database: Table<'_>,
    url: &str,
    url_span: Span,
    surroundings: Surroundings<'_>,
) -> Option<ServerTls> {
    let problems = database.problems;
    let mut words = Words::default();
    for (name, value) in values::url_parameters(url) {
        if is_url_parameter(name)
            && let Some(slot) = words.slot(name)
        {
            let value = values::percent_decode(value)
                .map_err(|why| problems.error(url_span.clone(), why, ""))
                .ok()?;
            *slot = Some(At {
                value,
                span: url_span.clone(),
            });
        }
    }
    let table = database.table("tls", &reference::DATABASE_TLS);
    if let Some(table) = table {
        for name in ["mode", "negotiation", "ca", "certificate", "key"] {
            if let (Some(text), Some(slot)) = (table.text(name), words.slot(name)) {
                *slot = Some(At {
                    value: text.value.to_owned(),
                    span: text.span,
                });
            }
        }
    }
    let at = table.unwrap_or(database);
    let complain = |span: &Span, (message, hint): Complaint| {
        problems.error(span.clone(), message, hint);
    };
    let mode = match &words.mode {
        None => SslMode::default(),
        Some(word) => ssl_mode(&word.value)
            .map_err(|complaint| complain(&word.span, complaint))
            .ok()?,
    };
    let direct = match &words.negotiation {
        None => false,
        Some(word) => match word.value.as_str() {
            "direct" if mode < SslMode::Require => {
                complain(
                    &word.span,
                    (
                        "direct negotiation cannot fall back to plain text".to_owned(),
                        "use it with `require`, `verify-ca` or `verify-full`".to_owned(),
                    ),
                );
                return None;
            }
            "direct" => true,
            "postgres" => false,
            other => {
                let hint = "write \"postgres\" or \"direct\"".to_owned();
                complain(
                    &word.span,
                    (format!("there is no TLS negotiation `{other}`"), hint),
                );
                return None;
            }
        },
    };
    let mut reader = Reader {
        surroundings,
        files: Vec::new(),
    };
    let mut failed = false;
    let mut roots = None;
    if let Some(word) = &words.roots {
        roots = reader.roots(&word.value).unwrap_or_else(|complaint| {
            complain(&word.span, complaint);
            failed = true;
            None
        });
    } else if mode >= SslMode::VerifyCa {
        let span = words
            .mode
            .as_ref()
            .map_or(at.span(), |word| word.span.clone());
        let message = "the server's certificate cannot be verified without an authority".to_owned();
        let hint = "name its file: `sslrootcert=PATH` in the URL or `ca` in `tls`; \"system\" stands for the system's".to_owned();
        complain(&span, (message, hint));
        failed = true;
    }
    let mut identity = None;
    match (&words.certificate, &words.key) {
        (Some(certificate), Some(key)) => {
            let mut read = || -> Result<Option<Identity>, (&Span, Complaint)> {
                let chain = reader.certificates(&certificate.value);
                let chain = chain.map_err(|complaint| (&certificate.span, complaint))?;
                let key = reader
                    .key(&key.value)
                    .map_err(|complaint| (&key.span, complaint))?;
                Ok(chain.zip(key).map(|(chain, key)| Identity { chain, key }))
            };
            identity = read().unwrap_or_else(|(span, complaint)| {
                complain(span, complaint);
                failed = true;
                None
            });
        }
        (Some(word), None) | (None, Some(word)) => {
            let message = "a certificate and its key go together, and one is missing".to_owned();
            complain(&word.span, (message, "name both files".to_owned()));
            failed = true;
        }
        (None, None) => {}
    }
    let origin = origin(at, reader.files);
    (!failed).then_some(ServerTls {
        mode,
        direct,
        roots,
        identity,
        origin,
    })
}

fn ssl_mode(text: &str) -> Result<SslMode, Complaint> {
    if let Some((_, mode)) = SSL_MODES.iter().find(|(name, _)| *name == text) {
        return Ok(*mode);
    }
    let hint = match nearest(text, SSL_MODES.iter().map(|(name, _)| *name)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => "write disable, prefer, require, verify-ca or verify-full".to_owned(),
    };
    Err((format!("there is no sslmode `{text}`"), hint))
}
