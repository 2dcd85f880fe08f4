//! `cargo xtask demo`: from a clone to a running gate with one command.
//!
//! Installs what the build needs, builds, starts `portcullis demo`, plays the
//! story of [`scenario`] through a PostgreSQL client of its own, and keeps
//! serving. `--once` ends behind the story; its exit status says whether every
//! step came out as it must. Read [`run`] first.

mod client;
mod scenario;
mod transcript;

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{process, setup};
use client::{Answer, Client};
use scenario::{STORY, Step, Via};
use transcript::Transcript;

/// The first port that is tried; users of PgBouncer have it taken.
const PORT: u16 = 6432;
const USER: &str = "demo";
const DATABASE: &str = "demo";

/// Runs it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let once = match arguments {
        [] => false,
        [flag] if flag == "--once" => true,
        _ => return Err("cargo xtask demo knows one argument: --once".to_owned()),
    };
    println!("── 1 of 3: what the build needs");
    setup::run(&[])?;
    println!("── 2 of 3: building the gate and its policies (a few minutes the first time)");
    let program = build()?;
    println!("── 3 of 3: starting the gate on a sample database");
    let mut gate = Gate::start(&program)?;
    let failed = play(gate.address)?;
    if failed > 0 {
        return Err(format!(
            "{failed} of {} steps did not come out as they must",
            STORY.len()
        ));
    }
    if once {
        return Ok(());
    }
    println!("The gate keeps serving; Ctrl-C ends it. Try it yourself:\n");
    println!(
        "    psql -h 127.0.0.1 -p {} -U {USER} {DATABASE}\n",
        gate.address.port()
    );
    println!("Its log: {}", gate.log.display());
    gate.wait()
}

fn build() -> Result<PathBuf, String> {
    let mut command = process::cargo();
    command.args(["build", "--package", "portcullis", "--bin", "portcullis"]);
    process::build(&mut command)
}

struct Gate {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Gate {
    fn start(program: &Path) -> Result<Gate, String> {
        let address = free_address()?;
        let log = program.with_file_name("demo.log");
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = file
            .try_clone()
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let child = Command::new(program)
            .args(["demo", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut gate = Gate {
            child,
            address,
            log,
        };
        gate.wait_until_open()?;
        Ok(gate)
    }

    fn wait_until_open(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("the gate did not start:\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the gate ended with {status}"))
        }
    }
}

impl Drop for Gate {
    /// Asks it to end, so that it removes its sample database; insists after a while.
    fn drop(&mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while asked.is_ok() && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr, String> {
    (PORT..PORT + 100)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or_else(|| format!("no free port from {PORT} to {}", PORT + 99))
}

/// Plays the story; returns how many steps came out wrong.
fn play(address: SocketAddr) -> Result<usize, String> {
    let lost = |error: std::io::Error| format!("the connection to the gate broke: {error}");
    let mut client = Client::connect(address, USER, DATABASE).map_err(lost)?;
    let transcript = Transcript::new();
    transcript.begin(address);
    let mut failed = 0;
    for (number, step) in STORY.iter().enumerate() {
        let (answer, times) = send(&mut client, step).map_err(lost)?;
        let right = transcript.step(number + 1, step, &answer, times);
        failed += usize::from(!right);
    }
    transcript.end(STORY.len() - failed, STORY.len());
    Ok(failed)
}

/// The answer, and how often the statement was sent.
fn send(client: &mut Client, step: &Step) -> std::io::Result<(Answer, usize)> {
    match step.via {
        Via::Simple => Ok((client.simple(step.sql)?, 1)),
        Via::Extended(values) => Ok((client.extended(step.sql, values)?, 1)),
        Via::Until(most) => {
            for times in 1..most {
                let answer = client.simple(step.sql)?;
                if answer.error.is_some() {
                    return Ok((answer, times));
                }
            }
            Ok((client.simple(step.sql)?, most))
        }
    }
}
