//! What the bytes of a text can be part of, for the shape scanner.

/// White space.
pub(super) const SPACE: u8 = 1;
/// Words, quoted ones not.
pub(super) const WORD: u8 = 2;
/// Decimal digits.
pub(super) const DIGIT: u8 = 4;

/// What each byte can be part of.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
            classes[byte] |= SPACE;
        }
        if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 {
            classes[byte] |= WORD;
        }
        if b.is_ascii_digit() {
            classes[byte] |= DIGIT;
        }
        byte += 1;
    }
    classes
};

pub(super) fn is_space(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & SPACE != 0
}

pub(super) fn is_word(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & WORD != 0
}

/// How many bytes at the beginning are of this class.
#[inline]
pub(super) fn run_of(bytes: &[u8], class: u8) -> usize {
    let inside = |byte: &&u8| CLASSES[usize::from(**byte)] & class != 0;
    bytes.iter().take_while(inside).count()
}

/// Bytes that operators are made of.
pub(super) fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}
