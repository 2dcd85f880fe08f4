//! WITH, SELECT, VALUES, TABLE and what is written behind them.

use std::sync::Arc;

use crate::model::{Access, ColumnUses, Effects, Kind, Predicate, Traits, Via};
use crate::sql::lex::{Kw, Tok};

use super::from::Item;
use super::{Read, Reader};

impl Reader<'_> {
    /// Whether a query starts at token `index` (brackets included).
    pub fn query_starts(&self, index: usize) -> bool {
        let mut at = index;
        while self
            .tokens
            .get(at)
            .is_some_and(|token| token.kind == Tok::LParen)
            && at < self.end
        {
            at += 1;
        }
        let Some(token) = self.tokens.get(at).filter(|_| at < self.end) else {
            return false;
        };
        let starts = match token.kw {
            Kw::Select | Kw::With => true,
            // VALUES is no reserved word; a query only with a row behind it.
            Kw::Values => self
                .tokens
                .get(at + 1)
                .is_some_and(|next| next.kind == Tok::LParen),
            Kw::Table => !self.sqlite(),
            _ => false,
        };
        // `((SELECT 1) + 2)` is an expression: behind the inner bracket a query goes on with a query's word.
        starts && (index..at).all(|open| self.query_continues(open, index))
    }

    /// What stands behind the partner of the bracket at `open` may stand behind a query.
    fn query_continues(&self, open: usize, outermost: usize) -> bool {
        if open == outermost {
            return true;
        }
        let next = self.partner(open) + 1;
        let Some(token) = self.tokens.get(next).filter(|_| next < self.end) else {
            return true;
        };
        token.kind == Tok::RParen
            || matches!(
                token.kw,
                Kw::Union
                    | Kw::Intersect
                    | Kw::Except
                    | Kw::Order
                    | Kw::Limit
                    | Kw::Offset
                    | Kw::Fetch
                    | Kw::For
            )
    }

    /// The bracket here holds a query.
    pub fn is_subquery(&self) -> bool {
        self.kind(0) == Some(Tok::LParen) && self.query_starts_inside(self.at)
    }

    /// The bracket at `open` holds a query.
    pub fn query_starts_inside(&self, open: usize) -> bool {
        let first = open + 1;
        if !self.query_starts(first) {
            return false;
        }
        match self.tokens.get(first).map(|token| token.kind) {
            // `((SELECT 1) + 2)` again, one level further in.
            Some(Tok::LParen) => self.query_continues(first, open),
            _ => true,
        }
    }

    /// A query in brackets inside another statement.
    pub fn subquery(&mut self) -> Read<()> {
        let range = self.group()?;
        let saved = self.via;
        if self.via == Via::Direct {
            self.via = Via::Subquery;
        }
        let result = self.within(range, |reader| reader.query());
        self.via = saved;
        result
    }

    /// A whole query, or a data-modifying statement with its WITH, up to the end of the range.
    pub fn query(&mut self) -> Read<()> {
        self.deeper()?;
        let names = if self.kw(0) == Kw::With {
            self.with_clause()?
        } else {
            Vec::new()
        };
        if self.is_write() {
            self.write()?;
        } else {
            self.query_body()?;
            self.query_tail()?;
            if self.depth() == self.outer_depth() && self.facts.kind == Kind::Other {
                self.facts.kind = Kind::Select;
            }
            self.effect(Effects::READS);
        }
        self.expect_done()?;
        self.forget_ctes(&names);
        self.shallower();
        Ok(())
    }

    /// `WITH [RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (query), …`
    ///
    /// A name hides a table in the later queries of the list and in the main one,
    /// in its own and earlier ones only under RECURSIVE.
    fn with_clause(&mut self) -> Read<Vec<Arc<str>>> {
        self.at += 1;
        let recursive = self.accept(Kw::Recursive);
        let mut names = Vec::new();
        if recursive {
            let start = self.at;
            self.with_list(|reader, name, _| {
                reader.define_cte(&name);
                names.push(name);
                Ok(())
            })?;
            self.at = start;
            self.with_list(|reader, _, body| reader.cte_body(body))?;
        } else {
            self.with_list(|reader, name, body| {
                reader.cte_body(body)?;
                reader.define_cte(&name);
                names.push(name);
                Ok(())
            })?;
        }
        Ok(names)
    }

    fn with_list(
        &mut self,
        mut each: impl FnMut(&mut Self, Arc<str>, (usize, usize)) -> Read<()>,
    ) -> Read<()> {
        loop {
            let name = self.any_name()?;
            if self.kind(0) == Some(Tok::LParen) {
                self.group()?;
            }
            self.expect(Kw::As, "AS")?;
            let _ = self.accept(Kw::Materialized) || self.accept_all(&[Kw::Not, Kw::Materialized]);
            let body = self.group()?;
            each(self, name, body)?;
            self.search_and_cycle();
            if !self.accept_kind(Tok::Comma) {
                return Ok(());
            }
        }
    }

    /// `SEARCH … SET c` and `CYCLE … SET c [TO … DEFAULT …] USING c`: names of columns only.
    fn search_and_cycle(&mut self) {
        while matches!(self.kw(0), Kw::Search | Kw::Cycle) {
            self.at += 1;
            let ends = [
                Kw::Select,
                Kw::Insert,
                Kw::Update,
                Kw::Delete,
                Kw::Merge,
                Kw::Values,
                Kw::Table,
            ];
            let mut listed = true;
            while !self.done() {
                let kw = self.kw(0);
                if kw == Kw::Set {
                    listed = false;
                }
                if ends.contains(&kw)
                    || self.kind(0) == Some(Tok::LParen)
                    || matches!(kw, Kw::Search | Kw::Cycle)
                {
                    break;
                }
                if self.kind(0) == Some(Tok::Comma) && !listed {
                    break;
                }
                self.at += 1;
            }
        }
    }

    fn cte_body(&mut self, body: (usize, usize)) -> Read<()> {
        let saved = self.via;
        if self.via != Via::Nested {
            self.via = Via::Cte;
        }
        let result = self.within(body, |reader| reader.query());
        self.via = saved;
        result
    }

    /// Terms joined by UNION, INTERSECT and EXCEPT.
    fn query_body(&mut self) -> Read<()> {
        loop {
            self.query_term()?;
            if !(self.accept(Kw::Union) || self.accept(Kw::Intersect) || self.accept(Kw::Except)) {
                return Ok(());
            }
            let _ = self.accept(Kw::All) || self.accept(Kw::Distinct);
        }
    }

    fn query_term(&mut self) -> Read<()> {
        match (self.kind(0), self.kw(0)) {
            (Some(Tok::LParen), _) => {
                let range = self.group()?;
                self.within(range, |reader| reader.query())
            }
            (_, Kw::Select) => self.select(),
            (_, Kw::Values) => {
                self.at += 1;
                self.values()
            }
            (_, Kw::Table) if !self.sqlite() => {
                self.at += 1;
                let name = self.target_name()?;
                self.read_table(&name);
                self.column(Arc::from("*"));
                self.note_read_predicate(Predicate::None);
                Ok(())
            }
            _ => self.confused("a query"),
        }
    }

    /// Rows in brackets, separated by commas.
    pub fn values(&mut self) -> Read<()> {
        loop {
            let row = self.group()?;
            self.expression(row.0, row.1)?;
            if !self.accept_kind(Tok::Comma) {
                return Ok(());
            }
        }
    }

    fn select(&mut self) -> Read<()> {
        self.at += 1;
        if self.accept(Kw::Distinct) {
            if self.accept(Kw::On) {
                let on = self.group()?;
                self.condition(on.0, on.1)?;
            }
        } else {
            self.accept(Kw::All);
        }
        let stop = self.clause_end(self.at);
        self.select_list(self.at, stop)?;
        self.at = stop;
        let mut items: Vec<Item> = Vec::new();
        let mut predicate = Predicate::None;
        loop {
            match self.kw(0) {
                Kw::Into if !self.sqlite() => self.select_into()?,
                Kw::From => {
                    self.at += 1;
                    self.from_list(&mut items)?;
                }
                Kw::Where => {
                    self.at += 1;
                    let range = (self.at, self.clause_end(self.at));
                    self.condition(range.0, range.1)?;
                    self.at = range.1;
                    predicate = self.read_truth(range);
                }
                Kw::Group | Kw::Having => {
                    self.at += 1;
                    self.accept(Kw::By);
                    let _ = self.accept(Kw::Distinct) || self.accept(Kw::All);
                    self.condition_clause()?;
                }
                Kw::Window => {
                    self.at += 1;
                    self.condition_clause()?;
                }
                _ => break,
            }
        }
        if items
            .iter()
            .any(|item| item.table.is_some() || item.derived)
        {
            self.note_read_predicate(predicate);
        }
        Ok(())
    }

    /// Everything up to the next clause is an expression.
    pub fn expression_clause(&mut self) -> Read<()> {
        let stop = self.clause_end(self.at);
        self.expression(self.at, stop)?;
        self.at = stop;
        Ok(())
    }

    fn condition_clause(&mut self) -> Read<()> {
        self.using(ColumnUses::CONDITION, Self::expression_clause)
    }

    /// `SELECT … INTO [TEMP] [TABLE] name`: a table is created.
    fn select_into(&mut self) -> Read<()> {
        self.explain(self.at);
        self.at += 1;
        let mut temporary = false;
        loop {
            match self.kw(0) {
                Kw::Temp | Kw::Temporary => temporary = true,
                Kw::Unlogged | Kw::Table | Kw::Local | Kw::Global
                    if self.is_name(1) || self.kw(1).reserved() => {}
                _ => break,
            }
            self.at += 1;
        }
        let name = self.table_name()?;
        self.touch(&name, Access::CREATE | Access::INSERT);
        self.effect(Effects::SCHEMA | Effects::WRITES);
        if temporary {
            self.effect(Effects::SESSION);
        }
        self.facts.kind = Kind::Create;
        Ok(())
    }

    /// ORDER BY, LIMIT, OFFSET, FETCH FIRST and the locking clauses, in any order.
    fn query_tail(&mut self) -> Read<()> {
        loop {
            match self.kw(0) {
                Kw::Order => {
                    self.at += 1;
                    self.accept(Kw::By);
                    self.condition_clause()?;
                }
                Kw::Limit => self.limit()?,
                Kw::Offset => {
                    self.at += 1;
                    self.expression_clause()?;
                }
                Kw::Fetch if !self.sqlite() => self.fetch_first()?,
                Kw::For if !self.sqlite() => self.locking()?,
                _ => return Ok(()),
            }
        }
    }

    fn limit(&mut self) -> Read<()> {
        self.at += 1;
        let stop = self.clause_end(self.at);
        // SQLite writes `LIMIT offset, count`.
        let count = if self.kind(1) == Some(Tok::Comma) {
            self.at + 2
        } else {
            self.at
        };
        if stop == count + 1 {
            self.note_limit(count);
        }
        self.expression(self.at, stop)?;
        self.at = stop;
        Ok(())
    }

    fn fetch_first(&mut self) -> Read<()> {
        self.at += 1;
        if !(self.accept(Kw::First) || self.accept(Kw::Next)) {
            return self.confused("FIRST");
        }
        let start = self.at;
        while !self.done() && !matches!(self.kw(0), Kw::Row | Kw::Rows) {
            self.at += 1;
        }
        let count = (start, self.at);
        self.expression(count.0, count.1)?;
        self.at += 1;
        match count.1 - count.0 {
            0 => self.note_limit_value(1),
            1 if self.kw(0) == Kw::Only => self.note_limit(count.0),
            _ => {}
        }
        if self.accept(Kw::Only) || self.accept_all(&[Kw::With, Kw::Ties]) {
            return Ok(());
        }
        self.confused("ONLY")
    }

    fn note_limit(&mut self, index: usize) {
        if self
            .tokens
            .get(index)
            .is_some_and(|token| token.kind == Tok::Number)
            && let Ok(count) = self.text(index).parse()
        {
            self.note_limit_value(count);
        }
    }

    fn note_limit_value(&mut self, count: u64) {
        if self.depth() == self.outer_depth() {
            self.facts.limit = Some(count);
            self.mark(Traits::LIMITED);
        }
    }
}
