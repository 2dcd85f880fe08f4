//! Known patterns of attacks, each a rule that can be switched.
//!
//! Statements are judged on their facts, values (constants and bind values) on
//! what they hold. Read [`RULES`] first.

use std::cell::OnceCell;

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;
mod value;

/// What happens when a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Off,
    Alert,
    Refuse,
}

/// One pattern.
#[derive(Debug)]
struct Rule {
    id: &'static str,
    action: Action,
    message: &'static str,
    hint: &'static str,
}

const fn rule(id: &'static str, action: Action, message: &'static str, hint: &'static str) -> Rule {
    Rule {
        id,
        action,
        message,
        hint,
    }
}

const BIND: &str = "Bind values instead of writing them into the statement.";
const VALUE: &str =
    "If the value is meant, ask an operator to exempt the table or to switch the rule off.";
const OPERATOR: &str = "If it is meant, ask an operator to switch the rule off for this user.";

/// Every rule with what happens by default; those that alert are ordinary for some applications.
const RULES: &[Rule] = &[
    rule(
        "file",
        Action::Refuse,
        "the statement reads or writes files of the server",
        OPERATOR,
    ),
    rule(
        "program",
        Action::Refuse,
        "the statement runs a program on the server",
        OPERATOR,
    ),
    rule(
        "network",
        Action::Alert,
        "the statement talks to another server",
        OPERATOR,
    ),
    rule(
        "sleep",
        Action::Refuse,
        "the statement waits on purpose",
        OPERATOR,
    ),
    rule(
        "credentials",
        Action::Refuse,
        "the statement reads where the server keeps passwords",
        OPERATOR,
    ),
    rule(
        "union-catalog",
        Action::Refuse,
        "the statement joins rows of the system catalog to others by UNION",
        BIND,
    ),
    rule(
        "union-null",
        Action::Refuse,
        "the statement adds a row of NULLs by UNION",
        BIND,
    ),
    rule(
        "tautology",
        Action::Refuse,
        "a condition is true for every row because of an OR",
        BIND,
    ),
    rule(
        "comment",
        Action::Refuse,
        "a comment hides the words of the statement",
        BIND,
    ),
    rule(
        "chr-chain",
        Action::Refuse,
        "the statement puts text together from character codes",
        OPERATOR,
    ),
    rule(
        "stacked",
        Action::Alert,
        "a destructive statement stands in a string with others",
        BIND,
    ),
    rule(
        "catalog",
        Action::Alert,
        "the statement reads the system catalog",
        OPERATOR,
    ),
    rule(
        "value-union",
        Action::Refuse,
        "a value holds a UNION that would add a query",
        VALUE,
    ),
    rule(
        "value-tautology",
        Action::Refuse,
        "a value holds a condition that is always true",
        VALUE,
    ),
    rule(
        "value-stacked",
        Action::Refuse,
        "a value holds a second statement",
        VALUE,
    ),
    rule(
        "value-comment",
        Action::Refuse,
        "a value ends a string and begins a comment",
        VALUE,
    ),
    rule(
        "value-call",
        Action::Refuse,
        "a value holds a call that waits, reads files or hides text",
        VALUE,
    ),
    rule(
        "value-subquery",
        Action::Refuse,
        "a value holds a query in brackets",
        VALUE,
    ),
];

/// Values of one statement are looked at up to here, so that a bulk load is not
/// refused for the time that takes.
const BYTES_MAX: usize = 16 * 1024;

/// What a value costs besides its bytes.
const VALUE_BYTES: usize = 64;

/// The policy.
#[derive(Debug)]
pub struct Signature {
    actions: Vec<Action>,
    exempt: Names,
    catalog_users: Names,
    sleeps: Names,
    chr: Names,
    credentials: Names,
    system: Names,
    schemas: [Symbol; 2],
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    refuse: Vec<String>,
    alert: Vec<String>,
    off: Vec<String>,
    exempt: Vec<String>,
    catalog_users: Vec<String>,
}

impl Policy for Signature {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let mut actions: Vec<Action> = RULES.iter().map(|rule| rule.action).collect();
        for (key, ids, action) in [
            ("refuse", &settings.refuse, Action::Refuse),
            ("alert", &settings.alert, Action::Alert),
            ("off", &settings.off, Action::Off),
        ] {
            for (index, id) in ids.iter().enumerate() {
                match place(id).and_then(|place| actions.get_mut(place)) {
                    Some(known) => *known = action,
                    None => {
                        let all: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
                        let issue = Issue::new(
                            format!("/{key}/{index}"),
                            format!("there is no rule `{id}`"),
                        );
                        setup.issue(issue.hint(format!("Rules are: {}.", all.join(", "))));
                    }
                }
            }
        }
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        Ok(Signature {
            actions,
            exempt: setup.names("/exempt", &settings.exempt),
            catalog_users: setup.names("/catalog_users", &settings.catalog_users),
            sleeps: setup.names("", &list(&["pg_sleep", "pg_sleep_for", "pg_sleep_until"])),
            chr: setup.names("", &list(&["chr"])),
            credentials: setup.names(
                "",
                &list(&[
                    "pg_authid",
                    "pg_shadow",
                    "pg_user_mapping",
                    "pg_user_mappings",
                    "pg_hba_file_rules",
                    "pg_subscription",
                ]),
            ),
            system: setup.names("", &list(&["pg_*", "sqlite_master", "sqlite_schema"])),
            schemas: [
                setup.intern("information_schema"),
                setup.intern("pg_catalog"),
            ],
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        let mut alerts = Vec::new();
        let written = OnceCell::new();
        for (rule, action) in RULES.iter().zip(&self.actions) {
            if *action == Action::Off
                || rule.id.starts_with("value-")
                || !self.breaks(rule.id, statement, &written)
            {
                continue;
            }
            if *action == Action::Refuse {
                return refuse(rule);
            }
            alerts.push(rule.id);
        }
        match self.value(statement) {
            Some((rule, Action::Refuse)) => return refuse(rule),
            Some((rule, _)) => alerts.push(rule.id),
            None => {}
        }
        alerts.into_iter().fold(Verdict::pass(), |verdict, id| {
            verdict.alert(id, Severity::Warning)
        })
    }
}

fn place(id: &str) -> Option<usize> {
    RULES.iter().position(|rule| rule.id == id)
}

fn refuse(rule: &'static Rule) -> Verdict {
    Verdict::refuse(rule.id, rule.message)
        .hint(rule.hint)
        .alert(rule.id, Severity::Critical)
}

impl Signature {
    fn breaks(&self, id: &str, statement: &Statement, written: &OnceCell<String>) -> bool {
        // Asked for once, and not of plain rows: a bulk load is long.
        let rows = statement.kind() == Kind::Insert
            && statement.predicate() == Predicate::NotApplicable
            && !statement.calls(self.chr);
        let text = || match rows {
            true => "",
            false => written.get_or_init(|| text(statement)).as_str(),
        };
        let effects = statement.effects();
        let traits = statement.traits();
        match id {
            "file" => effects.contains(Effects::SERVER_FILE),
            "program" => effects.contains(Effects::PROGRAM),
            "network" => effects.contains(Effects::NETWORK),
            "sleep" => traits.contains(Traits::CALLS_FUNCTIONS) && statement.calls(self.sleeps),
            "credentials" => statement.find(self.credentials, Access::ANY).is_some(),
            "tautology" => statement.predicate() == Predicate::AlwaysTrue && or_made_it_so(text()),
            "comment" => statement
                .values()
                .features()
                .contains(ValueFeatures::SPLICED),
            "stacked" => traits.contains(Traits::IN_STRING | Traits::DESTRUCTIVE),
            "chr-chain" => text().matches("chr(").count() >= 3 && text().contains("||"),
            "union-null" => adds_nulls(text()),
            "union-catalog" => self.mixes(statement) && has_words(text(), &["union"]),
            "catalog" => {
                statement
                    .relations()
                    .any(|relation| self.is_system(&relation))
                    && !statement.client().is_in(self.catalog_users)
            }
            _ => false,
        }
    }

    fn is_system(&self, relation: &Relation) -> bool {
        self.schemas.contains(&relation.schema)
            || (relation.schema.is_none() && relation.is_in(self.system))
    }

    /// Rows of the catalog beside rows of something else.
    fn mixes(&self, statement: &Statement) -> bool {
        let (mut system, mut other) = (false, false);
        for relation in statement.relations() {
            match self.is_system(&relation) {
                true => system = true,
                false => other = true,
            }
        }
        system && other
    }

    /// The first rule a value breaks that is not off.
    fn value(&self, statement: &Statement) -> Option<(&'static Rule, Action)> {
        let action = |id: &str| {
            let place = place(id)?;
            let action = *self.actions.get(place)?;
            (action != Action::Off).then_some((&RULES[place], action))
        };
        if !RULES
            .iter()
            .any(|rule| rule.id.starts_with("value-") && action(rule.id).is_some())
        {
            return None;
        }
        // The small question first: its answer is shared by almost all values.
        let suspicious = ValueFeatures::QUOTE
            | ValueFeatures::KEYWORD
            | ValueFeatures::COMMENT
            | ValueFeatures::SEMICOLON
            | ValueFeatures::EQUATION
            | ValueFeatures::CALL;
        let values = statement.values();
        if !values.features().intersects(suspicious)
            || statement.find(self.exempt, Access::ANY).is_some()
        {
            return None;
        }
        let bound = values.parameters().into_iter().flatten().flatten();
        let mut seen = 0;
        values
            .literals()
            .chain(bound)
            .take_while(|value| {
                seen += value.len().min(value::BYTES_MAX) + VALUE_BYTES;
                seen <= BYTES_MAX
            })
            .filter_map(|value| action(value::rule(&value)?))
            .max_by_key(|(_, action)| *action == Action::Refuse)
    }
}

/// The statement without its constants, in lower case. The gate leaves some in
/// the text, where what they are decides what the statement does.
fn text(statement: &Statement) -> String {
    let text = statement.normalized().to_ascii_lowercase();
    text.split('\'').step_by(2).collect::<Vec<_>>().join("?")
}

/// `$1 IS NULL OR name = $1` is an optional filter, and no attack.
fn or_made_it_so(text: &str) -> bool {
    has_words(text, &["or"]) && !text.contains("is null")
}

fn has_words(text: &str, wanted: &[&str]) -> bool {
    words(text).any(|word| wanted.contains(&word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '$')))
        .filter(|word| !word.is_empty())
}

/// `UNION [ALL] SELECT NULL, NULL, ?`: a probe for the number of columns.
fn adds_nulls(text: &str) -> bool {
    let words: Vec<&str> = words(text).collect();
    (0..words.len()).any(|at| {
        if words[at] != "union" {
            return false;
        }
        let all = usize::from(words.get(at + 1) == Some(&"all"));
        let rest = words.get(at + 1 + all..).unwrap_or_default();
        rest.first() == Some(&"select")
            && rest.len() > 1
            && rest[1..].iter().all(|word| *word == "null")
    })
}

portcullis_sdk::export!(Signature);
