//! Prints the story: the statement, what happened, why, what to do instead.

use std::io::IsTerminal;
use std::net::SocketAddr;

use super::client::{Answer, Fields};
use super::scenario::{Expect, Step, Via};

/// Where it is printed, in colour on a terminal.
pub struct Transcript {
    colour: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "1;32";
const YELLOW: &str = "33";

/// Widest line of an explanation.
const WIDTH: usize = 88;

impl Transcript {
    /// Looks at standard output and at `NO_COLOR`.
    pub fn new() -> Transcript {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Transcript { colour }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The heading.
    pub fn begin(&self, address: SocketAddr) {
        let heading = "A PostgreSQL client at the gate, a SQLite sample database behind it";
        println!("\n{}", self.paint(BOLD, heading));
        println!(
            "{}\n",
            self.paint(
                DIM,
                &format!("one connection to {address}, all default policies enforcing")
            )
        );
    }

    /// One step; true when it came out as it must.
    pub fn step(&self, number: usize, step: &Step, answer: &Answer, times: usize) -> bool {
        println!(
            "{} {}",
            self.paint(DIM, &format!("{number:>2}.")),
            self.paint(BOLD, step.story)
        );
        println!("    {}{}", step.sql, self.paint(DIM, &how(step.via, times)));
        match &answer.error {
            Some(fields) => self.refused(fields),
            None => println!("    {}  {}", self.paint(GREEN, "allowed"), result(answer)),
        }
        let right = is_right(step.expect, answer);
        if !right {
            let text = format!("this is not what must come out: {:?}", step.expect);
            println!("    {}", self.paint(RED, &text));
        }
        println!();
        right
    }

    fn refused(&self, fields: &Fields) {
        let label = self.paint(RED, "refused");
        println!(
            "    {label}  {}  {}",
            fields.message,
            self.paint(DIM, &format!("[{} {}]", fields.rule, fields.code))
        );
        for (name, text) in [("why", &fields.detail), ("instead", &fields.hint)] {
            for (at, line) in wrapped(text).into_iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                println!("    {}  {line}", self.paint(YELLOW, &format!("{name:>7}")));
            }
        }
    }

    /// The last line.
    pub fn end(&self, right: usize, all: usize) {
        let style = if right == all { GREEN } else { RED };
        println!(
            "{}\n",
            self.paint(
                style,
                &format!("{right} of {all} steps came out as they must")
            )
        );
    }
}

fn how(via: Via, times: usize) -> String {
    match via {
        Via::Simple => String::new(),
        Via::Extended(values) => format!("   (prepared, bound to {})", values.join(", ")),
        Via::Until(_) => format!("   ({times} times in a row)"),
    }
}

fn result(answer: &Answer) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
    match answer.rows.as_slice() {
        [] => answer.tag.clone(),
        [row] => row.iter().map(value).collect::<Vec<_>>().join(" | "),
        rows => format!("{} rows", rows.len()),
    }
}

fn is_right(expect: Expect, answer: &Answer) -> bool {
    match (expect, &answer.error) {
        (Expect::Refused(policy, code), Some(error)) => {
            error.code == code && error.rule.starts_with(policy)
        }
        (Expect::Value(value), None) => {
            answer.rows.len() == 1 && answer.rows[0] == [Some(value.to_owned())]
        }
        (Expect::Rows(rows), None) => answer.rows.len() == rows,
        (Expect::Tag(tag), None) => answer.tag == tag,
        _ => false,
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
