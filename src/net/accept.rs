//! Listening, and handing connections to workers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Held;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};

use super::Socket;
use super::passing::{Label, Listens, Passing};
use super::unix::{self, SocketFile};
use crate::config::Endpoint;

/// Connections that may wait for one worker to pick them up; beyond that the
/// kernel's backlog holds them.
const HANDOVER_MAX: usize = 256;

/// A connection, and by which door it came.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Number of the listener, in the order of the configuration.
    pub door: usize,
}

/// A connection that no runtime has registered yet.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix domain.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Registers the connection with the current runtime.
    pub fn open(self) -> io::Result<Socket> {
        Ok(match self {
            Stream::Tcp(stream) => Socket::prepare(tokio::net::TcpStream::from_std(stream)?),
            Stream::Unix(stream) => Socket::Unix(tokio::net::UnixStream::from_std(stream)?),
        })
    }
}

/// The accepting side's view of one worker.
#[derive(Debug, Clone)]
pub struct Handover {
    sender: mpsc::Sender<Accepted>,
    load: Arc<AtomicUsize>,
}

/// Lives as long as a connection is served; the worker's load goes down with it.
#[derive(Debug)]
pub struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The worker's side: connections as they come.
#[derive(Debug)]
pub struct Arrivals {
    receiver: mpsc::Receiver<Accepted>,
    load: Arc<AtomicUsize>,
}

impl Handover {
    /// A channel to one worker.
    pub fn pair() -> (Handover, Arrivals) {
        let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
        let load = Arc::new(AtomicUsize::new(0));
        (
            Handover {
                sender,
                load: load.clone(),
            },
            Arrivals { receiver, load },
        )
    }
}

impl Arrivals {
    /// The next connection; none when accepting has ended.
    pub async fn next(&mut self) -> Option<(Accepted, Load)> {
        let accepted = self.receiver.recv().await?;
        Some((accepted, Load(self.load.clone())))
    }
}

/// Whether somebody from this address may come to the listener with this number;
/// asked before a byte is read.
pub type Admit = Box<dyn Fn(usize, IpAddr) -> bool + Send>;

/// Accepts on one address until told to stop.
#[derive(Debug)]
pub struct Acceptor {
    listener: Arc<Listener>,
    address: Endpoint,
    /// The address as it is written in the configuration.
    written: Endpoint,
    door: usize,
    /// Of a Unix socket; it goes when nobody accepts any more.
    file: Option<SocketFile>,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A socket, where it is bound, and the file that goes with it.
pub(super) type Taken = (Listener, Endpoint, Option<SocketFile>);

/// The role of these sockets when they are passed on.
pub(super) const DOOR: &str = "door";

impl Acceptor {
    /// Binds now, so that a port that is taken is an error at start.
    /// A socket for this address that the service manager holds, or the gate
    /// before, is used as it is: whoever knocks while one gate follows another
    /// waits in its backlog.
    pub fn bind(written: &Endpoint, door: usize, held: &mut Held) -> io::Result<Acceptor> {
        let (listener, address, file) = match held.take(written) {
            Some(taken) => taken?,
            None => Self::open(written)?,
        };
        Ok(Acceptor {
            listener: Arc::new(listener),
            address,
            written: written.clone(),
            door,
            file,
        })
    }

    fn open(address: &Endpoint) -> io::Result<Taken> {
        Ok(match address {
            Endpoint::Tcp(address) => {
                let listener = tcp(*address)?;
                let chosen = Endpoint::Tcp(listener.local_addr()?);
                (Listener::Tcp(listener), chosen, None)
            }
            Endpoint::Unix { path, mode } => {
                let (listener, file) = unix::listen(path, *mode)?;
                let listener = UnixListener::from_std(listener)?;
                (Listener::Unix(listener), address.clone(), file)
            }
        })
    }

    /// How the socket can be passed on to the gate that follows.
    pub fn passing(&self) -> Passing {
        let label = Label {
            role: DOOR.to_owned(),
            written: self.written.to_string(),
            bound: self.address.to_string(),
            file: self.file.is_some(),
        };
        let socket = Arc::downgrade(&self.listener) as Weak<dyn Listens>;
        Passing::new(label, socket, self.file.as_ref().map(SocketFile::ownership))
    }

    /// The gate before has gone: what it left is ours.
    pub fn own(&self) {
        if let (Some(file), Endpoint::Unix { mode, .. }) = (&self.file, &self.written) {
            file.own(*mode);
        }
    }

    /// The address bound, with the port that was chosen.
    pub fn address(&self) -> &Endpoint {
        &self.address
    }

    /// Hands every connection to the worker with the fewest, until `stop` says so.
    pub async fn run(self, workers: Vec<Handover>, admit: Admit, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            // Closed without a word: whoever is not let in learns nothing.
            let admitted = accepted.map(|(stream, peer)| {
                let comes = peer.is_none_or(|peer| admit(self.door, peer));
                comes.then_some(stream)
            });
            match admitted {
                Ok(None) => {}
                Ok(Some(stream)) => hand_over(stream, self.door, &workers).await,
                Err(error) => {
                    // Out of descriptors or memory: let connections end, then go on.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Listener {
    /// The next connection, and where it comes from; nowhere on a Unix socket.
    async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let peer = peer.ip().to_canonical();
                Ok((Stream::Tcp(stream.into_std()?), Some(peer)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream.into_std()?), None))
            }
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

async fn hand_over(stream: Stream, door: usize, workers: &[Handover]) {
    let Some(worker) = workers
        .iter()
        .min_by_key(|worker| worker.load.load(Ordering::Relaxed))
    else {
        return;
    };
    worker.load.fetch_add(1, Ordering::Relaxed);
    if worker.sender.send(Accepted { stream, door }).await.is_err() {
        worker.load.fetch_sub(1, Ordering::Relaxed);
    }
}
