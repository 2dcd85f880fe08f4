//! Names of tables, and what follows them.

use std::sync::Arc;

use crate::model::Access;
use crate::sql::lex::{Kw, Tok, name_of};

use super::{Read, Reader, TableName};

impl Reader<'_> {
    /// A token that may stand where a table or column name is due.
    pub fn is_name(&self, ahead: usize) -> bool {
        self.token(ahead).is_some_and(|token| match token.kind {
            Tok::Quoted => true,
            Tok::Word => self.can_name(token.kw),
            // SQLite takes a string where a name is due.
            Tok::String => self.sqlite(),
            _ => false,
        })
    }

    /// A bare keyword that may be a name without AS.
    pub fn can_name(&self, kw: Kw) -> bool {
        if !self.sqlite() {
            return kw.can_name();
        }
        let clause = matches!(
            kw,
            Kw::Natural
                | Kw::Left
                | Kw::Right
                | Kw::Full
                | Kw::Inner
                | Kw::Outer
                | Kw::Cross
                | Kw::Window
                | Kw::Offset
                | Kw::Indexed
        );
        !kw.sqlite_reserved() && !clause
    }

    /// The name of token `index`, folded.
    pub fn folded(&self, index: usize) -> Arc<str> {
        match self.tokens.get(index) {
            Some(token) => Arc::from(name_of(token, self.source, self.lexer.dialect)),
            None => Arc::from(""),
        }
    }

    /// One name, as for a role, a cursor or a savepoint: any word will do.
    pub fn any_name(&mut self) -> Read<Arc<str>> {
        match self.kind(0) {
            Some(Tok::Word | Tok::Quoted) => {
                self.at += 1;
                Ok(self.folded(self.at - 1))
            }
            Some(Tok::String) if self.sqlite() => {
                self.at += 1;
                Ok(self.folded(self.at - 1))
            }
            _ => self.confused("a name"),
        }
    }

    /// `name`, `schema.name` or `database.schema.name`.
    pub fn table_name(&mut self) -> Read<TableName> {
        if !self.is_name(0) {
            return self.confused("a table name");
        }
        let mut last = self.at;
        let mut before = None;
        self.at += 1;
        let mut parts = 1;
        while self.kind(0) == Some(Tok::Dot) {
            match self.kind(1) {
                Some(Tok::Word | Tok::Quoted | Tok::String) if parts < 3 => {
                    before = Some(last);
                    last = self.at + 1;
                    self.at += 2;
                    parts += 1;
                }
                _ => return self.confused("a name behind the dot"),
            }
        }
        Ok(TableName {
            schema: before.map(|index| self.folded(index)),
            name: self.folded(last),
        })
    }

    /// `[ONLY] name [*]` or `ONLY (name)`, as targets of writes are written.
    pub fn target_name(&mut self) -> Read<TableName> {
        if !self.sqlite() && self.accept(Kw::Only) && self.kind(0) == Some(Tok::LParen) {
            let range = self.group()?;
            return self.within(range, |reader| {
                let name = reader.table_name()?;
                reader.expect_done()?;
                Ok(name)
            });
        }
        let name = self.table_name()?;
        if self.is_op(0, "*") {
            self.at += 1;
        }
        Ok(name)
    }

    /// `[AS] alias`, where a bare alias may not be `stop`.
    pub fn alias(&mut self, stop: &[Kw]) -> Read<Option<Arc<str>>> {
        if self.accept(Kw::As) {
            return Ok(Some(self.any_name()?));
        }
        let bare = match self.kind(0) {
            Some(Tok::Quoted) => true,
            Some(Tok::String) => self.sqlite(),
            Some(Tok::Word) => self.can_name(self.kw(0)) && !stop.contains(&self.kw(0)),
            _ => false,
        };
        if bare {
            Ok(Some(self.any_name()?))
        } else {
            Ok(None)
        }
    }

    /// Comma-separated names, each touched with `access`; stops behind the last one.
    pub fn name_list(&mut self, access: Access) -> Read<Vec<TableName>> {
        let mut names = Vec::new();
        loop {
            let name = self.target_name()?;
            self.touch(&name, access);
            names.push(name);
            if !self.accept_kind(Tok::Comma) {
                return Ok(names);
            }
        }
    }

    /// `IF EXISTS` and `IF NOT EXISTS`.
    pub fn if_exists(&mut self) {
        let _ = self.accept_all(&[Kw::If, Kw::Exists])
            || self.accept_all(&[Kw::If, Kw::Not, Kw::Exists]);
    }
}
