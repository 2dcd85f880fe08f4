//! Logging in to a server: start-up packet, authentication, first facts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::sasl;
use rand::RngExt;
use tokio::io::AsyncWriteExt;

use super::Error;
use super::dial::{Way, dial, other_way_may_work, ways};
use super::hosts::{Hosts, Spot};
use super::link::{About, Link, ServerState};
use super::proving::{Exchange, known, md5_answer};
use crate::config::tls::ChannelBinding;
use crate::config::{Proof, ProofSlot, Secret};
use crate::net::tls;
use crate::wire::postgres::encode;
use crate::wire::postgres::frame::server;
use crate::wire::postgres::message;
use crate::wire::postgres::report::Report;

pub use super::choose::login;
pub use super::path::parse_search_path;

/// Where to go and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub hosts: Arc<Hosts>,
    /// Database.
    pub database: Arc<str>,
    /// User.
    pub user: Arc<str>,
    /// Password, if the server asks.
    pub password: Option<Secret>,
    /// Run before anybody uses the link.
    pub connect_query: Option<Arc<str>>,
    /// What the user has proven to the gate, which proves it to the server where
    /// there is no password.
    pub proof: Option<Arc<ProofSlot>>,
    /// Bound on everything up to ReadyForQuery.
    pub timeout: Duration,
    /// Bound on a cancel request.
    pub cancel_timeout: Duration,
    /// How old the link may become; up to a fifth less, so that links made
    /// together do not end together.
    pub lifetime: Duration,
    /// Encryption; none: in the clear.
    pub tls: Option<tls::Client>,
}

/// Connects and logs in at one address.
pub(super) async fn login_at(
    target: &Target,
    spot: &Spot,
    parameters: &[(String, String)],
) -> Result<Link, Error> {
    let work = async {
        let tls = target.tls.as_ref();
        let (first, second) = ways(tls.filter(|_| !spot.address.starts_with('/')));
        match (enter(target, spot, parameters, first).await, second) {
            (Err(error), Some(second)) if other_way_may_work(&error) => {
                // The first answer says more when neither way leads in.
                let other = enter(target, spot, parameters, second).await;
                other.map_err(|_| error)
            }
            (result, _) => result,
        }
    };
    tokio::time::timeout(target.timeout, work)
        .await
        .unwrap_or_else(|_| Err(Error::Connect(std::io::ErrorKind::TimedOut.into())))
}

async fn enter(
    target: &Target,
    spot: &Spot,
    parameters: &[(String, String)],
    way: Way<'_>,
) -> Result<Link, Error> {
    let socket = dial(&spot.name, &spot.address, spot.port, way, target.timeout).await?;
    let encrypted = socket.tls().is_some();
    let about = About {
        parameters: Vec::new(),
        pid: 0,
        secret: Arc::from(&[][..]),
        host: spot.name.clone(),
        address: spot.address.clone(),
        port: spot.port,
        tls: target.tls.clone().filter(|_| encrypted),
        role: target.user.clone(),
        search_path: None,
        defaults: 0,
        track_counts: true,
        opened: Instant::now(),
        cancel_timeout: target.cancel_timeout,
    };
    let mut link = Link {
        socket,
        inbox: BytesMut::with_capacity(8192),
        outbox: BytesMut::with_capacity(8192),
        handle: Arc::new(about.clone()),
        about,
        server: ServerState::default(),
        lifetime: target.lifetime.mul_f64(rand::rng().random_range(0.8..=1.0)),
        outdated: false,
    };
    write_startup(&mut link.outbox, target, parameters);
    send(&mut link).await?;
    let proof = known(target);
    let authenticated = authenticate(&mut link, target, proof.as_deref()).await;
    if let (Err(Error::Refused(_)), Some(slot), Some(proof)) =
        (&authenticated, &target.proof, &proof)
    {
        // The server keeps another password now.
        slot.forget(proof);
    }
    authenticated?;
    settle(&mut link).await?;
    if let Some(query) = &target.connect_query {
        prepare(&mut link, query).await?;
    }
    first_facts(&mut link).await?;
    link.handle = Arc::new(link.about.clone());
    // The buffers that carry a session belong to the session.
    (link.inbox, link.outbox) = (BytesMut::new(), BytesMut::new());
    Ok(link)
}

fn write_startup(out: &mut BytesMut, target: &Target, parameters: &[(String, String)]) {
    encode::length_prefixed(out, |out| {
        out.put_u32(196_608);
        for (name, value) in [("user", &*target.user), ("database", &*target.database)] {
            encode::cstr(out, name.as_bytes());
            encode::cstr(out, value.as_bytes());
        }
        for (name, value) in parameters {
            encode::cstr(out, name.as_bytes());
            encode::cstr(out, value.as_bytes());
        }
        out.put_u8(0);
    });
}

async fn send(link: &mut Link) -> Result<(), Error> {
    link.socket.write_all_buf(&mut link.outbox).await?;
    link.socket.flush().await?;
    Ok(())
}

async fn answer(link: &mut Link, body: &[u8]) -> Result<(), Error> {
    encode::frame(&mut link.outbox, b'p', |out| out.put_slice(body));
    send(link).await
}

async fn authenticate(
    link: &mut Link,
    target: &Target,
    proof: Option<&Proof>,
) -> Result<(), Error> {
    let proof = || proof.ok_or(Error::Authentication("a password, and none is configured"));
    let unfit = || Error::Authentication("a password in a form that the gate does not have");
    let binding = target.tls.as_ref().map(|tls| tls.channel_binding());
    let mut scram: Option<Exchange> = None;
    let must_bind = binding == Some(ChannelBinding::Require);
    let unbound =
        Error::Authentication("a login without channel binding, which the configuration demands");
    // Whether the server has shown that it knows the password, too.
    let mut proven = false;
    loop {
        let (tag, body) = link.read_frame().await?;
        match tag {
            server::ERROR => return Err(Error::Refused(Box::new(Report::read(&body)))),
            server::NOTICE | server::NEGOTIATE => continue,
            server::AUTHENTICATION => {}
            other => {
                return Err(Error::Protocol(format!(
                    "message {:?} during login",
                    char::from(other)
                )));
            }
        }
        let (kind, rest) = body
            .split_first_chunk::<4>()
            .ok_or_else(|| Error::Protocol("short authentication request".into()))?;
        match i32::from_be_bytes(*kind) {
            0..=9 if must_bind && !proven => return Err(unbound),
            // It lets us in without the proof that SCRAM owes us, or wants another one after all.
            kind @ 0..=9 if scram.is_some() && (kind != 0 || !proven) => {
                return Err(Error::Protocol("SCRAM was not carried to its end".into()));
            }
            0 => return Ok(()),
            3 => {
                let Proof::Password(password) = proof()? else {
                    return Err(unfit());
                };
                let mut secret = password.reveal().as_bytes().to_vec();
                secret.push(0);
                answer(link, &secret).await?;
            }
            5 => {
                let salt = rest
                    .first_chunk::<4>()
                    .ok_or_else(|| Error::Protocol("short md5 salt".into()))?;
                let mut hash = md5_answer(proof()?, &target.user, *salt)
                    .ok_or_else(unfit)?
                    .into_bytes();
                hash.push(0);
                answer(link, &hash).await?;
            }
            10 => {
                let end_point = link.socket.tls().and_then(|tls| tls.peer_end_point());
                let end_point = end_point.filter(|_| binding != Some(ChannelBinding::Disable));
                let (mechanism, bound) = mechanism(rest, end_point).ok_or(
                    Error::Authentication("a SASL mechanism that is not supported"),
                )?;
                if must_bind && mechanism != sasl::SCRAM_SHA_256_PLUS {
                    return Err(unbound);
                }
                let exchange = Exchange::begin(proof()?, bound).ok_or_else(unfit)?;
                let mut first = BytesMut::new();
                encode::cstr(&mut first, mechanism.as_bytes());
                first.put_i32(exchange.message().len() as i32);
                first.put_slice(exchange.message());
                scram = Some(exchange);
                answer(link, &first).await?;
            }
            11 => {
                let exchange = scram
                    .as_mut()
                    .ok_or_else(|| Error::Protocol("SASL out of order".into()))?;
                exchange
                    .update(rest)
                    .map_err(|e| Error::Protocol(e.to_string()))?;
                let reply = exchange.message().to_vec();
                answer(link, &reply).await?;
            }
            12 => {
                // The server proves that it knows the secret too; a wrong proof ends here.
                let exchange = scram
                    .as_mut()
                    .ok_or_else(|| Error::Protocol("SASL out of order".into()))?;
                exchange
                    .finish(rest)
                    .map_err(|e| Error::Protocol(e.to_string()))?;
                proven = true;
            }
            2 | 6..=9 => {
                return Err(Error::Authentication(
                    "Kerberos, GSSAPI or SSPI, which is not supported",
                ));
            }
            _ => return Err(Error::Authentication("a method that is not supported")),
        }
    }
}

/// The better of the mechanisms the server offers, bound to its certificate if
/// there is one to bind to.
fn mechanism(
    offered: &[u8],
    end_point: Option<Vec<u8>>,
) -> Option<(&'static str, sasl::ChannelBinding)> {
    let offers = |name: &str| offered.split(|b| *b == 0).any(|o| o == name.as_bytes());
    match end_point {
        Some(end_point) if offers(sasl::SCRAM_SHA_256_PLUS) => Some((
            sasl::SCRAM_SHA_256_PLUS,
            sasl::ChannelBinding::tls_server_end_point(end_point),
        )),
        _ if !offers(sasl::SCRAM_SHA_256) => None,
        // "We could, and you cannot": a server that can knows that its offer was taken out.
        Some(_) => Some((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
        None => Some((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
    }
}

/// Reads up to the first ReadyForQuery.
async fn settle(link: &mut Link) -> Result<(), Error> {
    loop {
        let (tag, body) = link.read_frame().await?;
        match tag {
            server::PARAMETER_STATUS => {
                let (name, value) = message::parameter_status(&body)?;
                link.note_parameter(name, value);
            }
            server::KEY_DATA => {
                let (pid, secret) = message::key_data(&body)?;
                link.about.pid = pid;
                link.about.secret = Arc::from(secret);
            }
            server::ERROR => return Err(Error::Refused(Box::new(Report::read(&body)))),
            server::READY => return Ok(()),
            _ => {}
        }
    }
}

/// Runs the operator's own query. A link on which it fails, or which it leaves in
/// a transaction, is none.
async fn prepare(link: &mut Link, query: &str) -> Result<(), Error> {
    encode::query(&mut link.outbox, query);
    send(link).await?;
    let mut problem = None;
    loop {
        let (tag, body) = link.read_frame().await?;
        match tag {
            server::PARAMETER_STATUS => {
                let (name, value) = message::parameter_status(&body)?;
                link.note_parameter(name, value);
            }
            server::ERROR => problem = Some(Report::read(&body)),
            server::COPY_IN | server::COPY_BOTH => {
                return Err(Error::Protocol("the connect_query waits for data".into()));
            }
            server::READY if problem.is_none() && body.first() != Some(&b'I') => {
                let problem = "the connect_query leaves a transaction open";
                return Err(Error::Protocol(problem.into()));
            }
            server::READY => break,
            _ => {}
        }
    }
    problem.map_or(Ok(()), |report| Err(Error::Refused(Box::new(report))))
}

/// What decisions depend on and ParameterStatus does not say (before PostgreSQL 18).
async fn first_facts(link: &mut Link) -> Result<(), Error> {
    encode::query(
        &mut link.outbox,
        "SELECT pg_catalog.current_setting('search_path'), current_user, \
         pg_catalog.current_setting('track_counts', true)",
    );
    send(link).await?;
    loop {
        let (tag, body) = link.read_frame().await?;
        match tag {
            server::DATA_ROW => {
                let row = message::data_row(&body)?;
                let text = |i: usize| {
                    row.get(i)
                        .copied()
                        .flatten()
                        .map(|v| String::from_utf8_lossy(v).into_owned())
                };
                if let Some(role) = text(1) {
                    link.about.role = role.into();
                }
                link.about.search_path =
                    text(0).and_then(|p| parse_search_path(&p, &link.about.role));
                link.about.track_counts = text(2).is_none_or(|v| v == "on");
            }
            // A server that cannot answer (a pooler's console, say) leaves them unknown.
            server::READY => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What login says to a server that answers the start-up and the first
    /// SASL message with these.
    async fn answered(after_startup: &[u8], after_sasl: &[u8]) -> Error {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target {
            hosts: crate::backend::postgres::hosts::Hosts::new(&crate::config::Hosts {
                list: vec![crate::config::HostName {
                    name: "127.0.0.1".into(),
                    port,
                }],
                ..Default::default()
            }),
            database: "d".into(),
            user: "u".into(),
            password: Some(Secret::new("the password")),
            proof: None,
            connect_query: None,
            timeout: Duration::from_secs(5),
            cancel_timeout: Duration::from_secs(5),
            lifetime: Duration::from_secs(60),
            tls: None,
        };
        let serve = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            assert!(client.read(&mut seen).await.unwrap() > 0);
            client.write_all(after_startup).await.unwrap();
            assert!(client.read(&mut seen).await.unwrap() > 0);
            client.write_all(after_sasl).await.unwrap();
            let count = client.read(&mut seen).await.unwrap_or(0);
            assert!(!seen[..count].windows(12).any(|w| w == b"the password"));
        };
        let login = crate::backend::postgres::choose::login(&target, &[]);
        let (result, ()) = tokio::join!(login, serve);
        result.err().unwrap()
    }

    #[tokio::test]
    async fn a_server_that_begins_scram_must_carry_it_through() {
        let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
        for skipped in [
            &b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"[..],
            b"R\0\0\0\x08\0\0\0\x03",
            b"R\0\0\0\x0c\0\0\0\x05salt",
        ] {
            let error = answered(sasl, skipped).await;
            assert!(matches!(error, Error::Protocol(_)), "{error}");
        }
    }

    #[test]
    fn the_better_mechanism_is_taken_and_a_missing_offer_is_told() {
        let flag = |offered: &[u8], end_point: Option<Vec<u8>>| {
            let (name, binding) = mechanism(offered, end_point)?;
            let exchange = sasl::ScramSha256::new(b"x", binding);
            let flag = exchange.message().split(|b| *b == b',').next();
            Some((name, String::from_utf8_lossy(flag.unwrap()).into_owned()))
        };
        let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let one = b"SCRAM-SHA-256\0\0";
        let bound = ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point".to_owned());
        assert_eq!(flag(both, Some(vec![1])), Some(bound));
        let plain = |flag: &str| Some(("SCRAM-SHA-256", flag.to_owned()));
        assert_eq!(flag(one, Some(vec![1])), plain("y"));
        assert_eq!(flag(one, None), plain("n"));
        assert_eq!(flag(both, None), plain("n"));
        assert_eq!(flag(b"SCRAM-SHA-256-PLUS\0\0", None), None);
        assert_eq!(flag(b"OTHER\0\0", Some(vec![1])), None);
    }
}
