//! How two versions of a policy compare, over what was judged by both.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::model::Verdict;

/// Kinds of differences that are told apart; more are counted together.
const DIFFERENCES_MAX: usize = 200;
/// Examples of each.
const EXAMPLES: usize = 3;
/// Bytes of an example that are shown.
const EXAMPLE_BYTES: usize = 400;

/// One way in which they differ.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// What the version said that judges.
    pub live: String,
    /// What the candidate said.
    pub candidate: String,
    /// How often.
    pub count: u64,
    /// Statements, with their constants masked.
    pub examples: Vec<Arc<str>>,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Decisions both took.
    pub judged: u64,
    /// Decisions both took in the same way.
    pub same: u64,
    /// Decisions the candidate was not asked about, because too many waited.
    pub dropped: u64,
    /// Decisions on which the candidate failed.
    pub faults: u64,
    /// One of its failures.
    pub fault: Option<String>,
    /// Nanoseconds of one decision of the candidate, on average.
    pub nanoseconds: u64,
    /// In what they differ, the most frequent first.
    pub differences: Vec<Difference>,
}

/// Counts while it goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) judged: u64,
    pub(super) same: u64,
    pub(super) faults: u64,
    pub(super) fault: Option<String>,
    pub(super) spent_ns: u64,
    differences: HashMap<(String, String), (u64, Vec<Arc<str>>)>,
}

impl Tally {
    /// Notes what both said.
    pub(super) fn compare(&mut self, live: &Verdict, candidate: &Verdict, statement: &Arc<str>) {
        self.judged += 1;
        let (live, candidate) = (said(live), said(candidate));
        if live == candidate {
            self.same += 1;
            return;
        }
        let mut key = (live, candidate);
        if self.differences.len() >= DIFFERENCES_MAX && !self.differences.contains_key(&key) {
            key = ("something else".to_owned(), "and so on".to_owned());
        }
        let (count, examples) = self.differences.entry(key).or_default();
        *count += 1;
        if examples.len() < EXAMPLES && !examples.iter().any(|known| known == statement) {
            examples.push(cut(statement));
        }
    }

    pub(super) fn report(&self, dropped: u64) -> Report {
        let one = |((live, candidate), (count, examples)): (&(String, String), &(u64, Vec<_>))| {
            Difference {
                live: live.clone(),
                candidate: candidate.clone(),
                count: *count,
                examples: examples.clone(),
            }
        };
        let mut differences: Vec<Difference> = self.differences.iter().map(one).collect();
        differences.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.live.cmp(&b.live)));
        Report {
            judged: self.judged,
            same: self.same,
            dropped,
            faults: self.faults,
            fault: self.fault.clone(),
            nanoseconds: self.spent_ns / self.judged.max(1),
            differences,
        }
    }
}

/// A verdict in a line: the decision, its rule, and the conditions.
fn said(verdict: &Verdict) -> String {
    if let Some(refusal) = &verdict.refusal {
        return format!("refuse {}", refusal.rule);
    }
    let mut out = match &verdict.response {
        Some(response) => format!("respond with {} rows", response.rows.len()),
        None => "allow".to_owned(),
    };
    let conditions = verdict.requirements.iter();
    let conditions: Vec<String> = conditions.map(|it| format!("{:?}", it.kind)).collect();
    if !conditions.is_empty() {
        out.push_str(" under ");
        out.push_str(&conditions.join(", "));
    }
    out
}

fn cut(text: &Arc<str>) -> Arc<str> {
    match text.char_indices().find(|(at, _)| *at >= EXAMPLE_BYTES) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.clone(),
    }
}
