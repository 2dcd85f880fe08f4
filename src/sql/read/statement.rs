//! One statement by its leading word, and what all statements have in common.

use crate::model::{Access, Effects, Kind, Predicate, Traits};
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader};

impl Reader<'_> {
    /// Reads the whole range as one statement.
    pub fn statement(&mut self) -> Read<()> {
        self.dispatch()?;
        self.expect_done()?;
        self.finish();
        Ok(())
    }

    fn dispatch(&mut self) -> Read<()> {
        if self.kind(0) == Some(Tok::LParen) {
            return self.query_statement();
        }
        if self.kind(0) != Some(Tok::Word) {
            return self.confused("a statement");
        }
        match self.kw(0) {
            Kw::Select | Kw::With | Kw::Values => self.query_statement(),
            Kw::Insert | Kw::Update | Kw::Delete => self.query_statement(),
            Kw::Explain => self.explain_statement(),
            Kw::Create => self.create(),
            Kw::Alter => self.alter(),
            Kw::Drop => self.drop_object(),
            Kw::Begin | Kw::Commit | Kw::End | Kw::Rollback | Kw::Savepoint | Kw::Release => {
                self.transaction()
            }
            Kw::Analyze | Kw::Vacuum | Kw::Reindex => self.maintain(),
            _ if self.sqlite() => self.sqlite_statement(),
            Kw::Table | Kw::Merge => self.query_statement(),
            Kw::Start | Kw::Abort => self.transaction(),
            Kw::Prepare | Kw::Execute | Kw::Deallocate | Kw::Declare => self.handle_statement(),
            Kw::Fetch | Kw::Move | Kw::Close => self.handle_statement(),
            Kw::Set | Kw::Reset | Kw::Show | Kw::Discard => self.session_statement(),
            Kw::Listen | Kw::Unlisten | Kw::Notify => self.session_statement(),
            Kw::Copy => self.copy(),
            Kw::Truncate => self.truncate(),
            Kw::Grant | Kw::Revoke => self.grant(),
            Kw::Comment | Kw::Security => self.comment(),
            Kw::Reassign => self.reassign(),
            Kw::Lock => self.lock(),
            Kw::Do | Kw::Call => self.run_code(),
            Kw::Load | Kw::Import => self.load(),
            Kw::Analyse | Kw::Cluster | Kw::Checkpoint => self.maintain(),
            Kw::Refresh => self.refresh(),
            _ => self.confused("a statement"),
        }
    }

    /// SELECT, VALUES, TABLE, WITH and the data-modifying statements.
    fn query_statement(&mut self) -> Read<()> {
        self.query()?;
        if self.facts.kind == Kind::Select {
            self.mark(Traits::RETURNS_ROWS);
        }
        self.mark(Traits::PLANNABLE);
        Ok(())
    }

    /// Whatever EXPLAIN takes.
    fn explainable(&mut self) -> Read<()> {
        match self.kw(0) {
            Kw::Declare | Kw::Execute if !self.sqlite() => self.handle_statement(),
            Kw::Create => self.create(),
            Kw::Refresh if !self.sqlite() => self.refresh(),
            Kw::Explain => self.confused("a statement to explain"),
            _ if self.sqlite() => self.dispatch(),
            _ => self.query_statement(),
        }
    }

    /// `EXPLAIN [ANALYZE] [VERBOSE] x`, `EXPLAIN (options) x`, SQLite's `EXPLAIN QUERY PLAN x`.
    fn explain_statement(&mut self) -> Read<()> {
        self.at += 1;
        let runs = self.explain_options()?;
        self.explainable()?;
        self.facts.kind = Kind::Explain;
        self.facts
            .traits
            .remove(Traits::PLANNABLE | Traits::LIMITED);
        self.facts.limit = None;
        if !runs {
            self.only_planned();
        }
        self.effect(Effects::READS);
        self.mark(Traits::RETURNS_ROWS);
        Ok(())
    }

    fn explain_options(&mut self) -> Read<bool> {
        if self.sqlite() {
            if self.accept(Kw::Query) {
                self.at += 1;
            }
            return Ok(false);
        }
        if self.kind(0) == Some(Tok::LParen) && !self.query_starts_inside(self.at) {
            let options = self.group()?;
            return self.within(options, |reader| {
                let mut runs = false;
                while !reader.done() {
                    runs |= reader.analyze_option();
                }
                Ok(runs)
            });
        }
        let mut runs = self.accept(Kw::Analyze) || self.accept(Kw::Analyse);
        self.accept(Kw::Verbose);
        runs |= self.accept(Kw::Analyze);
        Ok(runs)
    }

    /// One option of the list; whether it makes the statement run. Only what is
    /// written as false does not.
    fn analyze_option(&mut self) -> bool {
        let analyze = matches!(self.kw(0), Kw::Analyze | Kw::Analyse)
            || (self.kind(0) == Some(Tok::Quoted) && &*self.folded(self.at) == "analyze");
        self.at += 1;
        let value = self.at;
        while !self.done() && self.kind(0) != Some(Tok::Comma) {
            self.at += 1;
        }
        let off = self.at == value + 1
            && matches!(
                self.text(value)
                    .trim_matches(['\'', '"'])
                    .to_ascii_lowercase()
                    .as_str(),
                "false" | "off" | "0"
            );
        self.accept_kind(Tok::Comma);
        analyze && !off
    }

    /// Nothing runs, except what the planner runs: constant calls of functions that claim to be immutable.
    fn only_planned(&mut self) {
        self.mark(Traits::PLAN_ONLY);
        self.facts.effects &= Effects::READS | Effects::CODE;
        self.facts
            .traits
            .remove(Traits::DESTRUCTIVE | Traits::LOCKS | Traits::NO_TRANSACTION);
        self.facts.settings.clear();
        self.facts.control = None;
        let changes = Access::CHANGE | Access::CREATE | Access::ALTER | Access::DROP | Access::LOCK;
        for relation in &mut self.facts.relations {
            if relation.access.intersects(changes) {
                relation.access.remove(changes);
                relation.access |= Access::OTHER;
            }
        }
        self.write_predicate = Some(Predicate::NotApplicable);
        self.read_predicate = None;
    }

    /// What follows from everything that was found.
    fn finish(&mut self) {
        self.whole_rows();
        if let Some(predicate) = self.write_predicate.or(self.read_predicate) {
            self.facts.predicate = predicate;
        }
        if self.locks_reads && !self.facts.traits.contains(Traits::PLAN_ONLY) {
            for relation in &mut self.facts.relations {
                if relation.access.contains(Access::SELECT) {
                    relation.access |= Access::LOCK;
                }
            }
        }
        let outside = Effects::SERVER_FILE | Effects::PROGRAM | Effects::NETWORK;
        if self.facts.effects.intersects(outside) {
            self.mark(Traits::DESTRUCTIVE);
        }
    }
}
