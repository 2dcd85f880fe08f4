//! The types of parameters, from where they stand.

use super::super::token::{Token, TokenKind, closing};
use super::super::translate::type_name;
use super::super::types;
use super::{Known, Scope, expression, lookup, split, top};
use crate::backend::rows::Type;

/// One type for each parameter up to the highest one used. A type the client
/// gave stands; what cannot be told is text, which SQLite converts by the
/// affinity of what it meets.
pub fn parameter_types(source: &[Token<'_>], given: &[u32], scope: &Scope) -> Vec<Type> {
    let count = source
        .iter()
        .filter_map(number)
        .max()
        .unwrap_or(0)
        .max(given.len());
    let mut found: Vec<Option<Type>> = (0..count)
        .map(|i| {
            given
                .get(i)
                .filter(|oid| **oid != 0 && **oid != 705)
                .map(|oid| Type::from_oid(*oid))
        })
        .collect();
    inserted(source, scope, &mut found);
    for (index, token) in source.iter().enumerate() {
        if let Some(n) = number(token)
            && found[n - 1].is_none()
        {
            found[n - 1] = context(source, index, scope);
        }
    }
    found
        .into_iter()
        .map(|kind| kind.unwrap_or(Type::TEXT))
        .collect()
}

/// Parameter number, from 1; SQLite allows no more than 32766.
fn number(token: &Token<'_>) -> Option<usize> {
    (token.kind == TokenKind::Parameter)
        .then(|| token.text[1..].parse().ok())?
        .filter(|n| (1..=32766).contains(n))
}

/// `INSERT INTO t (a, b) VALUES ($1, $2)`.
fn inserted(source: &[Token<'_>], scope: &Scope, found: &mut [Option<Type>]) -> Option<()> {
    let into = top(source, |t| t.is("into"))?;
    let mut at = into + 1;
    while source.get(at + 1)?.is_sign(".") {
        at += 2;
    }
    let table = scope.table(&source.get(at)?.name()?)?;
    at += 1;
    let mut kinds: Vec<Option<Type>> = table.iter().map(|(_, kind)| Some(*kind)).collect();
    if source.get(at)?.is_sign("(") {
        let close = closing(source, at)?;
        let names = split(&source[at + 1..close]);
        kinds = names
            .iter()
            .map(|n| lookup(table, &n.first()?.name()?))
            .collect();
        at = close + 1;
    }
    source.get(at).filter(|t| t.is("values"))?;
    at += 1;
    while source.get(at)?.is_sign("(") {
        let close = closing(source, at)?;
        for (value, kind) in split(&source[at + 1..close]).iter().zip(&kinds) {
            if let [one] = value
                && let Some(n) = number(one)
                && found[n - 1].is_none()
            {
                found[n - 1] = *kind;
            }
        }
        at = close + 1;
        source.get(at).filter(|t| t.is_sign(","))?;
        at += 1;
    }
    Some(())
}

/// The type the neighbours of a parameter want.
fn context(source: &[Token<'_>], at: usize, scope: &Scope) -> Option<Type> {
    let (before, after) = (&source[..at], &source[at + 1..]);
    if after.first().is_some_and(|t| t.is_sign("::")) {
        return types::cast(&type_name(&after[1..])?.0, &[]);
    }
    let previous = before.last()?;
    if after.first().is_some_and(|t| t.is("as"))
        && before.len() >= 2
        && before[before.len() - 2].is("cast")
    {
        return types::cast(&type_name(&after[1..])?.0, &[]);
    }
    if previous.is_any(&["limit", "offset"]) {
        return Some(Type::INT8);
    }
    if previous.is_any(&["like", "ilike", "regexp", "glob"]) {
        return Some(Type::TEXT);
    }
    if previous.kind == TokenKind::Operator || previous.is_any(&["from", "is", "between", "not"]) {
        return operand_before(before.strip_suffix(std::slice::from_ref(previous))?, scope)
            .or_else(|| operand_after(after, scope));
    }
    if previous.is("and") {
        // x BETWEEN $1 AND $2; otherwise what follows decides.
        return between(before, scope).or_else(|| operand_after(after, scope));
    }
    if previous.is_sign("(") || previous.is_sign(",") {
        return in_list(source, at, scope).or_else(|| operand_after(after, scope));
    }
    operand_after(after, scope)
}

/// The operand that ends `before`: `id`, `u.id`, `lower(x)`, `id IS NOT DISTINCT`.
fn operand_before(before: &[Token<'_>], scope: &Scope) -> Option<Type> {
    let mut end = before.len();
    while end > 0 && before[end - 1].is_any(&["is", "not", "distinct", "between", "="]) {
        end -= 1;
    }
    let before = &before[..end];
    let last = before.last()?;
    let start = if last.is_sign(")") {
        let open = (0..end)
            .rev()
            .find(|&open| closing(before, open) == Some(end - 1))?;
        open - usize::from(open > 0 && before[open - 1].kind == TokenKind::Word)
    } else if end >= 3 && before[end - 2].is_sign(".") {
        end - 3
    } else {
        end - 1
    };
    expression::kind(
        &before[start..],
        &Known {
            scope,
            parameters: &[],
        },
    )
}

/// `$1 < id`.
fn operand_after(after: &[Token<'_>], scope: &Scope) -> Option<Type> {
    let operator = after.first()?;
    if operator.kind != TokenKind::Operator {
        return None;
    }
    if operator.text == "||" {
        return Some(Type::TEXT);
    }
    let rest = &after[1..];
    let dotted = rest.get(1).is_some_and(|t| t.is_sign("."));
    expression::kind(
        rest.get(..if dotted { 3 } else { 1 })?,
        &Known {
            scope,
            parameters: &[],
        },
    )
}

fn between(before: &[Token<'_>], scope: &Scope) -> Option<Type> {
    let [rest @ .., word, _, _and] = before else {
        return None;
    };
    word.is("between")
        .then(|| operand_before(rest, scope))
        .flatten()
}

/// `x IN ($1, $2)`, `x = ANY ($1)` and arguments of functions.
fn in_list(source: &[Token<'_>], at: usize, scope: &Scope) -> Option<Type> {
    let open = (0..at)
        .rev()
        .find(|&open| source[open].is_sign("(") && closing(source, open).is_none_or(|c| c > at))?;
    let before = &source[..open];
    match before.last()? {
        word if word.is("in") => operand_before(&before[..before.len() - 1], scope),
        word if word.is_any(&["lower", "upper", "length", "substr", "trim", "replace"]) => {
            Some(Type::TEXT)
        }
        word if word.is_any(&["coalesce", "ifnull", "nullif"]) => {
            let close = closing(source, open).unwrap_or(source.len());
            let known = Known {
                scope,
                parameters: &[],
            };
            split(&source[open + 1..close])
                .iter()
                .find_map(|a| expression::kind(a, &known))
        }
        _ => None,
    }
}
