//! Our tokens as the parser's, with byte offsets as columns.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Span, Token as Theirs, TokenWithSpan, Tokenizer};

use crate::model::Dialect;
use crate::sql::lex::{Form, Tok, Token, text_of};

/// Every token once; `base` is where the statement starts in the whole text.
pub(super) fn for_parser(
    source: &str,
    cut: &[Token],
    dialect: Dialect,
    base: usize,
) -> Vec<TokenWithSpan> {
    let location = |offset: u32| Location {
        line: 1,
        column: base as u64 + u64::from(offset) + 1,
    };
    cut.iter()
        .map(|token| TokenWithSpan {
            token: one(source, token, dialect),
            span: Span {
                start: location(token.start),
                end: location(token.end),
            },
        })
        .collect()
}

fn one(source: &str, token: &Token, dialect: Dialect) -> Theirs {
    let text = token.text(source);
    match token.kind {
        Tok::Word => Theirs::make_word(text, None),
        Tok::Quoted => Theirs::make_word(&text_of(token, source), Some('"')),
        Tok::String => string(source, token),
        Tok::Number => Theirs::Number(text.to_owned(), false),
        Tok::Param => Theirs::Placeholder(text.to_owned()),
        Tok::Op => operator(text, dialect),
        Tok::LParen => Theirs::LParen,
        Tok::RParen => Theirs::RParen,
        Tok::LBracket => Theirs::LBracket,
        Tok::RBracket => Theirs::RBracket,
        Tok::Comma => Theirs::Comma,
        Tok::Semicolon => Theirs::SemiColon,
        Tok::Dot => Theirs::Period,
        Tok::Colon => Theirs::Colon,
        Tok::Cast => Theirs::DoubleColon,
        Tok::Assign if text == "=>" => Theirs::RArrow,
        Tok::Assign => Theirs::Assignment,
        Tok::DotDot => Theirs::Char('.'),
    }
}

fn string(source: &str, token: &Token) -> Theirs {
    let value = text_of(token, source).into_owned();
    match token.form {
        Form::Escape => Theirs::EscapedStringLiteral(value),
        Form::National => Theirs::NationalStringLiteral(value),
        Form::Bits if token.text(source).starts_with(['x', 'X']) => Theirs::HexStringLiteral(value),
        Form::Bits => Theirs::SingleQuotedByteStringLiteral(value),
        _ => Theirs::SingleQuotedString(value),
    }
}

/// Their tokenizer names the operator; one it would cut differently stays whole.
fn operator(text: &str, dialect: Dialect) -> Theirs {
    if dialect == Dialect::Sqlite && text == "==" {
        return Theirs::DoubleEq;
    }
    match Tokenizer::new(&PostgreSqlDialect {}, text).tokenize() {
        Ok(mut tokens) if tokens.len() == 1 => tokens.pop().unwrap_or(Theirs::EOF),
        _ => Theirs::CustomBinaryOperator(text.to_owned()),
    }
}
