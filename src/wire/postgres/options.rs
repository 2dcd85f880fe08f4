//! The start-up parameter `options`: a command line in one string.
//!
//! Read as the server reads it (pg_split_opts, ParseLongOption): whoever reads
//! it differently can be made to overlook a setting.

/// The settings in it, in order: `-c name=value`, `-cname=value` and
/// `--name=value`. None where it holds anything else, which only the server
/// can answer.
pub fn settings(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut words = split(text)?.into_iter();
    while let Some(word) = words.next() {
        let pair = if word == "-c" {
            words.next()?
        } else if let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return None;
        };
        let (name, value) = pair.split_once('=')?;
        if name.is_empty() {
            return None;
        }
        // A minus in a name is an underscore.
        let name = name.replace('-', "_").to_ascii_lowercase();
        found.push((name, value.to_owned()));
    }
    Some(found)
}

/// Words between white space. A backslash takes the next character as it is;
/// quotes mean nothing here.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.get_or_insert_default().push(chars.next()?),
            // C's isspace knows the vertical tab, too.
            c if c.is_ascii_whitespace() || c == '\x0b' => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        settings(text)
    }

    #[test]
    fn reads_every_spelling() {
        for (text, expected) in [
            ("", vec![]),
            ("  ", vec![]),
            ("-c work_mem=1MB", vec![("work_mem", "1MB")]),
            ("-cwork_mem=1MB", vec![("work_mem", "1MB")]),
            ("--work_mem=1MB", vec![("work_mem", "1MB")]),
            ("--Work-Mem=1MB", vec![("work_mem", "1MB")]),
            ("-c work-mem=1MB", vec![("work_mem", "1MB")]),
            ("-c\tsearch_path=a\\ b", vec![("search_path", "a b")]),
            ("-c a=b\\\\c", vec![("a", "b\\c")]),
            ("-c a=", vec![("a", "")]),
            ("-c a=b=c", vec![("a", "b=c")]),
            ("-c a=x+y%20z", vec![("a", "x+y%20z")]),
            ("-c a='x", vec![("a", "'x")]),
            ("-c a=1\x0b-c b=2", vec![("a", "1"), ("b", "2")]),
            (
                "-c a=1 --b=2 -cc=3",
                vec![("a", "1"), ("b", "2"), ("c", "3")],
            ),
            // What looks like a second switch is part of the value.
            ("-c a=1\\ -c\\ role=x", vec![("a", "1 -c role=x")]),
        ] {
            let pairs = |(n, v): (&str, &str)| (n.to_owned(), v.to_owned());
            let expected = expected.into_iter().map(pairs).collect();
            assert_eq!(read(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn leaves_to_the_server_what_is_no_setting() {
        for text in [
            "-W",
            "-c",
            "-c a",
            "--a",
            "a=b",
            "-e -c a=1",
            "-S 64",
            "--",
            "-c =1",
            "-c a=1\\",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
