//! A relay that notes how connections to a server begin.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a connection was, as far as somebody in between can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// SSLRequest, or a handshake at once.
    Encrypted,
    /// Anything else.
    Clear,
    /// A cancel request that everybody can read.
    ClearCancel,
}

/// Listens until the process ends.
pub struct Tap {
    /// Where to connect instead of to the server.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Tap {
    /// In front of this server.
    pub fn start(server: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let notes = notes.clone();
                std::thread::spawn(move || relay(client, server, &notes));
            }
        });
        Tap { address, seen }
    }

    /// All connections so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the notes").clone()
    }
}

fn relay(mut client: TcpStream, server: SocketAddr, notes: &Mutex<Vec<Seen>>) {
    let Ok(mut upstream) = TcpStream::connect(server) else {
        return;
    };
    let mut first = [0; 8];
    if client.read_exact(&mut first).is_err() || upstream.write_all(&first).is_err() {
        return;
    }
    let seen = match &first[4..] {
        _ if first[0] == 0x16 => Seen::Encrypted,
        [0x04, 0xd2, 0x16, 0x2f] => Seen::Encrypted,
        [0x04, 0xd2, 0x16, 0x2e] => Seen::ClearCancel,
        _ => Seen::Clear,
    };
    notes.lock().expect("the notes").push(seen);
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), upstream.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut upstream, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
