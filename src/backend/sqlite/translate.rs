//! PostgreSQL's way of saying things, said in SQLite's.
//!
//! Works on tokens, never on meaning: every rule replaces one spelling by
//! another of the same meaning, so what the policies judged is what runs. The
//! relations a statement touches are asked of SQLite afterwards (`guard`), and
//! one that the policies have not seen is judged before anything runs.
//!
//! Read [`translate`] first.

use super::token::{Token, TokenKind, Unreadable, closing, join, quote_text, tokens};

mod cast;
mod catalog;
mod phrase;

pub(super) use cast::type_name;

/// A statement in SQLite's words.
#[derive(Debug, Clone)]
pub struct Translation {
    /// Text for SQLite.
    pub text: String,
    /// First keyword, lower case.
    pub verb: String,
    /// Names something of the PostgreSQL catalog, so that must be filled first.
    pub catalog: bool,
}

/// Translates one statement.
pub fn translate(text: &str) -> Result<Translation, Unreadable> {
    let mut source = tokens(text)?;
    while source.last().is_some_and(|t| t.is_sign(";")) {
        source.pop();
    }
    let verb = source
        .first()
        .map(|t| t.text.to_ascii_lowercase())
        .unwrap_or_default();
    refuse_foreign_signs(&source, &verb)?;
    let catalog = source.iter().any(catalog::is_catalog_name);
    if catalog && let Some(text) = catalog::always_empty(&source) {
        return Ok(Translation {
            text,
            verb,
            catalog,
        });
    }
    let mut writer = Writer {
        out: Vec::with_capacity(source.len() + 8),
        verb: &verb,
        catalog,
    };
    writer.run(&source);
    Ok(Translation {
        text: join(&writer.out),
        catalog,
        verb: verb.clone(),
    })
}

/// Placeholders of SQLite's own kinds would be values nobody bound and nobody
/// judged; a semicolon inside would start a statement nobody judged.
fn refuse_foreign_signs(source: &[Token<'_>], verb: &str) -> Result<(), Unreadable> {
    let trigger = verb == "create" && source.iter().take(6).any(|t| t.is("trigger"));
    for token in source {
        match token.kind {
            TokenKind::Operator
                if token.text.starts_with('?') || matches!(&*token.text, ":" | "@" | "#") =>
            {
                return Err(Unreadable("placeholders are written $1, $2, …"));
            }
            TokenKind::Punctuation if token.text == ";" && !trigger => {
                return Err(Unreadable("one statement at a time"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Words after which `(` opens a list or a subquery, not the arguments of a function.
const NOT_FUNCTIONS: &[&str] = &[
    "in",
    "and",
    "or",
    "not",
    "values",
    "select",
    "where",
    "on",
    "using",
    "from",
    "when",
    "then",
    "else",
    "as",
    "by",
    "having",
    "limit",
    "offset",
    "returning",
    "set",
    "between",
    "like",
    "ilike",
    "is",
    "union",
    "all",
    "except",
    "intersect",
    "distinct",
    "case",
    "over",
    "filter",
    "check",
    "key",
    "references",
    "unique",
];

struct Writer<'a> {
    out: Vec<Token<'a>>,
    verb: &'a str,
    catalog: bool,
}

impl<'a> Writer<'a> {
    fn run(&mut self, source: &[Token<'a>]) {
        let mut at = 0;
        while at < source.len() {
            at += self.step(&source[at..], at == 0);
        }
    }

    /// Writes what stands at the start of `rest`; tells how many tokens that took.
    fn step(&mut self, rest: &[Token<'a>], first: bool) -> usize {
        let token = &rest[0];
        let taken = match token.kind {
            TokenKind::Operator => self.operator(rest),
            TokenKind::Word | TokenKind::Quoted => self.name(rest, first),
            TokenKind::Text => Some(self.text_constant(token)),
            _ => None,
        };
        taken.unwrap_or_else(|| {
            self.out.push(token.clone());
            1
        })
    }

    fn push(&mut self, text: impl Into<std::borrow::Cow<'a, str>>) {
        self.out.push(Token::word(text));
    }

    /// Several words and brackets.
    fn parts(&mut self, parts: &[&'static str]) {
        for part in parts {
            match *part {
                "(" | ")" | "," => self.sign(part),
                "||" => self.out.push(Token::new(TokenKind::Operator, *part)),
                word => self.push(word),
            }
        }
    }

    fn sign(&mut self, text: &'static str) {
        self.out.push(Token::new(TokenKind::Punctuation, text));
    }

    /// A string constant as it is; one that is next to another is one constant in PostgreSQL.
    fn text_constant(&mut self, token: &Token<'a>) -> usize {
        if let (Some(previous), Some(value)) =
            (self.out.last().and_then(Token::string), token.string())
        {
            self.out.pop();
            self.out.push(Token::new(
                TokenKind::Text,
                quote_text(&(previous + &value)),
            ));
        } else {
            self.out.push(token.clone());
        }
        1
    }

    fn operator(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let binary = self.out.last().is_some_and(ends_operand);
        match &*rest[0].text {
            "::" => Some(1 + self.cast_after(&rest[1..])),
            "~" if binary => self.replace(&["REGEXP"]),
            "!~" => self.replace(&["NOT", "REGEXP"]),
            "~*" => self.replace(&["REGEXP", "'(?i)'", "||"]),
            "!~*" => self.replace(&["NOT", "REGEXP", "'(?i)'", "||"]),
            "~~" | "~~*" => self.replace(&["LIKE"]),
            "!~~" | "!~~*" => self.replace(&["NOT", "LIKE"]),
            "=" if rest.get(1)?.is_any(&["any", "some"]) => self.quantified(rest, "IN"),
            "<>" | "!=" if rest.get(1)?.is("all") => self.quantified(rest, "NOT IN"),
            _ => None,
        }
    }

    fn replace(&mut self, words: &[&'static str]) -> Option<usize> {
        self.parts(words);
        Some(1)
    }

    fn name(&mut self, rest: &[Token<'a>], first: bool) -> Option<usize> {
        let schema = rest.get(1).is_some_and(|t| t.is_sign("."));
        let name = rest[0].name()?;
        if schema {
            return match name.as_str() {
                "pg_catalog" => self.catalog_name(rest),
                "public" => {
                    self.push("main");
                    Some(1)
                }
                _ => None,
            };
        }
        if rest[0].kind == TokenKind::Quoted || self.out.last().is_some_and(|t| t.is_sign(".")) {
            return None;
        }
        self.keyword(&name, rest, first)
    }
}

/// Whether an operand can end with this token, so that what follows is a binary operator.
fn ends_operand(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::Word => !token.is_any(NOT_FUNCTIONS),
        TokenKind::Operator => false,
        TokenKind::Punctuation => matches!(&*token.text, ")" | "]"),
        _ => true,
    }
}

/// Tokens between the bracket at `open` and its partner, and the partner's index.
fn inside<'s, 'a>(source: &'s [Token<'a>], open: usize) -> Option<(&'s [Token<'a>], usize)> {
    source.get(open).filter(|t| t.is_sign("("))?;
    let close = closing(source, open)?;
    Some((&source[open + 1..close], close))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_in_sqlites_words() {
        let cases = [
            (
                "select id::text from t",
                "select CAST ( id AS TEXT ) from t",
            ),
            ("select (a + b)::int8", "select CAST ( (a + b) AS INTEGER )"),
            (
                "select lower(x)::text::varchar(3)",
                "select CAST ( CAST ( lower(x) AS TEXT ) AS TEXT )",
            ),
            (
                "select cast(x as double precision)",
                "select CAST ( x AS REAL )",
            ),
            ("select * from public.users", "select * from main.users"),
            ("select a ilike 'x%'", "select a LIKE 'x%'"),
            ("select ~1", "select ~ 1"),
            ("select a !~ '^x'", "select a NOT REGEXP '^x'"),
            (
                "select * from t where id = any($1)",
                "select * from t where id IN ( SELECT value FROM json_each ( pg_array_json ( $1 ) ) )",
            ),
            ("select pg_catalog.version()", "select version()"),
            ("select current_schema", "select current_schema ( )"),
            ("truncate table t", "DELETE FROM t"),
            (
                "create table t (id serial primary key, at timestamptz default now())",
                "create table t (id INTEGER primary key, at timestamptz default CURRENT_TIMESTAMP)",
            ),
            ("select 'users'::regclass", "select pg_regclass ( 'users' )"),
            (
                "select c.oid::pg_catalog.regclass",
                "select pg_regclass_name ( c.oid )",
            ),
            ("select 1 limit all", "select 1"),
            (
                "select trim(trailing ';' from a), trim(a)",
                "select rtrim(a, ';'), trim(a)",
            ),
            (
                "select extract(year from at) from t",
                "select pg_extract ( 'year' , at ) from t",
            ),
        ];
        let flat = |text: &str| text.replace(' ', "");
        for (from, to) in cases {
            let translated = translate(from).unwrap().text;
            assert_eq!(flat(&translated), flat(to), "{from} became {translated}");
        }
    }

    #[test]
    fn refuses_foreign_placeholders_and_second_statements() {
        for text in [
            "select ?",
            "select ?1",
            "select :a",
            "select @a",
            "select 1; delete from t",
        ] {
            assert!(translate(text).is_err(), "{text}");
        }
    }
}
