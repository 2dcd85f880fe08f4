//! Whether a condition can be false for some row of the target.
//!
//! Three answers: it restricts nothing because it names no column of the target
//! (whatever constants or parameters it holds, that decides for all rows alike),
//! it is true for every row, or it can be false. Unknown counts as the last.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::Predicate;
use crate::sql::lex::{Kw, Tok, text_of};

use super::{Reader, TableName};

/// The table whose rows a condition picks, and the others it is joined with.
#[derive(Debug)]
pub(in crate::sql) struct Target {
    /// The table; none for a SELECT, where every column counts.
    pub table: Option<TableName>,
    /// What qualifies its columns.
    pub qualifier: Option<Arc<str>>,
}

impl Target {
    /// A write's target.
    pub fn new(table: TableName, alias: Option<Arc<str>>) -> Target {
        let qualifier = alias.unwrap_or_else(|| table.name.clone());
        Target {
            table: Some(table),
            qualifier: Some(qualifier),
        }
    }

    /// Every column counts.
    pub fn any() -> Target {
        Target {
            table: None,
            qualifier: None,
        }
    }
}

/// What a condition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Truth {
    /// Names no column of the target.
    Open,
    /// True for every row.
    True,
    /// Can be false.
    Real,
}

/// How many OR arms are compared with each other.
const ARMS_MAX: usize = 4096;

pub(in crate::sql) type Range = (usize, usize);

impl Reader<'_> {
    /// The predicate that a condition is for a write.
    pub fn truth_of(&self, range: Range, target: &Target) -> Predicate {
        match self.truth(range, target) {
            Truth::Real => Predicate::Real,
            Truth::Open | Truth::True => Predicate::AlwaysTrue,
        }
    }

    /// The predicate that a condition is for a read.
    pub fn read_truth(&self, range: Range) -> Predicate {
        self.truth_of(range, &Target::any())
    }

    pub fn truth(&self, range: Range, target: &Target) -> Truth {
        let range = self.unwrap(range);
        if range.0 >= range.1 {
            return Truth::Open;
        }
        let arms = self.split(range, Kw::Or);
        if arms.len() > 1 {
            return self.disjunction(&arms, target);
        }
        let terms = self.split(range, Kw::And);
        if terms.len() > 1 {
            return terms.iter().fold(Truth::Open, |all, term| {
                match (all, self.truth(*term, target)) {
                    (Truth::Real, _) | (_, Truth::Real) => Truth::Real,
                    (Truth::True, _) | (_, Truth::True) => Truth::True,
                    _ => Truth::Open,
                }
            });
        }
        let mut start = range.0;
        while start < range.1 && self.kw_at(start) == Kw::Not {
            start += 1;
        }
        if start > range.0 {
            return self.negation((start, range.1), (start - range.0) % 2 == 1, target);
        }
        self.leaf(range, target)
    }

    fn negation(&self, inner: Range, negated: bool, target: &Target) -> Truth {
        match self.truth(inner, target) {
            Truth::True if negated => Truth::Real,
            Truth::Real if negated && self.never(self.unwrap(inner), target) => Truth::True,
            truth => truth,
        }
    }

    /// False for every row: `id <> id`.
    fn never(&self, range: Range, target: &Target) -> bool {
        self.comparison(range).is_some_and(|at| {
            matches!(self.text(at), "<>" | "!=" | "<" | ">")
                && self.same((range.0, at), (at + 1, range.1), target)
        })
    }

    fn disjunction(&self, arms: &[Range], target: &Target) -> Truth {
        let mut seen: HashMap<String, u8> = HashMap::new();
        for arm in arms {
            if self.truth(*arm, target) != Truth::Real {
                return Truth::True;
            }
            if arms.len() <= ARMS_MAX {
                let (key, positive) = self.canonical_arm(*arm, target);
                let bits = seen.entry(key).or_insert(0);
                *bits |= if positive { 1 } else { 2 };
                if *bits == 3 {
                    return Truth::True;
                }
            }
        }
        Truth::Real
    }

    /// Without brackets around the whole.
    fn unwrap(&self, mut range: Range) -> Range {
        while range.0 + 1 < range.1
            && self.kind_at(range.0) == Tok::LParen
            && self.partner(range.0) == range.1 - 1
            && !self.query_starts_inside(range.0)
        {
            range = (range.0 + 1, range.1 - 1);
        }
        range
    }

    /// Splits at `kw` on this level, outside brackets, CASE and BETWEEN.
    fn split(&self, range: Range, kw: Kw) -> Vec<Range> {
        let mut parts = Vec::new();
        let (mut at, mut start) = (range.0, range.0);
        let (mut cases, mut betweens) = (0usize, 0usize);
        while at < range.1 {
            match self.kind_at(at) {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Dot => at += 1,
                Tok::Word => match self.kw_at(at) {
                    Kw::Case => cases += 1,
                    Kw::End => cases = cases.saturating_sub(1),
                    Kw::Between if cases == 0 => betweens += 1,
                    Kw::And if cases == 0 && betweens > 0 => betweens -= 1,
                    found if found == kw && cases == 0 => {
                        parts.push((start, at));
                        start = at + 1;
                    }
                    _ => {}
                },
                _ => {}
            }
            at += 1;
        }
        parts.push((start, range.1));
        parts
    }

    fn leaf(&self, range: Range, target: &Target) -> Truth {
        if !self.names_target(range, target) {
            return Truth::Open;
        }
        let Some(at) = self.comparison(range) else {
            return Truth::Real;
        };
        let left = (range.0, at);
        let right = (at + 1, range.1);
        let always = match self.kw_at(at) {
            Kw::Is => return self.is_leaf(left, right, target),
            Kw::Like | Kw::Ilike => self.kw_at(at - 1) != Kw::Not && self.matches_all(right, "%"),
            Kw::Similar => {
                self.kw_at(at - 1) != Kw::Not && self.matches_all((right.0 + 1, right.1), "%")
            }
            Kw::In => self.kw_at(at - 1) != Kw::Not && self.in_same(left, right, target),
            Kw::Glob => self.kw_at(at - 1) != Kw::Not && self.matches_all(right, "*"),
            Kw::Between => self.between_same(left, right, target),
            _ => match self.text(at) {
                "=" | "==" => return self.equality(left, right, target),
                "<=" | ">=" => self.same(left, right, target),
                "~~" | "~~*" => self.matches_all(right, "%"),
                "~" | "~*" => {
                    self.matches_all(right, "")
                        || self.string(right).is_some_and(|s| s == ".*" || s == "^")
                }
                _ => false,
            },
        };
        if always { Truth::True } else { Truth::Real }
    }

    fn equality(&self, left: Range, right: Range, target: &Target) -> Truth {
        let whole_true = |range: Range| range.1 == range.0 + 1 && self.kw_at(range.0) == Kw::True;
        if whole_true(right) {
            return self.truth(left, target);
        }
        if whole_true(left) {
            return self.truth(right, target);
        }
        let any = matches!(
            self.tokens.get(right.0).map(|token| token.kw),
            Some(Kw::Any | Kw::Some)
        );
        if (any && self.in_same(left, (right.0 + 1, right.1), target))
            || self.same(left, right, target)
        {
            return Truth::True;
        }
        Truth::Real
    }

    fn is_leaf(&self, left: Range, right: Range, target: &Target) -> Truth {
        let kw = |ahead: usize| {
            let at = right.0 + ahead;
            if at < right.1 {
                self.kw_at(at)
            } else {
                Kw::None
            }
        };
        match (kw(0), kw(1), kw(2)) {
            (Kw::True, Kw::None, _) | (Kw::Not, Kw::False, _) => self.truth(left, target),
            (Kw::Not, Kw::Distinct, Kw::From)
                if self.same(left, (right.0 + 3, right.1), target) =>
            {
                Truth::True
            }
            // SQLite: IS and IS NOT compare.
            _ if self.sqlite() && kw(0) != Kw::Not && self.same(left, right, target) => Truth::True,
            _ => Truth::Real,
        }
    }

    fn between_same(&self, left: Range, right: Range, target: &Target) -> bool {
        let bounds = self.split(right, Kw::And);
        bounds.len() == 2 && bounds.iter().all(|bound| self.same(left, *bound, target))
    }

    /// Index of the operator that decides on this level.
    fn comparison(&self, range: Range) -> Option<usize> {
        let mut at = range.0;
        let mut cases = 0usize;
        while at < range.1 {
            let token = &self.tokens[at];
            match token.kind {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Dot => at += 1,
                Tok::Word => match token.kw {
                    Kw::Case => cases += 1,
                    Kw::End => cases = cases.saturating_sub(1),
                    Kw::Glob if self.sqlite() && at > range.0 => return Some(at),
                    Kw::Is | Kw::Like | Kw::Ilike | Kw::In | Kw::Between | Kw::Similar
                        if cases == 0 && at > range.0 =>
                    {
                        return Some(at);
                    }
                    _ => {}
                },
                Tok::Op if cases == 0 && at > range.0 => {
                    let text = token.text(self.source);
                    if matches!(
                        text,
                        "=" | "=="
                            | "<>"
                            | "!="
                            | "<"
                            | ">"
                            | "<="
                            | ">="
                            | "~"
                            | "~*"
                            | "~~"
                            | "~~*"
                    ) {
                        return Some(at);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn string(&self, range: Range) -> Option<std::borrow::Cow<'_, str>> {
        let token = self
            .tokens
            .get(range.0)
            .filter(|token| token.kind == Tok::String)?;
        let typed = range.1 == range.0 + 3 && self.kind_at(range.0 + 1) == Tok::Cast;
        (range.1 == range.0 + 1 || typed).then(|| text_of(token, self.source))
    }

    /// A pattern made of nothing but `wild`.
    fn matches_all(&self, range: Range, wild: &str) -> bool {
        match self.string(self.unwrap(range)) {
            Some(text) if wild.is_empty() => text.is_empty(),
            Some(text) => !text.is_empty() && text.chars().all(|c| wild.contains(c)),
            None => false,
        }
    }

    /// Both sides are the same words, wherever the target's qualifier is written.
    fn same(&self, left: Range, right: Range, target: &Target) -> bool {
        let (left, right) = (self.unwrap(left), self.unwrap(right));
        let named = self.tokens[right.0.min(right.1)..right.1]
            .iter()
            .any(|token| token.is_name());
        named && left.0 < left.1 && self.canonical(left, target) == self.canonical(right, target)
    }

    /// Words of a range, folded, without the target's qualifier.
    pub fn canonical(&self, range: Range, target: &Target) -> String {
        let mut out = String::new();
        let mut at = range.0;
        while at < range.1 {
            let token = &self.tokens[at];
            let qualifies = token.is_name()
                && at + 1 < range.1
                && self.kind_at(at + 1) == Tok::Dot
                && target
                    .qualifier
                    .as_deref()
                    .is_some_and(|qualifier| *qualifier == *self.folded(at));
            if qualifies {
                at += 2;
                continue;
            }
            if token.is_name() {
                out.push_str(&self.folded(at));
            } else {
                out.push_str(token.text(self.source));
            }
            out.push('\u{1}');
            at += 1;
        }
        out
    }

    /// The arm as a key and whether it is written positively: `x IS NULL` and
    /// `x IS NOT NULL` have the same key.
    fn canonical_arm(&self, arm: Range, target: &Target) -> (String, bool) {
        let mut range = self.unwrap(arm);
        let mut positive = true;
        while range.0 < range.1 && self.kw_at(range.0) == Kw::Not {
            positive = !positive;
            range = self.unwrap((range.0 + 1, range.1));
        }
        let Some(at) = self.comparison(range) else {
            return (self.canonical(range, target), positive);
        };
        let left = self.canonical(
            (range.0, at - usize::from(self.kw_at(at - 1) == Kw::Not)),
            target,
        );
        let mut right = (at + 1, range.1);
        let operator = match (self.kw_at(at), self.text(at)) {
            (Kw::Is, _) => {
                if self
                    .tokens
                    .get(right.0)
                    .is_some_and(|token| token.kw == Kw::Not)
                {
                    positive = !positive;
                    right.0 += 1;
                }
                "is"
            }
            (Kw::None, "<>" | "!=") => {
                positive = !positive;
                "="
            }
            (Kw::None, ">=") => {
                positive = !positive;
                "<"
            }
            (Kw::None, "<=") => {
                positive = !positive;
                ">"
            }
            (Kw::None, "==") => "=",
            (Kw::None, text) => text,
            _ => {
                if self.kw_at(at - 1) == Kw::Not {
                    positive = !positive;
                }
                "word"
            }
        };
        let word = if operator == "word" {
            self.text(at).to_ascii_lowercase()
        } else {
            operator.to_owned()
        };
        (
            format!("{left}{word}\u{1}{}", self.canonical(right, target)),
            positive,
        )
    }
}
