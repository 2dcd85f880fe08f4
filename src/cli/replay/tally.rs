//! What came out, counted; one per worker, added up at the end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Longest example in characters.
const EXAMPLE_CHARS: usize = 200;

/// A count with the first statement it stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) number: u64,
    first: u64,
    pub(super) example: String,
}

impl Count {
    fn add(&mut self, place: u64, text: &str) {
        if self.number == 0 || place < self.first {
            self.first = place;
            let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown = folded.chars().filter(|c| !c.is_control());
            self.example = shown.take(EXAMPLE_CHARS).collect();
        }
        self.number += 1;
    }

    fn join(&mut self, other: Count) {
        if self.number == 0 || (other.number > 0 && other.first < self.first) {
            self.first = other.first;
            self.example = other.example;
        }
        self.number += other.number;
    }
}

/// Counts by `policy/rule`, by `policy requirement`, by difference.
pub(super) type Counts = BTreeMap<String, Count>;

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) statements: u64,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) answered: u64,
    /// Allowed, under a condition that the gate would have enforced.
    pub(super) limited: u64,
    /// Judged without values although a policy asked for them.
    pub(super) values_unknown: u64,
    /// Records that found a defect of the gate.
    pub(super) defects: u64,
    pub(super) others: u64,
    pub(super) odd: u64,
    pub(super) refusals: Counts,
    /// Of policies in monitor mode.
    pub(super) monitored: Counts,
    pub(super) limits: Counts,
    pub(super) differences: Counts,
}

/// One more of `name`.
pub(super) fn count(counts: &mut Counts, name: &str, place: u64, text: &str) {
    match counts.get_mut(name) {
        Some(known) => known.add(place, text),
        None => {
            let mut count = Count::default();
            count.add(place, text);
            counts.insert(name.to_owned(), count);
        }
    }
}

impl Tally {
    pub(super) fn join(&mut self, other: Tally) {
        self.statements += other.statements;
        self.allowed += other.allowed;
        self.refused += other.refused;
        self.answered += other.answered;
        self.limited += other.limited;
        self.values_unknown += other.values_unknown;
        self.defects += other.defects;
        self.others += other.others;
        self.odd += other.odd;
        let counts = [
            (&mut self.refusals, other.refusals),
            (&mut self.monitored, other.monitored),
            (&mut self.limits, other.limits),
            (&mut self.differences, other.differences),
        ];
        for (mine, others) in counts {
            for (name, count) in others {
                mine.entry(name).or_default().join(count);
            }
        }
    }

    /// For programs.
    pub(super) fn json(&self, compared: bool) -> Value {
        let list = |counts: &Counts, key: &str| -> Value {
            let line = |(name, count): (&String, &Count)| json!({ key: name, "count": count.number, "example": count.example });
            counts.iter().map(line).collect()
        };
        let mut out = json!({
            "statements": self.statements,
            "allowed": self.allowed,
            "refused": self.refused,
            "answered": self.answered,
            "limited": self.limited,
            "values_unknown": self.values_unknown,
            "defects": self.defects,
            "other_lines": self.others,
            "odd_lines": self.odd,
            "refusals": list(&self.refusals, "rule"),
            "monitored": list(&self.monitored, "rule"),
            "limits": list(&self.limits, "limit"),
        });
        if compared {
            out["differences"] = list(&self.differences, "change");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_the_first_one_whichever_worker_saw_it() {
        let (mut early, mut late) = (Tally::default(), Tally::default());
        count(&mut late.refusals, "p/r", 9, "nine");
        count(&mut late.refusals, "p/r", 7, "seven\n  x");
        count(&mut early.refusals, "p/r", 8, "eight");
        early.join(late);
        let counted = &early.refusals["p/r"];
        assert_eq!((counted.number, &*counted.example), (3, "seven x"));
    }
}
