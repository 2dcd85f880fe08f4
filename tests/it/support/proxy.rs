//! A small TCP proxy between two parties, which can hold its breath or cut them off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running proxy; it ends with this value.
pub struct Proxy {
    /// Where to connect instead.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    target: Mutex<Option<SocketAddr>>,
    /// Connections with a smaller number hold their breath.
    frozen: AtomicUsize,
    accepted: AtomicUsize,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Between whoever connects and this address.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let address = listener.local_addr().expect("its address");
        let state = Arc::<State>::default();
        *state.target.lock().unwrap() = Some(target);
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                let shared = shared.clone();
                std::thread::spawn(move || serve(client, number, &shared));
            }
        });
        Proxy { address, state }
    }

    /// From now on no byte passes; connections stay open and new ones are accepted.
    pub fn freeze(&self) {
        self.state.frozen.store(usize::MAX, Ordering::SeqCst);
    }

    /// From now on no byte passes on the connections there are; later ones work.
    pub fn freeze_old(&self) {
        let next = self.state.accepted.load(Ordering::SeqCst);
        self.state.frozen.store(next, Ordering::SeqCst);
    }

    /// Bytes pass again, those that were held back too.
    pub fn thaw(&self) {
        self.state.frozen.store(0, Ordering::SeqCst);
    }

    /// Ends all connections at once.
    pub fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.thaw();
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn hold(&self, number: usize) {
        while number < self.frozen.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serve(client: TcpStream, number: usize, state: &Arc<State>) {
    let target = state.target.lock().unwrap().expect("a target");
    state.hold(number);
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        if let Ok(stream) = stream.try_clone() {
            state.open.lock().unwrap().push(stream);
        }
    }
    let (Ok(from), Ok(to)) = (server.try_clone(), client.try_clone()) else {
        return;
    };
    let back = state.clone();
    let answers = std::thread::spawn(move || copy(from, to, number, &back));
    copy(client, server, number, state);
    let _ = answers.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream, number: usize, state: &State) {
    let mut buffer = [0; 16384];
    while let Ok(count) = from.read(&mut buffer) {
        state.hold(number);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
