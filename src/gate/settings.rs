//! The session settings a client has made, to be made again on another link.
//!
//! A change counts when its transaction commits, as on the server: it waits in
//! `pending` until then, is dropped with a rollback, and a rollback to a
//! savepoint drops what came after the savepoint. What a value really is the
//! server says itself (`current_setting`), not the text of the statement.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::backend::postgres::link::Applied;
use crate::model::{Facts, Kind};

/// One change on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// SET or set_config.
    Set(Arc<str>),
    /// RESET or SET … TO DEFAULT.
    Reset(Arc<str>),
    /// RESET ALL, which leaves the role (GUC_NO_RESET_ALL), or DISCARD ALL, which does not.
    ResetAll { role: bool },
}

/// The setting that RESET ALL leaves as it is.
const ROLE: &str = "role";

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// What the client asked for when it connected: RESET returns to it.
    startup: Applied,
    /// What the next link must have.
    wanted: Applied,
    pending: Vec<Change>,
    marks: Vec<(Arc<str>, usize)>,
    committed: Vec<Change>,
}

impl Settings {
    /// Settings that begin with the start-up parameters.
    pub(super) fn new(startup: BTreeMap<Arc<str>, Arc<str>>) -> Settings {
        let startup = Applied::new(startup);
        Settings {
            wanted: startup.clone(),
            startup,
            ..Settings::default()
        }
    }

    /// What the next link must have.
    pub(super) fn wanted(&self) -> &Applied {
        &self.wanted
    }

    /// Replaces what is wanted by an equal copy that others share.
    pub(super) fn share(&mut self, intern: impl FnOnce(&Applied) -> Applied) {
        self.wanted = intern(&self.wanted);
    }

    /// Notes what a completed statement changed. False: it cannot be known what it was.
    pub(super) fn note(&mut self, facts: &Facts) -> bool {
        let mut known = true;
        // These end with their transaction, however they were set.
        let passes = |name: &str| name.starts_with("transaction_");
        let lasting = facts.settings.iter().filter(|setting| !setting.local);
        for setting in lasting.filter(|setting| !passes(&setting.name)) {
            let resets = matches!(facts.kind, Kind::Reset | Kind::Discard);
            let change = match (&*setting.name, &setting.value) {
                ("*", _) if resets => Change::ResetAll {
                    role: facts.kind == Kind::Discard,
                },
                // The seed cannot be read back.
                ("*" | "session_authorization" | "seed", _) => {
                    known = false;
                    continue;
                }
                (_, None) if resets => Change::Reset(setting.name.clone()),
                _ => Change::Set(setting.name.clone()),
            };
            self.pending.push(change);
        }
        known
    }

    /// SAVEPOINT.
    pub(super) fn savepoint(&mut self, name: &Arc<str>) {
        self.marks.push((name.clone(), self.pending.len()));
    }

    /// ROLLBACK TO.
    pub(super) fn rollback_to(&mut self, name: &Arc<str>) {
        if let Some(at) = self.marks.iter().rposition(|(known, _)| known == name) {
            self.pending.truncate(self.marks[at].1);
            self.marks.truncate(at + 1);
        }
    }

    /// The transaction is over.
    pub(super) fn end(&mut self, committed: bool) {
        self.marks.clear();
        let pending = std::mem::take(&mut self.pending);
        if committed {
            self.committed.extend(pending);
        }
    }

    /// Whether the server must be asked for values before the link may go.
    pub(super) fn are_unsettled(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Names whose values the server must tell, in the order of [`Settings::settle`].
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for change in &self.committed {
            match change {
                Change::Set(name) if !names.contains(name) => names.push(name.clone()),
                Change::ResetAll { role } => names.retain(|name| !role && &**name == ROLE),
                _ => {}
            }
        }
        names
    }

    /// The query that asks for them.
    pub(super) fn question(names: &[Arc<str>]) -> String {
        let mut text = String::from("SELECT ");
        for (at, name) in names.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let _ = write!(
                text,
                "{comma}pg_catalog.current_setting({}, true)",
                quoted(name)
            );
        }
        text
    }

    /// Takes the values over. Gives what the link has now; what the client
    /// wants may be more, because RESET returns to its start-up values.
    pub(super) fn settle(
        &mut self,
        applied: &Applied,
        names: &[Arc<str>],
        values: &[Option<Arc<str>>],
    ) -> Applied {
        let mut on_link = (**applied).clone();
        let mut wanted = (*self.wanted).clone();
        for change in std::mem::take(&mut self.committed) {
            match change {
                Change::Set(name) => {
                    let at = names.iter().position(|known| *known == name);
                    if let Some(Some(value)) = at.and_then(|at| values.get(at)) {
                        on_link.insert(name.clone(), value.clone());
                        wanted.insert(name, value.clone());
                    }
                }
                Change::Reset(name) => {
                    on_link.remove(&name);
                    match self.startup.get(&name) {
                        Some(value) => wanted.insert(name, value.clone()),
                        None => wanted.remove(&name),
                    };
                }
                Change::ResetAll { role } => {
                    let stays = |name: &Arc<str>| !role && &**name == ROLE;
                    on_link.retain(|name, _| stays(name));
                    let kept = wanted.remove(ROLE).filter(|_| !role);
                    wanted = (*self.startup).clone();
                    wanted.extend(kept.map(|role| (Arc::from(ROLE), role)));
                }
            }
        }
        let on_link = Applied::new(on_link);
        self.wanted = if *on_link == wanted {
            on_link.clone()
        } else {
            Applied::new(wanted)
        };
        on_link
    }
}

/// Statements that turn what a link has into what is wanted; none: nothing to do.
pub(super) fn restore(applied: &Applied, wanted: &Applied) -> Option<String> {
    if Arc::ptr_eq(applied, wanted) || applied == wanted {
        return None;
    }
    let mut text = String::new();
    let role = |name: &Arc<str>| &**name == "role";
    // The role comes off first and on last: the others may need the login's rights.
    if applied.keys().any(role) && applied.get("role") != wanted.get("role") {
        text.push_str("RESET ROLE;");
    }
    for name in applied.keys().filter(|name| !role(name)) {
        if !wanted.contains_key(name) {
            let _ = write!(text, "RESET {};", identifier(name));
        }
    }
    let missing = |(name, value): &(&Arc<str>, &Arc<str>)| applied.get(*name) != Some(*value);
    let (roles, others): (Vec<_>, Vec<_>) = wanted
        .iter()
        .filter(missing)
        .partition(|(name, _)| role(name));
    for (name, value) in others.into_iter().chain(roles) {
        let _ = write!(
            text,
            "SELECT pg_catalog.set_config({}, {}, false);",
            quoted(name),
            quoted(value)
        );
    }
    Some(text)
}

/// A string constant that means the same whatever standard_conforming_strings is.
fn quoted(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// A setting's name, `extension.name` included.
fn identifier(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

/// Start-up parameters as settings. None where `options` is still there: the door
/// has taken apart what it could, so it holds something that is no setting.
pub(super) fn startup(parameters: &[(String, String)]) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    let mut settings = BTreeMap::new();
    for (name, value) in parameters {
        let name = name.to_ascii_lowercase();
        if name == "options" {
            return None;
        }
        settings.insert(Arc::from(name), Arc::from(value.as_str()));
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Applied {
        let pairs = pairs.iter().map(|(n, v)| (Arc::from(*n), Arc::from(*v)));
        Applied::new(pairs.collect())
    }

    #[test]
    fn turns_one_state_into_another() {
        let (a, b) = (
            map(&[("x", "1"), ("role", "r")]),
            map(&[("x", "it's"), ("my.y", "\\")]),
        );
        assert_eq!(
            restore(&a, &b).as_deref(),
            Some(
                "RESET ROLE;SELECT pg_catalog.set_config('my.y', E'\\\\', false);\
                 SELECT pg_catalog.set_config('x', 'it''s', false);"
            )
        );
        assert_eq!(
            restore(&b, &map(&[])).as_deref(),
            Some("RESET \"my\".\"y\";RESET \"x\";")
        );
        assert_eq!(restore(&a, &map(&[("x", "1"), ("role", "r")])), None);
    }

    #[test]
    fn keeps_only_what_was_committed() {
        let set = |name: &str| {
            let mut facts = Facts::empty(Kind::Set);
            facts.settings.push(crate::model::Setting {
                name: name.into(),
                value: Some("v".into()),
                local: false,
            });
            facts
        };
        let mut settings = Settings::default();
        settings.note(&set("a"));
        settings.savepoint(&"s".into());
        settings.note(&set("b"));
        settings.rollback_to(&"s".into());
        settings.note(&set("c"));
        settings.end(true);
        settings.note(&set("d"));
        settings.end(false);
        let names = settings.names();
        assert_eq!(names.iter().map(|n| &**n).collect::<Vec<_>>(), ["a", "c"]);
        let values = [Some(Arc::from("1")), Some(Arc::from("2"))];
        let on_link = settings.settle(&map(&[]), &names, &values);
        assert_eq!(on_link, map(&[("a", "1"), ("c", "2")]));
        assert!(Arc::ptr_eq(&on_link, settings.wanted()));
        assert!(!settings.are_unsettled());
    }

    #[test]
    fn reset_returns_to_the_start_up_values() {
        let mut settings = Settings::new((*map(&[("a", "start")])).clone());
        let mut facts = Facts::empty(Kind::Reset);
        facts.settings.push(crate::model::Setting {
            name: "*".into(),
            value: None,
            local: false,
        });
        settings.note(&facts);
        settings.end(true);
        let on_link = settings.settle(&map(&[("a", "other"), ("b", "x")]), &[], &[]);
        assert_eq!(on_link, map(&[]));
        assert_eq!(settings.wanted(), &map(&[("a", "start")]));
    }

    #[test]
    fn reset_all_leaves_the_role_and_discard_all_does_not() {
        for (kind, left) in [
            (Kind::Reset, map(&[("role", "r")])),
            (Kind::Discard, map(&[])),
        ] {
            let mut settings = Settings::default();
            for name in ["role", "a"] {
                let mut facts = Facts::empty(Kind::Set);
                facts.settings.push(crate::model::Setting {
                    name: name.into(),
                    value: None,
                    local: false,
                });
                settings.note(&facts);
            }
            let mut facts = Facts::empty(kind);
            facts.settings.push(crate::model::Setting {
                name: "*".into(),
                value: None,
                local: false,
            });
            settings.note(&facts);
            settings.end(true);
            let names = settings.names();
            assert_eq!(names.len(), left.len(), "{kind:?}");
            let on_link = settings.settle(&map(&[]), &names, &[Some(Arc::from("r"))]);
            assert_eq!(on_link, left, "{kind:?}");
            assert_eq!(settings.wanted(), &left, "{kind:?}");
        }
    }
}
