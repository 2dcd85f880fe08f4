//! What an injected value looks like.
//!
//! A value is judged on its own: an attempt that binding has made harmless is
//! still an attempt. A pattern counts only behind what would end the place of
//! the value (an odd quote, or nothing but a number or a word), so that SQL
//! kept as text, or a sentence about it, is none.

/// Values are looked at up to here; an attempt that is longer is found by its beginning.
pub const BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Letters, digits, `_`, `$`; in lower case.
    Word(String),
    Quote(char),
    /// `--`, `#`, `/*`; true when next to nothing is behind it.
    Comment(bool),
    Sign(char),
}

/// The rule that a value breaks.
pub fn rule(value: &str) -> Option<&'static str> {
    let tokens = tokens(value);
    let from = tokens
        .iter()
        .rposition(|token| *token == Token::Word("from".to_owned()));
    let mut before = Before::default();
    for (at, token) in tokens.iter().enumerate() {
        if before.breaks_out() {
            let (earlier, rest) = tokens.split_at(at);
            let found = [
                ("value-union", union(rest)),
                ("value-tautology", tautology(rest)),
                ("value-stacked", stacked(earlier, rest)),
                ("value-comment", comment(earlier, rest)),
                ("value-call", call(earlier, rest)),
                ("value-subquery", from > Some(at) && subquery(earlier, rest)),
            ];
            if let Some((rule, _)) = found.iter().find(|(_, found)| *found) {
                return Some(rule);
            }
        }
        before.add(token);
    }
    None
}

/// What stands before a place of the value.
#[derive(Default)]
struct Before {
    singles: usize,
    doubles: usize,
    solid: usize,
    number: bool,
    out: bool,
}

impl Before {
    fn add(&mut self, token: &Token) {
        // Behind `1 AND` or `x' OR` everything is outside of the value's place.
        if let Token::Word(word) = token
            && matches!(&**word, "and" | "or")
        {
            self.out |= self.odd() || (self.number && self.solid == 1);
        }
        match token {
            Token::Quote('\'') => self.singles += 1,
            Token::Quote('"') => self.doubles += 1,
            Token::Word(word) if self.solid == 0 => {
                self.number = word.bytes().all(|byte| byte.is_ascii_digit());
            }
            _ => {}
        }
        let thin = matches!(token, Token::Sign('(' | ')' | '-' | ';'));
        self.solid += usize::from(!thin);
    }

    fn odd(&self) -> bool {
        self.singles % 2 == 1 || self.doubles % 2 == 1
    }

    /// Whether it would end the place of the value.
    fn breaks_out(&self) -> bool {
        self.out || self.odd() || self.solid <= 1
    }
}

fn tokens(value: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = value;
    let mut closes = true;
    if let Some((end, _)) = value.char_indices().find(|(at, _)| *at >= BYTES_MAX) {
        rest = &value[..end];
    }
    while let Some(letter) = rest.chars().next() {
        let inside = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
        if inside(letter) {
            let end = rest.find(|letter| !inside(letter)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_lowercase()));
            rest = &rest[end..];
            continue;
        }
        let opened = ["--", "/*", "#"]
            .iter()
            .find(|mark| rest.starts_with(**mark));
        if let Some(mark) = opened {
            let behind = &rest[mark.len()..];
            // A comment in the middle is white space; what is behind it goes on.
            let end = match *mark {
                "/*" if closes => behind.find("*/"),
                _ => None,
            };
            closes &= end.is_some() || *mark != "/*";
            rest = end.map_or(behind, |end| &behind[end + 2..]);
            if end.is_none() {
                let tail = behind.trim();
                let ends = tail.len() <= 4 && tail.bytes().all(in_tail);
                tokens.push(Token::Comment(ends));
            }
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match letter {
            '\'' | '"' | '`' => tokens.push(Token::Quote(letter)),
            letter if letter.is_whitespace() => {}
            letter => tokens.push(Token::Sign(letter)),
        }
    }
    tokens
}

fn word(tokens: &[Token], at: usize) -> &str {
    match tokens.get(at) {
        Some(Token::Word(word)) => word,
        _ => "",
    }
}

fn skip(tokens: &[Token], at: usize, skipped: fn(&Token) -> bool) -> usize {
    tokens[at.min(tokens.len())..]
        .iter()
        .take_while(|token| skipped(token))
        .count()
        + at
}

/// What tools put behind a comment so that it survives being trimmed.
fn in_tail(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-')
}

fn brackets(token: &Token) -> bool {
    matches!(token, Token::Sign('(' | ')'))
}

fn brackets_or_quotes(token: &Token) -> bool {
    brackets(token) || matches!(token, Token::Quote(_))
}

/// `UNION [ALL] SELECT`
fn union(rest: &[Token]) -> bool {
    if !matches!(word(rest, 0), "union" | "intersect" | "except") {
        return false;
    }
    let all = usize::from(matches!(word(rest, 1), "all" | "distinct"));
    word(rest, skip(rest, 1 + all, brackets)) == "select"
}

/// `OR 1=1`, `AND 'a'='a`, `OR 5647=5647`, `OR 1 LIKE 1`, `OR true--`
fn tautology(rest: &[Token]) -> bool {
    if !matches!(word(rest, 0), "or" | "and" | "having" | "where") {
        return false;
    }
    let not = usize::from(word(rest, 1) == "not");
    let first = skip(rest, 1 + not, brackets_or_quotes);
    if word(rest, first) == "true" {
        return matches!(rest.get(first + 1), None | Some(Token::Comment(_)));
    }
    let behind = skip(rest, first + 1, brackets_or_quotes);
    let compares = matches!(rest.get(behind), Some(Token::Sign('=' | '<' | '>')))
        || word(rest, behind) == "like";
    let twice = usize::from(matches!(rest.get(behind + 1), Some(Token::Sign('=' | '>'))));
    let second = skip(rest, behind + 1 + twice, brackets_or_quotes);
    let (a, b) = (word(rest, first), word(rest, second));
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    // Empty on both sides: `' or ''='`.
    let empty = a.is_empty() && first > 1 + not && rest.get(first) == Some(&Token::Sign('='));
    empty || (compares && ((!a.is_empty() && a == b) || (number(a) && number(b))))
}

/// `; DROP TABLE …`
fn stacked(before: &[Token], rest: &[Token]) -> bool {
    if rest.first() != Some(&Token::Sign(';')) || before.is_empty() {
        return false;
    }
    let object = |word: &str| {
        matches!(
            word,
            "table"
                | "database"
                | "schema"
                | "view"
                | "role"
                | "user"
                | "function"
                | "extension"
                | "index"
                | "sequence"
                | "language"
                | "trigger"
                | "or"
        )
    };
    match word(rest, 1) {
        "select" | "truncate" | "exec" | "execute" | "shutdown" | "waitfor" => true,
        "drop" | "alter" | "create" => object(word(rest, 2)),
        "delete" => word(rest, 2) == "from",
        "insert" => word(rest, 2) == "into",
        "update" => word(rest, 3) == "set",
        "copy" => !word(rest, 2).is_empty(),
        "grant" | "revoke" => !word(rest, 2).is_empty(),
        _ => false,
    }
}

/// `admin'--`, `admin') #`
fn comment(before: &[Token], rest: &[Token]) -> bool {
    let quoted = before
        .iter()
        .rfind(|token| !brackets(token))
        .is_some_and(|token| matches!(token, Token::Quote(_)));
    quoted && rest.first() == Some(&Token::Comment(true))
}

/// `pg_sleep(5)`, `pg_read_file(…`, `WAITFOR DELAY`
fn call(before: &[Token], rest: &[Token]) -> bool {
    const CALLS: [&str; 14] = [
        "pg_sleep",
        "pg_sleep_for",
        "pg_read_file",
        "pg_read_binary_file",
        "pg_ls_dir",
        "lo_import",
        "lo_export",
        "dblink",
        "query_to_xml",
        "database_to_xml",
        "xp_cmdshell",
        "load_file",
        "load_extension",
        "randomblob",
    ];
    let called = rest.get(1) == Some(&Token::Sign('('));
    let number = |word: &str| {
        word.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit())
    };
    let numbered = called && number(word(rest, 2));
    let name = word(rest, 0);
    (CALLS.contains(&name) && called)
        || (matches!(name, "sleep" | "benchmark") && numbered && !before.is_empty())
        || (name == "waitfor" && word(rest, 1) == "delay")
        || (name == "chr"
            && numbered
            && rest.get(4..6) == Some(&[Token::Sign('|'), Token::Sign('|')]))
}

/// `AND 1=(SELECT …`, `'||(SELECT …`, `AND (SELECT … FROM …`
fn subquery(before: &[Token], rest: &[Token]) -> bool {
    let joined = |token: Option<&Token>| match token {
        Some(Token::Sign('=' | '<' | '>' | '|' | '+' | '(')) => true,
        Some(Token::Word(word)) => {
            matches!(
                &**word,
                "and" | "or" | "cast" | "case" | "when" | "exists" | "in" | "not"
            )
        }
        _ => false,
    };
    rest.first() == Some(&Token::Sign('(')) && word(rest, 1) == "select" && joined(before.last())
}
