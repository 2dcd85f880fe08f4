//! Calls whose constant arguments are facts, and code inside strings.

use std::sync::Arc;

use crate::model::{Access, Effects, Problem, Setting, Traits, Via};
use crate::sql::lex::{Tok, text_of};
use crate::sql::{lexical, settings};

use super::{Read, Reader, TableName};

impl Reader<'_> {
    /// What the arguments of some built-in functions say.
    pub fn special_call(
        &mut self,
        name: &str,
        system: bool,
        arguments: (usize, usize),
    ) -> Read<()> {
        if !system {
            return Ok(());
        }
        match name {
            "set_config" => self.set_config(arguments)?,
            "query_to_xml"
            | "query_to_xmlschema"
            | "query_to_xml_and_xmlschema"
            | "cursor_to_xml"
            | "ts_stat"
            | "ts_rewrite"
            | "crosstab"
            | "connectby"
            | "dblink"
            | "dblink_exec"
            | "dblink_send_query"
            | "dblink_open"
            | "xpath_table"
            | "query_to_json" => {
                self.strings_as_code(name, arguments);
            }
            // What they read is every table, or is decided when they run.
            "schema_to_xml"
            | "schema_to_xml_and_xmlschema"
            | "database_to_xml"
            | "database_to_xml_and_xmlschema" => self.reads_anything(name),
            "table_to_xml" | "table_to_xmlschema" | "table_to_xml_and_xmlschema" => {
                self.table_argument(name, arguments)
            }
            _ => {}
        }
        Ok(())
    }

    fn set_config(&mut self, (from, to): (usize, usize)) -> Read<()> {
        let constant = |index: usize| {
            let token = self
                .tokens
                .get(index)
                .filter(|token| index < to && token.kind == Tok::String)?;
            let behind = self.tokens.get(index + 1)?;
            (matches!(behind.kind, Tok::Comma | Tok::RParen))
                .then(|| text_of(token, self.source).into_owned())
        };
        // A name that is not a constant may be any setting.
        let name = constant(from).map_or_else(|| "*".to_owned(), |name| name.to_ascii_lowercase());
        let value = constant(from + 2).filter(|_| name != "*");
        let local = to > from && self.text(to - 1).eq_ignore_ascii_case("true");
        let setting = Setting {
            name: Arc::from(name),
            value: value.map(Arc::from),
            local,
        };
        self.note_setting(setting);
        Ok(())
    }

    /// A setting with what it means for protection.
    pub fn note_setting(&mut self, setting: Setting) {
        self.effect(Effects::SESSION);
        if settings::is_privilege(&setting.name) {
            self.effect(Effects::PRIVILEGE);
        }
        if settings::drops_protection(&setting.name, setting.value.as_deref()) {
            self.mark(Traits::DESTRUCTIVE);
        }
        self.facts.settings.push(setting);
    }

    /// Constants among the arguments are statements: their words count as possibly touched.
    fn strings_as_code(&mut self, name: &str, (from, to): (usize, usize)) {
        // Of the XML functions the first argument is the text; of the others a
        // later one can be. Part of an expression is not all of it.
        let kind = |index: usize| self.tokens.get(index).map(|token| token.kind);
        let alone = |index: usize| {
            kind(index) == Some(Tok::String)
                && (index + 1 >= to || kind(index + 1) == Some(Tok::Comma))
                && (index == from || kind(index - 1) == Some(Tok::Comma))
        };
        let xml = name.contains("xml") || name.starts_with("ts_");
        let shown = if xml {
            alone(from)
        } else {
            (from..to).any(alone)
        };
        let built = (from..to).any(|index| kind(index) == Some(Tok::Op));
        if !shown || built {
            self.reads_anything(name);
        }
        for index in from..to {
            let Some(token) = self
                .tokens
                .get(index)
                .filter(|token| token.kind == Tok::String)
            else {
                continue;
            };
            let text = text_of(token, self.source).into_owned();
            self.code_in_string(&text, true);
        }
    }

    /// Relations and writes that a string with code may hold. `runs`: it is run now.
    pub fn code_in_string(&mut self, text: &str, runs: bool) {
        self.unbounded_changes(text);
        let found = lexical::scan(text, self.lexer);
        let saved = std::mem::replace(&mut self.via, Via::Nested);
        for (name, access) in found.relations {
            let access = if runs { access } else { Access::POSSIBLE };
            self.touch(&name, access | Access::POSSIBLE);
        }
        self.via = saved;
        if runs && !found.effects.is_empty() {
            self.effect(found.effects);
            if found.writes {
                self.mark(Traits::DESTRUCTIVE);
            }
        }
    }

    /// The text does not show what this reads: not understood, so refused by default.
    fn reads_anything(&mut self, name: &str) {
        self.mark(Traits::OPAQUE);
        self.facts.problems.push(Problem::Unexplained(format!(
            "what {name} reads is not in the text"
        )));
    }

    fn table_argument(&mut self, name: &str, (from, to): (usize, usize)) {
        let token = self
            .tokens
            .get(from)
            .filter(|token| token.kind == Tok::String);
        let alone = from + 1 >= to
            || self
                .tokens
                .get(from + 1)
                .is_some_and(|token| token.kind == Tok::Comma);
        let Some(token) = token.filter(|_| alone) else {
            return self.reads_anything(name);
        };
        let text = text_of(token, self.source);
        // regclass also takes numbers, blanks and half-quoted names: not guessed here.
        let Some(parts) = text.split('.').map(plain_name).collect::<Option<Vec<_>>>() else {
            return self.reads_anything(name);
        };
        let mut parts = parts.into_iter().rev();
        let name = parts.next().unwrap_or_default();
        let schema = parts.next().map(Arc::from);
        self.touch(
            &TableName {
                schema,
                name: Arc::from(name),
            },
            Access::SELECT,
        );
    }
}

/// A name as it is written in SQL, folded; none where it is anything but plain.
fn plain_name(text: &str) -> Option<String> {
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    if let Some(name) = quoted {
        let plain = !name.is_empty() && !name.contains('"');
        return plain.then(|| name.to_owned());
    }
    let first = text.bytes().next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = !first.is_ascii_digit() && text.bytes().all(plain);
    is_name.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_string_is_plain_or_none() {
        let cases = [
            ("honey", Some("honey")),
            ("HONEY", Some("honey")),
            ("\"Honey Pot\"", Some("Honey Pot")),
            (" honey", None),
            ("16398", None),
            ("\"a\"\"b\"", None),
            ("\"a", None),
            ("", None),
            ("h\u{f6}ney", None),
        ];
        for (text, name) in cases {
            assert_eq!(plain_name(text).as_deref(), name, "{text}");
        }
    }
}
