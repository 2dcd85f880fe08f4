//! Settings: JSON in, a typed value or an issue with its place out.

use serde::de::DeserializeOwned;

/// Something wrong with the settings, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// RFC 6901 pointer into the settings; the gate turns it into file, line and column.
    pub path: String,
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl Issue {
    /// At this place.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Issue {
        Issue {
            path: path.into(),
            message: message.into(),
            hint: String::new(),
        }
    }

    /// With advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Issue {
        self.hint = hint.into();
        self
    }
}

/// One more step of an RFC 6901 pointer.
pub(crate) fn step(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Reads the settings. An empty text is an empty table.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Issue> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut path = String::new();
        for segment in error.path() {
            path = match segment {
                serde_path_to_error::Segment::Seq { index } => step(&path, &index.to_string()),
                serde_path_to_error::Segment::Map { key } => step(&path, key),
                // The word itself is no place of its own.
                serde_path_to_error::Segment::Enum { .. } => path,
                serde_path_to_error::Segment::Unknown => path,
            };
        }
        describe(path, &error.into_inner().to_string())
    })
}

/// Serde's sentence, without the position inside JSON the operator never wrote.
fn describe(path: String, sentence: &str) -> Issue {
    let sentence = sentence
        .rsplit_once(" at line ")
        .map_or(sentence, |(before, _)| before);
    let quoted: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
    let Some((&unknown, known)) = quoted.split_first() else {
        return Issue::new(path, sentence);
    };
    let (issue, none) = if sentence.starts_with("unknown field") {
        let place = step("", unknown);
        let path = if path.ends_with(&place) {
            path
        } else {
            path + &place
        };
        (
            Issue::new(path, format!("unknown setting `{unknown}`")),
            "It has no settings.",
        )
    } else if sentence.starts_with("unknown variant") {
        (Issue::new(path, format!("unknown word `{unknown}`")), "")
    } else {
        return Issue::new(path, sentence);
    };
    match known
        .iter()
        .min_by_key(|candidate| distance(unknown, candidate))
    {
        Some(best) if distance(unknown, best) <= unknown.len().max(best.len()) / 2 => {
            issue.hint(format!("Did you mean `{best}`?"))
        }
        Some(_) => issue.hint(format!("Known are: {}.", known.join(", "))),
        None => issue.hint(none),
    }
}

/// Edits between two words; two neighbours changing places count as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table: Vec<usize> = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = |i: usize, j: usize| table[i * width + j];
            let value = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = at(i - 1, j - 1) + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(at(i - 1, j) + 1).min(at(i, j - 1) + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(at(i - 2, j - 2) + 1);
                }
                least
            };
            table[i * width + j] = value;
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        exempt: Vec<String>,
        truncate: bool,
        inner: Inner,
    }

    #[derive(Debug, Default, serde::Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        rows: u64,
    }

    impl Default for Settings {
        fn default() -> Settings {
            Settings {
                exempt: Vec::new(),
                truncate: true,
                inner: Inner { rows: 7 },
            }
        }
    }

    fn issue(text: &str) -> Issue {
        parse::<Settings>(text).expect_err("wrong settings")
    }

    #[test]
    fn empty_settings_are_the_defaults() {
        for text in ["", "{}", " "] {
            assert_eq!(parse::<Settings>(text), Ok(Settings::default()));
        }
    }

    #[test]
    fn a_wrong_type_points_at_the_value() {
        let found = issue(r#"{"exempt": ["a", 3]}"#);
        assert_eq!(found.path, "/exempt/1");
        assert_eq!(
            found.message,
            "invalid type: integer `3`, expected a string"
        );
        assert_eq!(issue(r#"{"inner": {"rows": -1}}"#).path, "/inner/rows");
    }

    #[test]
    fn an_unknown_setting_points_at_the_key_and_suggests() {
        let found = issue(r#"{"trunctae": false}"#);
        assert_eq!(found.path, "/trunctae");
        assert_eq!(found.message, "unknown setting `trunctae`");
        assert_eq!(found.hint, "Did you mean `truncate`?");
        assert_eq!(issue(r#"{"inner": {"row": 1}}"#).path, "/inner/row");
        assert_eq!(
            issue(r#"{"colour": 1}"#).hint,
            "Known are: exempt, truncate, inner."
        );
    }

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(step("/a", "b/c~d"), "/a/b~1c~0d");
    }
}
