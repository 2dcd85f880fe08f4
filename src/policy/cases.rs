//! Golden cases: a statement, a client, and what a policy must answer.
//!
//! The same cases run natively in the SDK's tests and compiled at every load.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::Judged;
use super::chain::fold;
use super::fault::Fault;
use super::subject::{PlanInput, Subject};
use crate::model::{
    BindValue, Client, Decision, Dialect, Measure, RequirementKind, SessionFacts, TransactionState,
    Verdict,
};
use crate::sql::{self, Lexer};

/// One case, as `policy.toml` writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows; printed when it fails.
    #[serde(default)]
    pub name: String,
    /// The statement (or a string of several). None: a connection.
    pub sql: Option<String>,
    /// True: asks the connection hook about `client`; there is no `sql` then.
    #[serde(default)]
    pub connection: bool,
    /// Measures by name: asks the plan hook.
    pub plan: Option<serde_json::Map<String, Value>>,
    /// `postgres` unless said otherwise.
    pub dialect: Option<String>,
    /// Settings the policy is configured with.
    pub settings: Option<Value>,
    /// Who asks.
    #[serde(default)]
    pub client: CaseClient,
    /// When it is judged, in UTC: `2026-11-20T07:59:59Z`; now by default.
    pub at: Option<String>,
    /// Bind values in text form.
    pub params: Option<Vec<Option<String>>>,
    /// What must come out.
    pub expect: Expect,
}

/// Who asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaseClient {
    /// User; `alice` by default.
    pub user: Option<String>,
    /// Database; `app` by default.
    pub database: Option<String>,
    /// application_name.
    pub application: Option<String>,
    /// Address; `127.0.0.1` by default.
    pub address: Option<std::net::IpAddr>,
    /// Role; the user by default.
    pub role: Option<String>,
    /// search_path; unknown by default.
    pub search_path: Option<Vec<String>>,
    /// True: inside a transaction block.
    pub transaction: bool,
}

/// What must come out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// `pass` (also `allow`), `refuse` or `respond`.
    pub decision: Option<String>,
    /// The rule of the refusal.
    pub rule: Option<String>,
    /// All requirements: names, or tables with `kind` and some of the fields.
    pub requirements: Option<Vec<Value>>,
    /// Rules of all alerts.
    pub alerts: Option<Vec<String>>,
}

/// Which function a case calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// `judge`.
    Statement,
    /// `judge-connection`.
    Connection,
    /// `judge-plan`.
    Plan,
}

impl Case {
    /// The settings as JSON text.
    pub fn settings(&self) -> String {
        self.settings
            .as_ref()
            .map_or_else(|| "{}".to_owned(), Value::to_string)
    }

    /// Which function it calls.
    pub fn asks(&self) -> Asks {
        match (&self.sql, &self.plan) {
            (None, _) => Asks::Connection,
            _ if self.connection => Asks::Connection,
            (_, Some(_)) => Asks::Plan,
            _ => Asks::Statement,
        }
    }

    /// One line that names the case.
    pub fn title(&self) -> String {
        match (self.name.as_str(), &self.sql) {
            ("", Some(sql)) => sql.clone(),
            ("", None) => "connection".to_owned(),
            (name, _) => name.to_owned(),
        }
    }

    /// What is judged: one subject for each statement.
    pub fn subjects(&self) -> Result<Vec<Subject>, String> {
        let (client, session) = self.client.facts();
        let Some(sql) = self
            .sql
            .as_deref()
            .filter(|_| self.asks() != Asks::Connection)
        else {
            return Ok(vec![Subject::connection(client, session)]);
        };
        let dialect = self.dialect.as_deref().unwrap_or("postgres");
        let dialect =
            Dialect::from_name(dialect).ok_or_else(|| format!("unknown dialect `{dialect}`"))?;
        let analysis = sql::analyze(
            sql,
            Lexer {
                dialect,
                ..Lexer::POSTGRES
            },
        );
        if analysis.statements.is_empty() {
            return Err("there is no statement in it".to_owned());
        }
        let plan = self
            .plan
            .as_ref()
            .map(|plan| plan_input(plan).map(Arc::new))
            .transpose()?;
        let values = self.params.iter().flatten().map(|text| BindValue {
            type_oid: 25,
            binary: false,
            bytes: text.clone().map(bytes::Bytes::from),
        });
        let now = match &self.at {
            Some(at) => time(at)?,
            None => SystemTime::now(),
        };
        let subject = |statement: &Arc<_>| Subject {
            now,
            values: Some(values.clone().collect()),
            plan: plan.clone(),
            event: None,
            ..Subject::new(Arc::clone(statement), client.clone(), session.clone())
        };
        Ok(analysis.statements.iter().map(subject).collect())
    }

    /// Runs the case with whatever judges one subject. An error says what differed.
    pub fn run(
        &self,
        judge: impl FnMut(Asks, Subject) -> Result<Judged, Fault>,
    ) -> Result<(), String> {
        self.expect.check(&self.verdict(judge)?)
    }

    /// What comes out, whatever was expected.
    pub fn verdict(
        &self,
        mut judge: impl FnMut(Asks, Subject) -> Result<Judged, Fault>,
    ) -> Result<Verdict, String> {
        let mut verdicts = Vec::new();
        for subject in self.subjects()? {
            let judged = judge(self.asks(), subject).map_err(|fault| fault.to_string())?;
            if judged.needs_values {
                return Err("it asks for bind values; give `params`".to_owned());
            }
            let verdict = &judged.verdict;
            if self.asks() != Asks::Statement
                && (verdict.response.is_some() || !verdict.requirements.is_empty())
            {
                return Err("a hook can only pass or refuse".to_owned());
            }
            verdicts.push(judged.verdict);
        }
        Ok(fold(&verdicts))
    }
}

impl CaseClient {
    fn facts(&self) -> (Client, SessionFacts) {
        let user: Arc<str> = self.user.as_deref().unwrap_or("alice").into();
        let client = Client {
            user: user.clone(),
            database: self.database.as_deref().unwrap_or("app").into(),
            address: Some(self.address.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into())),
        };
        let session = SessionFacts {
            application: self.application.as_deref().unwrap_or("").into(),
            role: self.role.as_deref().map_or(user, Arc::from),
            search_path: self
                .search_path
                .as_ref()
                .map(|path| path.iter().map(|schema| Arc::from(&**schema)).collect()),
            transaction: if self.transaction {
                TransactionState::Active
            } else {
                TransactionState::Idle
            },
            ..SessionFacts::default()
        };
        (client, session)
    }
}

impl Expect {
    /// Compares; the error says what differed.
    pub fn check(&self, verdict: &Verdict) -> Result<(), String> {
        let decision = match verdict.decision() {
            Decision::Pass => "pass",
            Decision::Refuse => "refuse",
            Decision::Respond => "respond",
        };
        let rule = verdict.refusal.as_ref().map(|refusal| &*refusal.rule);
        if let Some(wanted) = &self.decision {
            let wanted = if wanted == "allow" { "pass" } else { wanted };
            if wanted != decision {
                let by = rule.map(|rule| format!(" by {rule}")).unwrap_or_default();
                return Err(format!("expected {wanted}, got {decision}{by}"));
            }
        }
        if let Some(wanted) = self.rule.as_deref().filter(|wanted| Some(*wanted) != rule) {
            return Err(format!(
                "expected rule {wanted}, got {}",
                rule.unwrap_or("none")
            ));
        }
        self.check_requirements(verdict)?;
        if let Some(wanted) = &self.alerts {
            let rules: Vec<&str> = verdict
                .alerts
                .iter()
                .filter_map(|alert| alert.rule.rsplit('/').next())
                .collect();
            if rules != *wanted {
                return Err(format!("expected alerts {wanted:?}, got {rules:?}"));
            }
        }
        Ok(())
    }

    fn check_requirements(&self, verdict: &Verdict) -> Result<(), String> {
        let Some(wanted) = &self.requirements else {
            return Ok(());
        };
        let mut left: Vec<Value> = verdict
            .requirements
            .iter()
            .map(|r| requirement_json(&r.kind))
            .collect();
        let all = Value::Array(left.clone());
        for want in wanted {
            let found = left.iter().position(|requirement| fits(want, requirement));
            match found {
                Some(place) => drop(left.swap_remove(place)),
                None => return Err(format!("expected requirement {want}, got {all}")),
            }
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("unexpected requirements {}", Value::Array(left)))
        }
    }
}

fn fits(want: &Value, requirement: &Value) -> bool {
    match want {
        Value::String(name) => requirement.get("kind").and_then(Value::as_str) == Some(name),
        Value::Object(fields) => {
            fields
                .iter()
                .all(|(key, value)| match (value, requirement.get(key)) {
                    (Value::Number(a), Some(Value::Number(b))) => a.as_f64() == b.as_f64(),
                    (value, found) => found == Some(value),
                })
        }
        _ => false,
    }
}

/// A verdict as JSON: what two runs of one case must agree in.
pub fn verdict_json(verdict: &Verdict) -> Value {
    let refusal = verdict.refusal.as_ref();
    let decision = match verdict.decision() {
        Decision::Pass => "pass",
        Decision::Refuse => "refuse",
        Decision::Respond => "respond",
    };
    let requirements = verdict.requirements.iter();
    let alerts = verdict.alerts.iter();
    json!({
        "decision": decision,
        "rule": refusal.map_or("", |refusal| &refusal.rule),
        "message": refusal.map_or("", |refusal| &refusal.message),
        "hint": refusal.map_or("", |refusal| &refusal.hint),
        "requirements": requirements.map(|it| requirement_json(&it.kind)).collect::<Value>(),
        "alerts": alerts.filter_map(|it| it.rule.rsplit('/').next()).collect::<Value>(),
    })
}

/// A requirement as JSON, keys as in the interface: what `explain` prints and cases compare.
pub fn requirement_json(kind: &RequirementKind) -> Value {
    use RequirementKind as K;
    let mut value = match kind {
        K::RowsChangedMax { relation, rows } => json!({ "relation": relation, "rows": rows }),
        K::RowsReturnedMax { rows } => json!({ "rows": rows }),
        K::TableRowsMax {
            patterns,
            pattern,
            changed,
            returned,
        } => {
            let text = patterns.get(*pattern as usize).map(|text| &**text);
            json!({ "pattern": text, "changed": changed, "returned": returned })
        }
        K::Rate {
            bucket,
            by,
            burst,
            period_ms,
        } => {
            json!({ "bucket": &**bucket, "by": by, "burst": burst, "period_ms": period_ms })
        }
        K::PlanMax { measure, limit } => json!({ "measure": measure.name(), "limit": limit }),
        K::WantPlan | K::DryRun | K::ReadOnly => json!({}),
        K::Preview { rows } => json!({ "rows": rows }),
        K::Backup { scope } => json!({ "scope": scope }),
        K::Confirm { ttl_ms } => json!({ "ttl_ms": ttl_ms }),
        K::StatementTimeout { ms } | K::LockTimeout { ms } => json!({ "ms": ms }),
        K::Mask { column, method } => json!({ "column": &**column, "method": method }),
    };
    if let Value::Object(fields) = &mut value {
        fields.shift_insert(0, "kind".to_owned(), kind.name().into());
    }
    value
}

fn time(text: &str) -> Result<SystemTime, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed
        .map(SystemTime::from)
        .map_err(|error| format!("`at` is no time: {error}"))
}

fn plan_input(plan: &serde_json::Map<String, Value>) -> Result<PlanInput, String> {
    let mut measures = Vec::new();
    for (name, value) in plan {
        let measure = Measure::from_name(name);
        let measure = measure.ok_or_else(|| format!("unknown plan measure `{name}`"))?;
        measures.push((
            measure,
            value
                .as_f64()
                .ok_or_else(|| format!("`{name}` is not a number"))?,
        ));
    }
    Ok(PlanInput {
        measures,
        json: Value::Object(plan.clone()).to_string().into(),
    })
}
