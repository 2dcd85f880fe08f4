//! `portcullis demo`: the gate in front of a sample database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::app::{App, Options};
use crate::backend::sqlite::sample;
use crate::config::{Config, Endpoint};

use super::init::{free_address, psql};
use super::run::serve;
use super::terminal::{self, Paint, say};

/// Serves an embedded sample database behind the default policies.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Where to listen; else the first free port from 6432
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// File for the sample database, created if missing
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// Log every statement
    #[arg(long)]
    verbose: bool,
}

pub(super) fn run(demo: &Demo) -> ExitCode {
    let address = demo.listen.unwrap_or_else(|| free_address(6432));
    let path = demo.db.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("portcullis-demo-{}.db", std::process::id()))
    });
    let code = prepare_and_serve(demo, &path, address);
    if demo.db.is_none() {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            // What is not there need not be removed.
            let _ = std::fs::remove_file(name);
        }
    }
    code
}

fn prepare_and_serve(demo: &Demo, path: &Path, address: SocketAddr) -> ExitCode {
    if (demo.db.is_none() || !path.exists())
        && let Err(error) = sample::create(path)
    {
        return terminal::fail(&error);
    }
    let mut config = Config::builtin_demo(path, address);
    if !demo.verbose {
        config.log.level = "warn".to_owned();
    }
    serve(config, Options::default(), |app: &App| {
        let address = match app.addresses().first() {
            Some(Endpoint::Tcp(chosen)) => *chosen,
            _ => address,
        };
        let paint = Paint::stdout();
        say(&format!(
            "{} on {address}, in front of {}\n\nConnect:\n  {}\n\nTry:\n  \
             select * from users limit 5;\n  delete from orders;\n  select * from canary_credentials;\n\n\
             Refusals are logged here. Ctrl-C ends it.\n",
            paint.good("The gate is open"),
            path.display(),
            psql(address, "demo", "demo", None),
        ));
    })
}
