//! `portcullis plugin …` for a running gate: modes, versions, candidates,
//! quarantine. Everything is asked over the gate's control socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config;
use crate::control::{self, Place};

use super::terminal::{self, Paint, say, table};

/// Which gate.
#[derive(Debug, clap::Args)]
pub(super) struct Gate {
    /// The gate's configuration, which names its run folder
    #[arg(long, value_name = "FILE", required_unless_present = "run_dir")]
    config: Option<PathBuf>,
    /// The gate's run folder
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    run_dir: Option<PathBuf>,
}

/// How long something holds.
#[derive(Debug, clap::Args)]
pub(super) struct Lasting {
    /// For how long, such as 30m; without it until `plugin reset`
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Live {
    /// Shows the policies as a running gate uses them
    Status {
        #[command(flatten)]
        gate: Gate,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Changes the mode of a policy in a running gate
    Mode {
        /// Name of the policy
        policy: String,
        /// off, monitor or enforce
        #[arg(value_parser = ["off", "monitor", "enforce"])]
        mode: String,
        #[command(flatten)]
        lasting: Lasting,
        #[command(flatten)]
        gate: Gate,
    },
    /// Lets the file alone count again
    Reset {
        /// Name of the policy
        policy: String,
        #[command(flatten)]
        gate: Gate,
    },
    /// Goes back to an earlier version of a policy
    Rollback {
        /// Name of the policy
        policy: String,
        /// Version, or the beginning of its hash; else the one before
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        lasting: Lasting,
        #[command(flatten)]
        gate: Gate,
    },
    /// Runs a candidate beside a policy, and shows in what they differ
    Shadow {
        /// Name of the policy
        policy: String,
        /// The candidate; without one, the report of the one that runs
        file: Option<PathBuf>,
        /// Ends the one that runs
        #[arg(long, conflicts_with = "file")]
        end: bool,
        /// The report as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gate: Gate,
    },
    /// Lets the candidate judge
    Promote {
        /// Name of the policy
        policy: String,
        #[command(flatten)]
        lasting: Lasting,
        #[command(flatten)]
        gate: Gate,
    },
    /// Policies that failed too widely and are not asked any more
    Quarantine {
        #[command(subcommand)]
        command: Quarantine,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Quarantine {
    /// Lists them
    List {
        #[command(flatten)]
        gate: Gate,
    },
    /// Asks one of them again
    Release {
        /// Name of the policy
        policy: String,
        #[command(flatten)]
        gate: Gate,
    },
}

pub(super) fn run(command: &Live) -> ExitCode {
    let (gate, command, arguments, show): (_, _, _, fn(&Value, bool) -> String) = match command {
        Live::Status { gate, json } => {
            let show = if *json { lines } else { status };
            (gate, "policy-list", json!({}), show)
        }
        Live::Mode {
            policy,
            mode,
            lasting,
            gate,
        } => {
            let arguments =
                json!({ "policy": policy, "mode": mode, "by": by(), "seconds": lasting.seconds() });
            (gate, "policy-mode", arguments, done)
        }
        Live::Reset { policy, gate } => {
            let arguments = json!({ "policy": policy, "by": by() });
            (gate, "policy-reset", arguments, done)
        }
        Live::Rollback {
            policy,
            to,
            lasting,
            gate,
        } => {
            let arguments =
                json!({ "policy": policy, "to": to, "by": by(), "seconds": lasting.seconds() });
            (gate, "policy-rollback", arguments, rolled_back)
        }
        Live::Shadow {
            policy,
            file: Some(file),
            gate,
            ..
        } => {
            // The gate may stand in another folder.
            let file = match file.canonicalize() {
                Ok(file) => file,
                Err(error) => {
                    let text = format!("{} cannot be read: {error}", file.display());
                    terminal::complain(&[config::Diagnostic::error(text)]);
                    return ExitCode::FAILURE;
                }
            };
            let arguments = json!({ "policy": policy, "file": file, "by": by() });
            (gate, "policy-shadow", arguments, started)
        }
        Live::Shadow {
            policy,
            end,
            json,
            gate,
            ..
        } => {
            let command = if *end {
                "policy-shadow-end"
            } else {
                "policy-shadow-report"
            };
            let show = if *json { lines } else { report };
            (gate, command, json!({ "policy": policy }), show)
        }
        Live::Promote {
            policy,
            lasting,
            gate,
        } => {
            let arguments = json!({ "policy": policy, "by": by(), "seconds": lasting.seconds() });
            (gate, "policy-promote", arguments, done)
        }
        Live::Quarantine {
            command: Quarantine::List { gate },
        } => (gate, "policy-list", json!({}), quarantined),
        Live::Quarantine {
            command: Quarantine::Release { policy, gate },
        } => (
            gate,
            "policy-release",
            json!({ "policy": policy, "by": by() }),
            done,
        ),
    };
    let socket = match gate.socket() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match control::ask_and_wait(&socket, command, arguments) {
        Ok(answer) => {
            say(&show(&answer, answer["kept"] == json!(false)));
            ExitCode::SUCCESS
        }
        Err(error) => terminal::fail(&error),
    }
}

impl Gate {
    fn socket(&self) -> Result<PathBuf, ExitCode> {
        let folder = match (&self.run_dir, &self.config) {
            (Some(folder), _) => Some(folder.clone()),
            (None, Some(file)) => config::load_without_secrets(file)
                .map_err(|list| {
                    terminal::complain(&list);
                    ExitCode::from(terminal::USAGE)
                })?
                .run_dir(),
            (None, None) => None,
        };
        let Some(folder) = folder else {
            let problem = config::Diagnostic::error("the configuration names no run folder")
                .hint("set `state_dir` or `run_dir`, and start the gate again");
            terminal::complain(&[problem]);
            return Err(ExitCode::from(terminal::USAGE));
        };
        let place = Place::open(&folder).map_err(|error| terminal::fail(&error))?;
        Ok(place.current())
    }
}

impl Lasting {
    fn seconds(&self) -> Option<u64> {
        self.lasts.map(|lasts| lasts.as_secs().max(1))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = config::read_duration(text).filter(|time| !time.is_zero());
    read.ok_or_else(|| "write a number and a unit, such as 30m or 12h".to_owned())
}

/// Who asks, as far as the environment knows; the gate notes the user by itself.
fn by() -> Option<String> {
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    let mut found = names.iter().filter_map(|name| std::env::var(name).ok());
    found.find(|name| !name.is_empty() && !name.chars().any(char::is_control))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn short(hash: &Value) -> String {
    text(hash).chars().take(12).collect()
}

fn lines(answer: &Value, _: bool) -> String {
    format!("{answer:#}\n")
}

fn status(answer: &Value, _: bool) -> String {
    let empty = Vec::new();
    let rows: Vec<Vec<String>> = answer
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .map(|policy| {
            let differs = &policy["override"];
            let mut notes = Vec::new();
            if !differs.is_null() {
                let until = match text(&differs["until"]) {
                    none if none.is_empty() => String::new(),
                    until => format!(" until {until}"),
                };
                notes.push(format!("set by {}{until}", text(&differs["by"])));
            }
            if !policy["quarantined"].is_null() {
                notes.push("in quarantine".to_owned());
            }
            if !policy["shadow"].is_null() {
                notes.push(format!("shadow {}", short(&policy["shadow"]["sha256"])));
            }
            vec![
                text(&policy["name"]),
                text(&policy["mode"]),
                text(&policy["version"]),
                short(&policy["sha256"]),
                text(&policy["judged"]),
                text(&policy["faulted"]),
                notes.join("; "),
            ]
        })
        .collect();
    let head = ["POLICY", "MODE", "VERSION", "SHA256", "CALLS", "FAULTS", ""];
    table(&head, &rows, Paint::stdout())
}

fn quarantined(answer: &Value, _: bool) -> String {
    let empty = Vec::new();
    let all = answer.as_array().unwrap_or(&empty);
    let rows: Vec<Vec<String>> = all
        .iter()
        .filter(|policy| !policy["quarantined"].is_null())
        .map(|policy| {
            let quarantined = &policy["quarantined"];
            vec![
                text(&policy["name"]),
                text(&quarantined["since"]),
                text(&quarantined["fault"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no policy is in quarantine\n".to_owned();
    }
    table(&["POLICY", "SINCE", "FAULT"], &rows, Paint::stdout())
}

fn done(_: &Value, lost: bool) -> String {
    let note = if lost {
        ": until the next start, because the configuration names no state_dir"
    } else {
        ""
    };
    format!("{}{note}\n", Paint::stdout().good("done"))
}

fn rolled_back(answer: &Value, lost: bool) -> String {
    let version = &answer["version"];
    let (number, hash) = (text(&version["version"]), short(&version["sha256"]));
    format!("version {number} ({hash}) judges\n{}", done(answer, lost))
}

fn started(answer: &Value, lost: bool) -> String {
    format!(
        "{}the same command without a file shows the report\n",
        done(answer, lost)
    )
}

fn report(answer: &Value, _: bool) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let (judged, same) = (count("judged"), count("same"));
    let paint = Paint::stdout();
    let mut out = format!(
        "{judged} decisions, {same} the same, {} different, {} not seen, {} failed; {} ns each\n",
        judged - same.min(judged),
        count("dropped"),
        count("faults"),
        count("nanoseconds"),
    );
    if let Some(fault) = answer["fault"].as_str() {
        out.push_str(&format!("{} {fault}\n", paint.bad("failed:")));
    }
    let empty = Vec::new();
    for difference in answer["differences"].as_array().unwrap_or(&empty) {
        out.push_str(&format!(
            "\n{} times\n  now    {}\n  then   {}\n",
            difference["count"],
            text(&difference["live"]),
            paint.odd(&text(&difference["candidate"])),
        ));
        for example in difference["examples"].as_array().unwrap_or(&empty) {
            out.push_str(&format!("  {}\n", paint.dim(&text(example))));
        }
    }
    out
}
