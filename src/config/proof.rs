//! What proves an identity to a server, and where it is kept while it is right.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Secret;

/// What somebody can log in to a server with.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The password.
    Password(Secret),
    /// `md5` and the hash of password and name.
    Md5(Secret),
    /// The keys of SCRAM-SHA-256: they prove that the password is known without
    /// telling it, as long as the server keeps the same verifier.
    Keys {
        /// ClientKey, learnt from the client's own proof.
        client: [u8; 32],
        /// ServerKey, from the verifier.
        server: [u8; 32],
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Holds what a user has proven, for everything that logs in as that user.
/// Outlives connections and reloads.
#[derive(Debug, Default)]
pub struct ProofSlot(ArcSwapOption<Proof>);

impl ProofSlot {
    /// What is known now.
    pub fn get(&self) -> Option<Arc<Proof>> {
        self.0.load_full()
    }

    /// Learnt from a login.
    pub fn learn(&self, proof: Proof) {
        if self.get().is_none_or(|known| *known != proof) {
            self.0.store(Some(Arc::new(proof)));
        }
    }

    /// The password is another one now.
    pub fn clear(&self) {
        self.0.store(None);
    }

    /// The server did not take it. What was learnt meanwhile stays.
    pub fn forget(&self, refused: &Arc<Proof>) {
        let expected = Some(refused.clone());
        self.0.compare_and_swap(&expected, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_refused_is_forgotten_and_nothing_is_shown() {
        let slot = ProofSlot::default();
        slot.learn(Proof::Md5(Secret::new("md5 old hash")));
        let old = slot.get().unwrap();
        slot.learn(Proof::Password(Secret::new("new password")));
        slot.forget(&old);
        assert!(slot.get().is_some_and(|proof| proof != old));
        let now = slot.get().unwrap();
        slot.forget(&now);
        assert!(slot.get().is_none());
        slot.learn(Proof::Keys {
            client: [65; 32],
            server: [66; 32],
        });
        let shown = format!("{slot:?} {now:?} {old:?}");
        for secret in ["old hash", "new password", "65", "66"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
