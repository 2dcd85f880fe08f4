//! What is read of certificates, and streams over memory and over real sockets.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::certificate::{
    common_name, expires, has_alternative_names, is_valid_at, tls_server_end_point,
};
use super::{Client, Server};
use crate::config::tls::{ClientCertificates, DoorTls, Identity, ServerTls, SslMode, TlsMode};
use crate::net::Socket;

fn certificate(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
    change(&mut params);
    params.self_signed(key).unwrap().der().to_vec()
}

fn named(names: &[&str]) -> Vec<u8> {
    certificate(&KeyPair::generate().unwrap(), |params| {
        params.distinguished_name.remove(DnType::CommonName);
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
    })
}

#[test]
fn a_common_name_is_read_and_nothing_is_taken_for_one() {
    assert_eq!(common_name(&named(&["ann"])).as_deref(), Some("ann"));
    assert_eq!(common_name(&named(&["Äпп"])).as_deref(), Some("Äпп"));
    assert_eq!(common_name(&named(&[])), None);
    assert_eq!(common_name(&named(&["ann\0.evil"])), None);
    assert_eq!(common_name(b"\x30\x82\xff\xff"), None);
}

#[test]
fn the_end_point_is_hashed_as_the_certificate_was_signed() {
    let hash = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = certificate(&key, |_| {});
        (tls_server_end_point(&certificate), certificate)
    };
    let (end_point, certificate) = hash(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(end_point, Some(sha2::Sha256::digest(&certificate).to_vec()));
    let (end_point, certificate) = hash(&rcgen::PKCS_ECDSA_P384_SHA384);
    assert_eq!(end_point, Some(sha2::Sha384::digest(&certificate).to_vec()));
    // RFC 5929 says nothing for a signature without a hash of its own.
    assert_eq!(hash(&rcgen::PKCS_ED25519).0, None);
}

#[test]
fn times_are_read_in_both_notations() {
    let key = KeyPair::generate().unwrap();
    let at = |year: i64| {
        let days = Duration::from_secs(((year - 1970) * 365 * 86_400) as u64);
        UnixTime::since_unix_epoch(days)
    };
    // 2049 is the last year of the short notation.
    let short_and_long = certificate(&key, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2060, 1, 1);
    });
    assert_eq!(is_valid_at(&short_and_long, at(1999)), Some(false));
    assert_eq!(is_valid_at(&short_and_long, at(2030)), Some(true));
    assert_eq!(is_valid_at(&short_and_long, at(2070)), Some(false));
    assert_eq!(is_valid_at(b"", at(2030)), None);
    assert_eq!(expires(&short_and_long), Some(2_840_140_800));
}

#[test]
fn names_of_hosts_are_found() {
    let key = KeyPair::generate().unwrap();
    assert!(has_alternative_names(&certificate(&key, |_| {})));
    let without = certificate(&key, |params| params.subject_alt_names.clear());
    assert!(!has_alternative_names(&without));
}

proptest! {
    #[test]
    fn damaged_certificates_are_read_without_a_panic(at in 0usize..400, byte: u8, cut in 0usize..400) {
        static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = WHOLE.get_or_init(|| named(&["ann"])).clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..cut.min(bytes.len())]] {
            let now = UnixTime::since_unix_epoch(SystemTime::now().elapsed().unwrap_or_default());
            let _ = (common_name(bytes), has_alternative_names(bytes));
            let _ = (is_valid_at(bytes, now), tls_server_end_point(bytes));
        }
    }
}

/// Both sides of one certificate that is its own root.
fn sides(change: impl FnOnce(&mut CertificateParams), mode: SslMode) -> (Server, Client) {
    let key = KeyPair::generate().unwrap();
    let certificate = certificate(&key, change);
    let chain: crate::config::tls::Certificates = vec![certificate.into()].into();
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let server = Server::new(&DoorTls {
        mode: TlsMode::Required,
        identity: Some(Identity {
            chain: chain.clone(),
            key: key.into(),
        }),
        client_ca: None,
        client_certificates: ClientCertificates::Off,
        origin: Default::default(),
    });
    let client = Client::new(&ServerTls {
        mode,
        roots: Some(chain),
        ..ServerTls::default()
    });
    (server.unwrap().unwrap(), client.unwrap())
}

/// Whether a client that expects this host believes the server.
async fn believes(host: &str, change: impl FnOnce(&mut CertificateParams), mode: SslMode) -> bool {
    let (server, client) = sides(change, mode);
    let (near, far) = tokio::io::duplex(4096);
    let (accepted, connected) = tokio::join!(server.accept(far, &[]), client.connect(near, host));
    accepted.is_ok() && connected.is_ok()
}

#[tokio::test]
async fn servers_are_believed_as_libpq_does() {
    let authority = |params: &mut CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let old = |params: &mut CertificateParams| {
        params.subject_alt_names.clear();
        params
            .distinguished_name
            .push(DnType::CommonName, "Old.example");
    };
    let expired = |params: &mut CertificateParams| {
        authority(params);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    };
    let full = SslMode::VerifyFull;
    assert!(believes("db.example", |_| {}, full).await);
    assert!(!believes("other.example", |_| {}, full).await);
    assert!(believes("other.example", |_| {}, SslMode::VerifyCa).await);
    // `openssl req -x509` makes servers that call themselves authorities.
    assert!(believes("db.example", authority, full).await);
    assert!(!believes("db.example", expired, full).await);
    // The common name counts only without alternative names.
    assert!(believes("old.example", old, full).await);
    assert!(!believes("db.example", old, full).await);
    assert!(believes("db.example", expired, SslMode::Prefer).await);
}

/// An encrypted pair over real sockets.
async fn pair() -> (Socket, Socket) {
    let (server, client) = sides(|_| {}, SslMode::VerifyFull);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = tokio::net::TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let (far, near) = tokio::join!(
        Socket::prepare(far).accept_tls(&server, &[]),
        Socket::prepare(near).connect_tls(&client, "db.example"),
    );
    (far.unwrap(), near.unwrap())
}

#[tokio::test]
async fn who_reads_need_not_flush() {
    let (mut far, mut near) = pair().await;
    // More than the sockets hold, so that something waits inside.
    let much = vec![7; 8 << 20];
    let echo = tokio::spawn(async move {
        let mut seen = vec![0; 8 << 20];
        far.read_exact(&mut seen).await.unwrap();
        far.write_all(b"seen").await.unwrap();
        far.read_u8().await.unwrap_or_default()
    });
    near.write_all(&much).await.unwrap();
    let mut answer = [0; 4];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"seen");
    near.write_all(b"!").await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(echo.await.unwrap(), b'!');
}

#[tokio::test]
async fn a_parked_stream_goes_on_and_tells_when_something_came() {
    let (mut far, mut near) = pair().await;
    near.write_all(b"one").await.unwrap();
    near.flush().await.unwrap();
    let mut seen = [0; 3];
    far.read_exact(&mut seen).await.unwrap();
    let parked = near.park().unwrap();
    assert!(!parked.is_stale());
    let mut near = parked.resume().unwrap();
    near.write_all(b"two").await.unwrap();
    near.flush().await.unwrap();
    far.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"two");
    let parked = near.park().unwrap();
    far.write_all(b"unasked").await.unwrap();
    far.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(parked.is_stale());
    // Decrypted, but not read: the socket is empty, and it is not for the next owner.
    let mut near = parked.resume().unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'u');
    assert!(near.park().unwrap().is_stale());
    let (far, near) = pair().await;
    let parked = near.park().unwrap();
    drop(far);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(parked.is_stale(), "a farewell");
}

#[tokio::test]
async fn the_handshake_goes_on_from_what_was_read_already() {
    let (server, client) = sides(|_| {}, SslMode::VerifyFull);
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let served = async {
        let mut first = vec![0; 1 << 14];
        let count = far.read(&mut first).await.unwrap();
        server.accept(far, &first[..count]).await
    };
    let (served, connected) = tokio::join!(served, client.connect(near, "db.example"));
    let (mut served, mut connected) = (served.unwrap(), connected.unwrap());
    assert_eq!(served.alpn(), Some(super::ALPN));
    assert_eq!(served.server_name(), Some("db.example"));
    connected.write_all(b"x").await.unwrap();
    connected.flush().await.unwrap();
    assert_eq!(served.read_u8().await.unwrap(), b'x');
    assert_eq!(
        connected.peer_end_point().as_deref(),
        server.end_point().as_deref()
    );
}
