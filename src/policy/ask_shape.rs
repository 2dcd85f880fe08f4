//! Further questions about the shape: uses of columns, functions, settings.
//!
//! The first ones are in `ask`.

use std::sync::Arc;

use super::ask::{Ask, count};
use super::fault::Fault;
use crate::model::ColumnUses;

impl Ask {
    /// First column from `start` on that a pattern matches and that is used so.
    pub fn find_column_use(
        &mut self,
        names: u32,
        uses: u64,
        start: u32,
    ) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = self.registry.names(names)?;
        let wanted = ColumnUses::from_bits_retain(uses);
        let facts = &self.subject.statement.facts;
        let fits = |index: usize, column: &str| {
            facts.uses_of(index).intersects(wanted)
                && names.relations.best(None, column, None).is_some()
        };
        Ok((start as usize..facts.columns.len())
            .find(|index| fits(*index, &facts.columns[*index]))
            .map(count))
    }

    /// First function from `start` on that may do more than compute and that no
    /// pattern matches. `u32::MAX` is the set of no patterns.
    pub fn find_unlisted_function(&mut self, names: u32, start: u32) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = match names {
            u32::MAX => None,
            names => Some(self.registry.names(names)?.clone()),
        };
        let statement = self.subject.statement.clone();
        let functions = statement.facts.functions.iter().enumerate();
        for (index, function) in functions.skip(start as usize) {
            let listed = match &names {
                Some(names) => self
                    .best(names, function.schema.as_deref(), &function.name)
                    .is_some(),
                None => false,
            };
            if !function.harmless && !listed {
                return Ok(Some(count(index)));
            }
        }
        Ok(None)
    }

    /// Name of one function. Out of range is a fault.
    pub fn function_name(&mut self, index: u32) -> Result<Arc<str>, Fault> {
        self.reads.shape();
        let functions = &self.subject.statement.facts.functions;
        let function = functions
            .get(index as usize)
            .ok_or_else(|| Fault::call(format!("there is no function {index}")))?;
        Ok(match &function.schema {
            Some(schema) => format!("{schema}.{}", function.name).into(),
            None => function.name.clone(),
        })
    }

    /// First setting from `start` on that is changed and that a pattern matches.
    pub fn find_setting(&mut self, names: u32, start: u32) -> Result<Option<u32>, Fault> {
        self.reads.shape();
        let names = self.registry.names(names)?;
        let settings = self.subject.statement.facts.settings.iter().enumerate();
        Ok(settings
            .skip(start as usize)
            .find(|(_, setting)| names.relations.best(None, &setting.name, None).is_some())
            .map(|(index, _)| count(index)))
    }

    /// New value of one setting. Out of range is a fault.
    pub fn setting_value(&mut self, index: u32) -> Result<Option<Arc<str>>, Fault> {
        self.reads.shape();
        let settings = &self.subject.statement.facts.settings;
        settings
            .get(index as usize)
            .map(|setting| setting.value.clone())
            .ok_or_else(|| Fault::call(format!("there is no setting {index}")))
    }
}
