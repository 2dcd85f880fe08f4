//! Constants written in a text, and what kinds of them there are.

use std::ops::Range;
use std::sync::Arc;

/// A constant written in the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Literal {
    /// Bytes of the whole text, quotes included.
    pub span: Range<usize>,
    /// The value without quotes and with escapes resolved; numbers as written.
    pub value: Arc<str>,
    /// True for every kind of string constant.
    pub string: bool,
}

impl Literal {
    /// Its kind.
    pub fn kind(&self) -> LiteralKind {
        if self.string {
            LiteralKind::Text
        } else {
            LiteralKind::of_number(&self.value)
        }
    }
}

/// What kind of constant it is: `5`, `5000000000`, `5.0` and `'5'` get different
/// types, so different plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiteralKind {
    /// Any string.
    Text,
    /// Fits 32 bits.
    Int4,
    /// Fits 64 bits.
    Int8,
    /// Every other number.
    Numeric,
}

impl LiteralKind {
    /// Kind of a number as it is written.
    pub fn of_number(written: &str) -> LiteralKind {
        if written.parse::<i32>().is_ok() {
            LiteralKind::Int4
        } else if written.parse::<i64>().is_ok() {
            LiteralKind::Int8
        } else {
            LiteralKind::Numeric
        }
    }
}

/// The kinds of a statement's constants in their order, two bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds(u64);

impl Kinds {
    /// No constants.
    pub const NONE: Kinds = Kinds(1);
    /// Not known, or more than fit. Never to be taken for equal.
    pub const UNKNOWN: Kinds = Kinds(0);

    /// One more constant.
    pub fn push(&mut self, kind: LiteralKind) {
        // The highest bit set marks where the list begins.
        self.0 = if self.0 == 0 || self.0 >> 61 != 0 {
            0
        } else {
            self.0 << 2 | kind as u64
        };
    }

    /// Kinds of these.
    pub fn of(literals: &[Literal]) -> Kinds {
        let mut kinds = Kinds::NONE;
        for literal in literals {
            kinds.push(literal.kind());
        }
        kinds
    }

    /// Whether they are known.
    pub fn are_known(self) -> bool {
        self.0 != 0
    }

    /// Whether one of them may be a string.
    pub fn may_hold_text(self) -> bool {
        if self.0 == 0 {
            return true;
        }
        let mut rest = self.0;
        while rest != 1 {
            if rest & 3 == LiteralKind::Text as u64 {
                return true;
            }
            rest >>= 2;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(list: &[LiteralKind]) -> Kinds {
        let mut kinds = Kinds::NONE;
        list.iter().for_each(|kind| kinds.push(*kind));
        kinds
    }

    #[test]
    fn different_lists_have_different_kinds() {
        use LiteralKind::{Int4, Int8, Numeric, Text};
        let lists: [&[LiteralKind]; 8] = [
            &[],
            &[Text],
            &[Int4],
            &[Text, Text],
            &[Int4, Text],
            &[Text, Int4],
            &[Int8, Numeric],
            &[Int4, Int4, Int4],
        ];
        for (at, a) in lists.iter().enumerate() {
            for (other, b) in lists.iter().enumerate() {
                assert_eq!(kinds(a) == kinds(b), at == other, "{a:?} {b:?}");
            }
            assert_eq!(kinds(a).may_hold_text(), a.contains(&Text), "{a:?}");
        }
    }

    #[test]
    fn too_many_are_not_known() {
        for n in 0..70 {
            let kinds = kinds(&vec![LiteralKind::Int4; n]);
            assert_eq!(kinds.are_known(), n <= 31, "{n}");
            assert!(kinds.are_known() || kinds.may_hold_text());
        }
    }
}
