//! Comments where white space would stand.

use crate::model::Statement;

use super::Lexer;
use super::lex::{Tok, Token, lex};

/// Whether a comment alone stands between two words: `UNION/**/SELECT`.
///
/// People and libraries put white space beside a comment; one that is put
/// there instead of white space is meant for a filter.
pub fn is_spliced(statement: &Statement) -> bool {
    let text = &*statement.text;
    if memchr::memmem::find(text.as_bytes(), b"/*").is_none() {
        return false;
    }
    let lexer = Lexer {
        dialect: statement.dialect,
        ..Lexer::POSTGRES
    };
    let tokens = lex(text, lexer).unwrap_or_default();
    let word = |token: &Token| matches!(token.kind, Tok::Word | Tok::Number | Tok::Quoted);
    tokens.windows(2).any(|pair| {
        let [left, right] = pair else { return false };
        let gap = text.get(left.end as usize..right.start as usize);
        word(left)
            && word(right)
            && gap.is_some_and(|gap| gap.starts_with("/*") && gap.ends_with("*/"))
    })
}

#[cfg(test)]
mod tests {
    use super::is_spliced;
    use crate::sql::{Lexer, analyze};

    #[test]
    fn tells_a_comment_for_people_from_one_in_place_of_white_space() {
        for (text, expected) in [
            ("SELECT/**/1", true),
            ("SELECT a FROM t UNION/*x*//*y*/SELECT b FROM u", true),
            ("SELECT a/**/FROM t", true),
            ("SELECT /* why */ a FROM t", false),
            ("SELECT a/* the first */, b FROM t", false),
            ("SELECT a FROM t/* end */", false),
            ("SELECT a FROM t /* end */", false),
            ("/* begin */SELECT a FROM t", false),
            ("SELECT 'a/**/b' FROM t", false),
            ("SELECT a -- b/**/c\nFROM t", false),
            ("SELECT $$a/**/b$$", false),
        ] {
            let found = analyze(text, Lexer::POSTGRES);
            assert_eq!(is_spliced(&found.statements[0]), expected, "{text}");
        }
    }
}
