//! The questions of the policy interface, each a method that notes what it was asked.
//!
//! The Wasm bindings and the SDK's native tests both run through [`Ask`], so a
//! policy cannot tell them apart. Named as in `wit/policy.wit`.

use std::sync::Arc;

use super::answer::Draft;
use super::fault::Fault;
use super::read::{self, Read, Reads};
use super::setup::{LOCAL_SYMBOL, Names, Registry};
use super::subject::Subject;
use crate::model::facts::AstImage;
use crate::model::{Access, Decision, Verdict};

/// A relation as the interface shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationView {
    /// Symbol of the schema, 0 when none was written.
    pub schema: u32,
    /// Symbol of the name.
    pub name: u32,
    /// Bits of `Access`.
    pub access: u64,
    /// Code of `Via`.
    pub via: u32,
}

/// One call of a policy: what it may ask, what it has asked, what it has answered.
#[derive(Debug)]
pub struct Ask {
    pub(super) policy: Arc<str>,
    pub(super) registry: Arc<Registry>,
    pub(super) subject: Arc<Subject>,
    pub(super) draft: Draft,
    /// The relation the last question about names found; a disguise hides it.
    pub(super) last_found: Option<u32>,
    symbols: Vec<Arc<str>>,
    pub(super) reads: Reads,
    pub(super) needs_values: bool,
    path: Option<Option<Vec<Arc<str>>>>,
    pub(super) logs: Vec<(u32, String)>,
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The verdict of this policy alone.
    pub verdict: Verdict,
    /// What it depended on.
    pub reads: Reads,
    /// It asked for bind values that are not known yet: ask again at Bind, this verdict means nothing.
    pub needs_values: bool,
    /// Lines it wrote, with their level.
    pub logs: Vec<(u32, String)>,
}

impl Ask {
    /// Begins a call.
    pub fn new(policy: Arc<str>, registry: Arc<Registry>, subject: Arc<Subject>) -> Ask {
        Ask {
            policy,
            registry,
            subject,
            draft: Draft::default(),
            last_found: None,
            symbols: Vec::new(),
            reads: Reads::default(),
            needs_values: false,
            path: None,
            logs: Vec::new(),
        }
    }

    /// Ends the call with the policy's decision.
    pub fn finish(mut self, decision: Decision) -> Result<Judged, Fault> {
        let verdict = if self.needs_values {
            Verdict::default()
        } else {
            self.verdict(decision)?
        };
        Ok(Judged {
            verdict,
            reads: self.reads,
            needs_values: self.needs_values,
            logs: self.logs,
        })
    }

    /// Whether it asked for values that are not known yet.
    pub fn needs_values(&self) -> bool {
        self.needs_values
    }

    /// Lines written so far, with their level.
    pub fn logs(&self) -> &[(u32, String)] {
        &self.logs
    }

    /// What was read so far.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The three shape scalars `judge` is called with: kind, effects, traits.
    pub fn shape(&self) -> (u32, u64, u64) {
        let facts = &self.subject.statement.facts;
        (facts.kind.code(), facts.effects.bits(), facts.traits.bits())
    }

    // interface statement

    /// Code of `Dialect`.
    pub fn dialect(&mut self) -> u32 {
        self.reads.shape();
        self.subject.statement.dialect.code()
    }

    /// Code of `Predicate`.
    pub fn predicate(&mut self) -> u32 {
        self.reads.shape();
        self.subject.statement.facts.predicate.code()
    }

    /// Number of relations.
    pub fn relations(&mut self) -> u32 {
        self.reads.shape();
        count(self.subject.statement.facts.relations.len())
    }

    /// One relation. Out of range is a fault.
    pub fn relation_at(&mut self, index: u32) -> Result<RelationView, Fault> {
        self.reads.shape();
        let statement = self.subject.statement.clone();
        let relation = statement.facts.relations.get(index as usize);
        let relation =
            relation.ok_or_else(|| Fault::call(format!("there is no relation {index}")))?;
        Ok(RelationView {
            schema: relation
                .schema
                .as_ref()
                .map_or(0, |schema| self.symbol(schema)),
            name: self.symbol(&relation.name),
            access: relation.access.bits(),
            via: relation.via.code(),
        })
    }

    /// First relation from `start` on that a pattern matches, with any of `access`.
    pub fn find(&mut self, names: u32, access: u64, start: u32) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = self.registry.names(names)?.clone();
        let wanted = Access::from_bits_retain(access);
        let statement = self.subject.statement.clone();
        let relations = statement
            .facts
            .relations
            .iter()
            .enumerate()
            .skip(start as usize);
        for (index, relation) in
            relations.filter(|(_, relation)| relation.access.intersects(wanted))
        {
            if self
                .best(&names, relation.schema.as_deref(), &relation.name)
                .is_some()
            {
                self.last_found = Some(count(index));
                return Ok(self.last_found);
            }
        }
        Ok(None)
    }

    /// First relation from `start` on with any of `access`.
    pub fn find_access(&mut self, access: u64, start: u32) -> Option<u32> {
        self.reads.shape();
        let wanted = Access::from_bits_retain(access);
        let mut relations = self
            .subject
            .statement
            .facts
            .relations
            .iter()
            .enumerate()
            .skip(start as usize);
        relations
            .find(|(_, relation)| relation.access.intersects(wanted))
            .map(|(index, _)| count(index))
    }

    /// Most specific pattern for one relation. Out of range is a fault.
    pub fn pattern(&mut self, index: u32, names: u32) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = self.registry.names(names)?.clone();
        let statement = self.subject.statement.clone();
        let relation = statement.facts.relations.get(index as usize);
        let relation =
            relation.ok_or_else(|| Fault::call(format!("there is no relation {index}")))?;
        let found = self.best(&names, relation.schema.as_deref(), &relation.name);
        if found.is_some() {
            self.last_found = Some(index);
        }
        Ok(found)
    }

    /// First column from `start` on that a pattern matches.
    pub fn find_column(&mut self, names: u32, start: u32) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = self.registry.names(names)?;
        let mut columns = self
            .subject
            .statement
            .facts
            .columns
            .iter()
            .enumerate()
            .skip(start as usize);
        Ok(columns
            .find(|(_, column)| names.relations.best(None, column, None).is_some())
            .map(|(index, _)| count(index)))
    }

    /// First function from `start` on that a pattern matches.
    pub fn find_function(&mut self, names: u32, start: u32) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = self.registry.names(names)?.clone();
        let statement = self.subject.statement.clone();
        for (index, function) in statement
            .facts
            .functions
            .iter()
            .enumerate()
            .skip(start as usize)
        {
            if self
                .best(&names, function.schema.as_deref(), &function.name)
                .is_some()
            {
                return Ok(Some(count(index)));
            }
        }
        Ok(None)
    }

    /// The text of a symbol; empty for 0. An unknown one is a fault.
    pub fn name(&mut self, symbol: u32) -> Result<Arc<str>, Fault> {
        self.reads.shape();
        if symbol == 0 {
            return Ok(Arc::from(""));
        }
        let found = match symbol & LOCAL_SYMBOL {
            0 => self.registry.name(symbol),
            _ => self.symbols.get((symbol & !LOCAL_SYMBOL) as usize),
        };
        found
            .cloned()
            .ok_or_else(|| Fault::call(format!("there is no symbol {symbol}")))
    }

    /// The statement with literals as placeholders, without comments.
    pub fn normalized(&mut self) -> Arc<str> {
        self.reads.shape();
        self.subject.statement.normalized.clone()
    }

    /// The constant LIMIT.
    pub fn limit(&mut self) -> Option<u64> {
        self.reads.shape();
        self.subject.statement.facts.limit
    }

    /// Whether the shape was learned. Nothing learns in this version.
    pub fn shape_in(&mut self, _learned: &str) -> bool {
        self.reads.shape();
        false
    }

    /// The syntax tree.
    pub fn ast(&mut self) -> Arc<AstImage> {
        self.reads.shape();
        crate::sql::ast_image(&self.subject.statement)
    }

    // interface client

    /// Symbol of the user.
    pub fn user(&mut self) -> u32 {
        let user = self.subject.client.user.clone();
        self.reads.note(Read::User(user.clone()));
        self.symbol(&user)
    }

    /// Symbol of the database.
    pub fn database(&mut self) -> u32 {
        let database = self.subject.client.database.clone();
        self.reads.note(Read::Database(database.clone()));
        self.symbol(&database)
    }

    /// Which pattern matches the user.
    pub fn user_in(&mut self, names: u32) -> Result<Option<u32>, Fault> {
        let names = self.registry.names(names)?.clone();
        let answer = names.find_plain(&self.subject.client.user);
        self.reads.note(Read::UserIn(names, answer));
        Ok(answer)
    }

    /// Which network holds the address.
    pub fn address_in(&mut self, networks: u32) -> Result<Option<u32>, Fault> {
        let networks = self.registry.networks(networks)?.clone();
        let answer = networks.find(self.subject.client.address);
        self.reads.note(Read::AddressIn(networks, answer));
        Ok(answer)
    }

    /// The address as text; empty on a Unix socket.
    pub fn address(&mut self) -> String {
        let address = self.subject.client.address;
        self.reads.note(Read::Address(address));
        address
            .map(|address| address.to_string())
            .unwrap_or_default()
    }

    /// Symbol of the current role.
    pub fn role(&mut self) -> u32 {
        let role = self.subject.session.role.clone();
        self.reads.note(Read::Role(role.clone()));
        self.symbol(&role)
    }

    /// Symbol of application_name.
    pub fn application(&mut self) -> u32 {
        let application = self.subject.session.application.clone();
        self.reads.note(Read::Application(application.clone()));
        self.symbol(&application)
    }

    /// Code of the transaction state.
    pub fn transaction(&mut self) -> u32 {
        let state = self.subject.session.transaction;
        self.reads.note(Read::Transaction(state));
        state as u32
    }

    /// A tracked setting of the session.
    pub fn setting(&mut self, name: &str) -> Option<Arc<str>> {
        let name: Arc<str> = name.to_ascii_lowercase().into();
        let value = read::setting(&self.subject.view(), &name).cloned();
        self.reads.note(Read::Setting(name, value.clone()));
        value
    }

    // helpers

    /// Symbol of a name: the interned one, or one that is good for this call.
    fn symbol(&mut self, name: &Arc<str>) -> u32 {
        if let Some(symbol) = self.registry.symbol(name) {
            return symbol;
        }
        let known = self.symbols.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.symbols.push(name.clone());
            self.symbols.len() - 1
        });
        LOCAL_SYMBOL | count(index)
    }

    pub(super) fn best(
        &mut self,
        names: &Arc<Names>,
        schema: Option<&str>,
        name: &str,
    ) -> Option<u32> {
        if schema.is_some() || !names.schemas {
            return names.relations.best(schema, name, None);
        }
        let view = self.subject.view();
        self.reads.note(read::search_path(&view));
        let path = self
            .path
            .get_or_insert_with(|| view.search_path().map(|path| path.into_owned()));
        names.relations.best(None, name, path.as_deref())
    }
}

/// Counts fit: a statement is at most a megabyte.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
