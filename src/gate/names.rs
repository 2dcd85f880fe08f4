//! Names of a session: prepared statements, portals, cursors.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

// Seeded like the standard one, and quicker: clients choose the names.
use hashbrown::HashMap;

use super::known::World;
use super::line::Needs;
use super::prepared::Shared;
use crate::model::{Analysis, Statement};
use crate::policy::Permit;

/// A permit, the world it was given in, and what it needs there.
#[derive(Clone)]
pub(super) struct Given {
    /// The right to execute.
    pub(super) permit: Permit,
    /// Names meant this.
    pub(super) world: Rc<World>,
    /// What must happen around it.
    pub(super) needs: Rc<Needs>,
}

/// A prepared statement, by Parse or by SQL.
pub(super) struct Prepared {
    /// The analysis it came from.
    pub(super) analysis: Arc<Analysis>,
    /// The statement; none for an empty query.
    pub(super) statement: Option<Arc<Statement>>,
    /// The newest permit; none when values are needed for a decision.
    pub(super) permit: RefCell<Option<Given>>,
    /// Parameter types as declared.
    pub(super) types: Box<[u32]>,
    /// State of the session's names in which the server was told of it.
    pub(super) epoch: Cell<u64>,
    /// What servers know it as, where links are shared; none for the unnamed
    /// statement and for PREPARE in SQL.
    pub(super) shared: Option<Rc<Shared>>,
    /// How text was read when it was analyzed.
    pub(super) lexing: u8,
    /// Time spent on analysis and decision, for the first record.
    pub(super) spent: Cell<(u64, u64)>,
}

/// A portal: a prepared statement with values.
pub(super) struct Portal {
    /// What it runs.
    pub(super) prepared: Rc<Prepared>,
    /// The permit of its decision at Bind, when values were needed.
    pub(super) permit: RefCell<Option<Given>>,
    /// Rows its slices may still return; none: not counted yet.
    pub(super) rows_left: Cell<Option<u64>>,
    /// Bind's formats and values, kept only where a plan must be asked for.
    pub(super) values: Option<Box<[u8]>>,
    /// It was executed before: a later tag counts again what was counted then.
    pub(super) started: Cell<bool>,
    /// The plan was found good.
    pub(super) planned: Cell<bool>,
    /// Place of its Bind among the messages.
    pub(super) place: Cell<u64>,
}

/// A cursor made by DECLARE.
pub(super) struct Cursor {
    /// The statement it reads from.
    pub(super) statement: Arc<Statement>,
    /// Rows returned so far by all FETCHes.
    pub(super) rows: Cell<u64>,
}

/// All names of a session.
#[derive(Default, Clone)]
pub(super) struct Names {
    /// The unnamed ones stand apart: most messages are about them.
    unnamed: Option<Rc<Prepared>>,
    unnamed_portal: Option<Rc<Portal>>,
    prepared: HashMap<Box<[u8]>, Rc<Prepared>>,
    portals: HashMap<Box<[u8]>, Rc<Portal>>,
    cursors: HashMap<Arc<str>, Rc<Cursor>>,
}

impl Names {
    pub(super) fn prepared(&self, name: &[u8]) -> Option<&Rc<Prepared>> {
        if name.is_empty() {
            return self.unnamed.as_ref();
        }
        self.prepared.get(name)
    }

    /// What the client calls the shared statement with this number.
    pub(super) fn name_of(&self, number: u64) -> Option<Box<[u8]>> {
        let mut all = self.prepared.iter();
        all.find(|(_, prepared)| prepared.shared.as_ref().is_some_and(|s| s.number == number))
            .map(|(name, _)| name.clone())
    }

    /// Numbers of its shared statements.
    pub(super) fn shared_numbers(&self) -> impl Iterator<Item = u64> {
        let shared = self.prepared.values().filter_map(|p| p.shared.as_ref());
        shared.map(|shared| shared.number)
    }

    pub(super) fn n_prepared(&self) -> usize {
        self.prepared.len()
    }

    pub(super) fn set_prepared(
        &mut self,
        name: Box<[u8]>,
        new: Option<Rc<Prepared>>,
    ) -> Option<Rc<Prepared>> {
        if name.is_empty() {
            return std::mem::replace(&mut self.unnamed, new);
        }
        match new {
            Some(prepared) => self.prepared.insert(name, prepared),
            None => self.prepared.remove(&name),
        }
    }

    pub(super) fn portal(&self, name: &[u8]) -> Option<&Rc<Portal>> {
        if name.is_empty() {
            return self.unnamed_portal.as_ref();
        }
        self.portals.get(name)
    }

    pub(super) fn set_portal(
        &mut self,
        name: Box<[u8]>,
        new: Option<Rc<Portal>>,
    ) -> Option<Rc<Portal>> {
        if name.is_empty() {
            return std::mem::replace(&mut self.unnamed_portal, new);
        }
        match new {
            Some(portal) => self.portals.insert(name, portal),
            None => self.portals.remove(&name),
        }
    }

    pub(super) fn cursor(&self, name: &str) -> Option<&Rc<Cursor>> {
        self.cursors.get(name)
    }

    pub(super) fn set_cursor(&mut self, name: Arc<str>, statement: Arc<Statement>) {
        self.cursors.insert(
            name,
            Rc::new(Cursor {
                statement,
                rows: Cell::new(0),
            }),
        );
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) {
        match name {
            Some(name) => drop(self.cursors.remove(name)),
            None => self.cursors.clear(),
        }
    }

    /// All portals end with the transaction (55.2.3), those bound behind its end not.
    pub(super) fn end_transaction(&mut self, done: u64) {
        if let Some(portal) = &self.unnamed_portal
            && portal.place.get() <= done
        {
            self.unnamed_portal = None;
        }
        if !self.portals.is_empty() {
            self.portals.retain(|_, portal| portal.place.get() > done);
        }
    }

    /// DEALLOCATE ALL; the unnamed statement is not among them.
    pub(super) fn forget_prepared(&mut self) {
        self.prepared.clear();
    }

    /// DISCARD ALL.
    pub(super) fn forget_all(&mut self) {
        self.forget_prepared();
        self.unnamed_portal = None;
        self.portals.clear();
        self.cursors.clear();
    }
}
