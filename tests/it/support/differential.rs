//! The same sequence sent to PostgreSQL directly and through the gate.
//!
//! What a client sees must be equal, message by message. [`Pair`] holds two
//! databases with the same history: one is only used directly, the other only
//! through the gate, so that every case may change what it likes.

use super::certificates::Authority;
use super::database::{Database, OWNER, fresh_database};
use super::gate::{DATABASE, Gate};
use super::raw::{Login, Raw};
use super::wire::Encryption;

/// Two databases with the same history, and a gate in front of the second.
pub struct Pair {
    direct: Database,
    gate: Gate,
    /// How the gate is spoken to; none: in the clear.
    encryption: Option<(Encryption, tempfile::TempDir)>,
}

impl Pair {
    /// Prepares both databases with the same SQL; none without a server.
    pub fn new(setup: &str, mode: &str, rules: &str) -> Option<Pair> {
        let direct = fresh_database()?;
        let gated = fresh_database()?;
        direct.prepare(setup);
        gated.prepare(setup);
        let pool = format!("mode = \"{mode}\", max = 3");
        let gate = Gate::start_pooled(&gated, &pool, rules, |_| {});
        Some(Pair {
            direct,
            gate,
            encryption: None,
        })
    }

    /// The same, and the gate is spoken to over TLS.
    pub fn encrypted(setup: &str, mode: &str, rules: &str) -> Option<Pair> {
        let direct = fresh_database()?;
        let gated = fresh_database()?;
        direct.prepare(setup);
        gated.prepare(setup);
        let authority = Authority::new("authority of the test");
        let folder = tempfile::tempdir().expect("a folder");
        let own = authority.issue("gate", &["127.0.0.1"]);
        let (certificate, key) = own.write(folder.path(), "gate");
        let head = format!(
            "tls = {{ certificate = \"{}\", key = \"{}\" }}\n\n\
             [[database]]\nname = \"{DATABASE}\"\nbackend = \"{}\"\npool = {{ mode = \"{mode}\", max = 3 }}\n\n\
             [[user]]\nname = \"{OWNER}\"\nauth = \"trust\"\n\n",
            certificate.display(),
            key.display(),
            gated.url(),
        );
        Some(Pair {
            direct,
            gate: Gate::start_with(&head, rules),
            encryption: Some((Encryption::new(&authority, None, true), folder)),
        })
    }

    fn connect(&self) -> Raw {
        let Some((encryption, _)) = &self.encryption else {
            return self.gate.connect();
        };
        Raw::open_encrypted(self.gate.address, encryption)
            .expect("a handshake")
            .start(&Login::new(OWNER, DATABASE))
            .expect("a login")
    }

    /// Plays a script on both sides, each on a new connection; returns the difference.
    pub fn difference(&self, script: &str) -> Option<String> {
        let expected = self.direct.direct().lines(script);
        let connect = std::panic::AssertUnwindSafe(|| self.connect().lines(script));
        let got = std::panic::catch_unwind(connect);
        let got = got.unwrap_or_else(|_| vec!["(the gate did not answer; see above)".to_owned()]);
        (expected != got).then(|| side_by_side(&expected, &got))
    }

    /// Whether a Query ends the transaction of a pipeline before it, as PostgreSQL
    /// did up to version 16.
    pub fn a_query_ends_a_pipeline(&self) -> bool {
        let lines = self
            .direct
            .direct()
            .lines("P - select 1\nB - -\nE -\nQ select 2");
        lines.last().is_some_and(|line| line == "ReadyForQuery I")
    }

    /// Plays every case and fails with all differences at once.
    pub fn compare_all(&self, cases: &[(&str, &str)]) {
        let mut differences = Vec::new();
        for (name, script) in cases {
            if let Some(difference) = self.difference(script) {
                differences.push(format!("== {name}\n{difference}"));
            }
        }
        let count = differences.len();
        assert!(
            count == 0,
            "{count} of {} cases differ\n{}",
            cases.len(),
            differences.join("\n")
        );
    }
}

/// Both answers, up to a little behind the first difference.
fn side_by_side(expected: &[String], got: &[String]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    for line in &expected[same.saturating_sub(3)..same] {
        out.push_str(&format!("      {line}\n"));
    }
    for line in expected.iter().skip(same).take(4) {
        out.push_str(&format!("  pg  {line}\n"));
    }
    for line in got.iter().skip(same).take(4) {
        out.push_str(&format!("gate  {line}\n"));
    }
    out
}
