//! PgBouncer's files, read: the ini with what it includes, connection strings,
//! the list of users.

use std::path::{Path, PathBuf};

/// How deep files may include each other, PgBouncer's own limit.
const DEPTH_MAX: usize = 10;

/// Largest file.
const BYTES_MAX: u64 = 16 << 20;

/// Sections with their keys, in the order of the file; of a key that stands
/// twice the last one counts.
#[derive(Debug, Default)]
pub(super) struct Ini {
    entries: Vec<(String, String, String)>,
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let unreadable = |why: String| format!("{}: {why}", path.display());
    let about = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if about.len() > BYTES_MAX {
        return Err(unreadable("larger than such a file can be".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

impl Ini {
    pub(super) fn read(path: &Path) -> Result<Ini, String> {
        let mut ini = Ini::default();
        ini.include(path, 0)?;
        Ok(ini)
    }

    fn include(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("{}: files include each other", path.display()));
        }
        self.take(&text(path)?, path, depth)
    }

    fn take(&mut self, text: &str, path: &Path, depth: usize) -> Result<(), String> {
        let mut section = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let wrong = |what: &str| format!("{}:{}: {what}", path.display(), number + 1);
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(file) = line.strip_prefix("%include") {
                self.include(&include_path(path, file.trim()), depth + 1)?;
            } else if let Some(name) = line.strip_prefix('[') {
                let name = name
                    .strip_suffix(']')
                    .ok_or_else(|| wrong("a section without ]"))?;
                section = name.trim().to_lowercase();
            } else {
                let (key, value) = line.split_once('=').ok_or_else(|| wrong("no `=`"))?;
                if section.is_empty() {
                    return Err(wrong("a setting before the first section"));
                }
                let key = unquoted(key.trim());
                self.entries.retain(|(s, k, _)| (s, k) != (&section, &key));
                let value = value.trim().to_owned();
                self.entries.push((section.clone(), key, value));
            }
        }
        Ok(())
    }

    /// A value; an empty one is none.
    pub(super) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let mut entries = self.section(section);
        let found = entries.find(|(known, _)| *known == key)?.1;
        (!found.is_empty()).then_some(found)
    }

    /// Keys and values of a section.
    pub(super) fn section(&self, section: &str) -> impl Iterator<Item = (&str, &str)> {
        let entries = self
            .entries
            .iter()
            .filter(move |(known, ..)| known == section);
        entries.map(|(_, key, value)| (&**key, &**value))
    }

    /// A value of the main section, or PgBouncer's default.
    pub(super) fn or<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.get("pgbouncer", key).unwrap_or(default)
    }

    /// A number of the main section, or PgBouncer's default.
    pub(super) fn number(&self, key: &str, default: usize) -> usize {
        let written = self
            .get("pgbouncer", key)
            .and_then(|text| text.parse().ok());
        written.unwrap_or(default)
    }
}

fn include_path(ini: &Path, file: &str) -> PathBuf {
    super::beside(ini, file)
}

/// A name in double quotes, in which two stand for one.
fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.map_or(text.to_owned(), |inner| inner.replace("\"\"", "\""))
}

/// `key=value` pairs of a connection string; values may stand in single quotes,
/// in which two stand for one.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some((key, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let mut value = String::new();
        if let Some(mut inner) = behind.strip_prefix('\'') {
            loop {
                let Some((part, next)) = inner.split_once('\'') else {
                    value.push_str(inner);
                    rest = "";
                    break;
                };
                value.push_str(part);
                match next.strip_prefix('\'') {
                    Some(next) => {
                        value.push('\'');
                        inner = next;
                    }
                    None => {
                        rest = next.trim_start();
                        break;
                    }
                }
            }
        } else {
            let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
            value.push_str(&behind[..end]);
            rest = behind[end..].trim_start();
        }
        found.push((key.trim().to_owned(), value));
    }
    found
}

/// Names and passwords of userlist.txt.
pub(super) fn userlist(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut users: Vec<(String, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        let wrong = || format!("userlist, line {}: not \"name\" \"password\"", number + 1);
        let (name, rest) = field(line).ok_or_else(wrong)?;
        let (password, _) = field(rest.trim_start()).ok_or_else(wrong)?;
        users.retain(|(known, _)| *known != name);
        users.push((name, password));
    }
    Ok(users)
}

/// One field in double quotes, in which two stand for one, and what follows it.
fn field(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut field = String::new();
    loop {
        let (part, next) = rest.split_once('"')?;
        field.push_str(part);
        match next.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_connection_strings_and_user_lists() {
        let found =
            pairs("host=db port=6000 password='it''s ; #' connect_query = 'SELECT 1' user=u");
        let found: Vec<(&str, &str)> = found.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            found,
            [
                ("host", "db"),
                ("port", "6000"),
                ("password", "it's ; #"),
                ("connect_query", "SELECT 1"),
                ("user", "u"),
            ]
        );
        let users =
            userlist("; comment\n\"ann\" \"p\"\"w\" x\n\n\"b b\" \"\"\n\"ann\" \"new\"\n").unwrap();
        let expected = [("b b", ""), ("ann", "new")];
        assert_eq!(users, expected.map(|(n, p)| (n.to_owned(), p.to_owned())));
        assert!(userlist("ann secret").is_err());
    }
}
