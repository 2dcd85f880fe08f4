//! CREATE of anything.

use crate::model::{Access, Effects, Kind, Traits};
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader, TableName};

impl Reader<'_> {
    /// `CREATE [OR REPLACE] [modifiers] object …`
    pub fn create(&mut self) -> Read<()> {
        self.facts.kind = Kind::Create;
        self.explain(self.at);
        self.at += 1;
        self.effect(Effects::SCHEMA);
        if self.accept_all(&[Kw::Or, Kw::Replace]) {
            self.mark(Traits::DESTRUCTIVE);
        }
        while let Kw::Temp | Kw::Temporary | Kw::Unlogged | Kw::Global | Kw::Local = self.kw(0) {
            if matches!(self.kw(0), Kw::Temp | Kw::Temporary) {
                self.effect(Effects::SESSION);
            }
            self.at += 1;
        }
        self.create_object()
    }

    fn create_object(&mut self) -> Read<()> {
        let object = self.kw(0);
        self.at += 1;
        match object {
            Kw::Table => self.create_table(),
            Kw::Foreign if self.kw(0) == Kw::Table => {
                self.at += 1;
                self.effect(Effects::NETWORK);
                self.create_table()
            }
            Kw::Foreign => self.outside(),
            Kw::Recursive => {
                self.expect(Kw::View, "VIEW")?;
                // The view's own name is the recursive CTE in its query.
                let name = self.token(0).map(|_| self.folded(self.at));
                name.iter().for_each(|name| self.define_cte(name));
                self.create_view(false)
            }
            Kw::View => self.create_view(false),
            Kw::Materialized => {
                self.expect(Kw::View, "VIEW")?;
                self.create_view(true)
            }
            Kw::Unique => {
                self.expect(Kw::Index, "INDEX")?;
                self.create_index()
            }
            Kw::Index => self.create_index(),
            Kw::Sequence => {
                self.if_exists();
                let name = self.table_name()?;
                self.touch(&name, Access::CREATE);
                self.lenient()
            }
            Kw::Virtual if self.sqlite() => self.create_virtual(),
            Kw::Schema => self.create_schema(),
            Kw::Function | Kw::Procedure => self.create_routine(),
            Kw::Trigger => self.create_trigger(),
            Kw::Constraint => {
                self.expect(Kw::Trigger, "TRIGGER")?;
                self.create_trigger()
            }
            Kw::Rule => self.create_rule(),
            Kw::Policy => self.create_policy(),
            _ => self.create_other(object),
        }
    }

    /// Objects that are no relations: nothing but their effect is a fact.
    fn create_other(&mut self, object: Kw) -> Read<()> {
        match object {
            Kw::Role | Kw::Group => self.effect(Effects::PRIVILEGE),
            Kw::User if self.accept(Kw::Mapping) => {
                self.effect(Effects::PRIVILEGE | Effects::NETWORK)
            }
            Kw::User => self.effect(Effects::PRIVILEGE),
            Kw::Database => self.mark(Traits::NO_TRANSACTION),
            Kw::Tablespace => {
                self.effect(Effects::SERVER_FILE);
                self.mark(Traits::NO_TRANSACTION);
            }
            Kw::Subscription => {
                self.effect(Effects::NETWORK);
                self.mark(Traits::NO_TRANSACTION);
            }
            Kw::Server => self.effect(Effects::NETWORK),
            Kw::Extension
            | Kw::Language
            | Kw::Event
            | Kw::Aggregate
            | Kw::Operator
            | Kw::Conversion => {
                self.effect(Effects::CODE);
            }
            Kw::Trusted | Kw::Procedural | Kw::Cast | Kw::Transform | Kw::Access => {
                self.effect(Effects::CODE)
            }
            Kw::Default if self.accept(Kw::Conversion) => self.effect(Effects::CODE),
            Kw::Type | Kw::Domain | Kw::Collation | Kw::Text => {}
            Kw::Publication | Kw::Statistics => return self.create_on_tables(object),
            _ => {
                self.at -= 1;
                return self.confused("an object to create");
            }
        }
        self.lenient()
    }

    /// Foreign data wrappers and servers.
    fn outside(&mut self) -> Read<()> {
        self.effect(Effects::NETWORK | Effects::CODE);
        self.lenient()
    }

    /// The rest holds definitions; words that could start a write are names or
    /// events there, queries in brackets are read.
    pub fn lenient(&mut self) -> Read<()> {
        while !self.done() {
            match self.kind(0) {
                Some(Tok::LParen) if self.query_starts_inside(self.at) => self.subquery()?,
                Some(Tok::Semicolon) => return self.confused("end of statement"),
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn create_table(&mut self) -> Read<()> {
        self.if_exists();
        let name = self.table_name()?;
        self.touch(&name, Access::CREATE);
        if self.accept_all(&[Kw::Partition, Kw::Of]) {
            let parent = self.table_name()?;
            self.touch(&parent, Access::ALTER);
        }
        while !self.done() {
            match (self.kind(0), self.kw(0)) {
                (Some(Tok::LParen), _) => {
                    let definitions = self.group()?;
                    self.within(definitions, |reader| reader.table_parts())?;
                }
                (_, Kw::Inherits) if self.kind(1) == Some(Tok::LParen) => {
                    self.at += 1;
                    let parents = self.group()?;
                    self.within(parents, |reader| {
                        reader.name_list(Access::OTHER).map(|_| ())
                    })?;
                }
                (_, Kw::As) => {
                    self.at += 1;
                    return self.filled_by(&name);
                }
                (Some(Tok::Semicolon), _) => return self.confused("end of statement"),
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// Column definitions: `REFERENCES t`, `LIKE t`, expressions in brackets.
    fn table_parts(&mut self) -> Read<()> {
        let mut column_due = true;
        while !self.done() {
            match (self.kind(0), self.kw(0)) {
                (_, Kw::References | Kw::Like)
                    if self.is_name(1) && self.kind(1) != Some(Tok::String) =>
                {
                    let like = self.kw(0) == Kw::Like;
                    self.at += 1;
                    if like && !column_due {
                        continue;
                    }
                    let other = self.table_name()?;
                    self.touch(&other, Access::OTHER);
                }
                (Some(Tok::LParen), _) if self.query_starts_inside(self.at) => self.subquery()?,
                (Some(Tok::Comma), _) => {
                    self.at += 1;
                    column_due = true;
                    continue;
                }
                (Some(Tok::Word | Tok::Quoted), kw)
                    if column_due && self.is_name(0) && kw != Kw::Constraint =>
                {
                    self.column_token(self.at);
                    self.at += 1;
                }
                (Some(Tok::LParen), _) => {
                    let inner = self.group()?;
                    self.within(inner, |reader| reader.lenient())?;
                }
                _ => self.at += 1,
            }
            column_due = false;
        }
        Ok(())
    }

    /// `AS query [WITH [NO] DATA]`, `AS EXECUTE name`
    fn filled_by(&mut self, name: &TableName) -> Read<()> {
        self.mark(Traits::PLANNABLE);
        let empty = self.cut_with_data();
        let end = self.end;
        if self.kw(0) == Kw::Execute {
            self.execute()?;
            self.facts.traits.remove(Traits::RETURNS_ROWS);
        } else {
            let saved = self.facts.kind;
            self.facts.kind = Kind::Create;
            self.query()?;
            self.facts.kind = saved;
        }
        self.end = end;
        if !empty {
            self.touch(name, Access::INSERT);
            self.effect(Effects::WRITES);
        }
        Ok(())
    }

    /// Takes `WITH [NO] DATA` off the end; whether nothing is filled in.
    fn cut_with_data(&mut self) -> bool {
        let word = |reader: &Self, back: usize| {
            reader
                .end
                .checked_sub(back)
                .filter(|at| *at >= reader.at)
                .map_or(Kw::None, |at| reader.kw_at(at))
        };
        if word(self, 1) != Kw::Data {
            return false;
        }
        if word(self, 2) == Kw::With {
            self.end -= 2;
            return false;
        }
        let no_data = word(self, 2) == Kw::No && word(self, 3) == Kw::With;
        if no_data {
            self.end -= 3;
        }
        no_data
    }

    fn create_view(&mut self, materialized: bool) -> Read<()> {
        self.if_exists();
        let name = self.table_name()?;
        self.touch(&name, Access::CREATE);
        while !self.done() && self.kw(0) != Kw::As {
            if self.kind(0) == Some(Tok::LParen) {
                self.group()?;
            } else {
                self.at += 1;
            }
        }
        self.expect(Kw::As, "AS")?;
        let statement_end = self.end;
        if materialized {
            self.filled_by(&name)?;
        } else {
            self.cut_check_option();
            let effects = self.facts.effects;
            self.query()?;
            // Nothing is called yet; what is called later counts as code.
            self.facts.effects =
                effects | (self.facts.effects & (Effects::READS | Effects::WRITES));
        }
        self.facts.kind = Kind::Create;
        self.at = statement_end;
        self.end = statement_end;
        Ok(())
    }

    /// Takes `WITH [CASCADED | LOCAL] CHECK OPTION` off the end.
    fn cut_check_option(&mut self) {
        let kw = |back: usize| {
            self.end
                .checked_sub(back)
                .and_then(|at| self.tokens.get(at))
                .map(|token| token.kw)
        };
        if kw(1) == Some(Kw::Option) && kw(2) == Some(Kw::Check) {
            self.end -= if kw(3) == Some(Kw::With) { 3 } else { 4 };
        }
    }

    /// `[CONCURRENTLY] [IF NOT EXISTS] [name] ON [ONLY] table …`
    fn create_index(&mut self) -> Read<()> {
        if self.accept(Kw::Concurrently) {
            self.mark(Traits::NO_TRANSACTION);
        }
        self.if_exists();
        if self.kw(0) != Kw::On {
            self.table_name()?;
        }
        self.expect(Kw::On, "ON")?;
        let table = self.target_name()?;
        self.touch(&table, Access::ALTER);
        // Expressions of the index are computed for every row, now.
        while !self.done() && self.kind(0) != Some(Tok::LParen) {
            self.at += 1;
        }
        if !self.done() {
            let keys = self.group()?;
            self.expression(keys.0, keys.1)?;
        }
        while !self.done() {
            if self.accept(Kw::Where) {
                self.expression(self.at, self.end)?;
                self.rest();
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    fn create_virtual(&mut self) -> Read<()> {
        self.expect(Kw::Table, "TABLE")?;
        self.if_exists();
        let name = self.table_name()?;
        self.touch(&name, Access::CREATE);
        self.lenient()
    }

    /// `CREATE SCHEMA [IF NOT EXISTS] name [AUTHORIZATION role] [element …]`
    fn create_schema(&mut self) -> Read<()> {
        while !self.done() && !matches!(self.kw(0), Kw::Create | Kw::Grant) {
            if self.kind(0) == Some(Tok::Semicolon) {
                return self.confused("end of statement");
            }
            self.at += 1;
        }
        let end = self.end;
        while self.at < end {
            let mut next = self.at + 1;
            while next < end {
                match self.kind_at(next) {
                    Tok::LParen => next = self.partner(next),
                    Tok::Word if matches!(self.kw_at(next), Kw::Create) => break,
                    Tok::Word
                        if self.kw_at(next) == Kw::Grant && self.kw_at(next - 1) != Kw::With =>
                    {
                        break;
                    }
                    _ => {}
                }
                next += 1;
            }
            let element = (self.at, next.min(end));
            let grants = self.kw(0) == Kw::Grant;
            self.within(element, |reader| {
                if grants {
                    reader.grant()
                } else {
                    reader.create()
                }
            })?;
            self.at = element.1;
        }
        self.facts.kind = Kind::Create;
        Ok(())
    }

    /// `ON table …` and `FOR TABLE a, b`
    fn create_on_tables(&mut self, object: Kw) -> Read<()> {
        while !self.done() {
            let tables =
                (object == Kw::Statistics && self.kw(0) == Kw::From) || self.kw(0) == Kw::Table;
            self.at += 1;
            if tables {
                loop {
                    let name = self.target_name()?;
                    self.touch(&name, Access::OTHER);
                    if !self.accept_kind(Tok::Comma) || !self.is_name(0) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
