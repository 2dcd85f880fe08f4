//! SQLite's `tokenize.c`, rule by rule.

use super::{Form, Kw, LexError, Tok, Token};

pub(super) fn lex(text: &str) -> Result<Vec<Token>, LexError> {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        tokens: Vec::with_capacity(text.len() / 5 + 4),
    };
    scan.run()?;
    Ok(scan.tokens)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
}

fn is_ident(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: Tok, form: Form, kw: Kw, start: usize) {
        self.tokens.push(Token {
            kind,
            form,
            kw,
            start: start as u32,
            end: self.at as u32,
        });
    }

    fn take(&mut self, kind: Tok, length: usize) {
        let start = self.at;
        self.at += length;
        self.push(kind, Form::Plain, Kw::None, start);
    }

    fn run(&mut self) -> Result<(), LexError> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.skip_line(),
                b'/' if self.peek(1) == b'*' && self.at + 2 < self.bytes.len() => self.skip_block(),
                b'\'' => self.quote(b'\'', 1, Tok::String, Form::Plain)?,
                b'"' => self.quote(b'"', 1, Tok::Quoted, Form::Plain)?,
                b'`' => self.quote(b'`', 1, Tok::Quoted, Form::Backtick)?,
                b'[' => self.bracket()?,
                b'x' | b'X' if self.peek(1) == b'\'' => {
                    self.quote(b'\'', 2, Tok::String, Form::Bits)?
                }
                b'0'..=b'9' => self.number()?,
                b'.' if self.peek(1).is_ascii_digit() => self.number()?,
                b'?' | b':' | b'@' | b'#' | b'$' => self.variable()?,
                b'(' => self.take(Tok::LParen, 1),
                b')' => self.take(Tok::RParen, 1),
                b',' => self.take(Tok::Comma, 1),
                b';' => self.take(Tok::Semicolon, 1),
                b'.' => self.take(Tok::Dot, 1),
                b'-' | b'+' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b'!' | b'|' | b'&'
                | b'~' => self.operator()?,
                _ if is_ident(byte) => self.word(),
                _ => {
                    return Err(LexError {
                        what: "a byte that starts no token",
                        at: self.at,
                    });
                }
            }
        }
        Ok(())
    }

    fn word(&mut self) {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| is_ident(*byte)) {
            self.at += 1;
        }
        let kw = Kw::of(&self.bytes[start..self.at]);
        self.push(Tok::Word, Form::Plain, kw, start);
    }

    fn skip_line(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
            self.at += 1;
        }
    }

    /// Does not nest, and may run to the end of the text.
    fn skip_block(&mut self) {
        let body = &self.bytes[self.at + 2..];
        self.at =
            memchr::memmem::find(body, b"*/").map_or(self.bytes.len(), |end| self.at + 2 + end + 2);
    }

    fn quote(&mut self, quote: u8, prefix: usize, kind: Tok, form: Form) -> Result<(), LexError> {
        let start = self.at;
        self.at += prefix;
        loop {
            match self.bytes.get(self.at) {
                None => {
                    return Err(LexError {
                        what: "an unterminated string or name",
                        at: start,
                    });
                }
                Some(byte) if *byte == quote && self.peek(1) == quote && form != Form::Bits => {
                    self.at += 2
                }
                Some(byte) if *byte == quote => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        self.push(kind, form, Kw::None, start);
        Ok(())
    }

    fn bracket(&mut self) -> Result<(), LexError> {
        let start = self.at;
        match memchr::memchr(b']', &self.bytes[start..]) {
            Some(end) => {
                self.at = start + end + 1;
                self.push(Tok::Quoted, Form::Bracket, Kw::None, start);
                Ok(())
            }
            None => Err(LexError {
                what: "an unterminated name",
                at: start,
            }),
        }
    }

    fn number(&mut self) -> Result<(), LexError> {
        let start = self.at;
        if self.peek(0) == b'0' && self.peek(1) | 0x20 == b'x' && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            while self.peek(0).is_ascii_hexdigit() || self.peek(0) == b'_' {
                self.at += 1;
            }
        } else {
            self.digits();
            if self.peek(0) == b'.' {
                self.at += 1;
                self.digits();
            }
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(0) | 0x20 == b'e' && self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.digits();
            }
        }
        if self.bytes.get(self.at).is_some_and(|byte| is_ident(*byte)) {
            return Err(LexError {
                what: "a word right behind a number",
                at: start,
            });
        }
        self.push(Tok::Number, Form::Plain, Kw::None, start);
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit()
            || (self.peek(0) == b'_' && self.peek(1).is_ascii_digit())
        {
            self.at += 1;
        }
    }

    /// `?`, `?1`, `:name`, `@name`, `#name`, `$name::part(suffix)`.
    fn variable(&mut self) -> Result<(), LexError> {
        let start = self.at;
        self.at += 1;
        if self.bytes[start] == b'?' {
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        } else {
            let mut letters = 0;
            loop {
                match self.peek(0) {
                    byte if is_ident(byte) => letters += 1,
                    b':' if self.peek(1) == b':' => self.at += 1,
                    b'(' if letters > 0 && self.bytes[start] == b'$' => {
                        return Err(LexError {
                            what: "a parameter with a suffix",
                            at: start,
                        });
                    }
                    _ => break,
                }
                self.at += 1;
            }
            if letters == 0 {
                return Err(LexError {
                    what: "a mark that starts no parameter",
                    at: start,
                });
            }
        }
        self.push(Tok::Param, Form::Plain, Kw::None, start);
        Ok(())
    }

    fn operator(&mut self) -> Result<(), LexError> {
        let length = match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'-', b'>', b'>') => 3,
            (b'-', b'>', _) | (b'|', b'|', _) | (b'=', b'=', _) | (b'!', b'=', _) => 2,
            (b'<', b'=' | b'>' | b'<', _) | (b'>', b'=' | b'>', _) => 2,
            (b'!', _, _) => {
                return Err(LexError {
                    what: "a lone exclamation mark",
                    at: self.at,
                });
            }
            _ => 1,
        };
        self.take(Tok::Op, length);
        Ok(())
    }
}
