//! Clause boundaries, select lists and locking clauses.

use crate::model::{Access, Effects, Predicate, Traits};
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader, TableName};

impl Reader<'_> {
    pub fn depth(&self) -> u32 {
        self.depth
    }

    pub fn outer_depth(&self) -> u32 {
        self.outer_depth
    }

    /// The outermost query's WHERE is the statement's, as long as nothing is written.
    pub fn note_read_predicate(&mut self, predicate: Predicate) {
        if self.depth == self.outer_depth {
            self.read_predicate = Some(
                self.read_predicate
                    .map_or(predicate, |known| known.min(predicate)),
            );
        }
    }

    /// Index of the word that starts the next clause, at this bracket level.
    ///
    /// Names behind a dot or AS may be any word; `IS DISTINCT FROM` is an operator.
    pub fn clause_end(&self, from: usize) -> usize {
        self.stop(from, |_, _| false)
    }

    /// Like [`Self::clause_end`], with further stops.
    pub fn stop(&self, from: usize, also: impl Fn(&Self, usize) -> bool) -> usize {
        let mut at = from;
        while at < self.end {
            let Some(token) = self.tokens.get(at) else {
                break;
            };
            match token.kind {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Dot => at += 1,
                Tok::Word if token.kw == Kw::As => {
                    at += usize::from(self.tokens.get(at + 1).is_some_and(|next| next.is_name()));
                }
                _ if (token.kind == Tok::Word && self.starts_clause(at, token.kw))
                    || also(self, at) =>
                {
                    return at;
                }
                _ => {}
            }
            at += 1;
        }
        at.min(self.end)
    }

    fn starts_clause(&self, at: usize, kw: Kw) -> bool {
        let next = |ahead: usize| {
            self.tokens
                .get(at + ahead)
                .filter(|_| at + ahead < self.end)
        };
        let before = |back: usize| {
            at.checked_sub(back)
                .and_then(|i| self.tokens.get(i))
                .map(|t| t.kw)
        };
        match kw {
            Kw::From => {
                !(before(1) == Some(Kw::Distinct) && matches!(before(2), Some(Kw::Is | Kw::Not)))
            }
            Kw::Where
            | Kw::Having
            | Kw::Union
            | Kw::Intersect
            | Kw::Except
            | Kw::Limit
            | Kw::Returning => true,
            Kw::Offset => !self.sqlite() || next(1).is_some(),
            Kw::Group => next(1).is_some_and(|token| token.kw == Kw::By),
            Kw::Order => next(1).is_some_and(|token| token.kw == Kw::By),
            Kw::Window => next(2).is_some_and(|token| token.kw == Kw::As),
            // `COLLATION FOR (x)` is a function.
            Kw::For => !self.sqlite() && before(1) != Some(Kw::Collation),
            Kw::Into | Kw::Fetch => !self.sqlite(),
            _ => false,
        }
    }

    /// A select list is an expression in which a lone `*` means every column.
    pub fn select_list(&mut self, from: usize, to: usize) -> Read<()> {
        self.expression(from, to)
    }

    /// A table that is read, unless a CTE hides it.
    pub fn read_table(&mut self, name: &TableName) -> Option<usize> {
        if self.is_cte(name) {
            return None;
        }
        self.effect(Effects::READS);
        Some(self.touch(name, Access::SELECT))
    }

    /// `FOR [NO KEY] UPDATE | [KEY] SHARE [OF names] [NOWAIT | SKIP LOCKED]`, `FOR READ ONLY`.
    pub fn locking(&mut self) -> Read<()> {
        self.at += 1;
        if self.accept_all(&[Kw::Read, Kw::Only]) {
            return Ok(());
        }
        let _ = self.accept_all(&[Kw::No, Kw::Key]) || self.accept(Kw::Key);
        if self.kw(0) == Kw::Update {
            self.explain(self.at);
        } else if self.kw(0) != Kw::Share {
            return self.confused("UPDATE or SHARE");
        }
        self.at += 1;
        self.mark(Traits::LOCKS);
        if self.accept(Kw::Of) {
            loop {
                self.table_name()?;
                if !self.accept_kind(Tok::Comma) {
                    break;
                }
            }
        }
        let _ = self.accept(Kw::Nowait) || self.accept_all(&[Kw::Skip, Kw::Locked]);
        // Which alias is meant does not matter: every table that is read may be locked.
        self.locks_reads = true;
        Ok(())
    }
}
