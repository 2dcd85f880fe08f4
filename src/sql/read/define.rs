//! ALTER, DROP, TRUNCATE and what plants code.

use crate::model::{Access, Effects, FunctionUse, Kind, Traits, Via};
use crate::sql::lex::{Kw, Tok, text_of};
use crate::sql::lexical;

use super::{Read, Reader};

impl Reader<'_> {
    /// FUNCTION and PROCEDURE: the body is code, its words are possibly touched later.
    pub fn create_routine(&mut self) -> Read<()> {
        self.effect(Effects::CODE);
        let name = self.table_name()?;
        self.note_function(FunctionUse {
            schema: name.schema,
            name: name.name,
            harmless: false,
        });
        let body = self.at;
        self.possible_later(body, self.end);
        self.rest();
        Ok(())
    }

    /// Everything named in the tokens, strings with code included, may be touched when the code runs.
    fn possible_later(&mut self, from: usize, to: usize) {
        for index in from..to {
            let Some(token) = self.tokens.get(index) else {
                return;
            };
            if token.kind == Tok::String {
                let text = text_of(token, self.source).into_owned();
                self.code_in_string(&text, false);
            }
            self.explain(index);
        }
        let source = self.source;
        let bounds = self.tokens.get(from.min(to)..to).unwrap_or(&[]);
        if let (Some(first), Some(last)) = (bounds.first(), bounds.last()) {
            // Strings were looked into above; here it is what stands in plain text.
            let plain = source.get(first.start as usize..last.end as usize);
            self.unbounded_changes(plain.unwrap_or(""));
        }
        let found = lexical::tokens(
            self.source,
            self.lexer,
            self.tokens.get(from.min(to)..to).unwrap_or(&[]),
        );
        let saved = std::mem::replace(&mut self.via, Via::Nested);
        for (name, _) in found.relations {
            self.touch(&name, Access::POSSIBLE);
        }
        self.via = saved;
    }

    /// `name {BEFORE | AFTER | INSTEAD OF} events ON table … EXECUTE FUNCTION f()`
    pub fn create_trigger(&mut self) -> Read<()> {
        self.effect(Effects::CODE);
        self.if_exists();
        self.table_name()?;
        while !self.done() && self.kw(0) != Kw::On {
            self.explain(self.at);
            self.at += 1;
        }
        self.expect(Kw::On, "ON")?;
        let table = self.table_name()?;
        self.touch(&table, Access::ALTER);
        if self.sqlite() {
            return self.trigger_body();
        }
        while !self.done() {
            if self.kw(0) == Kw::Execute && matches!(self.kw(1), Kw::Function | Kw::Procedure) {
                self.explain(self.at);
                self.at += 2;
                let function = self.table_name()?;
                self.note_function(FunctionUse {
                    schema: function.schema,
                    name: function.name,
                    harmless: false,
                });
            } else if self.accept(Kw::From) {
                let other = self.table_name()?;
                self.touch(&other, Access::OTHER);
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// SQLite: `… BEGIN statement; … END`, run later.
    fn trigger_body(&mut self) -> Read<()> {
        while !self.done() && self.kw(0) != Kw::Begin {
            self.explain(self.at);
            self.at += 1;
        }
        self.expect(Kw::Begin, "BEGIN")?;
        self.possible_later(self.at, self.end);
        self.rest();
        Ok(())
    }

    /// `name AS ON event TO table [WHERE …] DO [ALSO | INSTEAD] action`
    pub fn create_rule(&mut self) -> Read<()> {
        self.effect(Effects::CODE);
        self.any_name()?;
        self.expect(Kw::As, "AS")?;
        self.expect(Kw::On, "ON")?;
        self.explain(self.at);
        self.at += 1;
        self.expect(Kw::To, "TO")?;
        let table = self.table_name()?;
        self.touch(&table, Access::ALTER);
        self.possible_later(self.at, self.end);
        self.rest();
        Ok(())
    }

    /// `name ON table … USING (…) WITH CHECK (…)`
    pub fn create_policy(&mut self) -> Read<()> {
        self.effect(Effects::PRIVILEGE);
        self.named_on_table(Access::ALTER)?;
        while !self.done() {
            self.explain(self.at);
            if self.kind(0) == Some(Tok::LParen) {
                let condition = self.group()?;
                let effects = self.facts.effects;
                self.expression(condition.0, condition.1)?;
                self.facts.effects = effects;
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// `[IF EXISTS] name ON table`
    pub fn named_on_table(&mut self, access: Access) -> Read<()> {
        self.if_exists();
        self.any_name()?;
        self.expect(Kw::On, "ON")?;
        if self.accept(Kw::Domain) {
            self.table_name()?;
            return Ok(());
        }
        let table = self.table_name()?;
        self.touch(&table, access);
        Ok(())
    }

    /// The object words of ALTER, DROP and COMMENT that name relations.
    pub fn relation_object(&mut self) -> bool {
        match (self.kw(0), self.kw(1)) {
            (Kw::Table | Kw::View | Kw::Sequence | Kw::Index, _) => self.at += 1,
            (Kw::Materialized, Kw::View) | (Kw::Foreign, Kw::Table) => self.at += 2,
            _ => return false,
        }
        true
    }

    pub fn alter(&mut self) -> Read<()> {
        self.facts.kind = Kind::Alter;
        self.explain(self.at);
        self.at += 1;
        let object = self.kw(0);
        if object == Kw::System {
            return self.alter_system();
        }
        self.effect(Effects::SCHEMA);
        if self.relation_object() {
            self.if_exists();
            if self.accept_all(&[Kw::All, Kw::In, Kw::Tablespace]) {
                self.mark(Traits::DESTRUCTIVE);
                return self.lenient();
            }
            let table = self.target_name()?;
            self.touch(&table, Access::ALTER);
            return self.alter_actions();
        }
        self.mark(Traits::DESTRUCTIVE);
        self.at += 1;
        match object {
            Kw::Role | Kw::Group => self.effect(Effects::PRIVILEGE),
            Kw::User => {
                self.effect(Effects::PRIVILEGE);
                if self.kw(0) == Kw::Mapping {
                    self.effect(Effects::NETWORK);
                }
            }
            Kw::Default if self.kw(0) == Kw::Privileges => {
                self.effect(Effects::PRIVILEGE);
                self.facts.traits.remove(Traits::DESTRUCTIVE);
                self.explain_rest();
            }
            Kw::Policy => {
                self.effect(Effects::PRIVILEGE);
                self.named_on_table(Access::ALTER)?;
            }
            Kw::Trigger | Kw::Rule => self.named_on_table(Access::ALTER)?,
            Kw::Server | Kw::Subscription | Kw::Foreign => self.effect(Effects::NETWORK),
            Kw::Extension => self.effect(Effects::CODE),
            Kw::Type
                if self
                    .remaining()
                    .windows(2)
                    .any(|w| w[0].kw == Kw::Add && w[1].kw == Kw::Value) =>
            {
                self.facts.traits.remove(Traits::DESTRUCTIVE);
            }
            Kw::Publication => {
                self.at = self.at.saturating_sub(1);
                return self.alter_publication();
            }
            Kw::Aggregate
            | Kw::Collation
            | Kw::Conversion
            | Kw::Database
            | Kw::Domain
            | Kw::Event
            | Kw::Function => {}
            Kw::Language
            | Kw::Large
            | Kw::Operator
            | Kw::Procedural
            | Kw::Procedure
            | Kw::Routine
            | Kw::Schema => {}
            Kw::Statistics | Kw::Tablespace | Kw::Text | Kw::Type => {}
            _ => return self.confused("an object to alter"),
        }
        self.owner_is_privilege();
        self.lenient()
    }

    fn alter_publication(&mut self) -> Read<()> {
        while !self.done() {
            let tables = self.kw(0) == Kw::Table;
            self.at += 1;
            if tables {
                let name = self.target_name()?;
                self.touch(&name, Access::OTHER);
            }
        }
        Ok(())
    }

    pub fn explain_rest(&mut self) {
        for index in self.at..self.end {
            self.explain(index);
        }
    }

    fn owner_is_privilege(&mut self) {
        let owner = self
            .remaining()
            .windows(2)
            .any(|w| w[0].kw == Kw::Owner && w[1].kw == Kw::To);
        if owner {
            self.effect(Effects::PRIVILEGE);
        }
    }

    /// `ALTER SYSTEM SET x = y`, `ALTER SYSTEM RESET x`: the server's own configuration.
    fn alter_system(&mut self) -> Read<()> {
        self.at += 1;
        self.effect(Effects::PRIVILEGE | Effects::SCHEMA);
        self.mark(Traits::DESTRUCTIVE | Traits::NO_TRANSACTION);
        if !matches!(self.kw(0), Kw::Set | Kw::Reset) {
            return self.confused("SET or RESET");
        }
        self.rest();
        Ok(())
    }

    /// The actions of ALTER TABLE, separated by commas.
    fn alter_actions(&mut self) -> Read<()> {
        self.owner_is_privilege();
        self.calls_now()?;
        let mut fresh = true;
        while !self.done() {
            if fresh {
                let harmless = self.alter_action()?;
                if !harmless {
                    self.mark(Traits::DESTRUCTIVE);
                }
                fresh = false;
                continue;
            }
            match (self.kind(0), self.kw(0)) {
                (Some(Tok::Comma), _) => fresh = true,
                (Some(Tok::LParen), _) => {
                    let inner = self.group()?;
                    self.within(inner, |reader| reader.lenient())?;
                    continue;
                }
                (_, Kw::References) if self.is_name(1) => {
                    self.at += 1;
                    let other = self.table_name()?;
                    self.touch(&other, Access::OTHER);
                    continue;
                }
                (_, Kw::Cascade) if !matches!(self.kw_at(self.at - 1), Kw::Delete | Kw::Update) => {
                    self.mark(Traits::CASCADE);
                }
                (Some(Tok::Semicolon), _) => return self.confused("end of statement"),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    /// `TYPE t USING f(x)`, `ADD … DEFAULT f()`, `ADD … CHECK (f(x))`: called for every row, now.
    fn calls_now(&mut self) -> Read<()> {
        let range = (self.at, self.end);
        let mut adds = false;
        for index in range.0..range.1 {
            let runs = match self.kw_at(index) {
                Kw::Add => {
                    adds = true;
                    false
                }
                Kw::Alter => {
                    adds = false;
                    false
                }
                Kw::Default | Kw::Check => adds,
                Kw::Using => !adds,
                _ => false,
            };
            if runs {
                let stop = self.within((index + 1, range.1), |reader| {
                    let ends = |reader: &Self, at: usize| {
                        let column_constraint = matches!(
                            reader.kw_at(at),
                            Kw::Check | Kw::References | Kw::Constraint | Kw::Unique | Kw::Primary
                        );
                        column_constraint || reader.kind_at(at) == Tok::Comma
                    };
                    Ok(reader.stop(reader.at, ends))
                })?;
                let before = self.facts.effects;
                self.expression(index + 1, stop)?;
                // Sequences as defaults are everyday; what they change is the sequence.
                if !before.contains(Effects::WRITES) {
                    self.facts.effects.remove(Effects::WRITES);
                }
            }
        }
        Ok(())
    }

    /// One action's leading words; whether it neither removes, replaces nor unprotects.
    fn alter_action(&mut self) -> Read<bool> {
        let words = [self.kw(0), self.kw(1), self.kw(2), self.kw(3)];
        let security = words.windows(2).any(|w| w == [Kw::Row, Kw::Level])
            || words[0] == Kw::Force
            || words[1] == Kw::Force;
        if security {
            self.effect(Effects::PRIVILEGE);
        }
        for ahead in 0..3 {
            self.explain(self.at + ahead);
        }
        let harmless = match words {
            [Kw::Add, ..] => true,
            [Kw::Validate, Kw::Constraint, ..] | [Kw::Cluster, Kw::On, ..] => true,
            [Kw::Enable, Kw::Replica, ..] => false,
            [Kw::Enable, ..] | [Kw::Force, Kw::Row, ..] => true,
            [Kw::Attach, Kw::Partition, ..] | [Kw::Detach, Kw::Partition, ..] => {
                self.at += 2;
                let partition = self.table_name()?;
                self.touch(&partition, Access::ALTER);
                if self.accept(Kw::Concurrently) {
                    self.mark(Traits::NO_TRANSACTION);
                }
                words[0] == Kw::Attach
            }
            [Kw::Inherit, ..] | [Kw::No, Kw::Inherit, ..] => {
                self.at += if words[0] == Kw::No { 2 } else { 1 };
                let parent = self.table_name()?;
                self.touch(&parent, Access::OTHER);
                words[0] == Kw::Inherit
            }
            [Kw::Alter, ..] => self.alter_column_is_harmless(),
            _ => false,
        };
        if !self.done() && words[0] != Kw::Attach && words[0] != Kw::Detach {
            self.at += 1;
        }
        Ok(harmless)
    }

    /// `ALTER [COLUMN] c SET DEFAULT | SET NOT NULL | SET STATISTICS | ADD GENERATED …`
    fn alter_column_is_harmless(&self) -> bool {
        let name = 1 + usize::from(self.kw(1) == Kw::Column);
        match (self.kw(name + 1), self.kw(name + 2)) {
            (Kw::Set, Kw::Default | Kw::Not | Kw::Statistics | Kw::Storage) | (Kw::Add, _) => true,
            (Kw::Set, _) => {
                self.kind(name + 2) == Some(Tok::LParen) || self.is_word(name + 2, "compression")
            }
            (Kw::Drop, Kw::Default) => true,
            _ => false,
        }
    }

    pub fn drop_object(&mut self) -> Read<()> {
        self.facts.kind = Kind::Drop;
        self.explain(self.at);
        self.at += 1;
        self.effect(Effects::SCHEMA);
        self.mark(Traits::DESTRUCTIVE);
        let object = self.kw(0);
        if self.relation_object() {
            if self.accept(Kw::Concurrently) {
                self.mark(Traits::NO_TRANSACTION);
            }
            self.if_exists();
            self.name_list(Access::DROP)?;
            return self.drop_behavior();
        }
        self.at += 1;
        match object {
            Kw::Trigger if self.sqlite() => {
                self.if_exists();
                self.table_name()?;
            }
            Kw::Trigger | Kw::Rule => self.named_on_table(Access::ALTER)?,
            Kw::Policy => {
                self.effect(Effects::PRIVILEGE);
                self.named_on_table(Access::ALTER)?;
            }
            Kw::Role | Kw::Group | Kw::Owned => self.effect(Effects::PRIVILEGE),
            Kw::User => self.effect(Effects::PRIVILEGE),
            Kw::Subscription => {
                self.effect(Effects::NETWORK);
                self.mark(Traits::NO_TRANSACTION);
            }
            Kw::Database | Kw::Tablespace => self.mark(Traits::NO_TRANSACTION),
            Kw::Access
            | Kw::Aggregate
            | Kw::Cast
            | Kw::Collation
            | Kw::Conversion
            | Kw::Domain
            | Kw::Event => {}
            Kw::Extension
            | Kw::Foreign
            | Kw::Function
            | Kw::Language
            | Kw::Operator
            | Kw::Procedural => {}
            Kw::Procedure
            | Kw::Publication
            | Kw::Routine
            | Kw::Schema
            | Kw::Server
            | Kw::Statistics => {}
            Kw::Text | Kw::Transform | Kw::Type => {}
            _ => return self.confused("an object to drop"),
        }
        if self.remaining().iter().any(|token| token.kw == Kw::Cascade) {
            self.mark(Traits::CASCADE);
        }
        self.lenient()
    }

    fn drop_behavior(&mut self) -> Read<()> {
        if self.accept(Kw::Cascade) {
            self.mark(Traits::CASCADE);
        } else {
            self.accept(Kw::Restrict);
        }
        Ok(())
    }

    /// `TRUNCATE [TABLE] [ONLY] a, b [RESTART | CONTINUE IDENTITY] [CASCADE]`
    pub fn truncate(&mut self) -> Read<()> {
        self.facts.kind = Kind::Truncate;
        self.explain(self.at);
        self.at += 1;
        self.accept(Kw::Table);
        self.effect(Effects::WRITES);
        self.mark(Traits::DESTRUCTIVE);
        self.name_list(Access::TRUNCATE)?;
        if matches!(self.kw(0), Kw::Restart | Kw::Continue) {
            self.at += 2;
        }
        self.drop_behavior()
    }
}
