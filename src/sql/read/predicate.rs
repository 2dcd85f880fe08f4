//! Which names in a condition can be columns of the target.

use std::sync::Arc;

use crate::sql::lex::{Kw, Tok};

use super::Reader;
use super::truth::{Range, Target, Truth};

/// Where inside a subquery a name stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not in a subquery: every name counts.
    Outside,
    /// In a list, a FROM or an ordering: only the target's qualifier counts.
    Listed,
    /// In a condition: an unqualified name may be the target's column.
    Condition,
}

impl Reader<'_> {
    /// Words that stand in conditions and are no columns.
    fn is_syntax(&self, kw: Kw) -> bool {
        let reserved = if self.sqlite() {
            kw.in_sqlite()
        } else {
            kw.reserved()
        };
        reserved
            || matches!(
                kw,
                Kw::Like
                    | Kw::Ilike
                    | Kw::Is
                    | Kw::Isnull
                    | Kw::Notnull
                    | Kw::Similar
                    | Kw::Between
                    | Kw::Exists
                    | Kw::Row
                    | Kw::Overlaps
                    | Kw::Escape
                    | Kw::Values
                    | Kw::Join
                    | Kw::Left
                    | Kw::Right
                    | Kw::Full
                    | Kw::Inner
                    | Kw::Cross
                    | Kw::Natural
                    | Kw::Outer
                    | Kw::By
                    | Kw::Recursive
                    | Kw::Materialized
            )
    }

    /// Whether the range names a column that can be the target's.
    pub fn names_target(&self, range: Range, target: &Target) -> bool {
        self.scan_names(range, target, Place::Outside, &mut Vec::new())
    }

    fn scan_names(
        &self,
        range: Range,
        target: &Target,
        place: Place,
        hidden: &mut Vec<Arc<str>>,
    ) -> bool {
        let mut place = place;
        let inside = place != Place::Outside;
        let mut own = false;
        let mut operand = false;
        let mut at = range.0;
        while at < range.1 {
            let token = &self.tokens[at];
            match token.kind {
                Tok::LParen if self.query_starts_inside(at) => {
                    if self.subquery_names((at + 1, self.partner(at)), target, hidden) {
                        return true;
                    }
                    at = self.partner(at) + 1;
                    operand = true;
                    continue;
                }
                Tok::Cast => {
                    at = self.behind_chain(at + 1);
                    operand = true;
                    continue;
                }
                Tok::Word if token.kw == Kw::As => {
                    at = self.behind_chain(at + 1);
                    continue;
                }
                Tok::Word if self.is_syntax(token.kw) => {
                    if inside {
                        (place, own) = self.next_place(place, own, at, range.1, target);
                    }
                    operand = matches!(token.kw, Kw::Null | Kw::True | Kw::False);
                    at += 1;
                    continue;
                }
                Tok::Word | Tok::Quoted => {
                    let behind = self.behind_chain(at);
                    if self.counts(at, behind, range.1, operand, target, place, own, hidden) {
                        return true;
                    }
                    operand = true;
                    at = self.behind_call(behind);
                    continue;
                }
                Tok::Op | Tok::Comma | Tok::LParen | Tok::LBracket => operand = false,
                _ => operand = true,
            }
            at += 1;
        }
        false
    }

    /// `EXTRACT(field FROM x)`: the field is no column.
    fn behind_call(&self, behind: usize) -> usize {
        let extract = self.kw_at(behind - 1) == Kw::Extract
            && self
                .tokens
                .get(behind)
                .is_some_and(|token| token.kind == Tok::LParen)
            && self
                .tokens
                .get(behind + 2)
                .is_some_and(|token| token.kw == Kw::From);
        if extract { behind + 3 } else { behind }
    }

    /// Index behind the dotted name at `at`.
    fn behind_chain(&self, at: usize) -> usize {
        let mut behind = at + 1;
        while self
            .tokens
            .get(behind)
            .is_some_and(|token| token.kind == Tok::Dot)
            && behind + 1 < self.tokens.len()
        {
            behind += 2;
        }
        behind
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the state of one scan, not worth a type of its own"
    )]
    fn counts(
        &self,
        at: usize,
        behind: usize,
        end: usize,
        operand: bool,
        target: &Target,
        place: Place,
        own: bool,
        hidden: &[Arc<str>],
    ) -> bool {
        let next = self.tokens.get(behind).filter(|_| behind < end);
        if next.is_some_and(|token| matches!(token.kind, Tok::LParen | Tok::String)) {
            return false;
        }
        if operand && behind == at + 1 {
            // An alias, or the second word of something like `interval '1' day`.
            return false;
        }
        if behind == at + 1 {
            return match place {
                Place::Outside => true,
                Place::Listed => false,
                Place::Condition => !own && self.meets_a_name(at, behind),
            };
        }
        let Some(qualifier) = &target.qualifier else {
            return true;
        };
        // The target's own name hides behind an alias of the same name further in.
        let written = self.folded(behind - 3);
        written == *qualifier && !hidden.contains(&written)
    }

    /// A name compared with another name. Inside a subquery an unqualified one that
    /// is compared with a constant is taken for the subquery's own; compared with
    /// another it may be the correlation.
    fn meets_a_name(&self, at: usize, behind: usize) -> bool {
        let compares = |index: usize| self.kind_at(index) == Tok::Op;
        let column = |index: usize| {
            self.name_at(index)
                && !self.is_syntax(self.kw_at(index))
                && self.kind_at(self.behind_chain(index)) != Tok::LParen
        };
        (compares(behind) && column(behind + 1))
            || (at >= 2
                && compares(at - 1)
                && self.name_at(at - 2)
                && !self.is_syntax(self.kw_at(at - 2)))
    }

    /// Follows the clauses of a subquery.
    fn next_place(
        &self,
        place: Place,
        own: bool,
        at: usize,
        end: usize,
        target: &Target,
    ) -> (Place, bool) {
        match self.kw_at(at) {
            Kw::Where | Kw::Having | Kw::On => (Place::Condition, own),
            Kw::From => (Place::Listed, self.is_only_target(at + 1, end, target)),
            Kw::Select
            | Kw::Group
            | Kw::Order
            | Kw::Union
            | Kw::Except
            | Kw::Intersect
            | Kw::Limit
            | Kw::Join => (Place::Listed, own),
            _ => (place, own),
        }
    }

    /// The FROM clause at `from` holds the target's table and nothing else.
    fn is_only_target(&self, from: usize, end: usize, target: &Target) -> bool {
        let Some(table) = &target.table else {
            return false;
        };
        let behind = self.behind_chain(from);
        if from >= end || self.folded(behind - 1) != table.name {
            return false;
        }
        let mut at = behind;
        if self.tokens.get(at).is_some_and(|token| token.kw == Kw::As) {
            at += 1;
        }
        if at < end && self.name_at(at) && self.can_name(self.kw_at(at)) {
            at += 1;
        }
        at >= end
            || matches!(
                self.kw_at(at),
                Kw::Where | Kw::Group | Kw::Order | Kw::Limit | Kw::Having
            )
    }

    /// Whether the query in `range` depends on the target's row.
    fn subquery_names(&self, range: Range, target: &Target, hidden: &mut Vec<Arc<str>>) -> bool {
        let Some(from) = self.from_of(range) else {
            // `(SELECT id)`: every name is from outside.
            return self.scan_names(range, target, Place::Outside, hidden);
        };
        let known = hidden.len();
        self.hide_items(from, range.1, hidden);
        let named = self.scan_names(range, target, Place::Listed, hidden);
        hidden.truncate(known);
        named
    }

    fn from_of(&self, range: Range) -> Option<usize> {
        let mut at = range.0;
        while at < range.1 {
            match self.kind_at(at) {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Dot => at += 1,
                Tok::Word if self.kw_at(at) == Kw::As => at += 1,
                Tok::Word if self.kw_at(at) == Kw::From => {
                    let distinct = at > range.0 && self.kw_at(at - 1) == Kw::Distinct;
                    if !distinct {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Names and aliases of the subquery's own items: they hide the target's qualifier.
    fn hide_items(&self, from: usize, end: usize, hidden: &mut Vec<Arc<str>>) {
        let mut at = from;
        let mut due = true;
        while at < end
            && !matches!(
                self.kw_at(at),
                Kw::Where | Kw::Group | Kw::Order | Kw::Limit | Kw::Having
            )
        {
            let token = &self.tokens[at];
            match token.kind {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Comma => due = true,
                Tok::Word if matches!(token.kw, Kw::Join) => due = true,
                Tok::Word if matches!(token.kw, Kw::On | Kw::Using) => due = false,
                _ if token.is_name() && due && self.can_name(token.kw) => {
                    let behind = self.behind_chain(at);
                    let alias = behind
                        + usize::from(
                            self.tokens
                                .get(behind)
                                .is_some_and(|next| next.kw == Kw::As),
                        );
                    let aliased = self
                        .tokens
                        .get(alias)
                        .filter(|next| alias < end && next.is_name());
                    match aliased {
                        Some(next) if self.can_name(next.kw) => {
                            hidden.push(self.folded(alias));
                            at = alias;
                        }
                        _ => {
                            hidden.push(self.folded(behind - 1));
                            at = behind - 1;
                        }
                    }
                    due = false;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// `x IN (SELECT x FROM same)` and `x IN (…, x, …)`.
    pub fn in_same(&self, left: Range, right: Range, target: &Target) -> bool {
        let left = match self.tokens.get(left.1.saturating_sub(1)) {
            Some(token) if token.kw == Kw::Not => return false,
            _ => left,
        };
        let Some(open) = self
            .tokens
            .get(right.0)
            .filter(|token| token.kind == Tok::LParen)
        else {
            return false;
        };
        let _ = open;
        let mut inner = (right.0 + 1, self.partner(right.0));
        if self.partner(right.0) + 1 != right.1 {
            return false;
        }
        // `= ANY (ARRAY(SELECT …))`
        if self.kw_at(inner.0) == Kw::Array && self.kind_at(inner.0 + 1) == Tok::LParen {
            inner = (inner.0 + 2, self.partner(inner.0 + 1));
        }
        let written = self.canonical(self.strip(left), target);
        if self.kw_at(inner.0) == Kw::Select {
            return self.selects_same(&written, inner, target);
        }
        self.list(inner).into_iter().any(|item| {
            self.tokens[item.0..item.1]
                .iter()
                .any(|token| token.is_name())
                && self.canonical(item, target) == written
        })
    }

    fn strip(&self, range: Range) -> Range {
        if range.0 + 1 < range.1
            && self.kind_at(range.0) == Tok::LParen
            && self.partner(range.0) == range.1 - 1
        {
            (range.0 + 1, range.1 - 1)
        } else {
            range
        }
    }

    fn list(&self, range: Range) -> Vec<Range> {
        let mut items = Vec::new();
        let (mut start, mut at) = (range.0, range.0);
        while at < range.1 {
            match self.kind_at(at) {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Comma => {
                    items.push((start, at));
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        items.push((start, range.1));
        items
    }

    /// `SELECT x FROM same [alias] [WHERE true]`
    fn selects_same(&self, written: &str, range: Range, target: &Target) -> bool {
        let Some(table) = &target.table else {
            return false;
        };
        let Some(from) = self.from_of(range) else {
            return false;
        };
        let mut start = range.0 + 1;
        if matches!(self.kw_at(start), Kw::Distinct | Kw::All) {
            start += 1;
        }
        let behind = self.behind_chain(from);
        if self.folded(behind - 1) != table.name {
            return false;
        }
        let mut at = behind;
        if self.kw_at(at) == Kw::As {
            at += 1;
        }
        let mut alias = table.name.clone();
        if at < range.1 && self.name_at(at) && self.can_name(self.kw_at(at)) {
            alias = self.folded(at);
            at += 1;
        }
        let inner = Target {
            table: Some(table.clone()),
            qualifier: Some(alias),
        };
        if self.canonical((start, from - 1), &inner) != written {
            return false;
        }
        if at >= range.1 {
            return true;
        }
        self.kw_at(at) == Kw::Where && self.truth((at + 1, range.1), &inner) != Truth::Real
    }
}
