//! `portcullis plugin run`: the verdict of one policy on one statement.

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::config::Diagnostic;
use crate::policy::cases::{Case, verdict_json};
use crate::policy::trial::{Trial, Tried};

use super::super::terminal::{self, Paint, say};
use super::{cache, inspect};

/// Room beside the names; a terminal is 80 wide.
const WIDTH: usize = 68;

/// Who asks what.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// A component file, or the name of a built-in plugin
    #[arg(value_name = "FILE|NAME")]
    plugin: String,
    /// The statement, or several
    #[arg(long, value_name = "TEXT", required_unless_present = "connection")]
    sql: Option<String>,
    /// Ask whether the client may connect, instead
    #[arg(long, conflicts_with = "sql")]
    connection: bool,
    /// Settings, as TOML: 'tables = ["secret_*"]'
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// Grammar of the statement
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    dialect: String,
    /// User who sends it
    #[arg(long, value_name = "NAME", default_value = "app")]
    user: String,
    /// Database it is sent to
    #[arg(long, value_name = "NAME", default_value = "app")]
    database: String,
    /// Address it comes from
    #[arg(long, value_name = "IP")]
    address: Option<std::net::IpAddr>,
    /// application_name of the session
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Role of the session; without it, the user
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// All of them at once, as golden cases write it: 'user = "ann"'
    #[arg(long, value_name = "TOML", default_value = "")]
    client: String,
    /// A bind value in text form; once for each
    #[arg(long = "param", value_name = "VALUE")]
    params: Vec<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: super::Format,
}

/// Asks and prints.
pub(super) fn run(arguments: &Run) -> ExitCode {
    let tried = case(arguments).and_then(|case| {
        let trial = load(&arguments.plugin)?;
        let begun = Instant::now();
        let tried = trial.judge(&case);
        let tried = tried.map_err(|why| Diagnostic::error(format!("no verdict: {why}")))?;
        Ok((trial, tried, begun.elapsed()))
    });
    let (trial, tried, took) = match tried {
        Ok(tried) => tried,
        Err(problem) => {
            terminal::complain(&[problem]);
            return ExitCode::FAILURE;
        }
    };
    let name = &trial.manifest().name;
    match arguments.format {
        super::Format::Json => {
            let mut verdict = verdict_json(&tried.verdict);
            verdict["policy"] = json!(&**name);
            verdict["reads"] = json!(reads(&tried));
            verdict["logs"] = json!(tried.logs);
            say(&format!("{verdict}\n"));
        }
        super::Format::Text => {
            let mut page = page(name, &tried, Paint::stdout());
            page.push_str(&format!(
                "{:<11} {} µs, on a cold instance\n",
                "took",
                took.as_micros()
            ));
            say(&page);
        }
    }
    ExitCode::SUCCESS
}

/// Compiles a plugin for a trial.
pub(super) fn load(plugin: &str) -> Result<Trial, Diagnostic> {
    let bytes = inspect::bytes(plugin)?;
    Trial::new(&bytes, cache::folder("policies").as_deref())
        .map_err(|why| Diagnostic::error(format!("{plugin} {}", why.message)).hint(why.hint))
}

/// Settings in TOML as the value of a case.
pub(super) fn table(text: &str, what: &str) -> Result<Value, Diagnostic> {
    toml::from_str(text)
        .map_err(|error| Diagnostic::error(format!("{what} is no TOML: {}", error.message())))
}

/// A golden case that expects nothing.
fn case(arguments: &Run) -> Result<Case, Diagnostic> {
    let mut client = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            client.insert(key.to_owned(), json!(value));
        }
    };
    let address = arguments.address.map(|address| address.to_string());
    put("user", Some(&arguments.user));
    put("database", Some(&arguments.database));
    put("address", address.as_deref());
    put("application", arguments.application.as_deref());
    put("role", arguments.role.as_deref());
    if let Value::Object(given) = table(&arguments.client, "--client")? {
        client.extend(given);
    }
    let case = json!({
        "sql": arguments.sql,
        "connection": arguments.connection,
        "dialect": arguments.dialect,
        "settings": table(&arguments.settings, "--settings")?,
        "client": client,
        "params": arguments.params,
        "expect": {},
    });
    serde_json::from_value(case).map_err(|error| Diagnostic::error(error.to_string()))
}

fn reads(tried: &Tried) -> Vec<String> {
    let classes = tried.reads.classes();
    classes
        .iter_names()
        .map(|(name, _)| name.to_lowercase().replace('_', "-"))
        .collect()
}

fn page(name: &str, tried: &Tried, paint: Paint) -> String {
    let verdict = &tried.verdict;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Painted words are short; anything longer is text.
        for (index, value) in inspect::wrap(value, WIDTH).iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let name = paint.dim(&format!("{name:<11}"));
            out.push_str(&format!("{name} {value}\n"));
        }
    };
    match (&verdict.refusal, &verdict.response) {
        (Some(refusal), _) => {
            let by = format!("{name}/{}", refusal.rule);
            line("verdict", &format!("{} by {by}", paint.bad("refused")));
            line("", &refusal.message);
            line("", &refusal.hint);
        }
        (None, Some(_)) => line("verdict", &paint.odd("answered by the policy")),
        (None, None) => line("verdict", &paint.good("allowed")),
    }
    let shown = verdict_json(verdict);
    for requirement in shown["requirements"].as_array().into_iter().flatten() {
        let fields = requirement.as_object().into_iter().flatten();
        let fields = fields.filter(|(_, value)| !value.is_null());
        let words: Vec<String> = fields
            .map(|(key, value)| match (&**key, value) {
                ("kind", Value::String(kind)) => kind.clone(),
                (key, Value::String(text)) => format!("{key}={text}"),
                (key, value) => format!("{key}={value}"),
            })
            .collect();
        line("under", &words.join(" "));
    }
    for rule in shown["alerts"].as_array().into_iter().flatten() {
        line("alert", rule.as_str().unwrap_or_default());
    }
    for (level, text) in &tried.logs {
        line("log", &format!("{level}: {text}"));
    }
    line("reads", &reads(tried).join(", "));
    if !tried.reads.rememberable() {
        line("note", &paint.odd("such a verdict is never remembered"));
    }
    out
}
