//! Runs a policy natively and lets the installed `portcullis` answer its questions.
//!
//! ```ignore
//! portcullis_sdk::testing::check_cases::<MyPolicy>(include_str!("../policy.toml"));
//! ```
//!
//! The cases of `policy.toml` are the same ones the gate runs when it loads the
//! component. The program is the one named by the variable `PORTCULLIS`, else
//! the `portcullis` of the path: what it understands of a statement is what the
//! gate understands. Read [`check_cases`] first; [`Tester`] is for everything else.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::guest::{Delivered, Exported, Slot};
use crate::host;
use crate::settings::Issue;

/// A running `portcullis plugin host`: one question a line, one answer a line.
#[derive(Debug)]
pub struct Program(RefCell<Pipes>);

#[derive(Debug)]
struct Pipes {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let pipes = self.0.get_mut();
        let _ = pipes.child.kill();
        let _ = pipes.child.wait();
    }
}

impl Program {
    fn start() -> Rc<Program> {
        let name = std::env::var_os("PORTCULLIS").unwrap_or_else(|| "portcullis".into());
        let started = Command::new(&name)
            .args(["plugin", "host"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!(
                "{}: {error}; set PORTCULLIS to the portcullis program (see .cargo/config.toml)",
                name.display()
            )
        });
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(questions), Some(answers)) = pipes else {
            panic!("both ends were asked for");
        };
        Rc::new(Program(RefCell::new(Pipes {
            child,
            questions,
            answers: BufReader::new(answers),
        })))
    }

    /// One question, one answer of the type the interface gives it.
    pub(crate) fn call<T: DeserializeOwned>(&self, name: &str, arguments: Value) -> T {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            error: String,
            #[serde(default)]
            answer: Value,
        }
        let mut pipes = self.0.borrow_mut();
        let mut line = format!("{}\n", json!([name, arguments]));
        let sent = pipes.questions.write_all(line.as_bytes());
        sent.unwrap_or_else(|error| panic!("the portcullis program is gone: {error}"));
        line.clear();
        let read = pipes.answers.read_line(&mut line);
        assert!(matches!(read, Ok(1..)), "the portcullis program is gone");
        let answer = serde_json::from_str(&line).and_then(|answer: Answer| {
            assert!(answer.error.is_empty(), "{}", answer.error);
            serde_json::from_value(answer.answer)
        });
        answer.unwrap_or_else(|error| {
            panic!("the portcullis program and this SDK do not fit ({name}: {error})")
        })
    }
}

/// What a policy answered.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// `pass`, `refuse` or `respond`.
    pub decision: String,
    /// Rule of the refusal; empty: none.
    #[serde(default)]
    pub rule: String,
    /// What the client reads; empty: none.
    #[serde(default)]
    pub message: String,
    /// What the client could do; empty: none.
    #[serde(default)]
    pub hint: String,
    /// Requirements, as golden cases write them.
    #[serde(default)]
    pub requirements: Vec<Value>,
    /// Rules of the alerts.
    #[serde(default)]
    pub alerts: Vec<String>,
}

/// A configured policy and someone who asks it.
pub struct Tester<P> {
    slot: Slot<P>,
    program: Rc<Program>,
    dialect: &'static str,
    client: Map<String, Value>,
}

impl<P> std::fmt::Debug for Tester<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tester")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl<P: Exported> Tester<P> {
    /// Configures the policy with settings in TOML; `""` for the defaults.
    pub fn new(settings: &str) -> Result<Tester<P>, Vec<Issue>> {
        let program = Program::start();
        let json: Result<String, String> = program.call("settings", json!([settings]));
        let json = json.map_err(|error| vec![Issue::new("", error)])?;
        Tester::configured(program, &json)
    }

    fn configured(program: Rc<Program>, settings: &str) -> Result<Tester<P>, Vec<Issue>> {
        let slot = Slot::new();
        program.call::<()>("configure", json!([]));
        host::install(program.clone(), || slot.configure(settings))?;
        let done: Result<(), String> = program.call("configured", json!([]));
        done.map_err(|fault| vec![Issue::new("", fault)])?;
        Ok(Tester {
            slot,
            program,
            dialect: "postgres",
            client: Map::new(),
        })
    }

    /// SQLite's grammar instead of PostgreSQL's.
    pub fn sqlite(mut self) -> Tester<P> {
        self.dialect = "sqlite";
        self
    }

    /// Somebody else than `alice`.
    pub fn user(self, user: &str) -> Tester<P> {
        self.with("user", user)
    }

    /// With this application_name, as the client claims.
    pub fn application(self, name: &str) -> Tester<P> {
        self.with("application", name)
    }

    /// From this address.
    pub fn address(self, address: std::net::IpAddr) -> Tester<P> {
        self.with("address", &address.to_string())
    }

    fn with(mut self, key: &str, value: &str) -> Tester<P> {
        self.client.insert(key.to_owned(), value.into());
        self
    }

    /// Judges each statement of a text; the verdicts folded into one.
    ///
    /// # Panics
    /// When the policy faults: a fault is never what a test wants.
    pub fn judge(&self, sql: &str) -> Answer {
        let case = json!({
            "sql": sql, "dialect": self.dialect, "client": self.client, "expect": {},
        });
        self.answer(&case)
    }

    /// Asks the connection hook about this client.
    ///
    /// # Panics
    /// When the policy faults, or was exported without the hook.
    pub fn connect(&self) -> Answer {
        self.answer(&json!({ "connection": true, "client": self.client, "expect": {} }))
    }

    fn answer(&self, case: &Value) -> Answer {
        let asked = self.ask(case).and_then(|()| self.expect(false));
        let (answer, _) = asked.unwrap_or_else(|fault| panic!("{fault}: {case}"));
        answer
    }

    /// Asks the policy about every statement of a case.
    fn ask(&self, case: &Value) -> Result<(), String> {
        let begun: Result<(String, usize), String> = self.program.call("case", json!([case]));
        let (hook, subjects) = begun?;
        for subject in 0..subjects {
            let (kind, effects, traits) = self.program.call("begin", json!([subject]));
            let delivered = host::install(self.program.clone(), || match &*hook {
                "connection" => P::connection(&self.slot),
                "plan" => P::plan(&self.slot),
                _ => Some(self.slot.judge(kind, effects, traits)),
            });
            let decision = match delivered {
                None => return Err("there is no such hook to ask".to_owned()),
                Some(Delivered::Pass) => "pass",
                Some(Delivered::Refuse) => "refuse",
                Some(Delivered::Respond) => "respond",
            };
            let finished: Result<(), String> = self.program.call("finish", json!([decision]));
            finished?;
        }
        Ok(())
    }

    /// The verdict, and what is wrong with it by the case.
    fn expect(&self, inverted: bool) -> Result<(Answer, Option<String>), String> {
        Ok(self.program.call("expect", json!([inverted])))
    }
}

/// Runs the golden cases of a `policy.toml`.
///
/// # Panics
/// With everything that differs.
pub fn check_cases<P: Exported>(manifest: &str) {
    let program = Program::start();
    let cases = cases(&program, manifest);
    assert!(!cases.is_empty(), "policy.toml has no [[cases]]");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let why = run::<P>(&program, case, false).err()?;
            Some(format!("{}: {why}", case.title))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n  {}",
        wrong.len(),
        cases.len(),
        wrong.join("\n  ")
    );
}

/// A suite that still passes when every decision is turned around proves nothing.
///
/// # Panics
/// With the cases that would not notice.
pub fn check_inverted<P: Exported>(manifest: &str) {
    let program = Program::start();
    let blind: Vec<String> = cases(&program, manifest)
        .iter()
        .filter(|case| run::<P>(&program, case, true).is_ok())
        .map(|case| case.title.clone())
        .collect();
    assert!(
        blind.is_empty(),
        "these cases hold either way:\n  {}",
        blind.join("\n  ")
    );
}

/// A golden case, as the program reads it.
#[derive(Deserialize)]
struct Case {
    title: String,
    settings: String,
    case: Value,
}

fn cases(program: &Program, manifest: &str) -> Vec<Case> {
    let cases: Result<Vec<Case>, String> = program.call("cases", json!([manifest]));
    cases.unwrap_or_else(|error| panic!("policy.toml: {error}"))
}

fn run<P: Exported>(program: &Rc<Program>, case: &Case, inverted: bool) -> Result<(), String> {
    let tester = Tester::<P>::configured(program.clone(), &case.settings);
    let tester = tester.map_err(|issues| format!("configure: {issues:?}"))?;
    tester.ask(&case.case)?;
    let (_, wrong) = tester.expect(inverted)?;
    wrong.map_or(Ok(()), Err)
}
