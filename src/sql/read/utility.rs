//! LOCK, VACUUM and kin, REFRESH, DO, CALL, LOAD.

use std::sync::Arc;

use crate::model::{Access, Effects, FunctionUse, Kind, Traits};
use crate::sql::lex::{Kw, Tok, text_of};

use super::{Read, Reader};

impl Reader<'_> {
    /// `LOCK [TABLE] a, b [IN mode MODE] [NOWAIT]`
    pub fn lock(&mut self) -> Read<()> {
        self.facts.kind = Kind::Lock;
        self.at += 1;
        self.accept(Kw::Table);
        self.mark(Traits::LOCKS);
        self.name_list(Access::LOCK)?;
        if self.accept(Kw::In) {
            while !self.done() && self.kw(0) != Kw::Mode {
                self.at += 1;
            }
            self.expect(Kw::Mode, "MODE")?;
        }
        self.accept(Kw::Nowait);
        Ok(())
    }

    /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT.
    pub fn maintain(&mut self) -> Read<()> {
        self.facts.kind = Kind::Maintain;
        let verb = self.kw(0);
        self.at += 1;
        if self.sqlite() {
            return self.maintain_sqlite(verb);
        }
        match verb {
            Kw::Checkpoint => Ok(()),
            Kw::Reindex => self.reindex(),
            Kw::Cluster => self.cluster(),
            _ => {
                if verb == Kw::Vacuum {
                    self.mark(Traits::NO_TRANSACTION);
                }
                self.vacuum()
            }
        }
    }

    /// `[(options) | FULL FREEZE VERBOSE ANALYZE] [table [(columns)], …]`
    fn vacuum(&mut self) -> Read<()> {
        self.effect(Effects::READS);
        if self.kind(0) == Some(Tok::LParen) {
            self.group()?;
        }
        while matches!(
            self.kw(0),
            Kw::Full | Kw::Freeze | Kw::Verbose | Kw::Analyze | Kw::Analyse
        ) {
            self.at += 1;
        }
        while !self.done() {
            let table = self.target_name()?;
            self.touch(&table, Access::OTHER);
            if self.kind(0) == Some(Tok::LParen) {
                let columns = self.group()?;
                self.expression(columns.0, columns.1)?;
            }
            if !self.accept_kind(Tok::Comma) {
                break;
            }
        }
        Ok(())
    }

    fn cluster(&mut self) -> Read<()> {
        self.effect(Effects::SCHEMA);
        if self.kind(0) == Some(Tok::LParen) {
            self.group()?;
        }
        self.accept(Kw::Verbose);
        if self.done() {
            self.mark(Traits::NO_TRANSACTION);
            return Ok(());
        }
        let first = self.table_name()?;
        if self.accept(Kw::Using) {
            self.any_name()?;
            self.touch(&first, Access::OTHER);
        } else if self.accept(Kw::On) {
            let table = self.table_name()?;
            self.touch(&table, Access::OTHER);
        } else {
            self.touch(&first, Access::OTHER);
        }
        Ok(())
    }

    fn reindex(&mut self) -> Read<()> {
        self.effect(Effects::SCHEMA);
        if self.kind(0) == Some(Tok::LParen) {
            self.group()?;
        }
        let object = self.kw(0);
        self.at += 1;
        if self.accept(Kw::Concurrently) {
            self.mark(Traits::NO_TRANSACTION);
        }
        match object {
            Kw::Table | Kw::Index => {
                let name = self.table_name()?;
                self.touch(&name, Access::OTHER);
                Ok(())
            }
            Kw::Schema | Kw::Database | Kw::System => {
                self.mark(Traits::NO_TRANSACTION);
                self.rest();
                Ok(())
            }
            _ => self.confused("TABLE, INDEX, SCHEMA, DATABASE or SYSTEM"),
        }
    }

    /// The rows of the view are replaced.
    pub fn refresh(&mut self) -> Read<()> {
        self.facts.kind = Kind::Refresh;
        self.at += 1;
        self.expect(Kw::Materialized, "MATERIALIZED")?;
        self.expect(Kw::View, "VIEW")?;
        self.accept(Kw::Concurrently);
        let name = self.table_name()?;
        self.touch(&name, Access::INSERT | Access::DELETE);
        self.effect(Effects::READS | Effects::WRITES);
        if self.accept_all(&[Kw::With, Kw::No, Kw::Data]) {
            self.mark(Traits::DESTRUCTIVE);
        } else {
            self.accept_all(&[Kw::With, Kw::Data]);
        }
        Ok(())
    }

    pub fn run_code(&mut self) -> Read<()> {
        let verb = self.kw(0);
        self.explain(self.at);
        self.at += 1;
        self.effect(Effects::CODE);
        self.mark(Traits::DESTRUCTIVE);
        self.outer_depth = 0;
        if verb == Kw::Call {
            self.facts.kind = Kind::Call;
            let name = self.table_name()?;
            if self.kind(0) != Some(Tok::LParen) {
                return self.confused("arguments");
            }
            let arguments = self.group()?;
            self.expression(arguments.0, arguments.1)?;
            self.mark(Traits::CALLS_FUNCTIONS);
            self.note_function(FunctionUse {
                schema: name.schema,
                name: name.name,
                harmless: false,
            });
            return Ok(());
        }
        self.facts.kind = Kind::Do;
        let mut bodies = 0;
        while !self.done() {
            if self.accept(Kw::Language) {
                self.at += 1;
                continue;
            }
            let Some(token) = self.token(0).filter(|token| token.kind == Tok::String) else {
                return self.confused("a block of code");
            };
            let text = text_of(token, self.source).into_owned();
            self.code_in_string(&text, true);
            bodies += 1;
            self.at += 1;
        }
        if bodies == 0 {
            self.confused("a block of code")
        } else {
            Ok(())
        }
    }

    /// LOAD 'library', IMPORT FOREIGN SCHEMA.
    pub fn load(&mut self) -> Read<()> {
        self.facts.kind = Kind::Load;
        let verb = self.kw(0);
        self.at += 1;
        if verb == Kw::Load {
            self.effect(Effects::CODE | Effects::SERVER_FILE);
            if self.kind(0) != Some(Tok::String) {
                return self.confused("a library");
            }
            self.at += 1;
            return Ok(());
        }
        self.expect(Kw::Foreign, "FOREIGN")?;
        self.expect(Kw::Schema, "SCHEMA")?;
        self.effect(Effects::SCHEMA | Effects::NETWORK);
        // INTO names a schema here.
        for index in self.at..self.end {
            self.explain(index);
        }
        self.rest();
        Ok(())
    }

    /// `REASSIGN OWNED BY a TO b`
    pub fn reassign(&mut self) -> Read<()> {
        self.facts.kind = Kind::Alter;
        self.at += 1;
        self.expect(Kw::Owned, "OWNED")?;
        self.effect(Effects::PRIVILEGE | Effects::SCHEMA);
        self.mark(Traits::DESTRUCTIVE);
        self.rest();
        Ok(())
    }

    /// A bare name that must be there, as in SQLite's REINDEX.
    pub fn optional_table(&mut self, access: Access) -> Read<()> {
        if !self.done() {
            let name = self.table_name()?;
            self.touch(&name, access);
        }
        Ok(())
    }

    /// Any constant as text.
    pub fn constant_text(&mut self) -> Option<Arc<str>> {
        let token = self.token(0)?;
        self.at += 1;
        Some(Arc::from(text_of(token, self.source)))
    }
}
