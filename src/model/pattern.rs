//! The gate's one name-pattern language; `docs/patterns.md` explains it to people.
//!
//! `table`, `schema.table`, with `*` (any run of characters) and `?` (one
//! character); a `"Quoted"` part is exact. Bare parts are folded and every part
//! without a wildcard is cut at 63 bytes, as the server does with names.
//!
//! Deliberately not here: who asks. Policies, table limits and scopes all match
//! through [`PatternSet`], so a name means the same thing everywhere.

mod part;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use part::{Part, Piece, Starts};

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
