//! Message sequences as text, so that a test reads like a transcript.
//!
//! One message a line:
//!
//! ```text
//! Q select 1                  Query
//! P name select $1            Parse; `-` is the unnamed statement, `name:23,25` declares types
//! B portal name 1 | abc | NULL   Bind with text values; `x00000001` is a binary one
//! Bb portal name 1            Bind asking for binary results
//! D S name / D P portal       Describe
//! E portal 5                  Execute with a row limit (0 or absent: none)
//! C S name / C P portal       Close
//! S / H                       Sync, Flush
//! d text / c / f reason       CopyData (a line feed is added), CopyDone, CopyFail
//! F 1598                      FunctionCall without arguments
//! X                           Terminate
//! # a comment
//! ---                         wait for the answers before going on; `--- 1` says how many ReadyForQuery
//! ```

/// Messages that are sent in one write.
#[derive(Debug, Default)]
pub struct Section {
    /// Encoded messages.
    pub bytes: Vec<u8>,
    /// ReadyForQuery messages that answer them.
    pub ready: usize,
    /// Extended messages, each ended by an answer of its own.
    pub steps: usize,
}

/// One encoded message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Reads a script.
pub fn sections(script: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut current = Section::default();
    for line in script.lines() {
        let line = line.trim_start();
        if let Some(count) = line.strip_prefix("---") {
            if let Ok(count) = count.trim().parse() {
                current.ready = count;
            }
            sections.push(std::mem::take(&mut current));
        } else if !line.is_empty() && !line.starts_with('#') {
            let (tag, body) = encode(line);
            current.ready += usize::from(matches!(tag, b'Q' | b'S' | b'F'));
            current.steps += usize::from(matches!(tag, b'P' | b'B' | b'D' | b'E' | b'C'));
            current.bytes.extend(message(tag, &body));
        }
    }
    if !current.bytes.is_empty() {
        sections.push(current);
    }
    sections
}

fn encode(line: &str) -> (u8, Vec<u8>) {
    let (letter, rest) = line.split_once(' ').unwrap_or((line, ""));
    match letter {
        "Q" => (b'Q', text(&[rest])),
        "P" => (b'P', parse(rest)),
        "B" => (b'B', bind(rest, 0)),
        "Bb" => (b'B', bind(rest, 1)),
        "D" | "C" => (letter.as_bytes()[0], target(rest)),
        "E" => (b'E', execute(rest)),
        "S" | "H" | "X" | "c" => (letter.as_bytes()[0], Vec::new()),
        "d" => (b'd', format!("{rest}\n").into_bytes()),
        "f" => (b'f', text(&[rest])),
        "F" => (b'F', function_call(rest)),
        _ => panic!("not a message: {line}"),
    }
}

fn text(parts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(part.as_bytes());
        body.push(0);
    }
    body
}

fn name(word: &str) -> &str {
    if word == "-" { "" } else { word }
}

fn parse(rest: &str) -> Vec<u8> {
    let (head, sql) = rest.split_once(' ').unwrap_or((rest, ""));
    let (statement, types) = head.split_once(':').unwrap_or((head, ""));
    let types: Vec<u32> = types
        .split(',')
        .filter_map(|oid| oid.parse().ok())
        .collect();
    let mut body = text(&[name(statement), sql]);
    body.extend((types.len() as u16).to_be_bytes());
    for oid in types {
        body.extend(oid.to_be_bytes());
    }
    body
}

fn bind(rest: &str, result_format: u16) -> Vec<u8> {
    let mut words = rest.splitn(3, ' ');
    let portal = words.next().unwrap_or("-");
    let statement = words.next().unwrap_or("-");
    let values: Vec<&str> = match words.next() {
        Some(values) if !values.is_empty() => values.split(" | ").collect(),
        _ => Vec::new(),
    };
    let mut body = text(&[name(portal), name(statement)]);
    let binary: Vec<Option<Vec<u8>>> = values.iter().map(|value| unhex(value)).collect();
    body.extend((values.len() as u16).to_be_bytes());
    for value in &binary {
        body.extend(u16::from(value.is_some()).to_be_bytes());
    }
    body.extend((values.len() as u16).to_be_bytes());
    for (value, binary) in values.iter().zip(&binary) {
        let bytes = binary.as_deref().unwrap_or(value.as_bytes());
        if *value == "NULL" {
            body.extend((-1_i32).to_be_bytes());
        } else {
            body.extend((bytes.len() as u32).to_be_bytes());
            body.extend(bytes);
        }
    }
    body.extend(1_u16.to_be_bytes());
    body.extend(result_format.to_be_bytes());
    body
}

fn unhex(value: &str) -> Option<Vec<u8>> {
    let digits = value.strip_prefix('x')?;
    if digits.is_empty() || digits.len() % 2 == 1 {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn target(rest: &str) -> Vec<u8> {
    let (kind, target) = rest.split_once(' ').unwrap_or((rest, "-"));
    let mut body = kind.as_bytes()[..1].to_vec();
    body.extend(text(&[name(target)]));
    body
}

fn execute(rest: &str) -> Vec<u8> {
    let (portal, rows) = rest.split_once(' ').unwrap_or((rest, "0"));
    let mut body = text(&[name(portal)]);
    body.extend(rows.parse::<u32>().expect("a row limit").to_be_bytes());
    body
}

fn function_call(rest: &str) -> Vec<u8> {
    let mut body = rest
        .parse::<u32>()
        .expect("a function's oid")
        .to_be_bytes()
        .to_vec();
    body.extend([0; 4]); // no argument formats, no arguments
    body.extend(0_u16.to_be_bytes()); // text result
    body
}
