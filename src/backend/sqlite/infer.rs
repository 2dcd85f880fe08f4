//! Names and types that SQLite does not tell: of computed columns and of parameters.
//!
//! SQLite knows the declared type of a plain column and nothing about an
//! expression or a parameter. PostgreSQL answers both before anything runs, and
//! drivers choose their encoders by that answer, so it is read from the text.
//! A guess that is wrong costs a conversion, never correctness: values carry
//! their own type.

use std::rc::Rc;

use super::token::{Token, TokenKind, closing};
use super::translate::type_name;
use super::types;
use crate::backend::rows::Type;

mod expression;
mod parameters;

pub(super) use parameters::parameter_types;

/// Columns of a table, by lower-case name.
pub type Columns = Rc<Vec<(String, Type)>>;

/// What the tables of a statement are called and which columns they have.
#[derive(Default)]
pub struct Scope {
    tables: Vec<(String, String, Columns)>,
}

impl Scope {
    /// The tables a statement names, looked up with `columns`.
    pub fn of(source: &[Token<'_>], columns: &dyn Fn(&str) -> Option<Columns>) -> Scope {
        let mut scope = Scope::default();
        for (index, token) in source.iter().enumerate() {
            if token.is_any(&["from", "join", "into", "update"]) {
                scope.read_list(&source[index + 1..], columns);
            }
        }
        scope
    }

    fn read_list(&mut self, mut rest: &[Token<'_>], columns: &dyn Fn(&str) -> Option<Columns>) {
        loop {
            let Some(mut name) = rest.first().and_then(Token::name) else {
                return;
            };
            let mut at = 1;
            while rest.get(at).is_some_and(|t| t.is_sign(".")) {
                let Some(next) = rest.get(at + 1).and_then(Token::name) else {
                    return;
                };
                name = next;
                at += 2;
            }
            if rest.get(at).is_some_and(|t| t.is("as")) {
                at += 1;
            }
            let alias = rest
                .get(at)
                .filter(|t| !t.is_any(AFTER_TABLE))
                .and_then(Token::name);
            at += usize::from(alias.is_some());
            if let Some(columns) = columns(&name) {
                self.tables
                    .push((alias.unwrap_or_else(|| name.clone()), name, columns));
            }
            match rest.get(at) {
                Some(t) if t.is_sign(",") => rest = &rest[at + 1..],
                _ => return,
            }
        }
    }

    /// Type of a column as the statement names it.
    pub fn column(&self, qualifier: Option<&str>, name: &str) -> Option<Type> {
        let fits = |(alias, table, _): &&(String, String, Columns)| {
            qualifier.is_none_or(|q| alias == q || table == q)
        };
        self.tables
            .iter()
            .filter(fits)
            .find_map(|(_, _, columns)| lookup(columns, name))
    }

    fn table(&self, name: &str) -> Option<&Columns> {
        self.tables
            .iter()
            .find(|(_, table, _)| table == name)
            .map(|(_, _, columns)| columns)
    }
}

fn lookup(columns: &[(String, Type)], name: &str) -> Option<Type> {
    columns
        .iter()
        .find(|(column, _)| column == name)
        .map(|(_, kind)| *kind)
}

const AFTER_TABLE: &[&str] = &[
    "where",
    "set",
    "values",
    "select",
    "on",
    "using",
    "join",
    "left",
    "right",
    "inner",
    "full",
    "cross",
    "natural",
    "group",
    "order",
    "limit",
    "offset",
    "union",
    "except",
    "intersect",
    "returning",
    "default",
    "having",
    "indexed",
    "not",
    "window",
    "with",
    "for",
];

/// Everything that is known when a type is asked for.
pub struct Known<'s> {
    /// Tables.
    pub scope: &'s Scope,
    /// Types of the parameters, as far as they are known.
    pub parameters: &'s [Type],
}

/// One entry of a select list or RETURNING list.
#[derive(Debug)]
pub struct Item<'t, 'a> {
    /// The expression.
    pub expression: &'t [Token<'a>],
    /// The name after AS.
    pub alias: Option<String>,
    /// `*` or `t.*`: stands for any number of columns.
    pub star: bool,
}

/// The list of what a statement answers with.
pub fn select_list<'t, 'a>(source: &'t [Token<'a>]) -> Option<Vec<Item<'t, 'a>>> {
    let returning = top(source, |t| t.is("returning"));
    let (start, select) = match returning {
        Some(at) => (at + 1, false),
        None => (top(source, |t| t.is("select"))? + 1, true),
    };
    let mut list = &source[start..];
    if select {
        list = &list[list
            .iter()
            .take_while(|t| t.is_any(&["distinct", "all"]))
            .count()..];
        let end = top(list, |t| t.is_any(AFTER_LIST)).unwrap_or(list.len());
        list = &list[..end];
    }
    Some(split(list).into_iter().map(item).collect())
}

const AFTER_LIST: &[&str] = &[
    "from",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "union",
    "except",
    "intersect",
    "window",
    "offset",
    "fetch",
];

fn item<'t, 'a>(tokens: &'t [Token<'a>]) -> Item<'t, 'a> {
    let star = tokens.last().is_some_and(|t| t.is_sign("*"))
        && (tokens.len() == 1 || tokens.len() >= 3 && tokens[tokens.len() - 2].is_sign("."));
    match tokens {
        [expression @ .., as_, alias] if as_.is("as") && alias.name().is_some() => Item {
            expression,
            alias: alias.name(),
            star: false,
        },
        [expression @ .., last]
            if !star && !expression.is_empty() && is_bare_alias(expression, last) =>
        {
            Item {
                expression,
                alias: last.name(),
                star: false,
            }
        }
        _ => Item {
            expression: tokens,
            alias: None,
            star,
        },
    }
}

fn is_bare_alias(expression: &[Token<'_>], last: &Token<'_>) -> bool {
    let ends = expression.last().is_some_and(|t| match t.kind {
        TokenKind::Operator => false,
        TokenKind::Punctuation => matches!(&*t.text, ")" | "]"),
        TokenKind::Word => !t.is_any(&[
            "not", "and", "or", "is", "like", "in", "case", "when", "then", "else", "distinct",
        ]),
        _ => true,
    });
    ends && last.name().is_some() && !last.is_any(&["end", "null", "true", "false"])
}

/// The name PostgreSQL would give the column.
pub fn column_name(item: &Item<'_, '_>) -> String {
    if let Some(alias) = &item.alias {
        return alias.clone();
    }
    derived_name(item.expression).unwrap_or_else(|| "?column?".to_owned())
}

fn derived_name(expression: &[Token<'_>]) -> Option<String> {
    if let Some(at) = top_last(expression, |t| t.is_sign("::")) {
        let (name, taken) = type_name(&expression[at + 1..])?;
        if at + 1 + taken != expression.len() {
            return None;
        }
        let inner = derived_name(&expression[..at]);
        return inner
            .or_else(|| Some(types::cast(&name, &[]).map_or(name, |t| t.name().to_owned())));
    }
    let first = expression.first()?;
    if first.is("case") && expression.last()?.is("end") {
        return Some("case".to_owned());
    }
    if first.is_any(&["true", "false"]) && expression.len() == 1 {
        return Some("bool".to_owned());
    }
    let (name, rest) = path(expression)?;
    if rest.is_empty() {
        return Some(name);
    }
    let function = rest[0].is_sign("(") && !first.is_any(&["in", "not", "values", "select"]);
    let close = function.then(|| closing(rest, 0)).flatten()?;
    let over = rest
        .get(close + 1)
        .is_none_or(|t| t.is_any(&["over", "filter"]));
    over.then_some(name)
}

/// A dotted name at the start: its last part, and what follows.
fn path<'t, 'a>(expression: &'t [Token<'a>]) -> Option<(String, &'t [Token<'a>])> {
    let mut name = expression.first()?.name()?;
    let mut at = 1;
    while expression.get(at).is_some_and(|t| t.is_sign(".")) {
        name = expression.get(at + 1)?.name()?;
        at += 2;
    }
    Some((name, &expression[at..]))
}

/// What the text says about each of `count` result columns: name and type.
pub fn describe(
    source: &[Token<'_>],
    count: usize,
    known: &Known<'_>,
) -> Vec<Option<(String, Option<Type>)>> {
    let mut found: Vec<Option<(String, Option<Type>)>> = vec![None; count];
    let Some(items) = select_list(source) else {
        return found;
    };
    let stars = items.iter().filter(|i| i.star).count();
    if stars == 0 && items.len() != count || items.len() > count + stars {
        return found;
    }
    let answer =
        |item: &Item<'_, '_>| Some((column_name(item), expression::kind(item.expression, known)));
    for (index, item) in items.iter().enumerate().take_while(|(_, i)| !i.star) {
        found[index] = answer(item);
    }
    if stars > 0 {
        for (index, item) in items.iter().rev().enumerate().take_while(|(_, i)| !i.star) {
            found[count - 1 - index] = answer(item);
        }
    }
    found
}

fn top(source: &[Token<'_>], test: impl Fn(&Token<'_>) -> bool) -> Option<usize> {
    levels(source)
        .find(|(index, depth)| *depth == 0 && test(&source[*index]))
        .map(|(index, _)| index)
}

fn top_last(source: &[Token<'_>], test: impl Fn(&Token<'_>) -> bool) -> Option<usize> {
    levels(source)
        .filter(|(index, depth)| *depth == 0 && test(&source[*index]))
        .last()
        .map(|(index, _)| index)
}

/// Index and bracket depth of every token that is not itself a bracket; inside CASE counts as deeper.
fn levels<'s>(source: &'s [Token<'_>]) -> impl Iterator<Item = (usize, usize)> + 's {
    let mut depth = 0usize;
    source.iter().enumerate().filter_map(move |(index, token)| {
        if token.is_sign("(") || token.is_sign("[") || token.is("case") {
            depth += 1;
            return None;
        }
        if token.is_sign(")") || token.is_sign("]") || token.is("end") {
            depth = depth.saturating_sub(1);
            return None;
        }
        Some((index, depth))
    })
}

/// Splits at commas outside brackets.
fn split<'t, 'a>(source: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (index, depth) in levels(source) {
        if depth == 0 && source[index].is_sign(",") {
            parts.push(&source[start..index]);
            start = index + 1;
        }
    }
    parts.push(&source[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::*;

    fn scope(source: &[Token<'_>]) -> Scope {
        Scope::of(source, &|name| {
            (name == "users").then(|| {
                Rc::new(vec![
                    ("id".into(), Type::INT8),
                    ("name".into(), Type::TEXT),
                    ("score".into(), Type::FLOAT8),
                    ("born".into(), Type::DATE),
                    ("ok".into(), Type::BOOL),
                ])
            })
        })
    }

    #[test]
    fn reads_names_and_types_of_columns() {
        let cases: &[(&str, &[(&str, Option<Type>)])] = &[
            (
                "select count(*), 1, 'x', id from users",
                &[
                    ("count", Some(Type::INT8)),
                    ("?column?", Some(Type::INT4)),
                    ("?column?", Some(Type::TEXT)),
                    ("id", Some(Type::INT8)),
                ],
            ),
            (
                "select sum(u.id) as s, max(u.name) m, avg(score) from users u",
                &[
                    ("s", Some(Type::INT8)),
                    ("m", Some(Type::TEXT)),
                    ("avg", Some(Type::FLOAT8)),
                ],
            ),
            (
                "select id > 3, id + 1, not ok, name || 'x' from users",
                &[
                    ("?column?", Some(Type::BOOL)),
                    ("?column?", Some(Type::INT8)),
                    ("?column?", Some(Type::BOOL)),
                    ("?column?", Some(Type::TEXT)),
                ],
            ),
            (
                "select case when ok then 1 else 2 end, id::text, cast(id as float8), now() from users",
                &[
                    ("case", Some(Type::INT4)),
                    ("id", Some(Type::TEXT)),
                    ("cast", Some(Type::FLOAT8)),
                    ("now", Some(Type::TIMESTAMPTZ)),
                ],
            ),
            (
                "insert into users(name) values ('a') returning id, lower(name) as l",
                &[("id", Some(Type::INT8)), ("l", Some(Type::TEXT))],
            ),
            (
                "with x as (select 1) select coalesce(max(id), 0) from users",
                &[("coalesce", Some(Type::INT8))],
            ),
            (
                "select exists(select 1), (select name from users limit 1) from users",
                &[("exists", Some(Type::BOOL)), ("?column?", Some(Type::TEXT))],
            ),
        ];
        for (text, expected) in cases {
            let source = tokens(text).unwrap();
            let known = Known {
                scope: &scope(&source),
                parameters: &[],
            };
            let found: Vec<_> = describe(&source, expected.len(), &known)
                .into_iter()
                .map(Option::unwrap)
                .collect();
            let expected: Vec<_> = expected.iter().map(|(n, t)| (n.to_string(), *t)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn reads_types_of_parameters_from_where_they_stand() {
        use Type as T;
        let cases: &[(&str, &[Type])] = &[
            (
                "select * from users where id = $1 and name like $2",
                &[T::INT8, T::TEXT],
            ),
            (
                "select * from users u where u.id in ($1, $2) limit $3 offset $4",
                &[T::INT8, T::INT8, T::INT8, T::INT8],
            ),
            (
                "insert into users (name, id, born) values ($1, $2, $3), ($4, $5, $6)",
                &[T::TEXT, T::INT8, T::DATE, T::TEXT, T::INT8, T::DATE],
            ),
            ("insert into users values ($1, $2)", &[T::INT8, T::TEXT]),
            (
                "update users set name = $1, score = score + $2 where born between $3 and $4",
                &[T::TEXT, T::FLOAT8, T::DATE, T::DATE],
            ),
            (
                "select $1::int, cast($2 as boolean), $3",
                &[T::INT4, T::BOOL, T::TEXT],
            ),
            (
                "select * from users where $1 < id and ok is not distinct from $2",
                &[T::INT8, T::BOOL],
            ),
            ("select * from users where lower(name) = $1", &[T::TEXT]),
        ];
        for (text, expected) in cases {
            let source = tokens(text).unwrap();
            assert_eq!(
                parameter_types(&source, &[], &scope(&source)),
                *expected,
                "{text}"
            );
        }
        let source = tokens("select $2, $1 from users where id = $1").unwrap();
        assert_eq!(
            parameter_types(&source, &[25], &scope(&source)),
            [T::TEXT, T::TEXT]
        );
    }
}
