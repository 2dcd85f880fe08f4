//! `cargo xtask setup`: installs what the build needs and nothing else.
//!
//! That is a WebAssembly standard library (see `portcullis_build::toolchain`)
//! and what the tests run: drivers, and tools of other languages (`drivers`).
//! Idempotent: what is there is not touched. Works as root and, with sudo, as
//! an ordinary user.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_build::toolchain::{Missing, TARGET, Toolchain};

use crate::{drivers, process};

/// rustup tries for minutes where it can download nothing.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(60);

/// The compiler with its sources; versions move together.
const STANDARD_PACKAGES: &[&str] = &["rustc-web", "rust-web-src"];
const LINKER_PACKAGES: &[&str] = &["lld"];

/// Runs it.
pub fn run(_arguments: &[String]) -> Result<(), String> {
    match Toolchain::find(None) {
        Ok(toolchain) => {
            println!("policies compile with {}", toolchain.describe());
            drivers();
            return Ok(());
        }
        Err(missing) => println!("{}", missing_line(&missing)),
    }
    let toolchain = install()?;
    println!("policies compile with {}", toolchain.describe());
    drivers();
    Ok(())
}

/// Building needs none of them, so that a failure here is no failure of the
/// set-up; the tests that run them fail.
fn drivers() {
    if let Err(why) = drivers::install() {
        println!("what tests run could not all be installed: {why}");
    }
}

fn missing_line(missing: &Missing) -> &'static str {
    match missing {
        Missing::Standard => "no WebAssembly standard library here, installing one",
        Missing::Linker => "no WebAssembly linker here, installing one",
    }
}

/// Tries one way after the other until a compiler is found.
fn install() -> Result<Toolchain, String> {
    let mut tried = Vec::new();
    if process::is_there("rustup") {
        match rustup() {
            Ok(()) => {}
            Err(why) => tried.push(why),
        }
    }
    for _ in 0..2 {
        let packages = match Toolchain::find(None) {
            Ok(toolchain) => return Ok(toolchain),
            Err(Missing::Standard) => STANDARD_PACKAGES,
            Err(Missing::Linker) => LINKER_PACKAGES,
        };
        if let Err(why) = apt(packages) {
            tried.push(why);
            break;
        }
    }
    Toolchain::find(None).map_err(|_| {
        format!(
            "could not install a WebAssembly standard library ({}); run `rustup target add {TARGET}` \
             where rustup can download, or install the packages {} of Debian",
            tried.join("; "),
            STANDARD_PACKAGES.join(" and "),
        )
    })
}

fn rustup() -> Result<(), String> {
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]);
    println!("> {}", process::show(&command));
    // Inside the workspace the toolchain of the project is meant.
    command.current_dir(process::root()).stdin(Stdio::null());
    within(&mut command, RUSTUP_PATIENCE)
}

/// Installs packages of the distribution.
pub fn apt(packages: &[&str]) -> Result<(), String> {
    if !process::is_there("apt-get") {
        return Err("there is no apt-get".to_string());
    }
    let mut update = privileged()?;
    update.args(["apt-get", "-q", "update"]);
    println!("> {}", process::show(&update));
    // An outdated list may still do; the install says so if not.
    let _ = process::run(&mut update);
    let mut install = privileged()?;
    install
        .args(["apt-get", "-q", "-y", "--no-install-recommends", "install"])
        .args(packages);
    println!("> {}", process::show(&install));
    process::run(&mut install)
}

/// `env` as root, through sudo where we are not.
fn privileged() -> Result<Command, String> {
    let noninteractive = "DEBIAN_FRONTEND=noninteractive";
    let mut command = if is_root() {
        Command::new("env")
    } else if process::is_there("sudo") {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    } else {
        return Err("installing packages needs root, and there is no sudo".to_string());
    };
    command.arg(noninteractive);
    Ok(command)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Runs a command for so long at most.
fn within(command: &mut Command, patience: Duration) -> Result<(), String> {
    let shown = process::show(command);
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("`{shown}` ended with {status}")),
            Ok(None) if started.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(100))
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "`{shown}` took longer than {} s",
                    patience.as_secs()
                ));
            }
            Err(error) => return Err(format!("`{shown}`: {error}")),
        }
    }
}
