//! The type of an expression, from its text.

use super::super::token::{Token, TokenKind, closing};
use super::super::translate::type_name;
use super::super::types;
use super::{Known, path, select_list, split, top, top_last};
use crate::backend::rows::Type;

const LOGIC: &[&str] = &[
    "and", "or", "not", "in", "like", "ilike", "between", "is", "glob", "regexp", "isnull",
    "notnull",
];
const COMPARISON: &[&str] = &[
    "=", "<", ">", "<=", ">=", "<>", "!=", "==", "~", "!~", "~*", "!~*", "~~", "!~~", "~~*",
];

/// The type, if the text tells.
pub fn kind(expression: &[Token<'_>], known: &Known<'_>) -> Option<Type> {
    let logic = top(expression, |t| {
        t.is_any(LOGIC) || is_operator(t, COMPARISON)
    });
    if logic.is_some() {
        return Some(Type::BOOL);
    }
    if let Some(at) = top_last(expression, |t| is_operator(t, &["||", "->>", "->"])) {
        return Some(if expression[at].text == "->" {
            Type::JSON
        } else {
            Type::TEXT
        });
    }
    if let Some(kind) = arithmetic(expression, known) {
        return Some(kind);
    }
    if let Some(at) = top_last(expression, |t| t.is_sign("::")) {
        let (name, taken) = type_name(&expression[at + 1..])?;
        return (at + 1 + taken == expression.len())
            .then(|| types::cast(&name, &[]))
            .flatten();
    }
    match expression {
        [one] => atom(one, known),
        [sign, rest @ ..] if is_operator(sign, &["-", "+", "~"]) => kind(rest, known),
        _ => compound(expression, known),
    }
}

fn is_operator(token: &Token<'_>, list: &[&str]) -> bool {
    token.kind == TokenKind::Operator && list.contains(&&*token.text)
}

fn atom(token: &Token<'_>, known: &Known<'_>) -> Option<Type> {
    match token.kind {
        TokenKind::Number if token.text.parse::<i32>().is_ok() => Some(Type::INT4),
        TokenKind::Number if token.text.parse::<i64>().is_ok() => Some(Type::INT8),
        TokenKind::Number => Some(Type::FLOAT8),
        TokenKind::Text => Some(Type::TEXT),
        TokenKind::Blob => Some(Type::BYTEA),
        TokenKind::Parameter => {
            let number: usize = token.text[1..].parse().ok()?;
            known.parameters.get(number.checked_sub(1)?).copied()
        }
        TokenKind::Word | TokenKind::Quoted => {
            let name = token.name()?;
            known
                .scope
                .column(None, &name)
                .or_else(|| constant_word(&name))
        }
        _ => None,
    }
}

fn constant_word(name: &str) -> Option<Type> {
    Some(match name {
        "true" | "false" => Type::BOOL,
        "null" => Type::TEXT,
        "current_date" => Type::DATE,
        "current_time" => Type::TIME,
        "current_timestamp" => Type::TIMESTAMPTZ,
        "localtimestamp" => Type::TIMESTAMP,
        "current_user" | "session_user" | "current_schema" | "current_catalog" | "current_role" => {
            Type::NAME
        }
        "rowid" | "oid" | "_rowid_" => Type::INT8,
        _ => return None,
    })
}

/// `a + b`: the wider of the two.
fn arithmetic(expression: &[Token<'_>], known: &Known<'_>) -> Option<Type> {
    let at = top_last(expression, |t| {
        is_operator(t, &["+", "-", "*", "/", "%", "&", "|", "<<", ">>"])
    })
    .filter(|at| *at > 0)?;
    let (left, right) = (
        kind(&expression[..at], known),
        kind(&expression[at + 1..], known),
    );
    match (left, right) {
        (Some(a), Some(b)) => Some(wider(a, b)),
        (Some(a), None) | (None, Some(a)) if a.is_number() => Some(a),
        _ => None,
    }
}

fn wider(a: Type, b: Type) -> Type {
    let rank = |t: Type| match t.oid {
        701 | 700 => 4,
        1700 => 3,
        20 | 26 => 2,
        23 | 21 => 1,
        _ => 5,
    };
    let wide = if rank(a) >= rank(b) { a } else { b };
    if wide.is_number() || !a.is_number() {
        wide
    } else {
        a
    }
}

fn compound(expression: &[Token<'_>], known: &Known<'_>) -> Option<Type> {
    let first = expression.first()?;
    if first.is("case") {
        return case(expression, known);
    }
    if first.is_sign("(") && closing(expression, 0)? == expression.len() - 1 {
        return bracket(&expression[1..expression.len() - 1], known);
    }
    let (name, rest) = path(expression)?;
    if rest.is_empty() {
        let qualifier = expression[expression.len().checked_sub(3)?].name();
        return known.scope.column(qualifier.as_deref(), &name);
    }
    if rest[0].is_sign("(") {
        let close = closing(rest, 0)?;
        return call(&name, &rest[1..close], known);
    }
    (rest.len() == 1 && rest[0].kind == TokenKind::Text)
        .then(|| types::cast(&name, &[]))
        .flatten()
}

fn bracket(inner: &[Token<'_>], known: &Known<'_>) -> Option<Type> {
    if inner.first()?.is_any(&["select", "with"]) {
        return kind(select_list(inner)?.first()?.expression, known);
    }
    kind(inner, known)
}

/// The first branch that has a type.
fn case(expression: &[Token<'_>], known: &Known<'_>) -> Option<Type> {
    let inner = &expression[1..expression.len() - 1];
    let mut rest = inner;
    while let Some(at) = top(rest, |t| t.is_any(&["then", "else"])) {
        let branch = &rest[at + 1..];
        let end = top(branch, |t| t.is_any(&["when", "else"])).unwrap_or(branch.len());
        let null = matches!(&branch[..end], [t] if t.is("null"));
        if let (Some(kind), false) = (kind(&branch[..end], known), null) {
            return Some(kind);
        }
        rest = &branch[end..];
    }
    None
}

fn call(name: &str, arguments: &[Token<'_>], known: &Known<'_>) -> Option<Type> {
    let argument = |index: usize| split(arguments).get(index).and_then(|a| kind(a, known));
    Some(match name {
        "count" | "length" | "char_length" | "octet_length" | "instr" | "unicode" | "random"
        | "changes" | "last_insert_rowid" | "total_changes" | "row_number" | "rank"
        | "dense_rank" | "ntile" | "json_array_length" | "unixepoch" | "sign" | "strpos"
        | "position" => Type::INT8,
        "sum" => match argument(0)? {
            kind if kind.is_integer() => Type::INT8,
            kind => kind,
        },
        "avg" | "total" | "sqrt" | "exp" | "ln" | "log" | "power" | "pow" | "julianday"
        | "percent_rank" | "cume_dist" | "pg_extract" | "extract" => Type::FLOAT8,
        "round" | "ceil" | "floor" | "ceiling" | "trunc" => argument(0)
            .filter(|k| k.is_number())
            .unwrap_or(Type::FLOAT8),
        "abs" | "min" | "max" | "first_value" | "last_value" | "lag" | "lead" | "nth_value"
        | "nullif" => argument(0)?,
        "coalesce" | "ifnull" | "greatest" | "least" => {
            let all = split(arguments);
            all.iter()
                .filter(|a| !matches!(a, [t] if t.is("null")))
                .find_map(|a| kind(a, known))?
        }
        "iif" | "if" => argument(1)?,
        "exists"
        | "pg_table_is_visible"
        | "pg_type_is_visible"
        | "has_table_privilege"
        | "has_schema_privilege"
        | "pg_is_in_recovery"
        | "starts_with" => Type::BOOL,
        "now" | "transaction_timestamp" | "statement_timestamp" | "clock_timestamp" => {
            Type::TIMESTAMPTZ
        }
        "date" => Type::DATE,
        "datetime" => Type::TIMESTAMP,
        "cast" => {
            let at = top(arguments, |t| t.is("as"))?;
            types::cast(&type_name(&arguments[at + 1..])?.0, &[])?
        }
        "current_schema" | "current_database" | "current_user" | "session_user" => Type::NAME,
        "lower"
        | "upper"
        | "substr"
        | "substring"
        | "trim"
        | "ltrim"
        | "rtrim"
        | "replace"
        | "concat"
        | "concat_ws"
        | "group_concat"
        | "string_agg"
        | "printf"
        | "format"
        | "hex"
        | "quote"
        | "strftime"
        | "time"
        | "version"
        | "typeof"
        | "format_type"
        | "obj_description"
        | "col_description"
        | "pg_get_userbyid"
        | "current_setting"
        | "pg_get_expr"
        | "pg_get_constraintdef"
        | "pg_get_indexdef"
        | "pg_encoding_to_char"
        | "array_to_string"
        | "left"
        | "right"
        | "reverse"
        | "initcap"
        | "lpad"
        | "rpad"
        | "md5"
        | "to_char"
        | "char"
        | "json_extract"
        | "json_group_array"
        | "json_group_object"
        | "json_object"
        | "json_array"
        | "split_part"
        | "repeat"
        | "pg_size_pretty"
        | "gen_random_uuid" => Type::TEXT,
        "pg_backend_pid" => Type::INT4,
        _ => return None,
    })
}
