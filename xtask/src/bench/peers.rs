//! The gate and what it is compared with, each in front of the same server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres::{self, Postgres, SUPERUSER};

/// Something pgbench can connect to.
pub struct Peer {
    /// Name in the table, with version.
    pub name: String,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// The process whose CPU time counts; none for the direct connection.
    pub process: Option<u32>,
    /// Where the gate's metrics are.
    pub admin: Option<SocketAddr>,
    /// Query mode that it cannot do, and why.
    unable: Option<(&'static str, String)>,
    child: Option<Child>,
}

impl Peer {
    fn direct(server: &Postgres) -> Peer {
        Peer {
            name: "direct".to_owned(),
            port: server.port,
            process: None,
            admin: None,
            unable: None,
            child: None,
        }
    }

    fn spawned(name: &str, port: u16, command: &mut Command) -> Result<Peer, String> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let process = Some(child.id());
        let peer = Peer {
            name: name.to_owned(),
            port,
            process,
            admin: None,
            unable: None,
            child: Some(child),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{name} did not open its port"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }

    /// Why it cannot do this query mode.
    pub fn cannot(&self, protocol: &str) -> Option<&str> {
        self.unable
            .as_ref()
            .filter(|unable| unable.0 == protocol)
            .map(|unable| unable.1.as_str())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts everything that is there; what is missing comes back as sentences.
pub fn start(program: &Path, server: &Postgres) -> Result<(Vec<Peer>, Vec<String>), String> {
    let folder = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut peers = vec![Peer::direct(server), gate(program, server, &folder)?];
    let mut missing = Vec::new();
    for started in [
        pgbouncer("transaction", server, &folder),
        pgbouncer("session", server, &folder),
        haproxy(server, &folder),
    ] {
        match started {
            Ok(peer) => peers.push(peer),
            Err(why) => missing.push(why),
        }
    }
    Ok((peers, missing))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn free_port() -> Result<u16, String> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no free port: {error}"))?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| error.to_string())
}

/// All default policies enforcing, none of them ever in the way; one worker,
/// because PgBouncer has one thread.
fn gate_config(port: u16, admin: SocketAddr, server: &Postgres) -> String {
    let traps: Vec<String> = (0..50).map(|i| format!("\"trap_{i}_*\"")).collect();
    format!(
        "workers = 1\n\n[[listen]]\naddress = \"127.0.0.1:{port}\"\n\n[admin]\naddress = \"{admin}\"\n\n\
         [log]\nlevel = \"warn\"\nstatements = false\n\n\
         [[database]]\nname = \"postgres\"\nbackend = \"postgres://{SUPERUSER}@127.0.0.1:{}/postgres\"\npool = {{ mode = \"transaction\", max = 40 }}\n\n\
         [[user]]\nname = \"{SUPERUSER}\"\nauth = \"trust\"\n\n\
         [table_limits]\n\"pgbench_*\" = {{ changed = 100000, returned = 100000 }}\n\n\
         [[policy]]\nname = \"honeytoken\"\nsettings = {{ tables = [{}] }}\n\n\
         [[policy]]\nname = \"rate-limit\"\nsettings = {{ buckets = [{{ name = \"all\", by = [\"user\"], burst = 1000000, per = \"1s\" }}] }}\n\n\
         [[policy]]\nname = \"plan-guard\"\nsettings = {{ max_cost = 1000000000 }}\n",
        server.port,
        traps.join(", "),
    )
}

fn gate(program: &Path, server: &Postgres, folder: &Path) -> Result<Peer, String> {
    let port = free_port()?;
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let file = folder.join("portcullis.toml");
    write(&file, &gate_config(port, admin, server))?;
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(&file);
    let mut peer = Peer::spawned("portcullis, transaction", port, &mut command)?;
    peer.admin = Some(admin);
    Ok(peer)
}

fn find(variable: &str, program: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn first_line(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or("version unknown").to_owned()
}

fn pgbouncer(mode: &'static str, server: &Postgres, folder: &Path) -> Result<Peer, String> {
    let program = find("PGBOUNCER", "pgbouncer").ok_or_else(|| {
        format!("PgBouncer ({mode} pooling): not in PATH; install it or name it in PGBOUNCER")
    })?;
    let version = first_line(&program, "--version");
    let port = free_port()?;
    let file = folder.join(format!("pgbouncer-{mode}.ini"));
    let users = folder.join("users.txt");
    write(&users, &format!("\"{SUPERUSER}\" \"\"\n"))?;
    let text = format!(
        "[databases]\n* = host=127.0.0.1 port={}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         auth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 200\ndefault_pool_size = 40\n\
         unix_socket_dir =\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n",
        server.port,
        users.display(),
    );
    write(&file, &text)?;
    let mut command = postgres::run_as(&program, Path::new("/"), postgres::unprivileged_user()?);
    command.arg("-q").arg(&file).stderr(Stdio::null());
    let mut peer = Peer::spawned(&format!("{version}, {mode}"), port, &mut command)?;
    if mode == "transaction" && is_older_than_1_21(&version) {
        peer.unable = Some((
            "prepared",
            format!("{version} has no prepared statements in transaction pooling"),
        ));
    }
    Ok(peer)
}

fn is_older_than_1_21(version: &str) -> bool {
    let numbers = version.rsplit(' ').next().unwrap_or_default();
    let mut parts = numbers
        .split('.')
        .filter_map(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor) < (1, 21),
        _ => false,
    }
}

fn haproxy(server: &Postgres, folder: &Path) -> Result<Peer, String> {
    let program =
        find("HAPROXY", "haproxy").ok_or("haproxy (a plain TCP relay, the floor): not in PATH")?;
    let version = first_line(&program, "-v");
    let version = version.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let port = free_port()?;
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 2\n\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n\n\
         listen relay\n  bind 127.0.0.1:{port}\n  server pg 127.0.0.1:{}\n",
        server.port,
    );
    write(&file, &text)?;
    let mut command = Command::new(&program);
    command
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .stderr(Stdio::null());
    Peer::spawned(&version, port, &mut command)
}

/// CPU time of a process so far, in seconds.
pub fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The program's name stands in parentheses and may hold blanks; user and system time are fields 14 and 15.
    let rest = stat.rsplit_once(") ").map_or("", |parts| parts.1);
    let ticks: f64 = rest
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0 // USER_HZ is 100 on every Linux
}

/// Resident memory of a process.
pub fn memory_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// The gate's `/metrics` page.
pub fn metrics(gate: &Peer) -> Result<String, String> {
    let address = gate.admin.ok_or("not the gate")?;
    let wrong = |error: std::io::Error| format!("/metrics: {error}");
    let mut stream = TcpStream::connect(address).map_err(wrong)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(wrong)?;
    let mut page = String::new();
    stream.read_to_string(&mut page).map_err(wrong)?;
    Ok(page)
}
