//! The gate's side: who is heard, how many at once, and for how long.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::message::{Answer, Reply, Request, VERSION};
use super::place::own_user;
use super::{Error, Line};

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;

/// Time in which a request must have come.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);

/// Longest life of a connection. A command has bounds of its own below this.
const LIFE: Duration = Duration::from_secs(300);

/// Somebody on the other end, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its user.
    pub user: u32,
    /// Its process, where that can be seen from here.
    pub pid: Option<u32>,
}

impl Caller {
    pub(super) fn of(stream: &UnixStream) -> Result<Caller, Error> {
        let peer = stream.peer_cred()?;
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok(Caller {
            user: peer.uid(),
            pid: pid.filter(|pid| *pid != 0),
        })
    }

    /// Whether it acts as the very user that this process acts as.
    pub fn is_own_user(&self) -> bool {
        self.user == own_user()
    }
}

/// What a gate does when it is asked.
pub trait Commands: Send + Sync + 'static {
    /// Carries out a request; what it returns is sent as the last line. The
    /// [`Line`] is there for commands that exchange more than that.
    fn answer<'a>(
        &'a self,
        request: &'a Request,
        caller: &'a Caller,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}

/// Answers whoever is of the same user, or root, until it is dropped.
pub async fn serve(listener: UnixListener, commands: Arc<dyn Commands>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = commands.clone();
                connections.spawn(async move {
                    let _permit = permit;
                    match timeout(LIFE, connection(stream, &*commands)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "a control connection failed");
                        }
                        Err(_) => tracing::warn!("a control connection took too long"),
                    }
                });
            }
            Err(error) => {
                // Out of descriptors or memory: let connections end, then go on.
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: UnixStream, commands: &dyn Commands) -> Result<(), Error> {
    let caller = Caller::of(&stream)?;
    if !(caller.is_own_user() || caller.user == 0) {
        // The mode of the file should have kept it out. It learns nothing.
        tracing::warn!(user = caller.user, "a stranger came to the control socket");
        return Ok(());
    }
    let mut line = Line::new(stream);
    let reading = timeout(REQUEST_PATIENCE, line.receive::<Request>()).await;
    let answer = match reading {
        Err(_) => return Err(Error::Slow(REQUEST_PATIENCE)),
        Ok(Err(Error::Protocol(why))) => Err(format!("this is no request: {why}")),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(request)) if request.version != VERSION => Err(format!(
            "version {} of the control protocol is not spoken here, only {VERSION}",
            request.version
        )),
        Ok(Ok(request)) => {
            tracing::debug!(command = request.command, ?caller, "control request");
            commands.answer(&request, &caller, &mut line).await
        }
    };
    line.send(&Reply::from(answer)).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::{Place, Seat, ask};
    use super::*;

    struct Echo;

    impl Commands for Echo {
        fn answer<'a>(
            &'a self,
            request: &'a Request,
            caller: &'a Caller,
            _: &'a mut Line,
        ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
            Box::pin(async move {
                assert!(caller.is_own_user());
                assert_eq!(caller.pid, Some(std::process::id()));
                match &*request.command {
                    "echo" => Ok(Value::Object(request.arguments.clone())),
                    other => Err(format!("unknown command `{other}`")),
                }
            })
        }
    }

    fn gate() -> (tempfile::TempDir, Seat) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(&folder.path().join("run")).unwrap();
        let mut seat = place.claim().unwrap();
        seat.become_current().unwrap();
        let listener = UnixListener::from_std(seat.take_listener().unwrap()).unwrap();
        tokio::spawn(serve(listener, Arc::new(Echo)));
        (folder, seat)
    }

    #[tokio::test]
    async fn a_request_is_answered() {
        let (_folder, seat) = gate();
        let socket = seat.place().current();
        let said = ask(&socket, "echo", json!({"a": [1]})).await.unwrap();
        assert_eq!(said, json!({"a": [1]}));
        let refused = ask(&socket, "sing", Value::Null).await.unwrap_err();
        assert_eq!(refused.to_string(), "unknown command `sing`");
    }

    #[tokio::test]
    async fn garbage_is_answered_with_an_error_and_silence_with_none() {
        let (_folder, seat) = gate();
        let socket = seat.place().current();
        for garbage in [
            "\n",
            "GET / HTTP/1.1\r\n\r\n",
            "{\"version\":2,\"command\":\"echo\"}\n",
        ] {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(garbage.as_bytes()).await.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            assert!(said.starts_with("{\"version\":1,\"ok\":false,"), "{said}");
        }
        // More than there is room for, and nobody of them says anything.
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 10 {
            silent.push(UnixStream::connect(&socket).await.unwrap());
        }
        let said = ask(&socket, "echo", json!({})).await.unwrap();
        assert_eq!(said, json!({}));
        let mut nothing = Vec::new();
        silent[0].read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty());
    }
}
