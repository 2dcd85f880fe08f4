//! PEM from files and variables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificates, Origin};
use crate::config::reader::Table;
use crate::config::values::Surroundings;

/// Largest file with certificates or a key.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where systems keep the authorities that everybody trusts.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is wrong, and what to write instead.
pub(super) type Complaint = (String, String);

/// Reads PEM where `path`, `file:PATH` or `env:NAME` says; notes the file.
pub(super) struct Reader<'a> {
    pub(super) surroundings: Surroundings<'a>,
    /// What was read so far.
    pub(super) files: Vec<PathBuf>,
}

impl Reader<'_> {
    /// None where nothing is looked up.
    fn pem(&mut self, written: &str) -> Result<Option<(Vec<u8>, String)>, Complaint> {
        let Some(environment) = self.surroundings.environment else {
            return Ok(None);
        };
        if let Some(name) = written.strip_prefix("env:") {
            return match environment(name) {
                Some(text) => Ok(Some((text.into_bytes(), format!("the variable {name}")))),
                None => Err((
                    format!("the environment variable `{name}` is not set"),
                    format!("set it: export {name}=\"$(cat FILE)\""),
                )),
            };
        }
        let path = written.strip_prefix("file:").unwrap_or(written);
        let path = self.surroundings.folder.join(path);
        // Noted before it is read: a file that is missing now may come.
        self.files.push(path.clone());
        let bytes = read(&path).map_err(|why| {
            (
                format!("the file {} cannot be read: {why}", path.display()),
                "it must be a file in PEM form that the gate's user may read".to_owned(),
            )
        })?;
        Ok(Some((bytes, path.display().to_string())))
    }

    pub(super) fn certificates(
        &mut self,
        written: &str,
    ) -> Result<Option<Certificates>, Complaint> {
        let Some((bytes, whence)) = self.pem(written)? else {
            return Ok(None);
        };
        let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match list {
            Ok(list) if !list.is_empty() => Ok(Some(list.into())),
            _ => Err((
                format!("{whence} holds no certificate"),
                "it must begin with -----BEGIN CERTIFICATE-----".to_owned(),
            )),
        }
    }

    pub(super) fn key(
        &mut self,
        written: &str,
    ) -> Result<Option<Arc<PrivateKeyDer<'static>>>, Complaint> {
        let Some((bytes, whence)) = self.pem(written)? else {
            return Ok(None);
        };
        if memchr::memmem::find(&bytes, b"ENCRYPTED").is_some() {
            return Err((
                format!("the key in {whence} is protected with a passphrase"),
                "take it off: openssl pkey -in OLD -out NEW, and let only the gate's user read it"
                    .to_owned(),
            ));
        }
        // What the parser would say could quote the file.
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Ok(Some(Arc::new(key))),
            Err(_) => Err((
                format!("{whence} holds no private key"),
                "it must hold -----BEGIN PRIVATE KEY-----".to_owned(),
            )),
        }
    }

    pub(super) fn roots(&mut self, written: &str) -> Result<Option<Certificates>, Complaint> {
        if written != "system" {
            return self.certificates(written);
        }
        match SYSTEM_ROOTS.iter().find(|path| Path::new(path).is_file()) {
            Some(path) => self.certificates(path),
            None => Err((
                "no file with this system's authorities was found".to_owned(),
                "name one".to_owned(),
            )),
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is too large"));
    }
    std::fs::read(path)
}

/// Where a table stands, and the files that were read for it.
pub(super) fn origin(table: Table<'_>, files: Vec<PathBuf>) -> Origin {
    Origin {
        position: table.problems.source.position(table.span().start),
        files,
    }
}

/// One value of a table through one function of the reader.
pub(super) fn one<'a, T>(
    table: Table<'_>,
    reader: &mut Reader<'a>,
    key: &str,
    read: impl FnOnce(&mut Reader<'a>, &str) -> Result<Option<T>, Complaint>,
) -> Option<T> {
    let text = table.text(key)?;
    read(reader, text.value).unwrap_or_else(|(message, hint)| {
        table.problems.error(text.span, message, hint);
        None
    })
}
