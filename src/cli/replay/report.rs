//! The result, for people and for programs.

use std::time::Duration;

use serde_json::json;

use crate::cli::terminal::{Paint, table};

use super::tally::{Counts, Tally};

/// Widest name and example in a table; a terminal is 80 wide.
const NAME_SHOWN: usize = 40;
const LINE_SHOWN: usize = 80;

/// How long it took, with how many cores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    pub(super) time: Duration,
    pub(super) cores: usize,
}

impl Took {
    fn per_second(self, statements: u64) -> f64 {
        statements as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

pub(super) fn json(tally: &Tally, compared: bool, took: Took) -> String {
    let mut out = tally.json(compared);
    out["seconds"] = json!(took.time.as_secs_f64());
    out["cores"] = json!(took.cores);
    out["statements_per_second"] = json!(took.per_second(tally.statements).round());
    format!("{out}\n")
}

pub(super) fn text(tally: &Tally, compared: bool, took: Took, paint: Paint) -> String {
    let mut out = format!(
        "{} statements: {} allowed ({} limited), {} refused",
        tally.statements,
        tally.allowed,
        tally.limited,
        match tally.refused {
            0 => "0".to_owned(),
            n => paint.bad(&n.to_string()),
        },
    );
    if tally.answered > 0 {
        out.push_str(&format!(", {} answered", tally.answered));
    }
    out.push('\n');
    section(&mut out, "REFUSED BY", &tally.refusals, paint);
    section(&mut out, "WOULD BE REFUSED BY", &tally.monitored, paint);
    section(&mut out, "LIMITED BY", &tally.limits, paint);
    if compared {
        section(&mut out, "OTHER THAN BEFORE", &tally.differences, paint);
        if tally.differences.is_empty() {
            out.push_str("\nno statement is decided otherwise\n");
        }
    }
    let notes = [
        (tally.odd, "lines were cut off or odd, and left out"),
        (
            tally.values_unknown,
            "statements were judged without values a policy asked for",
        ),
        (
            tally.defects,
            "statements found a defect of the gate, and were left out",
        ),
    ];
    if notes.iter().any(|(number, _)| *number > 0) {
        out.push('\n');
    }
    for (number, text) in notes.into_iter().filter(|(number, _)| *number > 0) {
        out.push_str(&format!("{} {number} {text}\n", paint.odd("note")));
    }
    let rate = took.per_second(tally.statements);
    out.push_str(&format!(
        "\n{:.1} s on {} cores: {rate:.0} statements per second, {:.0} per core\n",
        took.time.as_secs_f64(),
        took.cores,
        rate / took.cores as f64,
    ));
    out
}

/// The most frequent first.
fn section(out: &mut String, title: &str, counts: &Counts, paint: Paint) {
    if counts.is_empty() {
        return;
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(count.number));
    let names = sorted
        .iter()
        .map(|(name, _)| cut(name, NAME_SHOWN).chars().count());
    let name_width = names.max().unwrap_or(0).max(title.len());
    let numbers = sorted
        .iter()
        .map(|(_, count)| count.number.to_string().len());
    let number_width = numbers.max().unwrap_or(0).max("COUNT".len());
    let room = LINE_SHOWN.saturating_sub(name_width + number_width + 4);
    let rows: Vec<Vec<String>> = sorted
        .iter()
        .map(|(name, count)| {
            vec![
                cut(name, NAME_SHOWN),
                count.number.to_string(),
                cut(&count.example, room),
            ]
        })
        .collect();
    out.push('\n');
    out.push_str(&table(&[title, "COUNT", "FOR EXAMPLE"], &rows, paint));
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
