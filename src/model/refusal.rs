//! A refusal: the answer a person or an agent gets instead of a result.

use std::sync::Arc;

use super::error::{ErrorKind, Side, UserFacing, UserMessage};

/// How bad an alert is. Numbers are those of the policy interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Severity {
    /// Worth a line.
    Info = 0,
    /// Worth a look.
    Warning = 1,
    /// Somebody should look now.
    Critical = 2,
}

impl Severity {
    /// From the interface's number; unknown numbers are critical.
    pub fn from_code(code: u32) -> Severity {
        match code {
            0 => Severity::Info,
            1 => Severity::Warning,
            _ => Severity::Critical,
        }
    }

    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// SQLSTATEs of the gate's own refusals. Never 40xxx, 08xxx or 57Pxx: drivers retry on those.
pub mod sqlstate {
    /// A policy refused, the text is opaque, or a confirmation is needed.
    pub const REFUSED: &str = "42501";
    /// The text cannot be tokenized.
    pub const UNREADABLE: &str = "42601";
    /// A rate was exceeded.
    pub const RATE: &str = "53400";
    /// A row limit was exceeded.
    pub const ROW_LIMIT: &str = "54000";
    /// A plan limit was exceeded.
    pub const PLAN_LIMIT: &str = "54001";
    /// A policy faulted or is in quarantine.
    pub const POLICY_FAULT: &str = "58000";
    /// The gate does not support this protocol feature.
    pub const NOT_SUPPORTED: &str = "0A000";
    /// The relation does not exist (disguised refusals).
    pub const UNDEFINED_TABLE: &str = "42P01";
    /// The protocol was violated.
    pub const PROTOCOL_VIOLATION: &str = "08P01";
}

/// Why a statement does not run, in words for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Policy name as configured; `gate` for the gate's own rules.
    pub policy: Arc<str>,
    /// Rule inside the policy, kebab-case.
    pub rule: Arc<str>,
    /// One of [`sqlstate`].
    pub code: &'static str,
    /// What happened, lower case, no full stop.
    pub message: Arc<str>,
    /// To what. Empty: none.
    pub detail: Arc<str>,
    /// What to do next. Empty: none.
    pub hint: Arc<str>,
    /// Set: answer exactly as the server answers for a relation that is not
    /// there, and show nothing else of this refusal.
    pub disguise: Option<Disguise>,
}

/// The relation that is said not to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disguise {
    /// Folded name, with the schema when the client wrote one.
    pub name: Arc<str>,
    /// What the server calls it in this place: `relation`, `table` or `view`;
    /// `function`: permission for it is denied, because a relation cannot be named.
    pub noun: &'static str,
    /// Byte position of the name in the whole text; none where the server gives none.
    pub position: Option<usize>,
}

impl Refusal {
    /// Rule of the gate: a statement it does not fully understand.
    pub const OPAQUE: &'static str = "opaque";

    /// Whether the gate refused what it does not fully understand.
    pub fn is_opaque(&self) -> bool {
        &*self.policy == "gate" && &*self.rule == Refusal::OPAQUE
    }

    /// A refusal by the gate itself.
    pub fn gate(rule: &str, code: &'static str, message: impl Into<Arc<str>>) -> Refusal {
        Refusal {
            policy: Arc::from("gate"),
            rule: Arc::from(rule),
            code,
            message: message.into(),
            detail: Arc::from(""),
            hint: Arc::from(""),
            disguise: None,
        }
    }

    /// With a DETAIL.
    pub fn detail(mut self, detail: impl Into<Arc<str>>) -> Refusal {
        self.detail = detail.into();
        self
    }

    /// With a HINT.
    pub fn hint(mut self, hint: impl Into<Arc<str>>) -> Refusal {
        self.hint = hint.into();
        self
    }

    /// `policy/rule`, the value of the constraint-name field.
    pub fn constraint(&self) -> String {
        format!("{}/{}", self.policy, self.rule)
    }
}

impl UserFacing for Refusal {
    fn user_message(&self) -> UserMessage {
        UserMessage {
            severity: "ERROR",
            code: self.code,
            message: self.message.to_string(),
            detail: self.detail.to_string(),
            hint: self.hint.to_string(),
            constraint: self.constraint(),
        }
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn side(&self) -> Side {
        Side::Client
    }
}
