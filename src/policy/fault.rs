//! What a policy can do wrong. A fault is never remembered.

/// Kind of a fault: the label of metrics and the word in refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The code trapped: a panic, a wild access, a stack overflow.
    Trap,
    /// The CPU budget or the wall limit was spent.
    Timeout,
    /// More memory than the cap.
    Memory,
    /// The host was asked something it must not answer here, or with nonsense.
    Call,
    /// The verdict breaks the rules of the interface.
    BadVerdict,
    /// Two runs over the same answers did not agree.
    Impure,
    /// The component cannot be linked or instantiated.
    Link,
    /// The shape faulted twice: refused for a while without a call.
    Benched,
    /// It judges on threads of its own, and they had no time for this one.
    Busy,
    /// The version failed too widely: it is not asked until it is released or replaced.
    Quarantined,
}

impl FaultKind {
    /// Name in messages, metrics and documentation.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Trap => "trap",
            FaultKind::Timeout => "timeout",
            FaultKind::Memory => "memory",
            FaultKind::Call => "bad call",
            FaultKind::BadVerdict => "bad verdict",
            FaultKind::Impure => "impure",
            FaultKind::Link => "link error",
            FaultKind::Benched => "faulted twice",
            FaultKind::Busy => "busy",
            FaultKind::Quarantined => "quarantined",
        }
    }
}

/// One fault, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub struct Fault {
    /// Kind.
    pub kind: FaultKind,
    /// What happened.
    pub message: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn call(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Call, message)
    }

    pub(crate) fn verdict(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::BadVerdict, message)
    }
}
