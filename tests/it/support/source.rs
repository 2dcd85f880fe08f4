//! Reads the project's own sources, for the tests that hold the architecture.
//!
//! Not a parser: comments and literals are blanked out, the rest is words. That
//! is enough to see which names a file mentions, and it cannot fail on syntax
//! newer than some parser.

use std::path::{Path, PathBuf};

/// The directory that holds Cargo.toml.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One file, by its path inside the project with `/` as separator.
pub struct Source {
    /// Path inside the project.
    pub path: String,
    /// Text as it stands.
    pub text: String,
}

/// Every file below the named folders whose name ends with one of `endings`, sorted.
pub fn files(folders: &[&str], endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), endings, &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            let inside = path.strip_prefix(root()).expect("found below the root");
            Source {
                path: inside.to_string_lossy().replace('\\', "/"),
                text,
            }
        })
        .collect()
}

fn collect(path: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if path.is_dir() {
        if matches!(name.as_ref(), "target" | ".git" | "corpus" | "artifacts") {
            return;
        }
        let entries = std::fs::read_dir(path).expect("readable folder");
        for entry in entries {
            collect(&entry.expect("readable entry").path(), endings, found);
        }
    } else if endings.iter().any(|ending| name.ends_with(ending)) {
        found.push(path.to_owned());
    }
}

/// The text with comments, strings and character literals replaced by spaces; lines stay lines.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => match raw_string_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'\'' => match char_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were blanked")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr(bytes, at, b'\n').unwrap_or(bytes.len())
}

fn memchr(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    bytes[from..]
        .iter()
        .position(|b| *b == wanted)
        .map(|i| from + i)
}

fn comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < bytes.len() {
        match (bytes[i], bytes[i + 1]) {
            (b'/', b'*') => {
                depth += 1;
                i += 2;
            }
            (b'*', b'/') => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut i = open + 1;
    while let Some(quote) = memchr(bytes, i, b'"') {
        let closing = &bytes[quote + 1..];
        if closing.len() >= hashes && closing[..hashes].iter().all(|b| *b == b'#') {
            return Some(quote + 1 + hashes);
        }
        i = quote + 1;
    }
    Some(bytes.len())
}

/// A character literal, or nothing when the quote opens a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let start = at + 3;
        return memchr(bytes, start.min(bytes.len()), b'\'').map(|quote| quote + 1);
    }
    let rest = std::str::from_utf8(&bytes[at + 1..]).ok()?;
    let first = rest.chars().next()?;
    let quote = at + 1 + first.len_utf8();
    (bytes.get(quote) == Some(&b'\'')).then_some(quote + 1)
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
        && !(bytes[at - 1] == b'b' && (at < 2 || !bytes[at - 2].is_ascii_alphanumeric()))
}

/// A path such as `crate::model::Kind`, and the line it stands in.
#[derive(Debug)]
pub struct PathUse {
    /// Segments, groups already multiplied out.
    pub segments: Vec<String>,
    /// Line, 1-based.
    pub line: usize,
    /// How many `mod name {` of this file are open around it.
    pub inline_depth: usize,
}

/// Every `a::b` path of a text, `use` groups multiplied out; a lone word counts when it follows `use`.
pub fn paths(text: &str) -> Vec<PathUse> {
    Scanner::new(&code_only(text)).run()
}

struct Scanner {
    words: Vec<(String, usize)>,
    at: usize,
    /// For every open brace: whether it belongs to `mod name {`.
    braces: Vec<bool>,
    found: Vec<PathUse>,
}

impl Scanner {
    fn new(code: &str) -> Scanner {
        let mut words = Vec::new();
        for (number, line) in code.lines().enumerate() {
            split_line(line, number + 1, &mut words);
        }
        Scanner {
            words,
            at: 0,
            braces: Vec::new(),
            found: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<PathUse> {
        while self.at < self.words.len() {
            let word = self.words[self.at].0.as_str();
            match word {
                "{" => {
                    let module = self.at >= 2 && self.words[self.at - 2].0 == "mod";
                    self.braces.push(module);
                    self.at += 1;
                }
                "}" => {
                    self.braces.pop();
                    self.at += 1;
                }
                "use" => {
                    self.at += 1;
                    self.tree(Vec::new(), true);
                }
                _ if is_word(word) => self.tree(Vec::new(), false),
                _ => self.at += 1,
            }
        }
        self.found
    }

    /// One path or `use` tree from here; leaves `at` behind it.
    fn tree(&mut self, mut prefix: Vec<String>, is_use: bool) {
        let line = self.words.get(self.at).map_or(0, |w| w.1);
        loop {
            match self.words.get(self.at).map(|w| w.0.as_str()) {
                Some("{") if is_use => return self.group(prefix),
                Some(word) if is_word(word) || word == "*" && is_use => {
                    prefix.push(word.to_owned());
                    self.at += 1;
                }
                Some("::") if prefix.is_empty() => {
                    self.at += 1;
                    continue;
                }
                _ => break,
            }
            if self.words.get(self.at).is_none_or(|w| w.0 != "::") {
                break;
            }
            self.at += 1;
        }
        if is_use && self.words.get(self.at).is_some_and(|w| w.0 == "as") {
            self.at += 2;
        }
        if prefix.len() > 1 || is_use && !prefix.is_empty() {
            let inline_depth = self.braces.iter().filter(|module| **module).count();
            self.found.push(PathUse {
                segments: prefix,
                line,
                inline_depth,
            });
        } else if prefix.is_empty() {
            self.at += 1;
        }
    }

    fn group(&mut self, prefix: Vec<String>) {
        self.at += 1;
        while let Some(word) = self.words.get(self.at).map(|w| w.0.as_str()) {
            match word {
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                _ => self.tree(prefix.clone(), true),
            }
        }
    }
}

fn split_line(line: &str, number: usize, words: &mut Vec<(String, usize)>) {
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = if is_word_char(first) {
            rest.find(|c: char| !is_word_char(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(length);
        if !word.trim().is_empty() {
            words.push((word.to_owned(), number));
        }
        rest = tail;
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_word(word: &str) -> bool {
    word.starts_with(is_word_char)
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* b /* c */ d */ e // f\n\"g\\\"h\" 'i' '\\'' 'j r#\"k\"l\"# m r\"n\" b\"o\"";
    let code = code_only(text);
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "e", "'j", "m", "b"]);
}

#[test]
fn groups_are_multiplied_out() {
    let found =
        paths("use crate::{a::{B, c}, d as e};\nfn f() { x::y::z(); }\nmod t { use super::q; }");
    let mut seen: Vec<String> = Vec::new();
    for path in &found {
        seen.push(format!(
            "{}@{}",
            path.segments.join("::"),
            path.inline_depth
        ));
    }
    assert_eq!(
        seen,
        [
            "crate::a::B@0",
            "crate::a::c@0",
            "crate::d@0",
            "x::y::z@0",
            "super::q@1"
        ]
    );
}
