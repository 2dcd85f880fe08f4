//! The gate's one name-pattern language; `docs/patterns.md` explains it to people.
//!
//! `table`, `schema.table`, with `*` (any run of characters) and `?` (one
//! character); a `"Quoted"` part is exact. Bare parts are folded and every part
//! without a wildcard is cut at 63 bytes, as the server does with names.
//!
//! Deliberately not here: who asks. Policies, table limits and scopes all match
//! through [`PatternSet`], so a name means the same thing everywhere.

use std::collections::HashMap;
use std::sync::Arc;

/// PostgreSQL's NAMEDATALEN without the terminating zero.
pub const NAME_BYTES_MAX: usize = 63;

/// Longest pattern accepted: nothing longer can name anything, and matching time depends on it.
const PATTERN_BYTES_MAX: usize = 255;

/// Schemas searched even when the search_path does not name them.
const IMPLICIT_SCHEMAS: [&str; 2] = ["pg_catalog", "pg_temp"];

/// Folds ASCII letters and cuts at 63 bytes on a character boundary: what the
/// server makes of a bare identifier.
pub fn fold(name: &str) -> String {
    let mut folded = cut(name).to_owned();
    folded.make_ascii_lowercase();
    folded
}

/// Cuts a name at 63 bytes on a character boundary.
pub fn cut(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// One part of a pattern: a schema or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Exactly this.
    Exact(String),
    /// Literal runs between stars; `?` stays inside the runs. `a*b` is `["a", "b"]`, `*` is `["", ""]`.
    Glob {
        runs: Vec<Vec<Piece>>,
        prefix: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    One,
    Char(char),
}

impl Part {
    fn bare(text: &str) -> Part {
        if !text.contains(['*', '?']) {
            return Part::Exact(fold(text));
        }
        let piece = |c: char| match c {
            '?' => Piece::One,
            c => Piece::Char(c.to_ascii_lowercase()),
        };
        let runs = text
            .split('*')
            .map(|run| run.chars().map(piece).collect())
            .collect();
        let prefix = text.find(['*', '?']).unwrap_or(text.len());
        Part::Glob { runs, prefix }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Part::Exact(exact) => exact == name,
            Part::Glob { runs, .. } => glob(runs, name),
        }
    }

    /// Greater is more specific: exact, then the longest literal prefix.
    fn rank(&self) -> usize {
        match self {
            Part::Exact(_) => usize::MAX,
            Part::Glob { prefix, .. } => *prefix,
        }
    }
}

/// The first run is anchored at the start, the last at the end, those between
/// are taken leftmost: no backtracking beyond one run.
fn glob(runs: &[Vec<Piece>], name: &str) -> bool {
    let [first, rest @ ..] = runs else {
        return name.is_empty();
    };
    let Some(mut left) = strip(first, name) else {
        return false;
    };
    let [middle @ .., last] = rest else {
        return left.is_empty();
    };
    for run in middle {
        let Some(after) = find(run, left) else {
            return false;
        };
        left = after;
    }
    let Some((skip, _)) = left.char_indices().rev().nth(last.len().wrapping_sub(1)) else {
        return last.is_empty();
    };
    strip(last, &left[skip..]).is_some_and(str::is_empty)
}

/// What follows the run at the start of the text.
fn strip<'t>(run: &[Piece], text: &'t str) -> Option<&'t str> {
    let mut chars = text.chars();
    for piece in run {
        let c = chars.next()?;
        if matches!(piece, Piece::Char(wanted) if *wanted != c) {
            return None;
        }
    }
    Some(chars.as_str())
}

/// What follows the leftmost occurrence of the run.
fn find<'t>(run: &[Piece], mut text: &'t str) -> Option<&'t str> {
    loop {
        if let Some(after) = strip(run, text) {
            return Some(after);
        }
        let mut chars = text.chars();
        chars.next()?;
        text = chars.as_str();
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    schema: Option<Part>,
    name: Part,
    index: u32,
}

impl Pattern {
    fn in_schema(&self, schema: Option<&str>, path: Option<&[Arc<str>]>) -> bool {
        let Some(wanted) = &self.schema else {
            return true;
        };
        match (schema, path) {
            (Some(schema), _) => wanted.matches(schema),
            (None, None) => true,
            (None, Some(path)) => {
                path.iter().any(|schema| wanted.matches(schema))
                    || IMPLICIT_SCHEMAS.iter().any(|s| wanted.matches(s))
            }
        }
    }

    /// Sorts the most specific first; among equals a named schema beats none, then the earlier wins.
    fn order(&self) -> impl Ord + use<> {
        let schema = self
            .schema
            .as_ref()
            .map_or(0, |part| part.rank().saturating_add(1));
        (
            std::cmp::Reverse(self.name.rank()),
            std::cmp::Reverse(schema),
            self.index,
        )
    }
}

/// A list of patterns, ready to match. Matching never backtracks beyond one
/// literal run, and a name without wildcards is found by one look-up.
#[derive(Debug, Clone)]
pub struct PatternSet {
    sources: Arc<[Arc<str>]>,
    exact: HashMap<Box<str>, Vec<Pattern>, rustc_hash::FxBuildHasher>,
    globs: Vec<Pattern>,
    starts: Starts,
}

/// Which first two bytes a matching name can have: most names are told apart
/// from all patterns by one look.
#[derive(Debug, Clone, Default)]
struct Starts([u64; 4]);

impl Starts {
    fn bit(first: u8, second: u8) -> (usize, u64) {
        let bit = first.wrapping_mul(31) ^ second;
        (usize::from(bit >> 6), 1 << (bit & 63))
    }

    fn add(&mut self, first: u8, second: u8) {
        let (word, bit) = Starts::bit(first, second);
        self.0[word] |= bit;
    }

    fn add_pattern(&mut self, part: &Part) {
        let (literal, open) = match part {
            Part::Exact(name) => (name.clone(), false),
            Part::Glob { runs, .. } => {
                let literal = |piece: &Piece| match piece {
                    Piece::Char(c) => Some(*c),
                    Piece::One => None,
                };
                (
                    runs.first()
                        .into_iter()
                        .flatten()
                        .map_while(literal)
                        .collect(),
                    true,
                )
            }
        };
        match (literal.as_bytes(), open) {
            ([first, second, ..], _) => self.add(*first, *second),
            ([first], false) => self.add(*first, 0),
            ([first], true) => (0..=255).for_each(|second| self.add(*first, second)),
            ([], _) => self.0 = [u64::MAX; 4],
        }
    }

    fn may_match(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        let (word, bit) = Starts::bit(
            bytes.first().copied().unwrap_or(0),
            bytes.get(1).copied().unwrap_or(0),
        );
        self.0[word] & bit != 0
    }
}

impl PatternSet {
    /// Parses patterns of relations: at most a schema and a name. The error names the pattern and says why.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<PatternSet, String> {
        PatternSet::build(patterns, |text| {
            let mut parts = split(text)?;
            let name = parts.pop().ok_or("is empty")?;
            let schema = parts.pop();
            if !parts.is_empty() {
                return Err("has more than two parts; write `table` or `schema.table`".into());
            }
            Ok((schema, name))
        })
    }

    /// Parses patterns of names that have no schema, such as users: a dot stands for itself.
    pub fn plain<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<PatternSet, String> {
        PatternSet::build(patterns, |text| match text.strip_prefix('"') {
            Some(quoted) => match quoted_part(quoted)? {
                (part, "") => Ok((None, part)),
                _ => Err("has text after the closing quote".into()),
            },
            None => Ok((None, bare_part(text)?)),
        })
    }

    fn build<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
        parse: impl Fn(&str) -> Result<(Option<Part>, Part), String>,
    ) -> Result<PatternSet, String> {
        let mut sources: Vec<Arc<str>> = Vec::new();
        let mut exact: HashMap<Box<str>, Vec<Pattern>, _> = HashMap::default();
        let mut globs = Vec::new();
        let mut starts = Starts::default();
        for (index, source) in patterns.into_iter().enumerate() {
            let source = source.as_ref();
            if source.len() > PATTERN_BYTES_MAX {
                return Err(format!(
                    "pattern {index} is longer than {PATTERN_BYTES_MAX} bytes"
                ));
            }
            let (schema, name) =
                parse(source.trim()).map_err(|why| format!("pattern `{source}` {why}"))?;
            let index = u32::try_from(index).map_err(|_| "too many patterns".to_owned())?;
            let pattern = Pattern {
                schema,
                name,
                index,
            };
            starts.add_pattern(&pattern.name);
            match &pattern.name {
                Part::Exact(name) => exact.entry(name.as_str().into()).or_default().push(pattern),
                Part::Glob { .. } => globs.push(pattern),
            }
            sources.push(source.into());
        }
        globs.sort_by_key(Pattern::order);
        for list in exact.values_mut() {
            list.sort_by_key(Pattern::order);
        }
        Ok(PatternSet {
            sources: sources.into(),
            exact,
            globs,
            starts,
        })
    }

    /// The most specific pattern that matches a folded name.
    ///
    /// A name without schema is tried in every schema of the search path, and
    /// matches any schema when the path is unknown.
    pub fn best(
        &self,
        schema: Option<&str>,
        name: &str,
        search_path: Option<&[Arc<str>]>,
    ) -> Option<u32> {
        if !self.starts.may_match(name) {
            return None;
        }
        let fits = |pattern: &&Pattern| pattern.in_schema(schema, search_path);
        let exact = self.exact.get(name).and_then(|list| list.iter().find(fits));
        let found = exact.or_else(|| self.globs.iter().find(|p| p.name.matches(name) && fits(p)));
        found.map(|pattern| pattern.index)
    }

    /// The first pattern, in the order given, whose name part is this word, whatever its schema.
    pub fn first_named(&self, word: &str) -> Option<u32> {
        if !self.starts.may_match(word) {
            return None;
        }
        let exact = self.exact.get(word).into_iter().flatten();
        let globs = self
            .globs
            .iter()
            .filter(|pattern| pattern.name.matches(word));
        exact.chain(globs).map(|pattern| pattern.index).min()
    }

    /// Whether some pattern names a schema: then the answer can depend on the search path.
    pub fn names_schemas(&self) -> bool {
        self.exact
            .values()
            .flatten()
            .chain(&self.globs)
            .any(|pattern| pattern.schema.is_some())
    }

    /// Whether a word without any letter, underscore or byte above 127 can match.
    pub fn matches_without_letters(&self) -> bool {
        let letter = |c: char| c.is_alphabetic() || c == '_' || !c.is_ascii();
        self.exact.keys().any(|name| !name.chars().any(letter))
            || self.globs.iter().any(|pattern| match &pattern.name {
                Part::Exact(_) => false,
                Part::Glob { runs, .. } => !runs
                    .iter()
                    .flatten()
                    .any(|piece| matches!(piece, Piece::Char(c) if letter(*c))),
            })
    }

    /// The patterns as written, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.iter()
    }

    /// The patterns as written, shared.
    pub fn sources(&self) -> &Arc<[Arc<str>]> {
        &self.sources
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is no pattern; such a set matches nothing.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

/// Two sets are the same when they were written the same.
impl PartialEq for PatternSet {
    fn eq(&self, other: &PatternSet) -> bool {
        self.sources == other.sources
    }
}

impl Eq for PatternSet {}

fn split(mut text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    loop {
        let (part, rest) = match text.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => {
                let end = text.find('.').unwrap_or(text.len());
                (bare_part(&text[..end])?, &text[end..])
            }
        };
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(next) => text = next,
            None if rest.is_empty() => return Ok(parts),
            None => return Err("has text after the closing quote".into()),
        }
    }
}

fn bare_part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("is empty or has an empty part".into());
    }
    match text
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || *c == '"')
    {
        Some(c) => Err(format!("holds {c:?}; put the name in double quotes")),
        None => Ok(Part::bare(text)),
    }
}

/// Reads up to the closing quote; `""` is one quote.
fn quoted_part(text: &str) -> Result<(Part, &str), String> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("has no closing quote")?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None if name.is_empty() => return Err("has an empty quoted part".into()),
            None => return Ok((Part::Exact(cut(&name).to_owned()), rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(schemas: &[&str]) -> Vec<Arc<str>> {
        schemas.iter().map(|schema| Arc::from(*schema)).collect()
    }

    #[test]
    fn matches_as_the_documentation_says() {
        let cases: &[(&str, Option<&str>, &str, Option<&[&str]>, bool)] = &[
            ("users", None, "users", None, true),
            ("Users", None, "users", None, true),
            ("\"Users\"", None, "users", None, false),
            ("\"Users\"", None, "Users", None, true),
            ("\"a\"\"b\"", None, "a\"b", None, true),
            ("\"a*\"", None, "ab", None, false),
            ("\"a*\"", None, "a*", None, true),
            ("users", Some("app"), "users", None, true),
            ("app.users", Some("app"), "users", None, true),
            ("app.users", Some("other"), "users", None, false),
            ("app.users", None, "users", None, true),
            ("app.users", None, "users", Some(&["app", "public"]), true),
            ("app.users", None, "users", Some(&["public"]), false),
            (
                "pg_catalog.pg_auth*",
                None,
                "pg_authid",
                Some(&["public"]),
                true,
            ),
            ("sensitive_*", None, "sensitive_", None, true),
            ("sensitive_*", None, "sensitive_data", None, true),
            ("sensitive_*", None, "insensitive_data", None, false),
            ("*_log", None, "audit_log", None, true),
            ("*_log", None, "_log", None, true),
            ("*_log", None, "log", None, false),
            ("a*b*c", None, "aXbYbZc", None, true),
            ("a*b*c", None, "abc", None, true),
            ("a*b*c", None, "acb", None, false),
            ("a*a", None, "a", None, false),
            ("t?", None, "t1", None, true),
            ("t?", None, "t", None, false),
            ("t?", None, "tä", None, true),
            ("?*?", None, "a", None, false),
            ("?*?", None, "ab", None, true),
            ("*", None, "anything", None, true),
            ("app.*", Some("app"), "x", None, true),
            ("app.*", Some("b"), "x", None, false),
            ("a*.t", Some("app"), "t", None, true),
        ];
        for (pattern, schema, name, search_path, expected) in cases {
            let set = PatternSet::new([pattern]).unwrap();
            let search_path = search_path.map(path);
            let found = set.best(*schema, name, search_path.as_deref()).is_some();
            assert_eq!(
                found, *expected,
                "{pattern} on {schema:?}.{name} in {search_path:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn finds_exactly_what_some_pattern_matches(
            patterns in proptest::collection::vec("[ab?*]{1,4}", 0..4),
            name in "[abc]{0,4}",
        ) {
            let set = PatternSet::new(&patterns).unwrap();
            let expected = patterns.iter().any(|pattern| Part::bare(pattern).matches(&name));
            proptest::prop_assert_eq!(set.best(None, &name, None).is_some(), expected);
            proptest::prop_assert_eq!(set.first_named(&name).is_some(), expected);
        }
    }

    #[test]
    fn most_specific_pattern_wins() {
        let cases: &[(&[&str], &str, u32)] = &[
            (&["*", "users"], "users", 1),
            (&["us*", "user*"], "users", 1),
            (&["*s", "*rs"], "users", 0),
            (&["users", "app.users"], "users", 1),
            (&["u?ers", "u*"], "users", 0),
            (&["app.*", "users"], "users", 1),
        ];
        for (patterns, name, expected) in cases {
            let set = PatternSet::new(*patterns).unwrap();
            assert_eq!(
                set.best(Some("app"), name, None),
                Some(*expected),
                "{patterns:?}"
            );
        }
    }

    #[test]
    fn rejects_what_cannot_name_anything() {
        for pattern in [
            "", " ", "a.b.c", ".a", "a.", "\"a", "\"a\"b", "a b", "a\"b", "\"\"",
        ] {
            let error = PatternSet::new([pattern]).unwrap_err();
            assert!(error.starts_with("pattern `"), "{error}");
        }
        assert!(PatternSet::new(["x".repeat(300)]).is_err());
    }

    #[test]
    fn cuts_long_names_like_the_server() {
        let long = "x".repeat(80);
        let set = PatternSet::new([&long]).unwrap();
        assert_eq!(set.best(None, &long[..63], None), Some(0));
        assert_eq!(fold(&format!("{}ä", "x".repeat(62))).len(), 62);
    }

    #[test]
    fn plain_patterns_take_dots_as_they_are() {
        let set = PatternSet::plain(["alice@corp.example", "svc.*"]).unwrap();
        assert_eq!(set.best(None, "alice@corp.example", None), Some(0));
        assert_eq!(set.best(None, "svc.batch", None), Some(1));
    }

    #[test]
    fn stays_fast_on_hostile_patterns() {
        let pattern = "*a".repeat(100);
        let name = format!("{}b", "a".repeat(62));
        let set = PatternSet::new([pattern]).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..1000 {
            assert_eq!(set.best(None, &name, None), None);
        }
        assert!(start.elapsed().as_secs() < 2);
    }
}
