//! `portcullis plugin bench`: nanoseconds per verdict of one policy.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::config::{Config, Diagnostic, OpaqueMode, Plugin, PolicyConfig};
use crate::policy::builtin;
use crate::policy::cases::{Asks, Case};
use crate::policy::trial::{Trial, complaints};
use crate::policy::wasm::{Hook, StartError};
use crate::policy::{Asked, Judge, Outcome, Policies, Subject};

use super::super::terminal::{self, Paint, say, table};
use super::ask;

/// Rounds; the best one counts, the others had company on the machine.
const ROUNDS: usize = 5;

/// Fresh instances that are asked once.
const FRESH: usize = 20;

/// How long a verdict may take to be remembered: spares are made beside the path.
const PATIENCE: Duration = Duration::from_secs(2);

/// Widest statement in the table; a terminal is 80 wide.
const TEXT_SHOWN: usize = 38;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// A component file, or the name of a built-in plugin
    #[arg(value_name = "FILE|NAME")]
    plugin: String,
    /// The statement; without it, those of the golden cases
    #[arg(long, value_name = "TEXT")]
    sql: Option<String>,
    /// Settings for that statement, as TOML
    #[arg(long, value_name = "TOML", requires = "sql", default_value = "")]
    settings: String,
    /// Exit with 1 when a warm judgement takes longer: 5us, 800ns
    #[arg(long, value_name = "TIME", value_parser = duration)]
    budget: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
    let number: u64 = digits
        .parse()
        .map_err(|_| "write 5us or 800ns".to_owned())?;
    match &text[digits.len()..] {
        "ns" => Ok(Duration::from_nanos(number)),
        "us" | "µs" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        _ => Err("write 5us or 800ns".to_owned()),
    }
}

/// Nanoseconds of one statement.
struct Measured {
    title: String,
    /// None: such a verdict is never remembered.
    remembered: Option<Duration>,
    warm: Duration,
    first: Duration,
}

/// Measures and prints.
pub(super) fn run(arguments: &Bench) -> ExitCode {
    let measured = match measure(arguments) {
        Ok(measured) => measured,
        Err(problem) => {
            terminal::complain(&[problem]);
            return ExitCode::FAILURE;
        }
    };
    let ns = |time: Duration| time.as_nanos().to_string();
    let rows: Vec<Vec<String>> = measured
        .iter()
        .map(|it| {
            vec![
                it.title.clone(),
                it.remembered.map_or_else(|| "never".to_owned(), ns),
                ns(it.warm),
                ns(it.first),
            ]
        })
        .collect();
    let paint = Paint::stdout();
    let head = ["NS PER VERDICT", "REMEMBERED", "WARM JUDGE", "FIRST SIGHT"];
    say(&table(&head, &rows, paint));
    let worst = measured.iter().map(|it| it.warm).max().unwrap_or_default();
    match arguments.budget {
        Some(budget) if worst > budget => {
            say(&format!(
                "\n{} the slowest takes {} ns, the budget is {} ns\n",
                paint.bad("over budget"),
                worst.as_nanos(),
                budget.as_nanos()
            ));
            ExitCode::FAILURE
        }
        Some(budget) => {
            say(&format!(
                "\n{} within {} ns\n",
                paint.good("ok"),
                budget.as_nanos()
            ));
            ExitCode::SUCCESS
        }
        None => ExitCode::SUCCESS,
    }
}

fn measure(arguments: &Bench) -> Result<Vec<Measured>, Diagnostic> {
    let trial = ask::load(&arguments.plugin)?;
    let cases = match &arguments.sql {
        None => trial.manifest().cases.clone(),
        Some(sql) => {
            let settings = ask::table(&arguments.settings, "--settings")?;
            let case = json!({ "sql": sql, "settings": settings, "expect": {} });
            let case = serde_json::from_value(case);
            vec![case.map_err(|error| Diagnostic::error(error.to_string()))?]
        }
    };
    let cases: Vec<&Case> = cases
        .iter()
        .filter(|case| case.asks() == Asks::Statement)
        .collect();
    if cases.is_empty() {
        let problem = Diagnostic::error("there is no statement to judge");
        return Err(problem.hint("give one with --sql"));
    }
    let mut measured = Vec::new();
    for case in cases {
        let subjects = case.subjects().map_err(Diagnostic::error)?;
        if let Some(subject) = subjects.into_iter().next() {
            measured.push(one(&arguments.plugin, &trial, case, subject)?);
        }
    }
    Ok(measured)
}

fn one(plugin: &str, trial: &Trial, case: &Case, subject: Subject) -> Result<Measured, Diagnostic> {
    let settings = case.settings();
    let start = || {
        trial.instance(&settings).map_err(|failed| {
            Diagnostic::error(match failed {
                StartError::Fault(fault) => fault.to_string(),
                StartError::Issues(issues) => {
                    format!("the settings are not accepted: {}", complaints(&issues))
                }
            })
        })
    };
    let remembered = remembered(plugin, trial, &settings, &subject)?;
    let subject = Arc::new(subject);
    let mut warm = start()?;
    let warm = best(2_000, || {
        black_box(warm.call(Hook::Judge, subject.clone()).is_ok());
    });
    let mut first = Vec::with_capacity(FRESH);
    for _ in 0..FRESH {
        let mut fresh = start()?;
        let begun = Instant::now();
        black_box(fresh.call(Hook::Judge, subject.clone()).is_ok());
        first.push(begun.elapsed());
    }
    first.sort();
    let sql = case.sql.as_deref().unwrap_or_default();
    let mut title = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.chars().count() > TEXT_SHOWN {
        title = title.chars().take(TEXT_SHOWN - 1).collect();
        title.push('…');
    }
    Ok(Measured {
        title,
        remembered,
        warm,
        first: first[FRESH / 2],
    })
}

/// The whole way through the memo, as the gate takes it, with this policy alone.
fn remembered(
    plugin: &str,
    trial: &Trial,
    settings: &str,
    subject: &Subject,
) -> Result<Option<Duration>, Diagnostic> {
    let source = match builtin::find(plugin) {
        Some(_) => Plugin::BuiltIn(plugin.into()),
        None => {
            let path = std::path::absolute(Path::new(plugin));
            Plugin::File(path.map_err(|error| Diagnostic::error(error.to_string()))?)
        }
    };
    let config = Config {
        policies: vec![PolicyConfig {
            plugin: source,
            settings: settings.into(),
            runtime: trial.runtime(),
            budget: trial.runtime().budget(),
            ..PolicyConfig::built_in("bench")
        }],
        ..Config::default()
    };
    let policies = Policies::load(&config).map_err(|errors| {
        Diagnostic::error(errors.first().map_or_else(String::new, ToString::to_string))
    })?;
    let mut judge = Judge::new(policies);
    let view = subject.view();
    let mut decide = || {
        let set = judge.current();
        judge.decide_here(&Asked {
            set: &set,
            client: view.client,
            session: view.session,
            statement: &subject.statement,
            analysis_problem: None,
            values: view.values,
            opaque: OpaqueMode::Judge,
        })
    };
    let begun = Instant::now();
    while !is_remembered(&decide()) {
        if begun.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Some(best(5_000, || {
        black_box(decide());
    })))
}

fn is_remembered(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Permit(permit) => permit.remembered(),
        Outcome::Refuse(refused) => refused.remembered,
        Outcome::Respond(responded) => responded.remembered,
        Outcome::NeedsValues => false,
    }
}

fn best(times: u32, mut run: impl FnMut()) -> Duration {
    let round = |_| {
        let begun = Instant::now();
        (0..times).for_each(|_| run());
        begun.elapsed() / times
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_a_unit() {
        assert_eq!(duration("5us"), Ok(Duration::from_micros(5)));
        assert_eq!(duration("5µs"), Ok(Duration::from_micros(5)));
        assert_eq!(duration("800ns"), Ok(Duration::from_nanos(800)));
        for wrong in ["", "5", "us", "-1us", "1.5us", "5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
