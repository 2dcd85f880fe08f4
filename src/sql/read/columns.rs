//! Columns that are named, and what is done with them.

use std::sync::Arc;

use crate::model::ColumnUses;
use crate::sql::lex::name_of;

use super::{LINEAR_MAX, Read, Reader};

impl Reader<'_> {
    /// Notes a column under the use that is read now.
    pub fn column(&mut self, name: Arc<str>) {
        let uses = self.uses;
        let columns = &mut self.facts.columns;
        let known = if columns.len() < LINEAR_MAX {
            columns.iter().position(|column| *column == name)
        } else {
            if self.column_index.is_empty() {
                let all = columns.iter().cloned().enumerate();
                self.column_index
                    .extend(all.map(|(index, name)| (name, index)));
            }
            self.column_index.get(&name).copied()
        };
        if let Some(known) = known.and_then(|index| self.facts.column_uses.get_mut(index)) {
            *known |= uses;
            return;
        }
        if !self.column_index.is_empty() {
            self.column_index.insert(name.clone(), columns.len());
        }
        columns.push(name);
        self.facts.column_uses.push(uses);
    }

    /// Runs `read` for columns that are used so. A condition inside a condition is one.
    pub fn using<T>(
        &mut self,
        uses: ColumnUses,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        let saved = std::mem::replace(&mut self.uses, uses);
        let result = read(self);
        self.uses = saved;
        result
    }

    /// `from..to` only decides which rows, or in which order.
    pub fn condition(&mut self, from: usize, to: usize) -> Read<()> {
        self.using(ColumnUses::CONDITION, |reader| reader.expression(from, to))
    }

    /// A name that stands for a whole row of a table.
    pub fn row_name(&mut self, name: Arc<str>) {
        self.row_names.insert(name);
    }

    /// Columns that are rows: `SELECT t`, `row_to_json(t)`, `t IS NULL`.
    pub fn whole_rows(&mut self) {
        let facts = &self.facts;
        let named = |name: &Arc<str>| {
            self.row_names.contains(name) || facts.relations.iter().any(|r| r.name == *name)
        };
        let uses = facts
            .columns
            .iter()
            .zip(&facts.column_uses)
            .filter(|(name, _)| named(name))
            .fold(ColumnUses::empty(), |all, (_, uses)| all | *uses);
        if !uses.is_empty() {
            let _ = self.using(uses, |reader| {
                reader.column(Arc::from("*"));
                Ok(())
            });
        }
    }

    pub fn column_token(&mut self, index: usize) {
        if let Some(token) = self.tokens.get(index) {
            let name = name_of(token, self.source, self.lexer.dialect);
            self.column(Arc::from(name));
        }
    }
}
