//! A search_path as the server writes it.

use std::sync::Arc;

/// Splits a search_path value as SplitIdentifierString does: folded unless
/// quoted, cut at 63 bytes by the server already, `$user` replaced by the role.
pub fn parse_search_path(value: &str, role: &str) -> Option<Arc<[Arc<str>]>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut chars = value.trim().chars().peekable();
    while chars.peek().is_some() {
        let mut name = String::new();
        if chars.peek() == Some(&'"') {
            chars.next();
            loop {
                match chars.next()? {
                    '"' if chars.peek() == Some(&'"') => {
                        chars.next();
                        name.push('"');
                    }
                    '"' => break,
                    c => name.push(c),
                }
            }
        } else {
            while let Some(c) = chars
                .peek()
                .copied()
                .filter(|c| *c != ',' && !c.is_ascii_whitespace())
            {
                name.push(c.to_ascii_lowercase());
                chars.next();
            }
        }
        if name == "$user" && role.is_empty() {
            // A role nobody knows.
            return None;
        }
        names.push(if name == "$user" {
            role.into()
        } else {
            name.into()
        });
        while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            chars.next();
        }
        match chars.next() {
            None => break,
            Some(',') => {}
            Some(_) => return None,
        }
        while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            chars.next();
        }
    }
    Some(names.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_search_paths_as_the_server_does() {
        for (value, names) in [
            ("\"$user\", public", vec!["ann", "public"]),
            ("Public", vec!["public"]),
            (
                "\"Odd, name\" ,\"a\"\"b\",c",
                vec!["Odd, name", "a\"b", "c"],
            ),
            ("", vec![]),
            ("\"\"", vec![""]),
        ] {
            let parsed = parse_search_path(value, "ann").unwrap();
            assert_eq!(
                parsed.iter().map(|s| &**s).collect::<Vec<_>>(),
                names,
                "{value}"
            );
        }
        assert!(parse_search_path("\"open", "ann").is_none());
    }
}
