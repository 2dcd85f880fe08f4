//! Which servers' certificates are believed, as libpq's `sslmode` has it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{certificate, root_store};
use crate::config::tls::Certificates;
use crate::config::{ServerTls, SslMode};

/// Verifies as much as the mode demands.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None: anybody is believed.
    roots: Option<Arc<RootCertStore>>,
    pinned: Certificates,
    names: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(tls: &ServerTls, provider: &CryptoProvider) -> Result<Self, super::Error> {
        // libpq: `require` with a root certificate is `verify-ca`.
        let verifies = tls.mode >= SslMode::Require;
        let roots = match &tls.roots {
            Some(roots) if verifies => Some(root_store(roots)?),
            None if tls.mode >= SslMode::VerifyCa => return Err(super::Error::NoAuthority),
            _ => None,
        };
        Ok(Verifier {
            roots,
            pinned: tls.roots.clone().unwrap_or_default(),
            names: tls.mode == SslMode::VerifyFull,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// A certificate that stands among the roots itself is believed for what it
    /// is, although a root should not be a server: `openssl req -x509` makes such.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        self.pinned.iter().any(|known| known == certificate)
            && certificate::is_valid_at(certificate, now) == Some(true)
    }
}

/// libpq looks at the common name when there are no alternative names.
fn common_name_is(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    !certificate::has_alternative_names(certificate)
        && certificate::common_name(certificate)
            .is_some_and(|common| common.eq_ignore_ascii_case(&name.to_str()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        )
        .or_else(|error| match self.is_pinned(end_entity, now) {
            true => Ok(()),
            false => Err(error),
        })?;
        if self.names {
            verify_server_name(&parsed, server_name).or_else(|error| match error {
                Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                ) if common_name_is(end_entity, server_name) => Ok(()),
                error => Err(error),
            })?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
