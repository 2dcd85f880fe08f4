//! INSERT, UPDATE, DELETE, MERGE and SQLite's REPLACE.

use std::sync::Arc;

use crate::model::{Access, ColumnUses, Effects, Kind, Predicate, Setting, Traits};
use crate::sql::lex::{Kw, Tok};

use super::from::Item;
use super::truth::Target;
use super::{Read, Reader, TableName};

impl Reader<'_> {
    /// A data-modifying statement starts here.
    pub fn is_write(&self) -> bool {
        match self.kw(0) {
            Kw::Insert | Kw::Update | Kw::Delete => true,
            Kw::Merge => !self.sqlite(),
            Kw::Replace => self.sqlite(),
            _ => false,
        }
    }

    /// The statement from its verb on; WITH has been read.
    pub fn write(&mut self) -> Read<()> {
        self.explain(self.at);
        let kind = match self.kw(0) {
            Kw::Update => Kind::Update,
            Kw::Delete => Kind::Delete,
            Kw::Merge => Kind::Merge,
            _ => Kind::Insert,
        };
        let outer = self.depth() == self.outer_depth();
        if outer && self.facts.kind == Kind::Other {
            self.facts.kind = kind;
        }
        self.effect(Effects::WRITES);
        match kind {
            Kind::Update => self.update()?,
            Kind::Delete => self.delete()?,
            Kind::Merge => self.merge()?,
            _ => self.insert()?,
        }
        if self.kw(0) == Kw::Returning {
            self.at += 1;
            if self.accept(Kw::With) {
                // `RETURNING WITH (OLD AS o, NEW AS n) …`
                self.group()?;
            }
            self.effect(Effects::READS);
            if outer {
                self.mark(Traits::RETURNS_ROWS);
            }
            let stop = self.stop(self.at, |reader, at| {
                reader.sqlite() && matches!(reader.kw_at(at), Kw::Order | Kw::Limit)
            });
            self.select_list(self.at, stop)?;
            self.at = stop;
        }
        if self.sqlite() && matches!(self.kw(0), Kw::Order | Kw::Limit) {
            self.rest_as_expression()?;
        }
        Ok(())
    }

    fn rest_as_expression(&mut self) -> Read<()> {
        self.expression(self.at, self.end)?;
        self.rest();
        Ok(())
    }

    /// SQLite: `OR REPLACE` and kin; whether rows may be replaced.
    fn conflict_words(&mut self) -> bool {
        if self.sqlite() && self.accept(Kw::Or) {
            let replaces = self.kw(0) == Kw::Replace;
            self.explain(self.at);
            self.at += 1;
            return replaces;
        }
        false
    }

    fn insert(&mut self) -> Read<()> {
        let replace = self.kw(0) == Kw::Replace;
        self.at += 1;
        let replaces = self.conflict_words() || replace;
        self.explain(self.at);
        self.expect(Kw::Into, "INTO")?;
        let target = self.table_name()?;
        let index = self.touch(&target, Access::INSERT);
        if replaces {
            self.facts.relations[index].access |= Access::DELETE;
            self.mark(Traits::DESTRUCTIVE);
        }
        if self.accept(Kw::As) {
            let alias = self.any_name()?;
            self.row_name(alias);
        }
        if self.kind(0) == Some(Tok::LParen) && !self.is_subquery() {
            let columns = self.group()?;
            self.written(columns)?;
        }
        if self.accept(Kw::Overriding) {
            let _ = self.accept(Kw::System) || self.accept(Kw::User);
            self.expect(Kw::Value, "VALUE")?;
        }
        self.insert_source()?;
        self.on_conflict(&target)
    }

    /// DEFAULT VALUES, rows or a query.
    fn insert_source(&mut self) -> Read<()> {
        if self.accept(Kw::Default) {
            return self.expect(Kw::Values, "VALUES");
        }
        let stop = self.insert_tail();
        if self.kw(0) == Kw::Values && self.kind(1) == Some(Tok::LParen) {
            // Plain rows are the usual case and no query of their own.
            let start = self.at;
            self.at += 1;
            self.values()?;
            if self.at == stop {
                return Ok(());
            }
            self.at = start;
        }
        let saved = self.outer_depth;
        self.outer_depth = 0;
        let via = self.via;
        let result = self.within((self.at, stop), |reader| reader.query());
        self.via = via;
        self.outer_depth = saved;
        self.at = stop;
        result
    }

    /// Where the source query ends: ON CONFLICT or RETURNING at this bracket level.
    fn insert_tail(&self) -> usize {
        let mut at = self.at;
        loop {
            at = self.stop(at, |reader, at| {
                let next = |ahead: usize| {
                    reader
                        .tokens
                        .get(at + ahead)
                        .filter(|_| at + ahead < reader.end)
                };
                reader.kw_at(at) == Kw::On
                    && next(1).is_some_and(|token| token.kw == Kw::Conflict)
                    && next(2).is_some_and(|token| {
                        matches!(token.kw, Kw::Do | Kw::On) || token.kind == Tok::LParen
                    })
            });
            match self.tokens.get(at).map(|token| token.kw) {
                Some(Kw::On | Kw::Returning) => return at,
                _ if at >= self.end => return self.end,
                _ => at += 1,
            }
        }
    }

    /// `ON CONFLICT … DO NOTHING | DO UPDATE SET …`, several times in SQLite.
    fn on_conflict(&mut self, target: &TableName) -> Read<()> {
        while self.kw(0) == Kw::On && self.kw(1) == Kw::Conflict {
            self.at += 2;
            if self.accept_all(&[Kw::On, Kw::Constraint]) {
                self.any_name()?;
            } else if self.kind(0) == Some(Tok::LParen) {
                let columns = self.group()?;
                self.condition(columns.0, columns.1)?;
                if self.accept(Kw::Where) {
                    let stop = self.stop(self.at, |reader, at| reader.kw_at(at) == Kw::Do);
                    self.condition(self.at, stop)?;
                    self.at = stop;
                }
            }
            self.explain(self.at);
            self.expect(Kw::Do, "DO")?;
            if self.accept(Kw::Nothing) {
                continue;
            }
            self.explain(self.at);
            self.expect(Kw::Update, "UPDATE")?;
            self.touch(target, Access::UPDATE);
            self.mark(Traits::DESTRUCTIVE);
            self.expect(Kw::Set, "SET")?;
            let stop = self.stop(self.at, |reader, at| {
                reader.kw_at(at) == Kw::On
                    && reader
                        .tokens
                        .get(at + 1)
                        .is_some_and(|next| next.kw == Kw::Conflict)
            });
            self.assignments(stop)?;
            if self.accept(Kw::Where) {
                self.using(ColumnUses::CONDITION, Self::expression_clause)?;
            }
        }
        Ok(())
    }

    fn update(&mut self) -> Read<()> {
        self.at += 1;
        let replaces = self.conflict_words();
        let name = self.target_name()?;
        if &*name.name == "pg_settings" {
            // Its rule calls set_config: which settings it changes is not in the text.
            self.note_setting(Setting {
                name: Arc::from("*"),
                value: None,
                local: false,
            });
        }
        self.indexed_by()?;
        let alias = self.alias(&[Kw::Set])?;
        self.indexed_by()?;
        self.portion_of()?;
        let access = if replaces {
            Access::UPDATE | Access::DELETE
        } else {
            Access::UPDATE
        };
        self.touch(&name, access);
        self.mark(Traits::DESTRUCTIVE);
        self.expect(Kw::Set, "SET")?;
        self.assignments(self.clause_end(self.at))?;
        self.joined_predicate(name, alias, Kw::From)
    }

    fn delete(&mut self) -> Read<()> {
        self.at += 1;
        self.expect(Kw::From, "FROM")?;
        let name = self.target_name()?;
        self.indexed_by()?;
        let alias = self.alias(&[Kw::Using, Kw::Indexed])?;
        self.indexed_by()?;
        self.portion_of()?;
        self.touch(&name, Access::DELETE);
        self.mark(Traits::DESTRUCTIVE);
        self.joined_predicate(name, alias, Kw::Using)
    }

    /// `FOR PORTION OF column FROM a TO b` of newer servers.
    fn portion_of(&mut self) -> Read<()> {
        if self.kw(0) == Kw::For && self.is_word(1, "portion") {
            return self.confused("a clause this reader knows");
        }
        Ok(())
    }

    /// Further tables and the WHERE of an UPDATE or DELETE.
    fn joined_predicate(
        &mut self,
        name: TableName,
        alias: Option<Arc<str>>,
        further: Kw,
    ) -> Read<()> {
        if let Some(alias) = &alias {
            self.row_name(alias.clone());
        }
        let mut others: Vec<Item> = Vec::new();
        if self.accept(further) {
            self.from_list(&mut others)?;
        }
        let mut predicate = Predicate::None;
        if self.accept(Kw::Where) {
            if self.accept_all(&[Kw::Current, Kw::Of]) {
                self.any_name()?;
                predicate = Predicate::Real;
            } else {
                let stop = self.stop(self.at, |reader, at| {
                    reader.sqlite() && matches!(reader.kw_at(at), Kw::Order | Kw::Limit)
                });
                let range = (self.at, stop);
                self.condition(range.0, range.1)?;
                self.at = range.1;
                let target = Target::new(name, alias);
                predicate = self.truth_of(range, &target);
            }
        }
        self.write_predicate(predicate);
        Ok(())
    }

    fn merge(&mut self) -> Read<()> {
        self.at += 1;
        self.explain(self.at);
        self.expect(Kw::Into, "INTO")?;
        let name = self.target_name()?;
        let alias = self.alias(&[Kw::Using])?;
        if let Some(alias) = &alias {
            self.row_name(alias.clone());
        }
        self.expect(Kw::Using, "USING")?;
        let mut others = Vec::new();
        self.from_item(&mut others)?;
        while self.kw(0) != Kw::On {
            self.merge_source_join(&mut others)?;
        }
        self.at += 1;
        let stop = self.stop(self.at, |reader, at| reader.merge_branch(at));
        let on = (self.at, stop);
        self.condition(on.0, on.1)?;
        self.at = stop;
        let target = Target::new(name.clone(), alias);
        let joined = self.truth_of(on, &target);
        while self.kw(0) == Kw::When {
            self.merge_when(&name, &target, joined)?;
        }
        Ok(())
    }

    /// A joined source: `USING a JOIN b ON … ON …`.
    fn merge_source_join(&mut self, others: &mut Vec<Item>) -> Read<()> {
        while matches!(
            self.kw(0),
            Kw::Left | Kw::Right | Kw::Full | Kw::Inner | Kw::Cross | Kw::Natural | Kw::Outer
        ) {
            self.at += 1;
        }
        self.expect(Kw::Join, "ON")?;
        self.from_item(others)?;
        if self.kw(0) == Kw::On
            && self.stop(self.at + 1, |reader, at| reader.kw_at(at) == Kw::On) < self.end
        {
            self.at += 1;
            let stop = self.stop(self.at, |reader, at| {
                reader.kw_at(at) == Kw::On || reader.merge_branch(at)
            });
            self.condition(self.at, stop)?;
            self.at = stop;
        }
        Ok(())
    }

    /// `WHEN [NOT] MATCHED` starts a branch; any other WHEN belongs to a CASE.
    pub fn merge_branch(&self, at: usize) -> bool {
        let kw = |ahead: usize| {
            self.tokens
                .get(at + ahead)
                .map_or(Kw::None, |token| token.kw)
        };
        kw(0) == Kw::When && (kw(1) == Kw::Matched || (kw(1) == Kw::Not && kw(2) == Kw::Matched))
    }

    /// `WHEN [NOT] MATCHED [BY SOURCE | TARGET] [AND condition] THEN action`
    fn merge_when(&mut self, name: &TableName, target: &Target, joined: Predicate) -> Read<()> {
        self.at += 1;
        let not = self.accept(Kw::Not);
        self.expect(Kw::Matched, "MATCHED")?;
        let mut base = if not { Predicate::None } else { joined };
        if self.accept(Kw::By) && !self.accept(Kw::Source) {
            self.expect(Kw::Target, "SOURCE or TARGET")?;
        }
        if self.accept(Kw::And) {
            let stop = self.branch_then();
            let range = (self.at, stop);
            self.condition(range.0, range.1)?;
            self.at = range.1;
            base = base.max(self.truth_of(range, target));
        }
        self.expect(Kw::Then, "THEN")?;
        self.explain(self.at);
        match self.kw(0) {
            Kw::Update => {
                self.at += 1;
                self.expect(Kw::Set, "SET")?;
                self.touch(name, Access::UPDATE);
                self.mark(Traits::DESTRUCTIVE);
                self.write_predicate(base);
                self.assignments(self.stop(self.at, |reader, at| reader.merge_branch(at)))?;
            }
            Kw::Delete => {
                self.at += 1;
                self.touch(name, Access::DELETE);
                self.mark(Traits::DESTRUCTIVE);
                self.write_predicate(base);
            }
            Kw::Insert => {
                self.at += 1;
                self.touch(name, Access::INSERT);
                if self.kind(0) == Some(Tok::LParen) {
                    let columns = self.group()?;
                    self.written(columns)?;
                }
                let stop = self.stop(self.at, |reader, at| reader.merge_branch(at));
                self.expression(self.at, stop)?;
                self.at = stop;
            }
            Kw::Do => {
                self.at += 1;
                self.expect(Kw::Nothing, "NOTHING")?;
                // Named, even if nothing is done.
                self.touch(name, Access::SELECT);
            }
            _ => return self.confused("an action"),
        }
        Ok(())
    }

    /// A list of columns that are given values.
    fn written(&mut self, (from, to): (usize, usize)) -> Read<()> {
        // `a[(SELECT …)]`: what stands in a subscript is read.
        let subscript = (from..to).any(|at| self.kind_at(at) == Tok::LBracket);
        let uses = if subscript {
            ColumnUses::VALUE
        } else {
            ColumnUses::WRITTEN
        };
        self.using(uses, |reader| reader.expression(from, to))
    }

    /// `column = value, (column, …) = row, …` up to `stop`.
    fn assignments(&mut self, stop: usize) -> Read<()> {
        while self.at < stop {
            let equals = self.next_at(stop, |reader, at| {
                reader.kind_at(at) == Tok::Op && matches!(reader.text(at), "=" | "==")
            });
            let comma = self.next_at(stop, |reader, at| reader.kind_at(at) == Tok::Comma);
            if equals < comma {
                self.written((self.at, equals))?;
                self.expression(equals, comma)?;
            } else {
                self.expression(self.at, comma)?;
            }
            self.at = stop.min(comma + 1);
        }
        self.at = stop;
        Ok(())
    }

    /// The next such token at this bracket level, or `stop`.
    fn next_at(&self, stop: usize, wanted: impl Fn(&Self, usize) -> bool) -> usize {
        let mut at = self.at;
        while at < stop && !wanted(self, at) {
            at = match self.kind_at(at) {
                Tok::LParen | Tok::LBracket => self.partner(at) + 1,
                _ => at + 1,
            };
        }
        at.min(stop)
    }

    /// The THEN of the branch, not that of a CASE in its condition.
    fn branch_then(&self) -> usize {
        let mut at = self.at;
        let mut cases = 0usize;
        while at < self.end {
            match self.kind_at(at) {
                Tok::LParen | Tok::LBracket => at = self.partner(at),
                Tok::Dot => at += 1,
                _ => match self.kw_at(at) {
                    Kw::Case => cases += 1,
                    Kw::End => cases = cases.saturating_sub(1),
                    Kw::Then if cases == 0 => return at,
                    _ => {}
                },
            }
            at += 1;
        }
        self.end
    }
}
