//! Transactions, settings, notifications.

use std::sync::Arc;

use crate::model::facts::{Control, Handle};
use crate::model::{Effects, Kind, Setting, Traits};
use crate::sql::lex::{Kw, Tok, text_of};

use super::{Read, Reader};

impl Reader<'_> {
    pub fn transaction(&mut self) -> Read<()> {
        self.effect(Effects::TRANSACTION);
        let verb = self.kw(0);
        self.at += 1;
        match verb {
            Kw::Begin | Kw::Start => {
                self.control(Kind::Begin, Control::Begin);
                if verb == Kw::Start {
                    self.expect(Kw::Transaction, "TRANSACTION")?;
                } else {
                    let _ = self.accept(Kw::Transaction) || self.accept(Kw::Work);
                }
                self.transaction_modes("transaction_")
            }
            Kw::Commit | Kw::End | Kw::Rollback | Kw::Abort => self.end_transaction(verb),
            Kw::Savepoint => {
                let name = self.any_name()?;
                self.control(Kind::Savepoint, Control::Savepoint(name));
                Ok(())
            }
            Kw::Release => {
                if self.token(1).is_some() {
                    self.accept(Kw::Savepoint);
                }
                let name = self.any_name()?;
                self.control(Kind::Savepoint, Control::Release(name));
                Ok(())
            }
            _ => {
                // PREPARE TRANSACTION
                self.at += 1;
                self.control(Kind::TwoPhase, Control::PrepareTransaction);
                self.string_constant().map(|_| ())
            }
        }
    }

    fn control(&mut self, kind: Kind, control: Control) {
        self.facts.kind = kind;
        self.facts.control = Some(control);
    }

    fn end_transaction(&mut self, verb: Kw) -> Read<()> {
        let commits = matches!(verb, Kw::Commit | Kw::End);
        if self.accept(Kw::Prepared) {
            self.control(Kind::TwoPhase, Control::FinishPrepared);
            self.mark(Traits::NO_TRANSACTION);
            return self.string_constant().map(|_| ());
        }
        let _ = self.accept(Kw::Transaction) || self.accept(Kw::Work);
        if !commits && self.accept(Kw::To) {
            if self.token(1).is_some() {
                self.accept(Kw::Savepoint);
            }
            let name = self.any_name()?;
            self.control(Kind::Savepoint, Control::RollbackTo(name));
            return Ok(());
        }
        let chain = if self.accept(Kw::And) {
            let chain = !self.accept(Kw::No);
            self.expect(Kw::Chain, "CHAIN")?;
            chain
        } else {
            false
        };
        if commits {
            self.control(Kind::Commit, Control::Commit(chain));
        } else {
            self.control(Kind::Rollback, Control::Rollback(chain));
        }
        Ok(())
    }

    fn string_constant(&mut self) -> Read<String> {
        match self.token(0) {
            Some(token) if token.kind == Tok::String => {
                self.at += 1;
                Ok(text_of(token, self.source).into_owned())
            }
            _ => self.confused("a string"),
        }
    }

    /// `ISOLATION LEVEL …`, `READ ONLY`, `READ WRITE`, `[NOT] DEFERRABLE`, as the settings they are.
    fn transaction_modes(&mut self, prefix: &str) -> Read<()> {
        let local = prefix == "transaction_";
        while !self.done() {
            self.accept_kind(Tok::Comma);
            let (name, value) = if self.accept_all(&[Kw::Isolation, Kw::Level]) {
                let from = self.at;
                while matches!(
                    self.kw(0),
                    Kw::Serializable | Kw::Repeatable | Kw::Read | Kw::Committed | Kw::Uncommitted
                ) && self.at < from + 2
                {
                    self.at += 1;
                    if self.kw_at(self.at - 1) == Kw::Serializable {
                        break;
                    }
                }
                let words: Vec<String> = (from..self.at)
                    .map(|i| self.text(i).to_ascii_lowercase())
                    .collect();
                if words.is_empty() {
                    return self.confused("an isolation level");
                }
                ("isolation", words.join(" "))
            } else if self.accept_all(&[Kw::Read, Kw::Only]) {
                ("read_only", "on".to_owned())
            } else if self.accept_all(&[Kw::Read, Kw::Write]) {
                ("read_only", "off".to_owned())
            } else if self.accept_all(&[Kw::Not, Kw::Deferrable]) {
                ("deferrable", "off".to_owned())
            } else if self.accept(Kw::Deferrable) {
                ("deferrable", "on".to_owned())
            } else if self.sqlite() && self.is_name(0) {
                // BEGIN DEFERRED | IMMEDIATE | EXCLUSIVE [TRANSACTION]
                self.at += 1;
                self.accept(Kw::Transaction);
                continue;
            } else {
                return self.confused("a transaction mode");
            };
            let name = Arc::from(format!("{prefix}{name}"));
            self.facts.settings.push(Setting {
                name,
                value: Some(Arc::from(value)),
                local,
            });
        }
        Ok(())
    }

    pub fn session_statement(&mut self) -> Read<()> {
        let verb = self.kw(0);
        self.at += 1;
        match verb {
            Kw::Set => self.set(),
            Kw::Reset => self.reset(),
            Kw::Show => {
                self.facts.kind = Kind::Show;
                self.effect(Effects::READS);
                self.mark(Traits::RETURNS_ROWS);
                self.setting_name().map(|_| ())
            }
            Kw::Discard => self.discard(),
            _ => {
                self.facts.kind = Kind::Notify;
                self.effect(Effects::SESSION);
                if !(verb == Kw::Unlisten && self.accept_star()) {
                    self.any_name()?;
                }
                if verb == Kw::Notify && self.accept_kind(Tok::Comma) {
                    self.string_constant()?;
                }
                Ok(())
            }
        }
    }

    fn accept_star(&mut self) -> bool {
        let star = self.is_op(0, "*");
        if star {
            self.at += 1;
        }
        star
    }

    fn discard(&mut self) -> Read<()> {
        self.facts.kind = Kind::Discard;
        self.effect(Effects::SESSION);
        match self.kw(0) {
            Kw::All => {
                self.facts.handle = Some(Handle::DiscardAll);
                self.mark(Traits::NO_TRANSACTION);
                self.facts.settings.push(Setting {
                    name: Arc::from("*"),
                    value: None,
                    local: false,
                });
            }
            Kw::Plans | Kw::Sequences | Kw::Temp | Kw::Temporary => {}
            _ => return self.confused("ALL, PLANS, SEQUENCES or TEMP"),
        }
        self.at += 1;
        Ok(())
    }

    /// `name`, `extension.name`, `TIME ZONE`, `SESSION AUTHORIZATION`, `TRANSACTION ISOLATION LEVEL`, `ALL`.
    fn setting_name(&mut self) -> Read<Arc<str>> {
        if self.accept_all(&[Kw::Time, Kw::Zone]) {
            return Ok(Arc::from("timezone"));
        }
        if self.accept_all(&[Kw::Session, Kw::Authorization]) {
            return Ok(Arc::from("session_authorization"));
        }
        if self.accept_all(&[Kw::Transaction, Kw::Isolation, Kw::Level]) {
            return Ok(Arc::from("transaction_isolation"));
        }
        if self.accept(Kw::All) {
            return Ok(Arc::from("*"));
        }
        if self.accept_all(&[Kw::Xml, Kw::Option]) {
            return Ok(Arc::from("xmloption"));
        }
        let mut name = self.any_name()?.to_ascii_lowercase();
        while self.accept_kind(Tok::Dot) {
            name = format!("{name}.{}", self.any_name()?.to_ascii_lowercase());
        }
        Ok(Arc::from(name))
    }

    fn reset(&mut self) -> Read<()> {
        self.facts.kind = Kind::Reset;
        let name = self.setting_name()?;
        self.note_setting(Setting {
            name,
            value: None,
            local: false,
        });
        Ok(())
    }

    fn set(&mut self) -> Read<()> {
        self.facts.kind = Kind::Set;
        if self.accept(Kw::Constraints) {
            self.effect(Effects::TRANSACTION);
            self.rest();
            return Ok(());
        }
        if self.accept(Kw::Transaction) {
            self.effect(Effects::SESSION | Effects::TRANSACTION);
            if self.accept(Kw::Snapshot) {
                return self.string_constant().map(|_| ());
            }
            return self.transaction_modes("transaction_");
        }
        if self.accept_all(&[Kw::Session, Kw::Characteristics, Kw::As, Kw::Transaction]) {
            self.effect(Effects::SESSION);
            return self.transaction_modes("default_transaction_");
        }
        let local = self.accept(Kw::Local);
        if self.kw(0) == Kw::Session
            && self.kw(1) != Kw::Authorization
            && self.token(1).is_some_and(|t| t.is_name())
        {
            self.at += 1;
        }
        self.assignment(local)
    }

    /// `name {TO | =} value, …`, `TIME ZONE x`, `ROLE x`, `NAMES x`, `SCHEMA 'x'`.
    pub fn assignment(&mut self, local: bool) -> Read<()> {
        let special = match (self.kw(0), self.kw(1)) {
            (Kw::Role, next) if next != Kw::To && !self.is_op(1, "=") => Some("role"),
            (Kw::Names, next) if next != Kw::To && !self.is_op(1, "=") => Some("client_encoding"),
            (Kw::Schema, _) if self.kind(1) == Some(Tok::String) => Some("search_path"),
            _ => None,
        };
        let name = match special {
            Some(name) => {
                self.at += 1;
                Arc::from(name)
            }
            None => {
                let name = self.setting_name()?;
                let _ = self.accept(Kw::To) || self.accept_op("=");
                if self.kw(0) == Kw::From && self.kw(1) == Kw::Current {
                    self.at += 1;
                }
                name
            }
        };
        let value = self.setting_value();
        self.note_setting(Setting { name, value, local });
        Ok(())
    }

    fn accept_op(&mut self, op: &str) -> bool {
        let found = self.is_op(0, op);
        if found {
            self.at += 1;
        }
        found
    }

    /// A list is joined with `, `; names are folded, strings are not.
    fn setting_value(&mut self) -> Option<Arc<str>> {
        let mut parts: Vec<String> = Vec::new();
        let from = self.at;
        self.rest();
        if from + 1 == self.end && matches!(self.kw_at(from), Kw::Default) {
            return None;
        }
        let mut sign = String::new();
        for index in from..self.end {
            let token = &self.tokens[index];
            match token.kind {
                Tok::Comma => {}
                Tok::Op => sign.push_str(token.text(self.source)),
                Tok::Word | Tok::Quoted => parts.push(self.folded(index).to_string()),
                _ => parts.push(format!(
                    "{}{}",
                    std::mem::take(&mut sign),
                    text_of(token, self.source)
                )),
            }
        }
        (!parts.is_empty()).then(|| Arc::from(parts.join(", ")))
    }
}
