//! Phrases that begin with a keyword.

use super::super::token::{Token, TokenKind, quote_text};
use super::cast::top_level;
use super::{Writer, inside};

impl<'a> Writer<'a> {
    pub(super) fn keyword(&mut self, name: &str, rest: &[Token<'a>], first: bool) -> Option<usize> {
        let called = rest.get(1).is_some_and(|t| t.is_sign("("));
        match name {
            "ilike" => self.replace(&["LIKE"]),
            "cast" if called => self.cast_call(rest),
            "operator" if called => self.named_operator(rest),
            "collate" => self.collation(rest),
            "current_schema" | "current_user" | "session_user" | "current_role"
            | "current_catalog"
                if !called =>
            {
                self.push(name.to_owned());
                self.sign("(");
                self.sign(")");
                Some(1)
            }
            "array" if called => self.array_query(rest),
            "array" if rest.get(1).is_some_and(|t| t.is_sign("[")) => self.array_list(rest),
            "extract" if called => self.extract(rest),
            "trim" if called => self.trim(rest),
            "date" | "timestamp" | "timestamptz" | "time"
                if rest.get(1).is_some_and(|t| t.kind == TokenKind::Text) =>
            {
                self.out.push(rest[1].clone());
                Some(2)
            }
            "limit" if rest.get(1).is_some_and(|t| t.is("all")) => Some(2),
            "fetch" if rest.get(1).is_some_and(|t| t.is_any(&["first", "next"])) => {
                self.fetch_first(rest)
            }
            "truncate" if first => self.truncate(rest),
            "serial" | "bigserial" | "smallserial" | "serial8" | "serial4"
                if self.verb == "create" =>
            {
                self.replace(&["INTEGER"])
            }
            "int" | "bigint" | "int8" | "int4" if self.verb == "create" => self.key_type(rest),
            "generated" if self.verb == "create" => identity(rest),
            "default" if self.verb == "create" => self.default_now(rest),
            "with" if rest.get(1).is_some_and(|t| t.is("ordinality")) && self.catalog => Some(2),
            _ => None,
        }
    }

    /// `= ANY (x)` and `<> ALL (x)`: a list, whatever form it has.
    pub(super) fn quantified(&mut self, rest: &[Token<'a>], word: &'static str) -> Option<usize> {
        let (inner, close) = inside(rest, 2)?;
        self.push(word);
        self.sign("(");
        if inner
            .first()
            .is_some_and(|t| t.is_any(&["select", "values", "with"]))
        {
            self.run(inner);
        } else {
            self.parts(&[
                "SELECT",
                "value",
                "FROM",
                "json_each",
                "(",
                "pg_array_json",
                "(",
            ]);
            self.run(inner);
            self.sign(")");
            self.sign(")");
        }
        self.sign(")");
        Some(close + 1)
    }

    /// `OPERATOR(pg_catalog.~)`: the operator itself.
    fn named_operator(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let (inner, close) = inside(rest, 1)?;
        let operator = inner.last().filter(|t| t.kind == TokenKind::Operator)?;
        if self.operator(std::slice::from_ref(operator)).is_none() {
            self.out.push(operator.clone());
        }
        Some(close + 1)
    }

    /// Collations of PostgreSQL compare bytes here; SQLite's own keep their names.
    fn collation(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let qualified = rest.get(2).is_some_and(|t| t.is_sign("."));
        let (name, taken) = if qualified {
            (rest.get(3)?.name()?, 4)
        } else {
            (rest.get(1)?.name()?, 2)
        };
        match name.as_str() {
            "nocase" | "binary" | "rtrim" => None,
            "default" | "c" | "posix" | "c.utf-8" | "en_us.utf-8" | "ucs_basic" => {
                self.push("COLLATE");
                self.push("BINARY");
                Some(taken)
            }
            _ => None,
        }
    }

    /// `ARRAY(SELECT …)` as PostgreSQL's text form of the array.
    fn array_query(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let (inner, close) = inside(rest, 1)?;
        inner
            .first()
            .filter(|t| t.is_any(&["select", "with", "values"]))?;
        if self.catalog && inner.iter().any(|t| t.is("unnest")) {
            // Options of catalog rows: this database has none, so the array is empty.
            self.push("'{}'");
            return Some(close + 1);
        }
        self.parts(&["(", "WITH", "pg_a", "(", "x", ")", "AS", "("]);
        self.run(inner);
        self.sign(")");
        self.push("SELECT '{' || coalesce(group_concat(x), '') || '}' FROM pg_a");
        self.sign(")");
        Some(close + 1)
    }

    /// `ARRAY[a, b]`.
    fn array_list(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let close = super::closing(rest, 1)?;
        self.push("pg_array");
        self.sign("(");
        self.run(&rest[2..close]);
        self.sign(")");
        Some(close + 1)
    }

    /// `extract(field from x)`.
    fn extract(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let (inner, close) = inside(rest, 1)?;
        let field = inner.first()?.name().or_else(|| inner.first()?.string())?;
        let from = top_level(inner, |t| t.is("from")).filter(|at| *at == 1)?;
        self.push("pg_extract");
        self.sign("(");
        self.out
            .push(Token::new(TokenKind::Text, quote_text(&field)));
        self.sign(",");
        self.run(&inner[from + 1..]);
        self.sign(")");
        Some(close + 1)
    }

    /// `trim(trailing 'x' from y)`.
    fn trim(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let (inner, close) = inside(rest, 1)?;
        let from = top_level(inner, |t| t.is("from"))?;
        let (name, skip) = match inner.first()? {
            t if t.is("leading") => ("ltrim", 1),
            t if t.is("trailing") => ("rtrim", 1),
            t if t.is("both") => ("trim", 1),
            _ => ("trim", 0),
        };
        self.push(name);
        self.sign("(");
        self.run(&inner[from + 1..]);
        if from > skip {
            self.sign(",");
            self.run(&inner[skip..from]);
        }
        self.sign(")");
        Some(close + 1)
    }

    /// `FETCH FIRST n ROWS ONLY`.
    fn fetch_first(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let rows = |t: &Token<'_>| t.is_any(&["row", "rows"]);
        let (count, at) = match rest.get(2)? {
            t if rows(t) => (Token::new(TokenKind::Number, "1"), 2),
            t => (t.clone(), 3),
        };
        rest.get(at).filter(|t| rows(t))?;
        rest.get(at + 1).filter(|t| t.is("only"))?;
        self.push("LIMIT");
        self.out.push(count);
        Some(at + 2)
    }

    /// `TRUNCATE [TABLE] [ONLY] name [RESTART IDENTITY | CONTINUE IDENTITY] [RESTRICT]` of one table.
    fn truncate(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let skip = 1 + rest[1..]
            .iter()
            .take_while(|t| t.is_any(&["table", "only"]))
            .count();
        let name = rest[skip..]
            .iter()
            .take_while(|t| t.name().is_some() || t.is_sign("."))
            .count();
        let name = rest[skip..skip + name]
            .iter()
            .position(|t| t.is_any(&["restart", "continue", "restrict", "cascade"]))
            .unwrap_or(name);
        let tail = &rest[skip + name..];
        if name == 0
            || !tail
                .iter()
                .all(|t| t.is_any(&["restart", "continue", "identity", "restrict"]))
        {
            return None;
        }
        self.push("DELETE");
        self.push("FROM");
        self.run(&rest[skip..skip + name]);
        Some(rest.len())
    }

    /// A whole-number type that is a primary key or an identity: only the exact word
    /// `INTEGER` makes SQLite number the rows.
    fn key_type(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let end = rest
            .iter()
            .position(|t| t.is_sign(",") || t.is_sign(")"))
            .unwrap_or(rest.len());
        let column = &rest[1..end];
        let key = column
            .windows(2)
            .any(|w| w[0].is("primary") && w[1].is("key"));
        let identity = column.iter().any(|t| t.is("identity"));
        (key || identity)
            .then(|| self.replace(&["INTEGER"]))
            .flatten()
    }

    /// `DEFAULT now()`: SQLite wants a constant.
    fn default_now(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let qualified = usize::from(rest.get(1)?.is("pg_catalog")) * 2;
        rest.get(1 + qualified)?
            .is_any(&["now", "clock_timestamp", "statement_timestamp"])
            .then_some(())?;
        let (_, close) = inside(rest, 2 + qualified)?;
        self.out.push(rest[0].clone());
        self.push("CURRENT_TIMESTAMP");
        Some(close + 1)
    }
}

/// `GENERATED { ALWAYS | BY DEFAULT } AS IDENTITY [(…)]`: what a rowid does anyway.
fn identity(rest: &[Token<'_>]) -> Option<usize> {
    let at = rest.iter().take(5).position(|t| t.is("identity"))?;
    Some(inside(rest, at + 1).map_or(at + 1, |(_, close)| close + 1))
}
