//! What the gate keeps for a policy: names and sets, handed out at `configure`.
//!
//! The gate matches, once and the same for every policy; a policy holds numbers.

use crate::host;

/// A folded name.
///
/// Comparable with symbols interned at `configure`; one that came from a
/// statement means nothing in the next judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(pub(crate) u32);

impl Symbol {
    /// No name was written.
    pub const NONE: Symbol = Symbol(0);

    /// Whether no name was written.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The name itself. Compare symbols instead where you can.
    pub fn text(self) -> String {
        if self.is_none() {
            String::new()
        } else {
            host::name(self.0)
        }
    }
}

/// A list of name patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Names(pub(crate) Option<u32>);

impl Names {
    /// No pattern at all; matches nothing and asks nothing.
    pub const EMPTY: Names = Names(None);

    /// Whether the list has no pattern.
    pub fn is_empty(self) -> bool {
        self.0.is_none()
    }
}

/// A list of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Networks(pub(crate) Option<u32>);

impl Networks {
    /// Whether the list has no network.
    pub fn is_empty(self) -> bool {
        self.0.is_none()
    }
}

/// A list of time windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Windows(pub(crate) Option<u32>);

impl Windows {
    /// Whether the list has no window.
    pub fn is_empty(self) -> bool {
        self.0.is_none()
    }
}
