//! Names in the session: prepared statements and cursors.

use std::sync::Arc;

use crate::model::facts::Handle;
use crate::model::{Effects, Kind, Statement, Traits, Via};
use crate::sql::assemble;
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader};

impl Reader<'_> {
    pub fn handle_statement(&mut self) -> Read<()> {
        match self.kw(0) {
            Kw::Prepare if self.kw(1) == Kw::Transaction => self.transaction(),
            Kw::Prepare => self.prepare(),
            Kw::Execute => {
                self.explain(self.at);
                self.facts.kind = Kind::Execute;
                self.execute()
            }
            Kw::Deallocate => self.deallocate(),
            Kw::Declare => self.declare(),
            Kw::Fetch | Kw::Move => self.fetch(),
            _ => self.close(),
        }
    }

    /// `PREPARE name [(types)] AS statement`: the effects are those of the statement.
    fn prepare(&mut self) -> Read<()> {
        self.facts.kind = Kind::Prepare;
        self.at += 1;
        let name = self.any_name()?;
        if self.kind(0) == Some(Tok::LParen) {
            self.group()?;
        }
        self.expect(Kw::As, "AS")?;
        if !matches!(
            self.kw(0),
            Kw::Select
                | Kw::Insert
                | Kw::Update
                | Kw::Delete
                | Kw::Merge
                | Kw::Values
                | Kw::With
                | Kw::Table
        ) && self.kind(0) != Some(Tok::LParen)
        {
            return self.confused("a statement to prepare");
        }
        let nested = self.nested_statement(self.at..self.end);
        self.merge_nested(&nested.facts, Via::Nested);
        self.effect(Effects::SESSION);
        self.facts.handle = Some(Handle::Prepare(name, nested));
        self.rest();
        Ok(())
    }

    /// The statement in `range`, whose tokens are accounted for there.
    fn nested_statement(&mut self, range: std::ops::Range<usize>) -> Arc<Statement> {
        for index in range.clone() {
            self.explain(index);
        }
        let text = assemble::Text {
            source: self.source,
            lexer: self.lexer,
            tokens: self.tokens,
            pairs: self.pairs,
        };
        Arc::new(assemble::statement(&text, range, self.prepared))
    }

    /// `EXECUTE name [(values)]`: the effects are those of the prepared statement,
    /// known when it was prepared earlier in the string, open otherwise.
    pub fn execute(&mut self) -> Read<()> {
        self.explain(self.at);
        self.expect(Kw::Execute, "EXECUTE")?;
        self.outer_depth = 0;
        let name = self.any_name()?;
        if self.kind(0) == Some(Tok::LParen) {
            let values = self.group()?;
            self.expression(values.0, values.1)?;
        }
        match self.prepared.get(&name) {
            Some(statement) => {
                let statement = statement.clone();
                self.merge_nested(&statement.facts, Via::Nested);
                self.mark(statement.facts.traits & Traits::RETURNS_ROWS);
            }
            None => {
                self.effect(Effects::CODE);
                self.mark(Traits::DESTRUCTIVE | Traits::RETURNS_ROWS);
            }
        }
        self.facts.handle = Some(Handle::Execute(name));
        Ok(())
    }

    fn deallocate(&mut self) -> Read<()> {
        self.facts.kind = Kind::Deallocate;
        self.at += 1;
        if self.token(1).is_some() {
            self.accept(Kw::Prepare);
        }
        let name = if self.accept(Kw::All) {
            None
        } else {
            Some(self.any_name()?)
        };
        self.effect(Effects::SESSION);
        self.facts.handle = Some(Handle::Deallocate(name));
        Ok(())
    }

    /// `DECLARE name … CURSOR [WITH | WITHOUT HOLD] FOR query`
    fn declare(&mut self) -> Read<()> {
        self.facts.kind = Kind::Declare;
        self.at += 1;
        let name = self.any_name()?;
        while !self.done() && self.kw(0) != Kw::Cursor {
            let known = matches!(
                self.kw(0),
                Kw::Binary | Kw::Insensitive | Kw::No | Kw::Scroll
            );
            if !known && !self.is_word(0, "asensitive") {
                return self.confused("CURSOR");
            }
            self.at += 1;
        }
        self.expect(Kw::Cursor, "CURSOR")?;
        let _ = self.accept_all(&[Kw::With, Kw::Hold]) || self.accept_all(&[Kw::Without, Kw::Hold]);
        self.expect(Kw::For, "FOR")?;
        let nested = self.nested_statement(self.at..self.end);
        self.merge_nested(&nested.facts, Via::Direct);
        self.effect(Effects::SESSION);
        self.mark(Traits::PLANNABLE);
        self.facts.handle = Some(Handle::Declare(name, nested));
        self.rest();
        Ok(())
    }

    /// `FETCH [direction] [FROM | IN] name`: the name comes last.
    fn fetch(&mut self) -> Read<()> {
        let fetches = self.kw(0) == Kw::Fetch;
        self.facts.kind = Kind::Fetch;
        if self.end - self.at > 6 {
            return self.confused("a cursor");
        }
        self.at = (self.end - 1).max(self.at + 1);
        let name = self.any_name()?;
        self.effect(Effects::READS);
        if fetches {
            self.mark(Traits::RETURNS_ROWS);
        }
        self.facts.handle = Some(Handle::Fetch(name, fetches));
        Ok(())
    }

    fn close(&mut self) -> Read<()> {
        self.facts.kind = Kind::Close;
        self.at += 1;
        let name = if self.accept(Kw::All) {
            None
        } else {
            Some(self.any_name()?)
        };
        self.effect(Effects::SESSION);
        self.facts.handle = Some(Handle::Close(name));
        Ok(())
    }
}
