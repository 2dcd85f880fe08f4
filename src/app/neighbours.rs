//! Gates that run beside this one while one follows another: cancel requests
//! for their sessions are passed on over their control sockets, once and never
//! further.
//!
//! Anybody may send cancel requests, and most of a key can be guessed but the
//! secret. So it costs little to pass one on, only a few are on their way at
//! once, each takes its time, and the rest wait in the order they came.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::control::{self, Answer, Place, Request, Seat};
use crate::gate::cancel::{Cancels, Neighbours};
use crate::model::ProcessId;

/// The command by which a request is passed on.
pub(super) const CANCEL: &str = "cancel";

/// Requests on their way at once; the neighbour hears four times as many.
const FLYING_MAX: usize = 16;

/// What each of them takes at least: all together that is 1600 a second at most.
const PACE: Duration = Duration::from_millis(10);

/// What each may take, waiting for its turn included.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the gates that share a run folder.
struct Beside {
    place: Place,
    flying: Semaphore,
}

/// The gates beside the one that sits here.
pub(super) fn beside(seat: &Seat) -> Arc<dyn Neighbours> {
    Arc::new(Beside {
        place: seat.place().clone(),
        flying: Semaphore::new(FLYING_MAX),
    })
}

impl Neighbours for Beside {
    fn cancel<'a>(
        &'a self,
        process: ProcessId,
        pid: i32,
        secret: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let socket = self.place.of(process);
            // Made-up processes take nobody's turn.
            if !socket.exists() {
                return false;
            }
            let passing = async {
                let _turn = self.flying.acquire().await.ok()?;
                let arguments = json!({ "pid": pid, "secret": BASE64.encode(secret) });
                let asking = control::ask(&socket, CANCEL, arguments);
                let (answer, ()) = tokio::join!(asking, tokio::time::sleep(PACE));
                match answer {
                    Ok(answer) => answer.as_bool(),
                    Err(error) => {
                        tracing::debug!(%error, %process, "a cancel request was not passed on");
                        None
                    }
                }
            };
            let passed = timeout(PATIENCE, passing).await;
            passed.ok().flatten().unwrap_or(false)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    pid: i32,
    secret: String,
}

/// Carries out what a neighbour passed on; true: the key was right.
pub(super) async fn cancel(cancels: &Cancels, request: &Request) -> Answer {
    let Passed { pid, secret } = request.arguments()?;
    let secret = BASE64
        .decode(secret)
        .map_err(|_| "the secret is not in base64".to_owned())?;
    Ok(cancels.cancel_here(pid, &secret).await.into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::UnixListener;
    use tokio::time::Instant;

    use super::*;
    use crate::control::{Caller, Commands, Line};
    use crate::gate::cancel::Cancel;

    /// A gate that can be asked to cancel, and nothing else.
    struct Gate(Arc<Cancels>);

    impl Commands for Gate {
        fn answer<'a>(
            &'a self,
            request: &'a Request,
            _: &'a Caller,
            _: &'a mut Line,
        ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
            Box::pin(cancel(&self.0, request))
        }
    }

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Cancel for Counter {
        fn cancel(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(()))
        }
    }

    fn gate(place: &Place) -> (Arc<Cancels>, Seat) {
        let mut seat = place.claim().unwrap();
        let cancels = Arc::new(Cancels::new(seat.process(), Some(beside(&seat))));
        let listener = UnixListener::from_std(seat.take_listener().unwrap()).unwrap();
        let gate = Arc::new(Gate(cancels.clone()));
        tokio::spawn(control::serve(listener, gate));
        (cancels, seat)
    }

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(&folder.path().join("run")).unwrap();
        (folder, place)
    }

    #[tokio::test]
    async fn a_request_finds_the_gate_its_key_names_and_only_its_session() {
        let (_folder, place) = place();
        let gates: Vec<_> = (0..3).map(|_| gate(&place)).collect();
        for long in [false, true] {
            let mut sessions = Vec::new();
            for (cancels, _) in &gates {
                for _ in 0..2 {
                    let session = cancels.register(long);
                    let counter = Arc::new(Counter::default());
                    session.attach(counter.clone());
                    sessions.push((session, counter));
                }
            }
            for (arrives, _) in &gates {
                for (session, counter) in &sessions {
                    let secret = session.key.secret();
                    arrives.cancel(session.key.pid, secret).await;
                    for (_, any) in &sessions {
                        let hits = any.0.swap(0, Ordering::Relaxed);
                        assert_eq!(hits, usize::from(Arc::ptr_eq(any, counter)));
                    }
                    let mut wrong = secret.to_vec();
                    wrong[0] ^= 1;
                    arrives.cancel(session.key.pid, &wrong).await;
                    arrives.cancel(session.key.pid, &secret[1..]).await;
                    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_wrong_takes_the_same_time_wherever_it_is_wrong() {
        let (_folder, place) = place();
        let ((here, _seat), (there, _other)) = (gate(&place), gate(&place));
        let (mine, theirs) = (here.register(false), there.register(false));
        let nobody = (0..2048).map(ProcessId::new);
        let mut nobody = nobody.filter(|process| !place.of(*process).exists());
        let nobody = nobody.next().unwrap().key(1);
        for pid in [mine.key.pid, theirs.key.pid, theirs.key.pid + 1, nobody, -5] {
            let begun = Instant::now();
            here.cancel(pid, b"nope").await;
            let took = begun.elapsed();
            assert!(took >= Duration::from_millis(100), "{pid}: {took:?}");
            assert!(took < Duration::from_secs(2), "{pid}: {took:?}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_wrong_keys_is_slow_and_holds_up_nobody_for_long() {
        let (_folder, place) = place();
        let ((here, _seat), (there, _other)) = (gate(&place), gate(&place));
        let session = there.register(false);
        let counter = Arc::new(Counter::default());
        session.attach(counter.clone());
        let flood = 320;
        let mut flooding = tokio::task::JoinSet::new();
        let begun = Instant::now();
        for _ in 0..flood {
            let (here, pid) = (here.clone(), session.key.pid);
            flooding.spawn(async move { here.cancel(pid, b"nope").await });
        }
        tokio::task::yield_now().await;
        here.cancel(session.key.pid, session.key.secret()).await;
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        flooding.join_all().await;
        let least = PACE * (flood / FLYING_MAX as u32);
        assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_neighbour_that_hangs_up_or_is_dead_is_given_up() {
        let (_folder, place) = place();
        let (here, _seat) = gate(&place);
        // One that listens and hangs up on everybody.
        let mut rude = place.claim().unwrap();
        let listener = UnixListener::from_std(rude.take_listener().unwrap()).unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        // One of which only the file is left.
        let dead = (0..2048).map(ProcessId::new);
        let mut dead = dead.filter(|process| !place.of(*process).exists());
        let dead = dead.next().unwrap();
        drop(std::os::unix::net::UnixListener::bind(place.of(dead)).unwrap());
        for process in [rude.process(), dead] {
            let begun = Instant::now();
            here.cancel(process.key(1), b"1234").await;
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
    }
}
