//! One gate follows another on sockets that somebody else holds: nobody who
//! connects meanwhile is turned away.

mod control;
mod failing;
mod takeover;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::database::{OWNER, fresh_database};
use crate::support::gate::DATABASE;
use crate::support::raw::{Login, Raw};

/// Passes its standard input on as the first socket of systemd's protocol.
const PASS_ON: &str =
    "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec \"$@\"";

/// A gate on a socket that the test holds; killed with this value.
struct Service(Child);

impl Service {
    fn start(socket: &TcpListener, config: &Path, log: &Path) -> Service {
        let handle: OwnedFd = socket.try_clone().expect("a second handle").into();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        let child = Command::new("/bin/sh")
            .args(["-c", PASS_ON, "pass-on", env!("CARGO_BIN_EXE_portcullis")])
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::from(handle))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the gate starts");
        Service(child)
    }

    /// Asks it to end when its clients have left.
    fn close(mut self) {
        let arguments = ["-TERM".to_owned(), self.0.id().to_string()];
        let sent = Command::new("kill").args(arguments).status();
        assert!(sent.expect("kill runs").success());
        let deadline = Instant::now() + Duration::from_secs(30);
        while !matches!(self.0.try_wait(), Ok(Some(_))) {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn opened(log: &Path) -> usize {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.matches("the gate is open").count()
}

fn wait_until_opened(log: &Path, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while opened(log) < times {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "no gate opens:\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Connects, asks and leaves until told to stop; how often it did.
fn connect_until(stop: &AtomicBool, address: SocketAddr) -> usize {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut client = Raw::login(address, &Login::new(OWNER, DATABASE));
        assert_eq!(client.value("SELECT 40 + 2"), "42");
        times += 1;
    }
    times
}

#[test]
fn ten_restarts_lose_no_connection() {
    let Some(database) = fresh_database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
    let address = socket.local_addr().expect("its address");
    let (config, log) = (folder.path().join("gate.toml"), folder.path().join("log"));
    let text = format!(
        "state_dir = \"{}\"\nworkers = 2\n\n[[listen]]\naddress = \"{address}\"\n\n\
         [[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\n\
         operator = {{ user = \"{}\" }}\npool = {{ mode = \"transaction\" }}\n\n\
         [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n",
        env!("CARGO_TARGET_TMPDIR"),
        database.url(),
        crate::support::postgres::SUPERUSER,
    );
    std::fs::write(&config, text).expect("the configuration");
    let mut serving = Service::start(&socket, &config, &log);
    wait_until_opened(&log, 1);
    // Who is connected stays with the gate it came to, until it leaves.
    let mut faithful = Raw::login(address, &Login::new(OWNER, DATABASE));
    faithful.value("SELECT 1");
    let stop = Arc::new(AtomicBool::new(false));
    let connecting = std::thread::spawn({
        let stop = stop.clone();
        move || connect_until(&stop, address)
    });
    for restart in 1..=10 {
        let next = Service::start(&socket, &config, &log);
        wait_until_opened(&log, restart + 1);
        let before = std::mem::replace(&mut serving, next);
        if restart == 1 {
            assert_eq!(faithful.value("SELECT 'still here'"), "still here");
            faithful.send(b'X', b"");
        }
        before.close();
    }
    stop.store(true, Ordering::Relaxed);
    let times = connecting.join().expect("every connection was served");
    assert!(times > 20, "{times}");
}

#[test]
fn who_knocks_while_no_gate_is_there_waits_for_the_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
    let address = socket.local_addr().expect("its address");
    let (config, log) = (folder.path().join("gate.toml"), folder.path().join("log"));
    let text = format!(
        "[[listen]]\naddress = \"{address}\"\n\n[[database]]\nname = \"{DATABASE}\"\n\
         backend = \"sqlite::memory:\"\n\n[[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n"
    );
    std::fs::write(&config, text).expect("the configuration");
    let first = Service::start(&socket, &config, &log);
    wait_until_opened(&log, 1);
    first.close();
    let early = std::thread::spawn(move || {
        Raw::login(address, &Login::new(OWNER, DATABASE)).value("SELECT 7")
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!early.is_finished(), "it waits");
    let _second = Service::start(&socket, &config, &log);
    assert_eq!(early.join().expect("served"), "7");
}
