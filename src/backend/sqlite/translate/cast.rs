//! Casts: `x::type` and `CAST(x AS type)`.

use super::super::token::{Token, TokenKind, closing};
use super::{NOT_FUNCTIONS, Writer, inside};

impl<'a> Writer<'a> {
    /// The type after `::`, applied to the operand that was written last.
    pub(super) fn cast_after(&mut self, rest: &[Token<'a>]) -> usize {
        let Some((name, taken)) = type_name(rest) else {
            return 0;
        };
        let start = operand_start(&self.out);
        let operand = self.out.split_off(start);
        self.cast(operand, &name);
        taken
    }

    /// `CAST ( x AS type )`.
    pub(super) fn cast_call(&mut self, rest: &[Token<'a>]) -> Option<usize> {
        let (inner, close) = inside(rest, 1)?;
        let at = top_level(inner, |t| t.is("as"))?;
        let (name, taken) = type_name(&inner[at + 1..])?;
        if at + 1 + taken != inner.len() {
            return None;
        }
        let mut operand = Writer {
            out: Vec::new(),
            verb: self.verb,
            catalog: self.catalog,
        };
        operand.run(&inner[..at]);
        self.cast(operand.out, &name);
        Some(close + 1)
    }

    fn cast(&mut self, operand: Vec<Token<'a>>, name: &str) {
        let constant =
            matches!(&*operand, [t] if matches!(t.kind, TokenKind::Text | TokenKind::Parameter));
        let plain = name.strip_prefix("pg_catalog.").unwrap_or(name);
        let call = match plain {
            "bool" | "boolean" => Some("pg_bool"),
            "date" => Some("pg_date"),
            "regclass" if constant => Some("pg_regclass"),
            "regclass" => Some("pg_regclass_name"),
            "regtype" => Some("pg_regtype_name"),
            "regnamespace" => Some("pg_regnamespace_name"),
            "regproc" | "regprocedure" => Some("pg_regproc_name"),
            _ => None,
        };
        if let Some(call) = call {
            self.push(call);
            self.sign("(");
            self.out.extend(operand);
        } else {
            self.push("CAST");
            self.sign("(");
            self.out.extend(operand);
            self.push("AS");
            self.push(storage(plain));
        }
        self.sign(")");
    }
}

/// The storage class a cast to this type gives.
fn storage(name: &str) -> &'static str {
    match name {
        "int" | "integer" | "bigint" | "smallint" | "int2" | "int4" | "int8" | "oid" | "xid" => {
            "INTEGER"
        }
        "real" | "float" | "float4" | "float8" | "double precision" | "double" => "REAL",
        "numeric" | "decimal" => "NUMERIC",
        "bytea" | "blob" => "BLOB",
        _ => "TEXT",
    }
}

/// A type at the start of `rest`: its name in lower case and how many tokens it took.
pub(in super::super) fn type_name(rest: &[Token<'_>]) -> Option<(String, usize)> {
    let mut name = rest.first()?.name()?;
    let mut taken = 1;
    if rest.get(1).is_some_and(|t| t.is_sign("."))
        && let Some(second) = rest.get(2).and_then(Token::name)
    {
        name = if name == "pg_catalog" {
            second
        } else {
            format!("{name}.{second}")
        };
        taken = 3;
    }
    let phrases: &[(&str, &[&str])] = &[
        ("double", &["precision"]),
        ("character", &["varying"]),
        ("char", &["varying"]),
        ("bit", &["varying"]),
    ];
    for (start, more) in phrases {
        if name == *start && follows(&rest[taken..], more) {
            name = format!("{start} {}", more.join(" "));
            taken += more.len();
        }
    }
    taken += brackets(&rest[taken..], "(", ")");
    for more in [["with", "time", "zone"], ["without", "time", "zone"]] {
        if matches!(&*name, "timestamp" | "time") && follows(&rest[taken..], &more) {
            name = format!("{name} {}", more.join(" "));
            taken += 3;
        }
    }
    let array = brackets(&rest[taken..], "[", "]");
    if array > 0 {
        name.push_str("[]");
    }
    Some((name, taken + array))
}

fn follows(rest: &[Token<'_>], words: &[&str]) -> bool {
    rest.len() >= words.len() && words.iter().zip(rest).all(|(word, token)| token.is(word))
}

/// Length of a bracketed part that holds nothing but numbers and commas.
fn brackets(rest: &[Token<'_>], open: &str, close: &str) -> usize {
    if !rest.first().is_some_and(|t| t.is_sign(open)) {
        return 0;
    }
    for (index, token) in rest.iter().enumerate().skip(1) {
        if token.is_sign(close) {
            return index + 1;
        }
        if token.kind != TokenKind::Number && !token.is_sign(",") {
            return 0;
        }
    }
    0
}

/// Where the operand that ends the written tokens begins.
fn operand_start(out: &[Token<'_>]) -> usize {
    let Some(mut start) = out.len().checked_sub(1) else {
        return 0;
    };
    if out[start].is("end") {
        return case_start(out, start);
    }
    if matches!(&*out[start].text, ")" | "]") && out[start].kind == TokenKind::Punctuation {
        start = opening(out, start);
        let function = start.checked_sub(1).map(|i| &out[i]);
        if function.is_some_and(|t| t.name().is_some() && !t.is_any(NOT_FUNCTIONS)) {
            start -= 1;
        } else {
            return start;
        }
    }
    while start >= 2 && out[start - 1].is_sign(".") && out[start - 2].name().is_some() {
        start -= 2;
    }
    start
}

fn opening(out: &[Token<'_>], close: usize) -> usize {
    (0..close)
        .rev()
        .find(|&open| closing(out, open) == Some(close))
        .unwrap_or(close)
}

fn case_start(out: &[Token<'_>], end: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in out[..=end].iter().enumerate().rev() {
        if token.is("end") {
            depth += 1;
        } else if token.is("case") {
            depth -= 1;
            if depth == 0 {
                return index;
            }
        }
    }
    end
}

/// First token outside all brackets for which `test` holds.
pub(super) fn top_level(source: &[Token<'_>], test: impl Fn(&Token<'_>) -> bool) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in source.iter().enumerate() {
        if token.is_sign("(") || token.is_sign("[") {
            depth += 1;
        } else if token.is_sign(")") || token.is_sign("]") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && test(token) {
            return Some(index);
        }
    }
    None
}
