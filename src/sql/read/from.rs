//! FROM, USING and joins.

use std::sync::Arc;

use crate::model::ColumnUses;
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader, TableName};

/// One entry of a FROM list, as far as column references need it.
#[derive(Debug, Clone)]
pub(in crate::sql) struct Item {
    /// The table, CTE or none for a function or subquery.
    pub table: Option<TableName>,
    /// A subquery.
    pub derived: bool,
}

const JOIN_WORDS: &[Kw] = &[
    Kw::Natural,
    Kw::Left,
    Kw::Right,
    Kw::Full,
    Kw::Inner,
    Kw::Cross,
    Kw::Join,
];

impl Reader<'_> {
    /// Items with their joins and conditions, up to the next clause.
    pub fn from_list(&mut self, items: &mut Vec<Item>) -> Read<()> {
        self.from_item(items)?;
        loop {
            match (self.kind(0), self.kw(0)) {
                (Some(Tok::Comma), _) => {
                    self.at += 1;
                    self.from_item(items)?;
                }
                (_, kw) if JOIN_WORDS.contains(&kw) => {
                    self.join_words()?;
                    self.from_item(items)?;
                }
                (_, Kw::On) => {
                    self.at += 1;
                    let stop = self.condition_end();
                    self.condition(self.at, stop)?;
                    self.at = stop;
                }
                (_, Kw::Using) => {
                    self.at += 1;
                    let columns = self.group()?;
                    self.condition(columns.0, columns.1)?;
                    if self.accept(Kw::As) {
                        self.any_name()?;
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn join_words(&mut self) -> Read<()> {
        while matches!(
            self.kw(0),
            Kw::Natural | Kw::Left | Kw::Right | Kw::Full | Kw::Inner | Kw::Cross | Kw::Outer
        ) {
            if self.kw(0) == Kw::Natural {
                // Any column of the same name is compared.
                self.using(ColumnUses::CONDITION, |reader| {
                    reader.column(Arc::from("*"));
                    Ok(())
                })?;
            }
            self.at += 1;
        }
        self.expect(Kw::Join, "JOIN")
    }

    /// End of a join condition: the next join, comma, ON, USING or clause.
    fn condition_end(&self) -> usize {
        self.stop(self.at, |reader, at| {
            let Some(token) = reader.tokens.get(at) else {
                return true;
            };
            if token.kind == Tok::Comma {
                return true;
            }
            if token.kind != Tok::Word {
                return false;
            }
            match token.kw {
                Kw::On | Kw::Using | Kw::Join => true,
                // MERGE: behind the condition come its branches, unless a CASE is open.
                Kw::When => reader.merge_branch(at),
                // `left(…)` and `right(…)` are functions too.
                kw if JOIN_WORDS.contains(&kw) => reader
                    .tokens
                    .get(at + 1)
                    .is_none_or(|next| next.kind != Tok::LParen),
                _ => false,
            }
        })
    }

    pub fn from_item(&mut self, items: &mut Vec<Item>) -> Read<()> {
        self.accept(Kw::Lateral);
        if self.kind(0) == Some(Tok::LParen) {
            return self.from_brackets(items);
        }
        if self.kw(0) == Kw::Rows && self.kw(1) == Kw::From && self.kind(2) == Some(Tok::LParen) {
            self.at += 2;
            let functions = self.group()?;
            self.expression(functions.0, functions.1)?;
            return self.function_tail(items);
        }
        if self.starts_call() {
            // The name and its arguments, as anywhere else in an expression.
            let open = self.call_bracket();
            let close = self.partner(open);
            self.expression(self.at, close + 1)?;
            self.at = close + 1;
            return self.function_tail(items);
        }
        if !self.sqlite() && self.bare_function() {
            self.at += 1;
            return self.function_tail(items);
        }
        let name = self.target_name()?;
        self.read_table(&name);
        self.table_tail(name, items)
    }

    fn from_brackets(&mut self, items: &mut Vec<Item>) -> Read<()> {
        if self.is_subquery() {
            self.subquery()?;
            self.item_alias()?;
            items.push(Item {
                table: None,
                derived: true,
            });
            return Ok(());
        }
        let range = self.group()?;
        self.deeper()?;
        self.within(range, |reader| {
            reader.from_list(items)?;
            reader.expect_done()
        })?;
        self.shallower();
        self.item_alias()?;
        Ok(())
    }

    /// A dotted name directly before an opening bracket.
    fn starts_call(&self) -> bool {
        let open = self.call_bracket();
        open > self.at
            && self
                .tokens
                .get(open)
                .is_some_and(|token| token.kind == Tok::LParen)
            && self.kw(0) != Kw::Only
    }

    /// Index behind the dotted name that starts here.
    fn call_bracket(&self) -> usize {
        let mut at = self.at;
        if !self.tokens.get(at).is_some_and(|token| token.is_name()) {
            return at;
        }
        at += 1;
        while at + 1 < self.end && self.kind_at(at) == Tok::Dot && self.name_at(at + 1) {
            at += 2;
        }
        if at < self.end { at } else { self.at }
    }

    /// `FROM current_date`: a function without brackets.
    fn bare_function(&self) -> bool {
        matches!(
            self.kw(0),
            Kw::CurrentDate
                | Kw::CurrentTime
                | Kw::CurrentTimestamp
                | Kw::Localtime
                | Kw::Localtimestamp
                | Kw::CurrentUser
                | Kw::CurrentRole
                | Kw::SessionUser
                | Kw::User
                | Kw::CurrentCatalog
                | Kw::CurrentSchema
        )
    }

    fn function_tail(&mut self, items: &mut Vec<Item>) -> Read<()> {
        self.accept_all(&[Kw::With, Kw::Ordinality]);
        self.item_alias()?;
        items.push(Item {
            table: None,
            derived: false,
        });
        Ok(())
    }

    fn table_tail(&mut self, name: TableName, items: &mut Vec<Item>) -> Read<()> {
        self.indexed_by()?;
        if let Some(alias) = self.item_alias()?
            && !self.is_cte(&name)
        {
            self.row_name(alias);
        }
        self.indexed_by()?;
        if self.accept(Kw::Tablesample) {
            self.table_name()?;
            let arguments = self.group()?;
            self.expression(arguments.0, arguments.1)?;
            if self.accept(Kw::Repeatable) {
                let seed = self.group()?;
                self.expression(seed.0, seed.1)?;
            }
        }
        items.push(Item {
            table: Some(name),
            derived: false,
        });
        Ok(())
    }

    /// SQLite's index hints.
    pub fn indexed_by(&mut self) -> Read<()> {
        if self.sqlite() && self.accept_all(&[Kw::Indexed, Kw::By]) {
            self.any_name()?;
        } else if self.sqlite() {
            self.accept_all(&[Kw::Not, Kw::Indexed]);
        }
        Ok(())
    }

    /// `[AS] alias [(columns)]`, `AS (column definitions)`.
    ///
    /// Renamed columns stand for all of them: what they are called says nothing.
    fn item_alias(&mut self) -> Read<Option<Arc<str>>> {
        if self.kw(0) == Kw::As && self.kind(1) == Some(Tok::LParen) {
            self.at += 1;
            self.group()?;
            return Ok(None);
        }
        let stop: &[Kw] = if self.sqlite() {
            &[Kw::Indexed, Kw::Set]
        } else {
            &[]
        };
        let alias = self.alias(stop)?;
        if alias.is_some() && self.kind(0) == Some(Tok::LParen) {
            self.group()?;
            self.column(Arc::from("*"));
        }
        Ok(alias)
    }
}
