//! `portcullis plugin test`: the golden cases natively and compiled, which must agree.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::config::Diagnostic;
use crate::policy::cases::{Case, verdict_json};
use crate::policy::trial::Trial;

use super::super::terminal::{self, Paint, say, table};
use super::{build, cache, verdicts};

/// Widest title in the table; a terminal is 80 wide.
const TITLE_SHOWN: usize = 44;

/// Tests the crate in `dir`.
pub(super) fn run(dir: &Path) -> ExitCode {
    let native = match natively(dir) {
        Ok(native) => native,
        Err(error) => return terminal::fail(&error),
    };
    let Some(native) = native else {
        terminal::complain(&[Diagnostic::error("the native tests fail")
            .hint("cargo said why above; `cargo test` runs them alone")]);
        return ExitCode::FAILURE;
    };
    let built = match build::component(dir) {
        Ok(built) => built,
        Err(error) => return terminal::fail(&error),
    };
    let trial = match Trial::new(&built.bytes, cache::folder("policies").as_deref()) {
        Ok(trial) => trial,
        Err(why) => {
            terminal::complain(&[Diagnostic::error(why.message).hint(why.hint)]);
            return ExitCode::FAILURE;
        }
    };
    let paint = Paint::stdout();
    let compared: Vec<Compared> = trial
        .manifest()
        .cases
        .iter()
        .map(|case| compare(case, &trial, &native))
        .collect();
    let rows: Vec<Vec<String>> = compared.iter().map(Compared::row).collect();
    say(&table(&["CASE", "NATIVE", "COMPILED", ""], &rows, paint));
    for compared in compared.iter().filter(|it| !it.why.is_empty()) {
        say(&format!(
            "\n{}\n  {}\n",
            paint.bold(&compared.title),
            compared.why
        ));
    }
    let wrong = compared.iter().filter(|it| !it.why.is_empty()).count();
    let all = compared.len();
    if all == 0 {
        terminal::complain(&[Diagnostic::error("policy.toml has no [[cases]]")
            .hint("write what the policy must answer; every load of it checks that")]);
        return ExitCode::FAILURE;
    }
    if wrong > 0 {
        say(&format!(
            "\n{} {wrong} of {all} cases\n",
            paint.bad("failed")
        ));
        return ExitCode::FAILURE;
    }
    say(&format!("\n{} {all} cases agree\n", paint.good("ok")));
    ExitCode::SUCCESS
}

/// Runs `cargo test`; the verdicts of the cases it ran, none when it failed.
fn natively(dir: &Path) -> std::io::Result<Option<Vec<(String, Value)>>> {
    let file: PathBuf =
        std::env::temp_dir().join(format!("portcullis-verdicts-{}", std::process::id()));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["test", "--quiet"])
        .current_dir(dir)
        .env("PORTCULLIS", std::env::current_exe()?)
        .env(verdicts::VARIABLE, &file);
    let passed = command.status()?.success();
    let native = verdicts::read(&file);
    let _ = std::fs::remove_file(&file);
    Ok(passed.then_some(native))
}

struct Compared {
    title: String,
    native: String,
    compiled: String,
    /// Empty: they agree, and with the case.
    why: String,
}

impl Compared {
    fn row(&self) -> Vec<String> {
        let mut title: String = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        if title.chars().count() > TITLE_SHOWN {
            title = title.chars().take(TITLE_SHOWN - 1).collect();
            title.push('…');
        }
        let state = if self.why.is_empty() { "ok" } else { "differs" };
        vec![
            title,
            self.native.clone(),
            self.compiled.clone(),
            state.to_owned(),
        ]
    }
}

fn compare(case: &Case, trial: &Trial, native: &[(String, Value)]) -> Compared {
    let title = case.title();
    let there: Vec<&Value> = native
        .iter()
        .filter(|(known, _)| *known == title)
        .map(|(_, verdict)| verdict)
        .collect();
    let shown = |verdict: &Value| {
        let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
        match &*text("rule") {
            "" => text("decision"),
            rule => format!("refuse {rule}"),
        }
    };
    let (compiled, mut why) = match trial.judge(case) {
        Err(why) => (Value::Null, why),
        Ok(tried) => {
            let wrong = case.expect.check(&tried.verdict);
            (
                verdict_json(&tried.verdict),
                wrong.err().unwrap_or_default(),
            )
        }
    };
    if why.is_empty() && there.is_empty() {
        "the native tests did not run it: call `check_cases` in one of them".clone_into(&mut why);
    } else if why.is_empty() && !there.contains(&&compiled) {
        // Two cases may have one title.
        why = format!("native:   {}\n  compiled: {compiled}", there[0]);
    }
    let native = there.iter().find(|it| ***it == compiled).or(there.first());
    Compared {
        title,
        native: native.map_or_else(|| "not run".to_owned(), |verdict| shown(verdict)),
        compiled: match &compiled {
            Value::Null => "fault".to_owned(),
            verdict => shown(verdict),
        },
        why,
    }
}
