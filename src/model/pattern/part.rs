//! One part of a pattern, and a quick look that tells most names apart from all of them.

use super::fold;

/// One part of a pattern: a schema or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Exactly this.
    Exact(String),
    /// Literal runs between stars; `?` stays inside the runs. `a*b` is `["a", "b"]`, `*` is `["", ""]`.
    Glob {
        runs: Vec<Vec<Piece>>,
        prefix: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    One,
    Char(char),
}

impl Part {
    pub(super) fn bare(text: &str) -> Part {
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

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Part::Exact(exact) => exact == name,
            Part::Glob { runs, .. } => glob(runs, name),
        }
    }

    /// Greater is more specific: exact, then the longest literal prefix.
    pub(super) fn rank(&self) -> usize {
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

/// Which first two bytes a matching name can have: most names are told apart
/// from all patterns by one look.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts([u64; 4]);

impl Starts {
    fn bit(first: u8, second: u8) -> (usize, u64) {
        let bit = first.wrapping_mul(31) ^ second;
        (usize::from(bit >> 6), 1 << (bit & 63))
    }

    fn add(&mut self, first: u8, second: u8) {
        let (word, bit) = Starts::bit(first, second);
        self.0[word] |= bit;
    }

    pub(super) fn add_pattern(&mut self, part: &Part) {
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

    pub(super) fn may_match(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        let (word, bit) = Starts::bit(
            bytes.first().copied().unwrap_or(0),
            bytes.get(1).copied().unwrap_or(0),
        );
        self.0[word] & bit != 0
    }
}
