//! PostgreSQL's `scan.l`, rule by rule.

use super::super::bytes::is_operator;
use super::{Form, Kw, LexError, Tok, Token};

/// Longest operator in bytes (NAMEDATALEN - 1).
const OPERATOR_BYTES_MAX: usize = 63;

pub(super) fn lex(text: &str, standard_strings: bool) -> Result<Vec<Token>, LexError> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        standard_strings,
        out: Vec::with_capacity(text.len() / 5 + 4),
    };
    scan.run()?;
    Ok(scan.out)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    standard_strings: bool,
    out: Vec<Token>,
}

/// `space` of scan.l. The vertical tab is one from version 16 on; before, the
/// server refuses the text, so reading it as space cannot hide anything.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Every byte above 127 belongs to a name: a no-break space is a letter here.
fn is_ident_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_ident(byte: u8) -> bool {
    is_ident_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn fail(&self, what: &'static str, at: usize) -> LexError {
        LexError { what, at }
    }

    fn push(&mut self, kind: Tok, form: Form, kw: Kw, start: usize) {
        self.out.push(Token {
            kind,
            form,
            kw,
            start: start as u32,
            end: self.at as u32,
        });
    }

    fn run(&mut self) -> Result<(), LexError> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let start = self.at;
            match byte {
                _ if is_space(byte) => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                b'\'' => {
                    let form = if self.standard_strings {
                        Form::Plain
                    } else {
                        Form::Escape
                    };
                    self.string(start, 1, form)?;
                }
                b'"' => self.quoted(start, 1, Form::Plain)?,
                b'$' => self.dollar()?,
                b'0'..=b'9' => self.number(),
                b'.' if self.peek(1).is_ascii_digit() => self.number(),
                _ if is_ident_start(byte) => self.word_or_prefix(byte)?,
                b':' => self.punctuation(&[(b':', Tok::Cast), (b'=', Tok::Assign)], Tok::Colon),
                b'.' => self.punctuation(&[(b'.', Tok::DotDot)], Tok::Dot),
                b'(' => self.single(Tok::LParen),
                b')' => self.single(Tok::RParen),
                b'[' => self.single(Tok::LBracket),
                b']' => self.single(Tok::RBracket),
                b',' => self.single(Tok::Comma),
                b';' => self.single(Tok::Semicolon),
                _ if is_operator(byte) => self.operator()?,
                _ => return Err(self.fail("a byte that starts no token", start)),
            }
        }
        Ok(())
    }

    fn single(&mut self, kind: Tok) {
        let start = self.at;
        self.at += 1;
        self.push(kind, Form::Plain, Kw::None, start);
    }

    fn punctuation(&mut self, pairs: &[(u8, Tok)], alone: Tok) {
        let start = self.at;
        let next = self.peek(1);
        let (kind, length) = pairs
            .iter()
            .find(|(second, _)| *second == next)
            .map_or((alone, 1), |(_, kind)| (*kind, 2));
        self.at += length;
        self.push(kind, Form::Plain, Kw::None, start);
    }

    fn line_comment(&mut self) {
        while self
            .bytes
            .get(self.at)
            .is_some_and(|byte| !is_newline(*byte))
        {
            self.at += 1;
        }
    }

    /// Comments nest, as in SQL and unlike in C.
    fn block_comment(&mut self) -> Result<(), LexError> {
        let start = self.at;
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        Err(self.fail("an unterminated comment", start))
    }

    fn word_or_prefix(&mut self, first: u8) -> Result<(), LexError> {
        let start = self.at;
        match (first | 0x20, self.peek(1), self.peek(2)) {
            (b'e', b'\'', _) => return self.string(start, 2, Form::Escape),
            (b'b' | b'x', b'\'', _) => return self.string(start, 2, Form::Bits),
            (b'n', b'\'', _) => {
                let form = if self.standard_strings {
                    Form::National
                } else {
                    Form::Escape
                };
                return self.string(start, 2, form);
            }
            (b'u', b'&', b'\'') => {
                if !self.standard_strings {
                    return Err(self.fail("U&'' without standard_conforming_strings", start));
                }
                self.string(start, 3, Form::Unicode)?;
                return self.uescape();
            }
            (b'u', b'&', b'"') => {
                self.quoted(start, 3, Form::Unicode)?;
                return self.uescape();
            }
            _ => {}
        }
        while self.bytes.get(self.at).is_some_and(|byte| is_ident(*byte)) {
            self.at += 1;
        }
        let kw = Kw::of(&self.bytes[start..self.at]);
        if kw == Kw::Uescape
            && self
                .out
                .last()
                .is_some_and(|token| token.form == Form::Unicode)
        {
            // A block comment stands between: legal, never written, not worth a second way to read it.
            return Err(self.fail("an UESCAPE behind a comment", start));
        }
        self.push(Tok::Word, Form::Plain, kw, start);
        Ok(())
    }

    /// A string and its continuations on later lines.
    fn string(&mut self, start: usize, prefix: usize, form: Form) -> Result<(), LexError> {
        self.at = start + prefix;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.fail("an unterminated string", start)),
                Some(b'\\') if form == Form::Escape => self.at += 2,
                Some(b'\'') if self.peek(1) == b'\'' && form != Form::Bits => self.at += 2,
                Some(b'\'') => {
                    self.at += 1;
                    match self.continuation() {
                        Some(next) => self.at = next,
                        None => break,
                    }
                }
                Some(_) => self.at += 1,
            }
        }
        // A backslash as the last byte ran past the end.
        if self.at > self.bytes.len() {
            return Err(self.fail("an unterminated string", start));
        }
        self.push(Tok::String, form, Kw::None, start);
        Ok(())
    }

    /// `quotecontinue`: white space with at least one newline, then a quote.
    /// A comment may stand between, and ends at its own newline.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut newline = false;
        loop {
            match self.bytes.get(at).copied()? {
                b'\'' if newline => return Some(at + 1),
                byte if is_space(byte) => {
                    newline |= is_newline(byte);
                    at += 1;
                }
                b'-' if self.bytes.get(at + 1) == Some(&b'-') => {
                    while self.bytes.get(at).is_some_and(|byte| !is_newline(*byte)) {
                        at += 1;
                    }
                }
                _ => return None,
            }
        }
    }

    fn quoted(&mut self, start: usize, prefix: usize, form: Form) -> Result<(), LexError> {
        self.at = start + prefix;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.fail("an unterminated quoted name", start)),
                Some(b'"') if self.peek(1) == b'"' => self.at += 2,
                Some(b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        if self.at == start + prefix {
            return Err(self.fail("a quoted name of length zero", start));
        }
        self.at += 1;
        self.push(Tok::Quoted, form, Kw::None, start);
        Ok(())
    }

    /// The parser's look-ahead: `UESCAPE 'c'` belongs to the token before it.
    fn uescape(&mut self) -> Result<(), LexError> {
        let mut at = self.at;
        loop {
            match self.bytes.get(at).copied() {
                Some(byte) if is_space(byte) => at += 1,
                Some(b'-') if self.bytes.get(at + 1) == Some(&b'-') => {
                    while self.bytes.get(at).is_some_and(|byte| !is_newline(*byte)) {
                        at += 1;
                    }
                }
                _ => break,
            }
        }
        let word = self.bytes.get(at..at + 7).unwrap_or(&[]);
        if !word.eq_ignore_ascii_case(b"uescape")
            || self.bytes.get(at + 7).is_some_and(|byte| is_ident(*byte))
        {
            return Ok(());
        }
        at += 7;
        while self.bytes.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        match self.bytes.get(at..at + 3) {
            Some([b'\'', escape, b'\''])
                if !b"+'\"".contains(escape) && !escape.is_ascii_hexdigit() =>
            {
                self.at = at + 3;
                if let Some(token) = self.out.last_mut() {
                    token.end = self.at as u32;
                }
                Ok(())
            }
            _ => Err(self.fail("an UESCAPE that is not one plain character", at)),
        }
    }

    fn dollar(&mut self) -> Result<(), LexError> {
        let start = self.at;
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            self.push(Tok::Param, Form::Plain, Kw::None, start);
            return Ok(());
        }
        let mut end = start + 1;
        if self
            .bytes
            .get(end)
            .is_some_and(|byte| is_ident_start(*byte))
        {
            while self
                .bytes
                .get(end)
                .is_some_and(|byte| is_ident(*byte) && *byte != b'$')
            {
                end += 1;
            }
        }
        if self.bytes.get(end) != Some(&b'$') {
            return Err(self.fail("a dollar sign that starts nothing", start));
        }
        let tag = &self.bytes[start..=end];
        match memchr::memmem::find(&self.bytes[end + 1..], tag) {
            Some(found) => {
                self.at = end + 1 + found + tag.len();
                self.push(Tok::String, Form::Dollar, Kw::None, start);
                Ok(())
            }
            None => Err(self.fail("an unterminated dollar-quoted string", start)),
        }
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit()
            || (self.peek(0) == b'_' && self.peek(1).is_ascii_digit())
        {
            self.at += 1;
        }
    }

    /// Versions differ in what they refuse, not in what they mean: `1FROM` is two
    /// tokens up to 14 and an error later, `0x1F` and `1_000` are numbers from 16
    /// on and a number with an alias, or an error, before. Reading what one of
    /// them accepts is right for all.
    fn number(&mut self) {
        let start = self.at;
        if self.peek(0) == b'0'
            && matches!(self.peek(1) | 0x20, b'x' | b'o' | b'b')
            && self.peek(2).is_ascii_hexdigit()
        {
            self.at += 2;
            while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == b'_' {
                self.at += 1;
            }
            self.push(Tok::Number, Form::Plain, Kw::None, start);
            return;
        }
        self.digits();
        // `1..2` is one, two dots, two.
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.digits();
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.digits();
            }
        }
        self.push(Tok::Number, Form::Plain, Kw::None, start);
    }

    /// The longest run of operator characters, cut at a comment, and without
    /// trailing `+` or `-` unless a character outside standard SQL is in it.
    fn operator(&mut self) -> Result<(), LexError> {
        let start = self.at;
        let mut end = start;
        while self.bytes.get(end).is_some_and(|byte| is_operator(*byte)) {
            let pair = self.bytes.get(end..end + 2);
            if end > start && (pair == Some(b"--") || pair == Some(b"/*")) {
                break;
            }
            end += 1;
        }
        let run = &self.bytes[start..end];
        if run.len() > 1 && matches!(run[run.len() - 1], b'+' | b'-') {
            let special = run.iter().any(|b| {
                matches!(
                    b,
                    b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'
                )
            });
            if !special {
                while end > start + 1 && matches!(self.bytes[end - 1], b'+' | b'-') {
                    end -= 1;
                }
            }
        }
        if end - start > OPERATOR_BYTES_MAX {
            return Err(self.fail("an operator that is too long", start));
        }
        self.at = end;
        let kind = if &self.bytes[start..end] == b"=>" {
            Tok::Assign
        } else {
            Tok::Op
        };
        self.push(kind, Form::Plain, Kw::None, start);
        Ok(())
    }
}
