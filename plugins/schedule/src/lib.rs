//! Maintenance windows and closing times.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct Schedule {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    action: Action,
    windows: Windows,
    classes: Vec<Class>,
    tables: Names,
    reason: String,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    rules: Vec<RuleSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSettings {
    action: Action,
    windows: Vec<String>,
    #[serde(default)]
    classes: Vec<Class>,
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    /// Only in the windows.
    Allow,
    /// Not in the windows.
    Refuse,
}

/// Classes of statements, by what they can do; one statement may be of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Class {
    Read,
    Write,
    Schema,
    Maintenance,
    Any,
}

impl Class {
    fn holds(self, statement: &Statement) -> bool {
        let effects = statement.effects();
        // What cannot be read may do anything.
        let unread = statement.is_opaque() && !statement.traits().contains(Traits::HARMLESS);
        let maintains = matches!(statement.kind(), Kind::Maintain | Kind::Refresh);
        match self {
            Class::Any => true,
            Class::Read => effects.contains(Effects::READS) || unread,
            Class::Write => {
                let changes = Effects::WRITES | Effects::CODE | Effects::SERVER_FILE;
                let outside = Effects::PROGRAM | Effects::NETWORK;
                effects.intersects(changes | outside) || unread
            }
            Class::Schema => {
                let definition = Effects::SCHEMA | Effects::PRIVILEGE;
                let setting = matches!(statement.kind(), Kind::Set | Kind::Reset | Kind::Discard);
                (effects.intersects(definition) && !setting) || unread
            }
            Class::Maintenance => maintains || unread,
        }
    }
}

impl Policy for Schedule {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let mut rules = Vec::new();
        for (index, rule) in settings.rules.into_iter().enumerate() {
            let at = |key: &str| format!("/rules/{index}/{key}");
            if rule.windows.is_empty() {
                setup.issue(
                    Issue::new(at("windows"), "a rule without windows says nothing").hint(
                        "Write for example windows = [\"Mon-Fri 08:00-18:00 Europe/Berlin\"].",
                    ),
                );
            }
            rules.push(Rule {
                action: rule.action,
                windows: setup.windows(&at("windows"), &rule.windows),
                classes: rule.classes,
                tables: setup.names(&at("tables"), &rule.tables),
                reason: rule.reason,
            });
        }
        Ok(Schedule { rules })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        if statement.is_plan_only() {
            return Verdict::pass();
        }
        let refused = self.rules.iter().find_map(|rule| rule.refuse(statement));
        refused.unwrap_or_else(Verdict::pass)
    }
}

impl Rule {
    fn refuse(&self, statement: &Statement) -> Option<Verdict> {
        if !self.concerns(statement) {
            return None;
        }
        let clock = statement.clock();
        let open = clock.window(self.windows).is_some();
        let (rule, message, until) = match (self.action, open) {
            (Action::Allow, false) => (
                "closed",
                "the statement is permitted only at certain times",
                "opens",
            ),
            (Action::Refuse, true) => (
                "window",
                "the statement is not permitted at this time",
                "closes",
            ),
            _ => return None,
        };
        let message = match self.reason.as_str() {
            "" => message.to_owned(),
            reason => format!("{message}: {reason}"),
        };
        let hint = match clock.next_edge(self.windows) {
            Some(edge) => format!("The window {until} at {edge}; try again then."),
            None => "Ask an operator.".to_owned(),
        };
        Some(Verdict::refuse(rule, message).hint(hint))
    }

    fn concerns(&self, statement: &Statement) -> bool {
        let class =
            self.classes.is_empty() || self.classes.iter().any(|class| class.holds(statement));
        class && (self.tables.is_empty() || statement.find(self.tables, Access::ANY).is_some())
    }
}

portcullis_sdk::export!(Schedule);
