//! Texts and classes of texts that were analyzed before.
//!
//! Two ways to an analysis that is known: the text itself, byte for byte, and
//! the class the shape scanner finds for it. Both are bounded by entries and by
//! bytes, in two generations: when the young one is full it becomes the old
//! one, and what was not asked for since is gone. One per worker, no locks.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::facts::Class;
use crate::model::{Analysis, Kinds, Statement};

use super::{Lexer, shape};

/// Longest text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Entries of one generation.
const ENTRIES_MAX: usize = 4096;
/// Bytes of text in one generation.
const BYTES_MAX: usize = 4 << 20;

/// What was analyzed before.
#[derive(Default)]
pub struct Analyses {
    texts: Shelf<Arc<Analysis>>,
    classes: Shelf<Arc<Class>>,
    /// What the scanner made of the text asked for last, if it took it.
    key: String,
    scanned: bool,
}

impl Analyses {
    /// As [`super::analyze`], from memory where possible.
    pub fn get(&mut self, text: &str, lexer: Lexer) -> Arc<Analysis> {
        match self.find(text, lexer) {
            Some(known) => known,
            None => self.read(text, lexer),
        }
    }

    /// The analysis of a text that is known, or whose class is.
    pub fn find(&mut self, text: &str, lexer: Lexer) -> Option<Arc<Analysis>> {
        self.scanned = false;
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        if let Some(known) = self.texts.get(text, lexer) {
            return Some(known.clone());
        }
        // A text without masked constants is worth keeping as it is.
        let kinds = shape::scan(text, lexer, &mut self.key);
        let kinds = kinds.filter(|_| shape::is_masked(&self.key))?;
        self.scanned = true;
        let class = self.classes.get(&self.key, lexer)?;
        Some(Arc::new(of_class(text, class.clone(), kinds)))
    }

    /// Reads a text of which [`Analyses::find`] knew nothing, just now.
    pub fn read(&mut self, text: &str, lexer: Lexer) -> Arc<Analysis> {
        let analysis = Arc::new(super::analyze(text, lexer));
        match &analysis.statements[..] {
            _ if text.len() > TEXT_BYTES_MAX => {}
            [only] if self.scanned && is_plain(&analysis, only) => {
                self.classes.put(&self.key, lexer, only.class.clone());
            }
            _ => self.texts.put(text, lexer, analysis.clone()),
        }
        analysis
    }

    /// Texts and classes held.
    pub fn len(&self) -> usize {
        self.texts.len() + self.classes.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Nothing in the facts points back into the text.
fn is_plain(analysis: &Analysis, statement: &Statement) -> bool {
    let facts = &statement.facts;
    analysis.problem.is_none()
        && !facts.is_opaque()
        && facts.handle.is_none()
        && facts.control.is_none()
        && facts.problems.is_empty()
        && statement.span.start == 0
}

/// The analysis of a text whose class is known. The scanner takes only single
/// statements that begin at once, with nothing but space and `;` behind them.
fn of_class(text: &str, class: Arc<Class>, kinds: Kinds) -> Analysis {
    let end = text.trim_end_matches([' ', '\t', '\n', '\r', ';']).len();
    let whole: Arc<str> = Arc::from(text);
    let own = if end == text.len() {
        whole.clone()
    } else {
        Arc::from(&text[..end])
    };
    let statement = Statement {
        kinds,
        ..Statement::new(own, 0..end, class)
    };
    Analysis {
        text: whole,
        statements: vec![Arc::new(statement)],
        problem: None,
    }
}

struct Entry<V> {
    hash: u64,
    text: Box<str>,
    lexer: Lexer,
    value: V,
}

struct Shelf<V> {
    // Seeded: what clients write must not be able to choose its place.
    hasher: DefaultHashBuilder,
    young: HashTable<Entry<V>>,
    old: HashTable<Entry<V>>,
    bytes: usize,
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        Shelf {
            hasher: DefaultHashBuilder::default(),
            young: HashTable::new(),
            old: HashTable::new(),
            bytes: 0,
        }
    }
}

impl<V> Shelf<V> {
    fn get(&mut self, text: &str, lexer: Lexer) -> Option<&V> {
        let hash = self.hasher.hash_one(text);
        let same = |entry: &Entry<V>| *entry.text == *text && entry.lexer == lexer;
        if self.young.find(hash, same).is_none() {
            let (entry, _) = self.old.find_entry(hash, same).ok()?.remove();
            self.insert(entry);
        }
        self.young.find(hash, same).map(|entry| &entry.value)
    }

    fn put(&mut self, text: &str, lexer: Lexer, value: V) {
        self.insert(Entry {
            hash: self.hasher.hash_one(text),
            text: text.into(),
            lexer,
            value,
        });
    }

    fn insert(&mut self, entry: Entry<V>) {
        if self.young.len() >= ENTRIES_MAX || self.bytes >= BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += entry.text.len();
        self.young
            .insert_unique(entry.hash, entry, |entry| entry.hash);
    }

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{analyze, literals};

    fn describe(analysis: &Analysis) -> String {
        let mut all = format!("{:?} ", analysis.problem);
        for statement in &analysis.statements {
            all.push_str(&format!(
                "{:?} {:?} {:?} {:?} {:?} {:?}; ",
                statement.text,
                statement.span,
                statement.normalized,
                statement.facts,
                literals(statement),
                statement.kinds,
            ));
        }
        all
    }

    #[test]
    fn a_known_class_gives_what_a_full_analysis_gives() {
        let texts = [
            "SELECT a FROM t WHERE id = 1",
            "SELECT a FROM t WHERE id = 22222",
            "SELECT a FROM t WHERE id = 3 ;  ",
            "SELECT a FROM t WHERE id = -4;",
            "UPDATE t SET a = 'it''s', b = 5 WHERE id = 7",
            "UPDATE t SET a = '''', b = 6 WHERE id = 8",
            "INSERT INTO t VALUES (1, 'x'), (2, 'ü')",
            "INSERT INTO t VALUES (3, ''), (4, 'DROP TABLE t')",
            "DELETE FROM t WHERE id = 1",
            "DELETE FROM t WHERE 1 = 1",
            "DELETE FROM t WHERE 1 = 2",
        ];
        let mut known = Analyses::default();
        for text in texts.iter().chain(&texts) {
            let found = known.get(text, Lexer::POSTGRES);
            let full = analyze(text, Lexer::POSTGRES);
            assert_eq!(describe(&found), describe(&full), "{text}");
        }
    }

    #[test]
    fn other_constants_are_no_new_class() {
        let mut known = Analyses::default();
        for id in 0..10_000 {
            let analysis = known.get(&format!("SELECT a FROM t WHERE id = {id}"), Lexer::POSTGRES);
            assert_eq!(analysis.statements[0].facts.relations.len(), 1);
        }
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn settings_of_the_lexer_are_part_of_the_key() {
        let mut known = Analyses::default();
        let text = r"SELECT 'a\' FROM t WHERE b = 1 --'";
        let standard = known.get(text, Lexer::POSTGRES);
        let escapes = Lexer {
            standard_strings: false,
            ..Lexer::POSTGRES
        };
        assert_ne!(describe(&known.get(text, escapes)), describe(&standard));
    }

    #[test]
    fn is_bounded_whatever_comes() {
        let mut known = Analyses::default();
        for number in 0..3 * ENTRIES_MAX {
            known.get(&format!("SELECT f({number})"), Lexer::POSTGRES);
        }
        assert!(known.len() <= 2 * ENTRIES_MAX, "{}", known.len());
        assert!(known.get("SELECT 1", Lexer::POSTGRES).problem.is_none());
    }
}
