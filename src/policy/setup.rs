//! What a policy registers while it is configured: names, patterns, networks, windows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::fault::Fault;
use super::windows::Windows;
use crate::model::pattern::{PatternSet, fold};

/// Bit 31 of a symbol: not interned at `configure`.
pub const LOCAL_SYMBOL: u32 = 1 << 31;

/// Most entries of any one kind a policy may register.
const ENTRIES_MAX: usize = 100_000;

/// A set of name patterns, as relations and as plain names.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// `schema.table` patterns.
    pub relations: PatternSet,
    /// The same texts as patterns of users or databases; none when they cannot be read so.
    pub plain: Option<PatternSet>,
    /// Some pattern names a schema.
    pub schemas: bool,
    /// Some pattern matches words without letters.
    pub digits: bool,
}

impl Names {
    /// The pattern that matches a name without schema, such as a user.
    pub fn find_plain(&self, name: &str) -> Option<u32> {
        self.plain.as_ref()?.best(None, name, None)
    }
}

/// A set of networks.
#[derive(Debug, PartialEq, Eq)]
pub struct Networks {
    networks: Vec<IpNet>,
}

impl Networks {
    /// The first network that holds the address; none for a Unix socket.
    pub fn find(&self, address: Option<IpAddr>) -> Option<u32> {
        let address = address?.to_canonical();
        let found = self
            .networks
            .iter()
            .position(|network| network.contains(&address));
        found.and_then(|index| u32::try_from(index).ok())
    }
}

#[derive(Debug, Clone)]
enum Set {
    Names(Arc<Names>),
    Networks(Arc<Networks>),
    Windows(Arc<Windows>),
}

/// Everything one version of a policy registered. Frozen once the first
/// instance is configured; later instances get the same numbers.
#[derive(Debug, Default)]
pub struct Registry {
    symbols: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    sets: Vec<Set>,
    set_ids: HashMap<(u8, Vec<String>), u32>,
}

impl Registry {
    /// The symbol of a folded name, if it was interned.
    pub fn symbol(&self, name: &str) -> Option<u32> {
        self.symbols.get(name).copied()
    }

    /// The name of an interned symbol.
    pub fn name(&self, symbol: u32) -> Option<&Arc<str>> {
        self.names.get((symbol as usize).checked_sub(1)?)
    }

    pub(crate) fn names(&self, set: u32) -> Result<&Arc<Names>, Fault> {
        match self.set(set)? {
            Set::Names(names) => Ok(names),
            _ => Err(Fault::call(format!("set {set} is not a set of names"))),
        }
    }

    pub(crate) fn networks(&self, set: u32) -> Result<&Arc<Networks>, Fault> {
        match self.set(set)? {
            Set::Networks(networks) => Ok(networks),
            _ => Err(Fault::call(format!("set {set} is not a set of networks"))),
        }
    }

    pub(crate) fn windows(&self, set: u32) -> Result<&Arc<Windows>, Fault> {
        match self.set(set)? {
            Set::Windows(windows) => Ok(windows),
            _ => Err(Fault::call(format!("set {set} is not a set of windows"))),
        }
    }

    fn set(&self, set: u32) -> Result<&Set, Fault> {
        self.sets
            .get(set as usize)
            .ok_or_else(|| Fault::call(format!("there is no set {set}")))
    }
}

/// The interface `setup`: exists only while a policy is configured.
#[derive(Debug)]
pub struct Setup {
    building: Registry,
    /// Set for every instance after the first: nothing new may be registered.
    frozen: Option<Arc<Registry>>,
}

impl Setup {
    /// For the first instance of a version.
    pub fn new() -> Setup {
        Setup {
            building: Registry::default(),
            frozen: None,
        }
    }

    /// For a further instance: registering anything the first one did not is a fault.
    pub fn again(registry: Arc<Registry>) -> Setup {
        Setup {
            building: Registry::default(),
            frozen: Some(registry),
        }
    }

    /// Ends configuration.
    pub fn finish(self) -> Arc<Registry> {
        self.frozen.unwrap_or_else(|| Arc::new(self.building))
    }

    /// A number for a name, folded like the server folds.
    pub fn intern(&mut self, name: &str) -> Result<u32, Fault> {
        let folded = fold(name);
        if let Some(frozen) = &self.frozen {
            return frozen.symbol(&folded).ok_or_else(changed);
        }
        if let Some(symbol) = self.building.symbol(&folded) {
            return Ok(symbol);
        }
        let symbol = next_id(self.building.names.len())? + 1;
        let folded: Arc<str> = folded.into();
        self.building.names.push(folded.clone());
        self.building.symbols.insert(folded, symbol);
        Ok(symbol)
    }

    /// Registers name patterns. The inner error is for the author of the settings.
    pub fn names(&mut self, patterns: &[String]) -> Result<Result<u32, String>, Fault> {
        self.register(0, patterns, |patterns| {
            let relations = PatternSet::new(patterns)?;
            let (schemas, digits) = (
                relations.names_schemas(),
                relations.matches_without_letters(),
            );
            Ok(Set::Names(Arc::new(Names {
                plain: PatternSet::plain(patterns).ok(),
                relations,
                schemas,
                digits,
            })))
        })
    }

    /// Registers networks: `10.0.0.0/8`, or one address.
    pub fn networks(&mut self, cidrs: &[String]) -> Result<Result<u32, String>, Fault> {
        self.register(1, cidrs, |cidrs| {
            let networks = cidrs
                .iter()
                .map(|text| parse_network(text))
                .collect::<Result<_, _>>()?;
            Ok(Set::Networks(Arc::new(Networks { networks })))
        })
    }

    /// Registers weekly windows.
    pub fn windows(&mut self, specs: &[String]) -> Result<Result<u32, String>, Fault> {
        self.register(2, specs, |specs| {
            Ok(Set::Windows(Arc::new(Windows::new(specs)?)))
        })
    }

    fn register(
        &mut self,
        kind: u8,
        sources: &[String],
        build: impl FnOnce(&[String]) -> Result<Set, String>,
    ) -> Result<Result<u32, String>, Fault> {
        let key = (kind, sources.to_vec());
        if let Some(id) = self
            .frozen
            .as_deref()
            .unwrap_or(&self.building)
            .set_ids
            .get(&key)
        {
            return Ok(Ok(*id));
        }
        if sources.len() > ENTRIES_MAX {
            return Ok(Err(format!("more than {ENTRIES_MAX} entries")));
        }
        let set = match build(sources) {
            Ok(set) => set,
            Err(why) => return Ok(Err(why)),
        };
        if self.frozen.is_some() {
            return Err(changed());
        }
        let id = next_id(self.building.sets.len())?;
        self.building.sets.push(set);
        self.building.set_ids.insert(key, id);
        Ok(Ok(id))
    }
}

impl Default for Setup {
    fn default() -> Self {
        Setup::new()
    }
}

fn changed() -> Fault {
    Fault::new(
        super::fault::FaultKind::Impure,
        "configure registered something else than the first time",
    )
}

fn next_id(len: usize) -> Result<u32, Fault> {
    match u32::try_from(len) {
        Ok(id) if len < ENTRIES_MAX => Ok(id),
        _ => Err(Fault::call(format!(
            "more than {ENTRIES_MAX} entries registered"
        ))),
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let network: Result<IpNet, _> = text.parse();
    network
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is not a network; write `10.0.0.0/8` or an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_content_has_the_same_number_in_every_instance() {
        let mut first = Setup::new();
        let symbol = first.intern("Users").unwrap();
        let set = first.names(&["a*".into()]).unwrap().unwrap();
        assert_eq!(first.names(&["a*".into()]).unwrap().unwrap(), set);
        let registry = first.finish();

        let mut second = Setup::again(registry);
        assert_eq!(second.intern("users").unwrap(), symbol);
        assert_eq!(second.names(&["a*".into()]).unwrap().unwrap(), set);
        assert!(
            second.names(&["b*".into()]).is_err(),
            "a set the first instance did not register"
        );
        assert!(second.intern("orders").is_err());
    }

    #[test]
    fn tells_the_author_what_is_wrong_with_an_entry() {
        let mut setup = Setup::new();
        assert!(
            setup
                .names(&["a.b.c".into()])
                .unwrap()
                .unwrap_err()
                .contains("a.b.c")
        );
        assert!(
            setup
                .networks(&["10.0.0.0/99".into()])
                .unwrap()
                .unwrap_err()
                .contains("10.0.0.0/99")
        );
        assert!(
            setup
                .windows(&["never".into()])
                .unwrap()
                .unwrap_err()
                .contains("never")
        );
    }

    #[test]
    fn finds_addresses_in_networks() {
        let mut setup = Setup::new();
        let id = setup
            .networks(&["10.0.0.0/8".into(), "::1".into()])
            .unwrap()
            .unwrap();
        let registry = setup.finish();
        let networks = registry.networks(id).unwrap();
        assert_eq!(networks.find("10.1.2.3".parse().ok()), Some(0));
        assert_eq!(
            networks.find("::ffff:10.1.2.3".parse().ok()),
            Some(0),
            "mapped addresses are the same"
        );
        assert_eq!(networks.find("::1".parse().ok()), Some(1));
        assert_eq!(networks.find(None), None);
        assert!(registry.names(id).is_err());
    }
}
