//! The allow-list of what a client may be told.

/// A message for a client: every field is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserMessage {
    /// ERROR or FATAL.
    pub severity: &'static str,
    /// SQLSTATE.
    pub code: &'static str,
    /// What happened, lower case, no full stop.
    pub message: String,
    /// To what. Empty: none.
    pub detail: String,
    /// What to do next. Empty: none.
    pub hint: String,
    /// `policy/rule`. Empty: none.
    pub constraint: String,
}

impl UserMessage {
    /// An error that ends the connection.
    pub fn fatal(code: &'static str, message: impl Into<String>) -> UserMessage {
        UserMessage {
            severity: "FATAL",
            ..UserMessage::error(code, message)
        }
    }

    /// An error that leaves the connection usable.
    pub fn error(code: &'static str, message: impl Into<String>) -> UserMessage {
        UserMessage {
            severity: "ERROR",
            code,
            message: message.into(),
            detail: String::new(),
            hint: String::new(),
            constraint: String::new(),
        }
    }

    /// With a DETAIL.
    pub fn detail(mut self, detail: impl Into<String>) -> UserMessage {
        self.detail = detail.into();
        self
    }

    /// With a HINT.
    pub fn hint(mut self, hint: impl Into<String>) -> UserMessage {
        self.hint = hint.into();
        self
    }
}

/// Small and closed: the label of error metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A policy or the gate said no.
    Refused,
    /// The text could not be read.
    Unparsable,
    /// Login failed.
    Authentication,
    /// A limit of the gate was reached.
    Limit,
    /// Something took too long.
    Timeout,
    /// The database failed.
    Database,
    /// A policy failed.
    Policy,
    /// The configuration is wrong.
    Configuration,
    /// The peer went away.
    Disconnected,
    /// A defect of ours.
    Internal,
}

impl ErrorKind {
    /// Label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Refused => "refused",
            ErrorKind::Unparsable => "unparsable",
            ErrorKind::Authentication => "authentication",
            ErrorKind::Limit => "limit",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Database => "database",
            ErrorKind::Policy => "policy",
            ErrorKind::Configuration => "configuration",
            ErrorKind::Disconnected => "disconnected",
            ErrorKind::Internal => "internal",
        }
    }
}

/// Whose doing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one who connects.
    Client,
    /// Portcullis.
    Gate,
    /// The database behind it.
    Database,
}

/// Marks errors that may be shown to a client.
///
/// Not implemented for boxed or opaque errors, on purpose: anything else that
/// reaches a door becomes "internal error" with an incident id.
pub trait UserFacing {
    /// The message.
    fn user_message(&self) -> UserMessage;
    /// The metric label.
    fn kind(&self) -> ErrorKind;
    /// Whose doing it was.
    fn side(&self) -> Side;
    /// Whether the same statement may succeed later without any change.
    fn may_retry(&self) -> bool {
        false
    }
}
