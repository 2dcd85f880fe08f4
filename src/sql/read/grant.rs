//! GRANT, REVOKE, COMMENT and SECURITY LABEL.

use std::sync::Arc;

use crate::model::{Access, Effects, Kind, Traits};
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader};

impl Reader<'_> {
    /// `GRANT rights ON object TO roles`, `GRANT role TO role`, and REVOKE.
    pub fn grant(&mut self) -> Read<()> {
        self.facts.kind = if self.kw(0) == Kw::Grant {
            Kind::Grant
        } else {
            Kind::Revoke
        };
        self.effect(Effects::PRIVILEGE);
        self.explain_rest();
        self.at += 1;
        while !self.done() && !matches!(self.kw(0), Kw::On | Kw::To | Kw::From) {
            self.at += 1;
        }
        if self.accept(Kw::On) {
            self.grant_objects()?;
        }
        if self.remaining().iter().any(|token| token.kw == Kw::Cascade) {
            self.mark(Traits::CASCADE);
        }
        if !matches!(self.kw(0), Kw::To | Kw::From) {
            return self.confused("TO or FROM");
        }
        self.lenient()
    }

    fn grant_objects(&mut self) -> Read<()> {
        let tables = match self.kw(0) {
            Kw::Table | Kw::Sequence => {
                self.at += 1;
                true
            }
            Kw::All | Kw::Foreign => false,
            // `ON database d`: an object word and then a name; `ON database TO x`: a table.
            _ => !self
                .token(1)
                .is_some_and(|next| next.is_name() && !matches!(next.kw, Kw::To | Kw::From)),
        };
        if tables {
            self.name_list(Access::OTHER)?;
            return Ok(());
        }
        while !self.done() && !matches!(self.kw(0), Kw::To | Kw::From) {
            self.at += 1;
        }
        Ok(())
    }

    /// COMMENT ON and SECURITY LABEL.
    pub fn comment(&mut self) -> Read<()> {
        self.facts.kind = Kind::Comment;
        self.effect(Effects::SCHEMA);
        if self.kw(0) == Kw::Security {
            self.effect(Effects::PRIVILEGE);
        }
        while !self.done() && self.kw(0) != Kw::On {
            self.at += 1;
        }
        self.expect(Kw::On, "ON")?;
        if self.relation_object() {
            let name = self.table_name()?;
            self.touch(&name, Access::OTHER);
        } else if self.accept(Kw::Column) {
            self.commented_column()?;
        } else if matches!(
            self.kw(0),
            Kw::Trigger | Kw::Rule | Kw::Policy | Kw::Constraint
        ) {
            self.at += 1;
            self.named_on_table(Access::OTHER)?;
        }
        self.lenient()
    }

    fn commented_column(&mut self) -> Read<()> {
        let mut parts: Vec<Arc<str>> = vec![self.any_name()?];
        while self.accept_kind(Tok::Dot) {
            parts.push(self.any_name()?);
        }
        parts.pop();
        if let Some(name) = parts.pop() {
            let table = super::TableName {
                schema: parts.pop(),
                name,
            };
            self.touch(&table, Access::OTHER);
        }
        Ok(())
    }
}
