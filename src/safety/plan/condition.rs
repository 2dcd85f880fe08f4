//! Which columns an index condition, as EXPLAIN prints it, compares for equality.

/// Columns compared with `=` to one value each; none when the condition is not a plain conjunction.
///
/// `((a = 1) AND (b = 'x'::text))` gives `a`, `b`; `((name)::text = 'x'::text)` gives `name`.
pub(super) fn equalities(condition: &str) -> Option<Vec<String>> {
    conjuncts(condition)?.into_iter().map(equality).collect()
}

fn equality(term: &str) -> Option<String> {
    let term = unwrap(term);
    let (column, rest) = column(term)?;
    let rest = rest.strip_prefix(" = ")?;
    let many = ["ANY (", "ALL (", "ROW("]
        .iter()
        .any(|start| rest.starts_with(start));
    (!many).then_some(column)
}

/// The column a term starts with, its cast and its table's alias taken off, and what follows.
fn column(term: &str) -> Option<(String, &str)> {
    if let Some(inner) = term.strip_prefix('(') {
        let (name, rest) = identifier(inner)?;
        let cast = rest.strip_prefix(")::")?;
        let end = cast.find(" = ")?;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | ' ' | '.' | '"' | '(' | ')');
        return cast[..end].chars().all(plain).then(|| (name, &cast[end..]));
    }
    identifier(term)
}

/// `name`, `"Name"`, `alias.name`: the last part, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    let (part, rest) = part(text)?;
    match rest.strip_prefix('.') {
        Some(next) => identifier(next),
        None => Some((part, rest)),
    }
}

fn part(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let end = rest.find('"')?;
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(next) => {
                    name.push('"');
                    rest = next;
                }
                None => return Some((name, rest)),
            }
        }
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .unwrap_or(text.len());
    let name = &text[..end];
    let starts = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts.then(|| (name.to_owned(), &text[end..]))
}

/// Takes one pair of parentheses off that encloses everything.
fn unwrap(term: &str) -> &str {
    let inner = term
        .strip_prefix('(')
        .and_then(|term| term.strip_suffix(')'));
    match inner {
        Some(inner) if encloses(term) => inner,
        _ => term,
    }
}

fn encloses(term: &str) -> bool {
    depths(term).is_some_and(|depths| depths[..depths.len() - 1].iter().all(|depth| *depth > 0))
}

/// Splits at AND outside parentheses and quotes; none when quotes or parentheses do not close.
fn conjuncts(condition: &str) -> Option<Vec<&str>> {
    let depths = depths(condition)?;
    if condition.contains(" OR ") && !condition.contains('\'') {
        return None;
    }
    let inner = unwrap(condition);
    if inner.len() == condition.len() {
        return Some(vec![condition]);
    }
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in inner.match_indices(" AND ") {
        // Depth 1 is inside the outer pair only; quoted text is deeper.
        if depths.get(at + 1) == Some(&1) {
            found.push(&inner[start..at]);
            start = at + " AND ".len();
        }
    }
    found.push(&inner[start..]);
    Some(found)
}

/// Nesting depth behind every byte; inside quotes it counts as deeper.
fn depths(text: &str) -> Option<Vec<i32>> {
    let mut depth = 0;
    let mut quote = None;
    let mut found = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match (quote, byte) {
            (None, b'(') => depth += 1,
            (None, b')') => depth -= 1,
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
        found.push(depth + if quote.is_some() { 1000 } else { 0 });
    }
    (depth == 0 && quote.is_none()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_conditions_as_the_server_prints_them() {
        let cases: [(&str, Option<&[&str]>); 14] = [
            ("(id = 5)", Some(&["id"])),
            ("(u.id = 5)", Some(&["id"])),
            ("((a = 1) AND (b = 2))", Some(&["a", "b"])),
            ("((name)::text = 'x'::text)", Some(&["name"])),
            (
                "((a = 1) AND ((v)::text = 'x) AND (c = 1'::text))",
                Some(&["a", "v"]),
            ),
            ("(\"Odd \"\"Col\" = $1)", Some(&["Odd \"Col"])),
            ("(id = o.user_id)", Some(&["id"])),
            ("(id < 5)", None),
            ("(id = ANY ('{1,2}'::integer[]))", None),
            ("((a = 1) AND (b > 2))", None),
            ("(ROW(a, b) > ROW(1, 2))", None),
            ("(id IS NOT NULL)", None),
            ("(lower(name) = 'x'::text)", None),
            ("(id = 'x", None),
        ];
        for (condition, expected) in cases {
            let found = equalities(condition);
            let expected =
                expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(found, expected, "{condition}");
        }
    }
}
