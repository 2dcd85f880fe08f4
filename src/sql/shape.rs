//! The fast way from a text to the key of its class, without reading it.
//!
//! One pass over the bytes, for the plain SQL that applications repeat. Where
//! anything is written that it does not fully understand (comments, escapes,
//! dollar quotes, several statements, OR) it steps aside and the text is read
//! in full. Equal output means equal facts, literal values and spans excepted;
//! the same rules as in `normalize`, kept in step by a property test.

use crate::model::{Dialect, Kinds, LiteralKind};

use super::Lexer;
use super::bytes::{DIGIT, SPACE, WORD, is_operator, is_space, is_word, run_of};
use super::lex::Kw;
use super::normalize::{ends_assignments, ends_condition, opens_plain};

/// Stands for a number; cannot be written by a client, control bytes make us step aside.
const NUMBER: char = '\u{1}';
/// Stands for a string.
const STRING: char = '\u{2}';
/// Deepest nesting of brackets that is followed.
const DEPTH_MAX: usize = 16;

/// What stood before the current token, as far as masking needs it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A word; its bytes are remembered.
    Word,
    /// A quoted name.
    Quoted,
    /// A comparison behind a column.
    Compared,
    /// Plus or minus behind a column, where values are assigned.
    Added,
    /// An opening bracket or comma of a list.
    Element,
    /// An opening bracket.
    Open,
    /// A comma outside lists.
    Comma,
    /// A closing bracket.
    Close,
    /// Everything else.
    Other,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    out: &'a mut String,
    /// Up to here the text was written, as it is or in another form.
    copied: usize,
    before: Before,
    word: (usize, usize),
    /// Per open bracket: bit 0 plain, bit 1 list, bit 2 row, bit 3 something masked in it.
    groups: [u8; DEPTH_MAX],
    depth: usize,
    odd: usize,
    row_closed: bool,
    /// A sign was read and the number follows.
    signed: bool,
    /// Kinds of the constants so far, masked or not.
    kinds: Kinds,
    /// UPDATE: whether SET's assignments are being read; none for other verbs.
    assigns: Option<bool>,
}

const PLAIN: u8 = 1;
const LIST: u8 = 2;
const ROW: u8 = 4;
const MASKED: u8 = 8;

/// Writes the key of `text` to `out`, and gives the kinds of its constants.
/// None: step aside and read the text in full.
pub fn scan(text: &str, lexer: Lexer, out: &mut String) -> Option<Kinds> {
    out.clear();
    if lexer.dialect != Dialect::Postgres
        || !lexer.standard_strings
        || text.len() > lexer.text_bytes_max
    {
        return None;
    }
    out.reserve(text.len());
    let mut scan = Scan {
        bytes: text.as_bytes(),
        at: 0,
        out,
        copied: 0,
        before: Before::Other,
        word: (0, 0),
        groups: [0; DEPTH_MAX],
        depth: 0,
        odd: 0,
        row_closed: false,
        signed: false,
        kinds: Kinds::NONE,
        assigns: text
            .get(..6)
            .is_some_and(|verb| verb.eq_ignore_ascii_case("update"))
            .then_some(false),
    };
    if !scan.starts_plain() {
        return None;
    }
    scan.run(text)?;
    Some(scan.kinds)
}

/// Whether the key stands for more than one text.
pub fn is_masked(key: &str) -> bool {
    memchr::memchr2(NUMBER as u8, STRING as u8, key.as_bytes()).is_some()
}

impl Scan<'_> {
    /// Only the four verbs are followed.
    fn starts_plain(&self) -> bool {
        let verb = self.bytes.get(..6).unwrap_or(&[]);
        let verbs: [&[u8]; 4] = [b"select", b"insert", b"update", b"delete"];
        verbs.iter().any(|known| verb.eq_ignore_ascii_case(known))
            && self.bytes.get(6).is_some_and(|byte| is_space(*byte))
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Keyword of the word that was read last.
    fn last_kw(&self) -> Kw {
        Kw::of(self.bytes.get(self.word.0..self.word.1).unwrap_or(&[]))
    }

    fn run(&mut self, text: &str) -> Option<()> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                _ if is_space(byte) => self.space(text)?,
                b'0'..=b'9' => self.number(text)?,
                _ if is_word(byte) => self.word()?,
                b'\'' => self.string(text)?,
                b'"' => self.quoted(text)?,
                b'(' => self.open()?,
                b')' => self.close()?,
                b',' => {
                    let list = self.depth > 0 && self.groups[self.depth - 1] & LIST != 0;
                    self.byte(if list { Before::Element } else { Before::Comma });
                }
                b'=' | b'<' | b'>' | b'!' => self.compare()?,
                b'.' if !self.peek(1).is_ascii_digit() && self.peek(1) != b'.' => {
                    self.byte(Before::Other)
                }
                b'+' | b'-' if self.adds() && !is_operator(self.peek(1)) => {
                    self.byte(Before::Added);
                }
                b'*' | b'+' | b'%' if !is_operator(self.peek(1)) => self.byte(Before::Other),
                b'-' if self.before == Before::Compared && self.peek(1).is_ascii_digit() => {
                    self.byte(Before::Compared);
                }
                b'-' if self.takes_sign() && self.peek(1).is_ascii_digit() => {
                    self.byte(self.before);
                    self.signed = true;
                }
                b'$' if self.peek(1).is_ascii_digit() => self.parameter()?,
                b';' => return self.trailing(text),
                _ => return None,
            }
        }
        self.copy(text, self.at)?;
        (self.depth == 0).then_some(())
    }

    fn byte(&mut self, before: Before) {
        self.before = before;
        self.signed = false;
        self.at += 1;
    }

    /// Plus or minus here adds to a column that is assigned.
    fn adds(&self) -> bool {
        let column = match self.before {
            Before::Quoted => true,
            Before::Word => self.last_kw() == Kw::None,
            _ => false,
        };
        column && self.depth == 0 && self.assigns == Some(true)
    }

    /// One sign may stand in front of an element, or behind plus and minus.
    fn takes_sign(&self) -> bool {
        !self.signed && matches!(self.before, Before::Element | Before::Added)
    }

    fn space(&mut self, text: &str) -> Option<()> {
        let start = self.at;
        self.at = self.end_of(start + 1, SPACE);
        let folded = self.at == start + 1 && self.bytes.get(start) == Some(&b' ');
        if self.at == self.bytes.len() {
            self.copy(text, start)?;
            self.copied = self.at;
        } else if !folded {
            self.copy(text, start)?;
            self.out.push(' ');
            self.copied = self.at;
        }
        Some(())
    }

    /// Writes what stands unchanged in front of `end` and was not written yet.
    fn copy(&mut self, text: &str, end: usize) -> Option<()> {
        self.out.push_str(text.get(self.copied..end)?);
        self.copied = end;
        Some(())
    }

    /// Writes a mark for the constant that began at `start` and ends here.
    fn mask(&mut self, text: &str, start: usize, mark: char) -> Option<()> {
        self.copy(text, start)?;
        self.out.push(mark);
        self.copied = self.at;
        Some(())
    }

    /// Where the run of bytes of this class ends that goes on at `from`.
    #[inline]
    fn end_of(&self, from: usize, class: u8) -> usize {
        from + run_of(self.bytes.get(from..).unwrap_or(&[]), class)
    }

    /// Nothing but white space and semicolons may follow.
    fn trailing(&mut self, text: &str) -> Option<()> {
        self.copy(text, self.at)?;
        let rest = &self.bytes[self.at..];
        let ends = self.depth == 0 && rest.iter().all(|byte| is_space(*byte) || *byte == b';');
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        ends.then_some(())
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        self.at = self.end_of(start + 1, WORD);
        // `$` may go on with the word, a quote makes it a prefix, `U&` is one already.
        if matches!(self.peek(0), b'$' | b'\'' | b'"' | b'&') {
            return None;
        }
        let word = &self.bytes[start..self.at];
        if word.len() == 2 && word.eq_ignore_ascii_case(b"or") {
            return None;
        }
        self.word = (start, self.at);
        if self.depth == 0
            && let Some(assigns) = self.assigns
        {
            let kw = self.last_kw();
            self.assigns = Some((assigns || kw == Kw::Set) && !ends_assignments(kw));
        }
        self.row_closed = false;
        self.before = Before::Word;
        Some(())
    }

    fn parameter(&mut self) -> Option<()> {
        self.at += 1;
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        if is_word(self.peek(0)) {
            return None;
        }
        self.before = Before::Other;
        Some(())
    }

    fn quoted(&mut self, text: &str) -> Option<()> {
        let length = memchr::memchr(b'"', self.bytes.get(self.at + 1..)?)?;
        let end = self.at + 1 + length + 1;
        if length == 0
            || self.bytes.get(end) == Some(&b'"')
            || text.get(self.at..end)?.bytes().any(|b| b < 0x20)
        {
            return None;
        }
        self.at = end;
        self.before = Before::Quoted;
        Some(())
    }

    fn compare(&mut self) -> Option<()> {
        let length = match (self.peek(0), self.peek(1)) {
            (b'<', b'=' | b'>') | (b'>' | b'!', b'=') => 2,
            (b'!', _) => return None,
            _ => 1,
        };
        // `=-1` is `=` and a sign; any other longer run is another operator.
        let next = self.peek(length);
        if is_operator(next) && !(next == b'-' && self.peek(length + 1).is_ascii_digit()) {
            return None;
        }
        let column = match self.before {
            Before::Quoted => true,
            Before::Word => self.last_kw() == Kw::None,
            _ => false,
        };
        self.at += length;
        self.before = if column {
            Before::Compared
        } else {
            Before::Other
        };
        Some(())
    }

    fn open(&mut self) -> Option<()> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        let (mut group, kw) = match self.before {
            Before::Word => {
                let kw = self.last_kw();
                (if opens_plain(kw) { PLAIN } else { 0 }, kw)
            }
            Before::Open => (PLAIN, Kw::None),
            _ => (0, Kw::None),
        };
        if kw == Kw::Values || (self.row_closed && self.before == Before::Comma) {
            group = PLAIN | LIST | ROW;
        } else if kw == Kw::In {
            group |= LIST;
        }
        self.row_closed = false;
        self.odd += usize::from(group & PLAIN == 0);
        self.groups[self.depth] = group;
        self.depth += 1;
        self.byte(if group & LIST != 0 {
            Before::Element
        } else {
            Before::Open
        });
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        let group = self.groups[self.depth];
        self.odd -= usize::from(group & PLAIN == 0);
        self.byte(Before::Close);
        self.row_closed = group & ROW != 0;
        if group & MASKED != 0 && self.depth > 0 {
            self.groups[self.depth - 1] |= MASKED;
        }
        // Something masked must not be part of a larger value.
        if group & MASKED != 0 && group & ROW == 0 && !self.group_ends() {
            return None;
        }
        Some(())
    }

    fn group_ends(&self) -> bool {
        self.next_is(
            |byte| matches!(byte, 0 | b')' | b';'),
            |kw| ends_condition(kw) || kw == Kw::None || kw == Kw::As,
        )
    }

    /// Whether the next token fits: a byte, or a word.
    fn next_is(&self, byte_fits: impl Fn(u8) -> bool, word_fits: impl Fn(Kw) -> bool) -> bool {
        let at = self.end_of(self.at, SPACE);
        let first = self.bytes.get(at).copied().unwrap_or(0);
        if !first.is_ascii_alphabetic() {
            return byte_fits(first);
        }
        let end = self.end_of(at, WORD);
        word_fits(Kw::of(&self.bytes[at..end]))
    }

    /// Whether the constant that ends here may be masked.
    fn masks(&mut self) -> bool {
        let masks = self.odd == 0
            && match self.before {
                Before::Compared => self.next_is(
                    |byte| matches!(byte, 0 | b')' | b',' | b';'),
                    ends_condition,
                ),
                Before::Added => {
                    self.depth == 0
                        && self.next_is(
                            |byte| matches!(byte, 0 | b')' | b',' | b';'),
                            ends_condition,
                        )
                }
                Before::Element => self.next_is(|byte| matches!(byte, b')' | b','), |_| false),
                _ => false,
            };
        if masks && self.depth > 0 {
            self.groups[self.depth - 1] |= MASKED;
        }
        masks
    }

    fn number(&mut self, text: &str) -> Option<()> {
        let start = self.at;
        self.at = self.end_of(start, DIGIT);
        if self.peek(0) == b'.' {
            self.at = self.end_of(self.at + 1, DIGIT);
        }
        // Exponents, other bases, separators, a word right behind: read in full.
        if is_word(self.peek(0)) || self.peek(0) == b'.' {
            return None;
        }
        let written = text.get(start..self.at)?;
        self.kinds.push(LiteralKind::of_number(written));
        if self.masks() {
            self.mask(text, start, NUMBER)?;
        }
        self.before = Before::Other;
        Some(())
    }

    fn string(&mut self, text: &str) -> Option<()> {
        let start = self.at;
        self.at += 1;
        loop {
            self.at += memchr::memchr(b'\'', self.bytes.get(self.at..)?)? + 1;
            if self.peek(0) != b'\'' {
                break;
            }
            self.at += 1;
        }
        // A string that goes on behind a newline is one constant.
        if self.next_is(|byte| byte == b'\'', |_| false) {
            return None;
        }
        self.kinds.push(LiteralKind::Text);
        if self.masks() {
            self.mask(text, start, STRING)?;
        } else {
            let written = text.get(start..self.at)?;
            if written.bytes().any(|byte| byte < 0x20) {
                return None;
            }
        }
        self.before = Before::Other;
        Some(())
    }
}
