//! `portcullis refusals`: what a running gate refused, or would have.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::config;

use super::terminal::{self, Paint, say, table};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Shows what a running gate refused, or would have refused.
#[derive(Debug, clap::Args)]
pub(super) struct Refusals {
    /// Configuration of the gate; its admin address is asked
    #[arg(long, value_name = "FILE", required_unless_present = "admin")]
    config: Option<PathBuf>,
    /// The admin address of the gate
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
}

pub(super) fn run(refusals: &Refusals) -> ExitCode {
    let address = match (refusals.admin, &refusals.config) {
        (Some(address), _) => Some(address),
        (None, None) => None,
        (None, Some(path)) => match config::load_without_secrets(path) {
            Ok(config) => config.admin,
            Err(list) => {
                terminal::complain(&list);
                return ExitCode::from(terminal::USAGE);
            }
        },
    };
    let Some(address) = address else {
        let problem = config::Diagnostic::error("the configuration has no admin address");
        terminal::complain(&[problem.hint("add [admin] with address = \"127.0.0.1:9632\"")]);
        return ExitCode::from(terminal::USAGE);
    };
    match status(address) {
        Ok(status) => {
            say(&page(&status, Paint::stdout()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let problem = config::Diagnostic::error(format!("no answer from {address}: {error}"));
            terminal::complain(&[problem.hint("is the gate running?")]);
            ExitCode::FAILURE
        }
    }
}

/// Asks the gate for its status page.
fn status(address: SocketAddr) -> std::io::Result<Value> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(
        stream,
        "GET /api/v1/status HTTP/1.0\r\nHost: {address}\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body)
        .unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}

fn page(status: &Value, paint: Paint) -> String {
    let number = |key: &str| status[key].as_u64().unwrap_or_default();
    let mut out = format!(
        "{} statements, {} refused, {} would have been refused\n",
        number("statements"),
        number("refused"),
        number("would_refuse"),
    );
    let empty = Vec::new();
    let recent = status["recent_refusals"].as_array().unwrap_or(&empty);
    if recent.is_empty() {
        return out;
    }
    out.push('\n');
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = recent
        .iter()
        .map(|refusal| {
            vec![
                text(&refusal["at"])
                    .get(11..19)
                    .unwrap_or_default()
                    .to_owned(),
                if refusal["enforced"] == true {
                    "refused"
                } else {
                    "would be"
                }
                .to_owned(),
                format!("{}/{}", text(&refusal["policy"]), text(&refusal["rule"])),
                text(&refusal["user"]),
                cut(&text(&refusal["statement"]), 34),
            ]
        })
        .collect();
    out.push_str(&table(
        &["TIME", "", "RULE", "USER", "STATEMENT"],
        &rows,
        paint,
    ));
    out
}

fn cut(text: &str, width: usize) -> String {
    // What a terminal would obey instead of showing.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_refusals_as_a_table() {
        let status = serde_json::json!({
            "statements": 3, "refused": 0, "would_refuse": 1,
            "recent_refusals": [{ "at": "2030-01-02T03:04:05.678Z", "enforced": false, "user": "ann",
                "policy": "require-where", "rule": "no-predicate", "statement": "delete from orders\u{1b}[31m where a very long text follows here" }],
        });
        assert_eq!(
            page(&status, Paint::plain()),
            "3 statements, 0 refused, 1 would have been refused\n\n\
             TIME                RULE                        USER  STATEMENT\n\
             03:04:05  would be  require-where/no-predicate  ann   delete from orders[31m\n\
             \x20                                                     where a ve…\n"
        );
    }
}
