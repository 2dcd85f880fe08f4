//! Runs a policy natively, against the gate's own analysis and questions.
//!
//! ```ignore
//! portcullis_sdk::testing::check_cases::<MyPolicy>(include_str!("../policy.toml"));
//! ```
//!
//! The cases of `policy.toml` are the same ones the gate runs when it loads the
//! component. Read [`check_cases`] first; [`Tester`] is for everything else.

mod native;

use std::rc::Rc;
use std::sync::Arc;

use portcullis::policy::cases::{Asks, Case};
use portcullis::policy::{Fault, FaultKind, Judged, Subject};

pub use portcullis::model;
pub use portcullis::policy::{Observed, Values};

use self::native::Native;
use crate::guest::{Delivered, Exported, Slot};
use crate::host;
use crate::settings::Issue;
use model::{Client, Decision, Dialect, SessionFacts, Verdict};

/// A configured policy and someone who asks it.
pub struct Tester<P> {
    slot: Slot<P>,
    native: Rc<Native>,
    dialect: Dialect,
    client: Client,
    session: SessionFacts,
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
        let value: toml::Table = toml::from_str(settings)
            .map_err(|error| vec![Issue::new("", format!("the settings are no TOML: {error}"))])?;
        let json = serde_json::to_string(&value).unwrap_or_default();
        Tester::with_json(&json)
    }

    /// Configures the policy with settings in JSON, as the gate hands them over.
    pub fn with_json(settings: &str) -> Result<Tester<P>, Vec<Issue>> {
        let slot = Slot::new();
        let native = Rc::new(Native::new());
        host::install(native.clone(), || slot.configure(settings))?;
        native
            .configured()
            .map_err(|fault| vec![Issue::new("", fault.to_string())])?;
        let client = Client {
            user: Arc::from("alice"),
            database: Arc::from("app"),
            address: None,
        };
        Ok(Tester {
            slot,
            native,
            dialect: Dialect::Postgres,
            client,
            session: SessionFacts::default(),
        })
    }

    /// Another grammar than PostgreSQL's.
    pub fn dialect(mut self, dialect: Dialect) -> Tester<P> {
        self.dialect = dialect;
        self
    }

    /// Somebody else than `alice`.
    pub fn user(mut self, user: &str) -> Tester<P> {
        self.client.user = Arc::from(user);
        self
    }

    /// With this application_name, as the client claims.
    pub fn application(mut self, name: &str) -> Tester<P> {
        self.session.application = Arc::from(name);
        self
    }

    /// From this address.
    pub fn address(mut self, address: std::net::IpAddr) -> Tester<P> {
        self.client.address = Some(address);
        self
    }

    /// Judges each statement of a text; the verdicts folded into one.
    ///
    /// # Panics
    /// When the policy faults: a fault is never what a test wants.
    pub fn judge(&self, sql: &str) -> Verdict {
        use portcullis::sql::{self, Lexer};
        let analysis = sql::analyze(
            sql,
            Lexer {
                dialect: self.dialect,
                ..Lexer::POSTGRES
            },
        );
        let verdict = |statement: &Arc<model::Statement>| {
            let subject =
                Subject::new(statement.clone(), self.client.clone(), self.session.clone());
            let judged = self.ask(Asks::Statement, subject);
            judged
                .unwrap_or_else(|fault| panic!("{fault}: {}", statement.text))
                .verdict
        };
        let verdicts: Vec<Verdict> = analysis.statements.iter().map(verdict).collect();
        portcullis::policy::chain::fold(&verdicts)
    }

    /// Asks the connection hook about this client.
    ///
    /// # Panics
    /// When the policy faults, or was exported without the hook.
    pub fn connect(&self) -> Verdict {
        let subject = Subject::connection(self.client.clone(), self.session.clone());
        let judged = self.ask(Asks::Connection, subject);
        judged.unwrap_or_else(|fault| panic!("{fault}")).verdict
    }

    /// Tells the event hook what became of a statement; returns what it logged.
    ///
    /// # Panics
    /// When the policy faults, or was exported without the hook.
    pub fn observe(&self, event: Observed) -> Vec<(u32, String)> {
        self.native.begin(Subject::event(Arc::new(event)));
        let told = host::install(self.native.clone(), || P::observe(&self.slot));
        assert!(told, "there is no event hook to tell");
        let judged = self.native.finish(Decision::Pass);
        judged.unwrap_or_else(|fault| panic!("{fault}")).logs
    }

    fn ask(&self, asks: Asks, subject: Subject) -> Result<Judged, Fault> {
        let (kind, effects, traits) = self.native.begin(subject);
        let delivered = host::install(self.native.clone(), || match asks {
            Asks::Statement => Some(self.slot.judge(kind, effects, traits)),
            Asks::Connection => P::connection(&self.slot),
            Asks::Plan => P::plan(&self.slot),
        });
        let decision = match delivered {
            None => return Err(Fault::new(FaultKind::Call, "there is no such hook to ask")),
            Some(Delivered::Pass) => Decision::Pass,
            Some(Delivered::Refuse) => Decision::Refuse,
            Some(Delivered::Respond) => Decision::Respond,
        };
        self.native.finish(decision)
    }
}

/// Runs the golden cases of a `policy.toml`.
///
/// # Panics
/// With everything that differs.
pub fn check_cases<P: Exported>(manifest: &str) {
    let cases = cases(manifest);
    assert!(!cases.is_empty(), "policy.toml has no [[cases]]");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            run::<P>(case, |_| ())
                .and_then(|verdict| tell(case, &verdict))
                .err()
                .map(|why| format!("{}: {why}", case.title()))
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
    let blind: Vec<String> = cases(manifest)
        .iter()
        .filter(|case| run::<P>(case, invert).is_ok())
        .map(Case::title)
        .collect();
    assert!(
        blind.is_empty(),
        "these cases hold either way:\n  {}",
        blind.join("\n  ")
    );
}

fn invert(judged: &mut Judged) {
    let verdict = &mut judged.verdict;
    if verdict.decision() == Decision::Pass {
        let refusal =
            model::Refusal::gate("inverted", model::refusal::sqlstate::REFUSED, "inverted");
        verdict.refusal = Some(refusal);
    } else {
        verdict.refusal = None;
        verdict.response = None;
    }
}

fn cases(manifest: &str) -> Vec<Case> {
    let value: serde_json::Value = toml::from_str(manifest).expect("policy.toml is TOML");
    let cases = value.get("cases").cloned().unwrap_or_default();
    serde_json::from_value(cases).expect("the cases of policy.toml")
}

/// `portcullis plugin test` compares the verdicts with those of the component.
fn tell(case: &Case, verdict: &Verdict) -> Result<(), String> {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("PORTCULLIS_VERDICTS") else {
        return Ok(());
    };
    let verdict = portcullis::policy::cases::verdict_json(verdict);
    let line = format!("{}\n", serde_json::json!([case.title(), verdict]));
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    let told = file.and_then(|mut file| file.write_all(line.as_bytes()));
    told.map_err(|error| error.to_string())
}

fn run<P: Exported>(case: &Case, change: impl Fn(&mut Judged)) -> Result<Verdict, String> {
    let tester = Tester::<P>::with_json(&case.settings());
    let tester = tester.map_err(|issues| format!("configure: {issues:?}"))?;
    let verdict = case.verdict(|asks, subject| {
        let mut judged = tester.ask(asks, subject)?;
        change(&mut judged);
        Ok(judged)
    })?;
    case.expect.check(&verdict)?;
    Ok(verdict)
}

/// What a complete manifest has: `at_least` cases that decide both ways, and
/// every setting and rule of the documentation in some case, settings also left out in some.
///
/// # Panics
/// With everything that is missing.
pub fn check_manifest(manifest: &str, at_least: usize) {
    let value: serde_json::Value = toml::from_str(manifest).expect("policy.toml is TOML");
    let list = |key: &str| {
        value
            .get(key)
            .and_then(|list| list.as_array())
            .cloned()
            .unwrap_or_default()
    };
    let (cases, mut wrong) = (list("cases"), Vec::new());
    if cases.len() < at_least {
        wrong.push(format!("{} cases, {at_least} are wanted", cases.len()));
    }
    let text = |value: &serde_json::Value, key: &str| value.get(key).map(plain).unwrap_or_default();
    if let Some(case) = cases
        .iter()
        .find(|case| text(&case["expect"], "decision").is_empty())
    {
        wrong.push(format!("a case without decision: {case}"));
    }
    for setting in list("settings") {
        let name = text(&setting, "name");
        let with = cases
            .iter()
            .filter(|case| case.get("settings").is_some_and(|s| mentions(s, &name)));
        let with = with.count();
        if !name.contains('<') && (with == 0 || with == cases.len()) {
            wrong.push(format!(
                "setting `{name}` is in {with} of {} cases",
                cases.len()
            ));
        }
    }
    for rule in list("rules") {
        let name = text(&rule, "name");
        let said = |case: &serde_json::Value| {
            text(&case["expect"], "rule") == name || mentions(&case["expect"]["alerts"], &name)
        };
        if !cases.iter().any(said) && text(&rule, "by") != "gate" {
            wrong.push(format!("no case expects rule `{name}`"));
        }
    }
    assert!(wrong.is_empty(), "policy.toml:\n  {}", wrong.join("\n  "));
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}

/// Whether a key or a text with this name stands anywhere inside.
fn mentions(value: &serde_json::Value, name: &str) -> bool {
    match value {
        serde_json::Value::Object(map) => map
            .iter()
            .any(|(key, value)| key == name || mentions(value, name)),
        serde_json::Value::Array(list) => list.iter().any(|value| mentions(value, name)),
        other => other.as_str() == Some(name),
    }
}

#[cfg(test)]
mod tests {
    use portcullis::model;

    use crate::code;

    #[test]
    fn codes_outside_the_shared_table_mean_the_same_to_the_gate() {
        for severity in code::Severity::ALL {
            let known = model::Severity::from_code(severity.code());
            assert_eq!(severity.name(), known.name());
        }
        for state in code::Transaction::ALL {
            let known = [
                model::TransactionState::Idle,
                model::TransactionState::Active,
                model::TransactionState::Failed,
            ];
            let known = known
                .into_iter()
                .find(|known| *known as u32 == state.code());
            assert_eq!(format!("Some({state:?})"), format!("{known:?}"));
        }
    }

    #[test]
    fn unknown_numbers_are_read_as_the_table_says() {
        assert_eq!(code::Kind::from_code(9_999), code::Kind::Other);
        assert_eq!(code::Via::from_code(9_999), code::Via::Nested);
        assert_eq!(code::Predicate::from_code(9_999), code::Predicate::Real);
        let later = code::Access::from_bits_retain(1 << 60);
        assert!(code::Access::ANY.intersects(later), "no access is missed");
    }
}
