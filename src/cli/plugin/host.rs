//! `portcullis plugin host`: answers the questions of a policy whose tests run
//! natively, one a line, through the same code that answers a component.
//!
//! Only the SDK (feature `program`) speaks to it. Numbers that are no answer
//! (`-1`) are written as the interface writes them.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::model::{Decision, Refusal, Verdict, refusal::sqlstate};
use crate::policy::cases::{Asks, Case, verdict_json};
use crate::policy::chain::fold;
use crate::policy::{Ask, Fault, NativeHost, Setup, Subject};

use super::super::terminal;
use super::verdicts;

/// Answers until the input ends.
pub(super) fn run() -> ExitCode {
    let mut host = Host::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answered = line.and_then(|line| {
            let answer = match serde_json::from_str::<(String, Vec<Value>)>(&line) {
                Ok((name, arguments)) => host.answer(&name, &Arguments(&arguments)),
                Err(error) => Err(format!("not a question: {error}")),
            };
            let answer = match answer {
                Ok(answer) => json!({ "answer": answer }),
                Err(error) => json!({ "error": error }),
            };
            writeln!(out, "{answer}")?;
            out.flush()
        });
        match answered {
            Ok(()) => {}
            // The tests are over.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return terminal::fail(&error),
        }
    }
    ExitCode::SUCCESS
}

/// Where the policy is in its life.
#[derive(Default)]
enum Stage {
    #[default]
    Nothing,
    Configuring(Box<Setup>),
    Waiting(NativeHost),
    Judging(NativeHost, Box<Ask>),
}

#[derive(Default)]
struct Host {
    stage: Stage,
    fault: Option<Fault>,
    case: Option<Case>,
    subjects: Vec<Subject>,
    verdicts: Vec<Verdict>,
}

impl Host {
    fn answer(&mut self, name: &str, arguments: &Arguments<'_>) -> Result<Value, String> {
        match name {
            "settings" => Ok(settings(&arguments.text(0)?)),
            "cases" => Ok(cases(&arguments.text(0)?)),
            "configure" => {
                self.stage = Stage::Configuring(Box::default());
                self.fault = None;
                Ok(Value::Null)
            }
            "configured" => self.configured(),
            "case" => self.begin_case(arguments.0.first()),
            "begin" => self.begin(arguments.number(0)?),
            "finish" => self.finish(&arguments.text(0)?),
            "expect" => self.expect(arguments.0.first() == Some(&Value::Bool(true))),
            "log" => Ok(self.log(arguments.number(0)?, &arguments.text(1)?)),
            _ => {
                let answer = match &mut self.stage {
                    Stage::Configuring(setup) => setup_question(setup, name, arguments)?,
                    Stage::Judging(_, ask) => super::questions::ask(ask, name, arguments)?,
                    _ => return Err(format!("nothing to ask `{name}` about")),
                };
                Ok(answer.unwrap_or_else(|(fault, empty)| {
                    self.fault.get_or_insert(fault);
                    empty
                }))
            }
        }
    }

    fn configured(&mut self) -> Result<Value, String> {
        let Stage::Configuring(setup) = std::mem::take(&mut self.stage) else {
            return Err("`configure` comes first".to_owned());
        };
        self.stage = Stage::Waiting(NativeHost::new("policy", *setup));
        Ok(done(self.fault.take().map_or(Ok(()), Err)))
    }

    fn begin_case(&mut self, case: Option<&Value>) -> Result<Value, String> {
        let case: Case = serde_json::from_value(case.cloned().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        self.verdicts.clear();
        Ok(match case.subjects() {
            Err(why) => json!({ "Err": why }),
            Ok(subjects) => {
                let hook = match case.asks() {
                    Asks::Statement => "statement",
                    Asks::Connection => "connection",
                    Asks::Plan => "plan",
                };
                let count = subjects.len();
                (self.subjects, self.case) = (subjects, Some(case));
                json!({ "Ok": [hook, count] })
            }
        })
    }

    fn begin(&mut self, subject: u32) -> Result<Value, String> {
        let subject = self.subjects.get(subject as usize).cloned();
        let subject = subject.ok_or("there is no such statement")?;
        match std::mem::take(&mut self.stage) {
            Stage::Waiting(host) | Stage::Judging(host, _) => {
                let ask = host.ask(subject);
                let shape = ask.shape();
                self.stage = Stage::Judging(host, Box::new(ask));
                Ok(json!(shape))
            }
            _ => Err("a policy is configured before it judges".to_owned()),
        }
    }

    fn finish(&mut self, decision: &str) -> Result<Value, String> {
        let decision = match decision {
            "pass" => Decision::Pass,
            "refuse" => Decision::Refuse,
            _ => Decision::Respond,
        };
        let Stage::Judging(host, ask) = std::mem::take(&mut self.stage) else {
            return Err("no call was begun".to_owned());
        };
        self.stage = Stage::Waiting(host);
        let judged = match self.fault.take() {
            Some(fault) => Err(fault),
            None => ask.finish(decision),
        };
        Ok(match judged {
            Err(fault) => json!({ "Err": fault.to_string() }),
            Ok(judged) if judged.needs_values => {
                json!({ "Err": "it asks for bind values; give `params`" })
            }
            Ok(judged) => {
                self.verdicts.push(judged.verdict);
                json!({ "Ok": null })
            }
        })
    }

    /// The folded verdict, and what is wrong with it.
    fn expect(&mut self, inverted: bool) -> Result<Value, String> {
        let case = self.case.as_ref().ok_or("no case was begun")?;
        let mut verdict = fold(&self.verdicts);
        if inverted {
            invert(&mut verdict);
        } else {
            verdicts::write(&case.title(), &verdict)?;
        }
        let wrong = case.expect.check(&verdict).err();
        Ok(json!([verdict_json(&verdict), wrong]))
    }

    fn log(&mut self, level: u32, text: &str) -> Value {
        match &mut self.stage {
            Stage::Judging(_, ask) => ask.log(level, text),
            _ => eprintln!("log {level}: {text}"),
        }
        Value::Null
    }
}

fn done(result: Result<(), Fault>) -> Value {
    json!(result.map_err(|fault| fault.to_string()))
}

fn invert(verdict: &mut Verdict) {
    if verdict.decision() == Decision::Pass {
        let refusal = Refusal::gate("inverted", sqlstate::REFUSED, "inverted");
        verdict.refusal = Some(refusal);
    } else {
        verdict.refusal = None;
        verdict.response = None;
    }
}

/// Settings in TOML as the JSON a policy gets.
fn settings(text: &str) -> Value {
    let read = toml::from_str::<Value>(text);
    json!(
        read.map(|value| value.to_string())
            .map_err(|error| format!("the settings are no TOML: {error}"))
    )
}

/// The golden cases of a `policy.toml`.
fn cases(manifest: &str) -> Value {
    let read = || -> Result<Vec<Value>, String> {
        let value: Value = toml::from_str(manifest).map_err(|error| error.to_string())?;
        let list = value.get("cases").and_then(Value::as_array);
        let read = list.into_iter().flatten().map(|value| {
            let case: Case = serde_json::from_value(value.clone())
                .map_err(|error| format!("{error} in case {value}"))?;
            Ok(json!({ "title": case.title(), "settings": case.settings(), "case": value }))
        });
        read.collect()
    };
    json!(read())
}

fn setup_question(
    setup: &mut Setup,
    name: &str,
    arguments: &Arguments<'_>,
) -> Result<super::questions::Answered, String> {
    let registered = match name {
        "intern" => {
            let symbol = setup.intern(&arguments.text(0)?);
            return Ok(symbol.map(Value::from).map_err(|fault| (fault, json!(0))));
        }
        "names" => setup.names(&arguments.texts(0)?),
        "networks" => setup.networks(&arguments.texts(0)?),
        "windows" => setup.windows(&arguments.texts(0)?),
        _ => return Err(format!("`{name}` cannot be asked in `configure`")),
    };
    Ok(registered
        .map(|result| json!(result))
        .map_err(|fault| (fault.clone(), json!({ "Err": fault.to_string() }))))
}

/// What a question brings along.
pub(super) struct Arguments<'a>(pub(super) &'a [Value]);

impl Arguments<'_> {
    fn get<T: serde::de::DeserializeOwned>(&self, index: usize) -> Result<T, String> {
        let value = self.0.get(index).cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|error| format!("argument {index}: {error}"))
    }

    pub(super) fn number(&self, index: usize) -> Result<u32, String> {
        self.get(index)
    }

    pub(super) fn signed(&self, index: usize) -> Result<i64, String> {
        self.get(index)
    }

    pub(super) fn large(&self, index: usize) -> Result<u64, String> {
        self.get(index)
    }

    pub(super) fn float(&self, index: usize) -> Result<f64, String> {
        self.get(index)
    }

    pub(super) fn text(&self, index: usize) -> Result<String, String> {
        self.get(index)
    }

    pub(super) fn texts(&self, index: usize) -> Result<Vec<String>, String> {
        self.get(index)
    }

    pub(super) fn values(&self, index: usize) -> Result<Vec<Option<String>>, String> {
        self.get(index)
    }
}
