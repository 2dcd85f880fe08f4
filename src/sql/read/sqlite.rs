//! What only SQLite has: PRAGMA, ATTACH, VACUUM INTO.

use std::sync::Arc;

use crate::model::{Access, Effects, Kind, Setting, Traits};
use crate::sql::lex::{Kw, Tok};
use crate::sql::settings;

use super::{Read, Reader};

/// Pragmas whose argument names something to look at.
const LOOKING: &[&str] = &[
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that do something even without a value.
const ACTING: &[&str] = &[
    "incremental_vacuum",
    "optimize",
    "shrink_memory",
    "wal_checkpoint",
];

impl Reader<'_> {
    pub fn sqlite_statement(&mut self) -> Read<()> {
        match self.kw(0) {
            Kw::Replace => self.query_in_sqlite(),
            Kw::Pragma => self.pragma(),
            _ if self.is_word(0, "attach") || self.kw(0) == Kw::Attach => self.attach(true),
            Kw::Detach => self.attach(false),
            _ => self.confused("a statement"),
        }
    }

    fn query_in_sqlite(&mut self) -> Read<()> {
        self.query()?;
        self.mark(Traits::PLANNABLE);
        Ok(())
    }

    /// `PRAGMA [schema.]name [= value | (value)]`
    fn pragma(&mut self) -> Read<()> {
        self.at += 1;
        let mut name = self.any_name()?;
        if self.accept_kind(Tok::Dot) {
            name = self.any_name()?;
        }
        let looking = LOOKING.contains(&&*name);
        let given = !self.done();
        let value = self.pragma_value()?;
        self.effect(Effects::READS);
        self.mark(Traits::RETURNS_ROWS);
        if looking || (!given && !ACTING.contains(&&*name)) {
            self.facts.kind = Kind::Show;
            if let (true, Some(table)) = (looking, value) {
                let name = super::TableName {
                    schema: None,
                    name: Arc::from(table.to_ascii_lowercase()),
                };
                self.touch(&name, Access::OTHER);
            }
            return Ok(());
        }
        self.facts.kind = Kind::Pragma;
        self.effect(Effects::SESSION);
        if settings::pragma_drops_protection(&name) {
            self.mark(Traits::DESTRUCTIVE);
            self.effect(Effects::PRIVILEGE);
        }
        self.facts.settings.push(Setting {
            name,
            value,
            local: false,
        });
        Ok(())
    }

    fn pragma_value(&mut self) -> Read<Option<Arc<str>>> {
        if self.is_op(0, "=") {
            self.at += 1;
        } else if self.kind(0) == Some(Tok::LParen) {
            let inner = self.group()?;
            return self.within(inner, |reader| {
                let value = reader.signed_value();
                reader.expect_done()?;
                Ok(value)
            });
        } else {
            return Ok(None);
        }
        Ok(self.signed_value())
    }

    fn signed_value(&mut self) -> Option<Arc<str>> {
        let negative = self.is_op(0, "-");
        if negative || self.is_op(0, "+") {
            self.at += 1;
        }
        let value = self.constant_text()?;
        Some(if negative {
            Arc::from(format!("-{value}"))
        } else {
            value
        })
    }

    /// `ATTACH [DATABASE] file AS name`, `DETACH [DATABASE] name`
    fn attach(&mut self, attaches: bool) -> Read<()> {
        self.facts.kind = Kind::Attach;
        self.at += 1;
        self.effect(Effects::SESSION);
        if attaches {
            self.effect(Effects::SERVER_FILE);
        }
        self.expression(self.at, self.end)?;
        self.facts.columns.clear();
        self.facts.column_uses.clear();
        self.rest();
        Ok(())
    }

    pub fn maintain_sqlite(&mut self, verb: Kw) -> Read<()> {
        match verb {
            Kw::Vacuum => {
                self.mark(Traits::NO_TRANSACTION);
                self.effect(Effects::READS);
                if self.kw(0) != Kw::Into && !self.done() {
                    self.any_name()?;
                }
                if self.kw(0) == Kw::Into {
                    self.explain(self.at);
                    self.effect(Effects::SERVER_FILE);
                    self.expression(self.at + 1, self.end)?;
                    self.rest();
                }
                Ok(())
            }
            Kw::Reindex => {
                self.effect(Effects::SCHEMA);
                self.optional_table(Access::OTHER)
            }
            _ => {
                self.effect(Effects::READS);
                self.optional_table(Access::OTHER)
            }
        }
    }
}
