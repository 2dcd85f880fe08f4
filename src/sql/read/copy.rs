//! COPY in both directions.

use std::sync::Arc;

use crate::model::{Access, ColumnUses, Effects, Kind, Traits};
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader};

impl Reader<'_> {
    /// `COPY table [(columns)] {FROM | TO} target …`, `COPY (query) TO target …`
    ///
    /// The query may be an INSERT, UPDATE, DELETE or MERGE with RETURNING.
    pub fn copy(&mut self) -> Read<()> {
        self.facts.kind = Kind::Copy;
        self.explain(self.at);
        self.at += 1;
        if self.kind(0) == Some(Tok::LParen) {
            let query = self.group()?;
            self.within(query, |reader| reader.query())?;
            self.facts.kind = Kind::Copy;
            self.expect(Kw::To, "TO")?;
            return self.copy_end(true);
        }
        // A query in its WHERE is not the statement's own.
        self.outer_depth = 0;
        if self.kw(0) == Kw::Binary {
            self.at += 1;
        }
        let table = self.table_name()?;
        let listed = self.kind(0) == Some(Tok::LParen);
        if listed {
            let columns = self.group()?;
            let out = self.kw(0) == Kw::To;
            let uses = if out {
                ColumnUses::VALUE
            } else {
                ColumnUses::WRITTEN
            };
            self.using(uses, |reader| reader.expression(columns.0, columns.1))?;
        }
        if self.accept(Kw::To) {
            if !listed {
                self.column(Arc::from("*"));
            }
            self.touch(&table, Access::SELECT);
            self.effect(Effects::READS);
            return self.copy_end(true);
        }
        self.expect(Kw::From, "FROM or TO")?;
        self.touch(&table, Access::INSERT);
        self.effect(Effects::WRITES);
        self.copy_end(false)
    }

    fn copy_end(&mut self, out: bool) -> Read<()> {
        match (self.kind(0), self.kw(0)) {
            (_, Kw::Stdin | Kw::Stdout) => {
                self.at += 1;
                if out {
                    self.mark(Traits::RETURNS_ROWS);
                }
            }
            (_, Kw::Program) => {
                self.at += 1;
                if self.kind(0) != Some(Tok::String) {
                    return self.confused("a command");
                }
                self.at += 1;
                self.effect(Effects::PROGRAM);
            }
            (Some(Tok::String), _) => {
                self.at += 1;
                self.effect(Effects::SERVER_FILE);
            }
            _ => return self.confused("STDIN, STDOUT, a file or PROGRAM"),
        }
        while !self.done() {
            match self.kind(0) {
                Some(Tok::LParen) => {
                    self.group()?;
                }
                Some(Tok::Word) if self.kw(0) == Kw::Where && !out => {
                    self.at += 1;
                    self.expression(self.at, self.end)?;
                    self.rest();
                }
                Some(Tok::Word | Tok::Quoted | Tok::String | Tok::Comma) => self.at += 1,
                Some(Tok::Op) => self.at += 1,
                _ => return self.confused("an option of COPY"),
            }
        }
        Ok(())
    }
}
