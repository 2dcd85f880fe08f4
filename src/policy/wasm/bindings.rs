//! The imports of a component, each handed to [`Ask`] or [`Setup`].
//!
//! A fault travels as the error of the call and traps the guest.

use std::sync::Arc;

use super::super::fault::Fault;
use super::state::State;

wasmtime::component::bindgen!({
    path: "wit",
    world: "imports",
    imports: { default: trappable },
});

pub(super) use self::portcullis::policy::types::{Decision, Issue};
use self::portcullis::policy::{
    ast, client, clock, counters, event, log, plan, response, setup, statement, types, values,
    verdict,
};

impl From<Decision> for crate::model::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Pass => crate::model::Decision::Pass,
            Decision::Refuse => crate::model::Decision::Refuse,
            Decision::Respond => crate::model::Decision::Respond,
        }
    }
}

/// An index, or -1.
fn index(found: Option<u32>) -> i32 {
    found
        .and_then(|index| i32::try_from(index).ok())
        .unwrap_or(-1)
}

fn ok<T>(result: Result<T, Fault>) -> wasmtime::Result<T> {
    Ok(result?)
}

fn text(shared: Arc<str>) -> String {
    shared.as_ref().to_owned()
}

impl types::Host for State {}

impl setup::Host for State {
    fn intern(&mut self, name: String) -> wasmtime::Result<u32> {
        ok(self.setup()?.intern(&name))
    }
    fn names(&mut self, patterns: Vec<String>) -> wasmtime::Result<Result<u32, String>> {
        ok(self.setup()?.names(&patterns))
    }
    fn networks(&mut self, cidrs: Vec<String>) -> wasmtime::Result<Result<u32, String>> {
        ok(self.setup()?.networks(&cidrs))
    }
    fn windows(&mut self, specs: Vec<String>) -> wasmtime::Result<Result<u32, String>> {
        ok(self.setup()?.windows(&specs))
    }
}

impl statement::Host for State {
    fn predicate(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.predicate())
    }
    fn relations(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.relations())
    }
    fn relation_at(&mut self, i: u32) -> wasmtime::Result<types::Relation> {
        let found = self.ask()?.relation_at(i)?;
        Ok(types::Relation {
            schema: found.schema,
            name: found.name,
            access: found.access,
            via: found.via,
        })
    }
    fn find(&mut self, names: u32, access: u64, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find(names, access, start)?))
    }
    fn pattern(&mut self, i: u32, names: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.pattern(i, names)?))
    }
    fn find_column(&mut self, names: u32, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find_column(names, start)?))
    }
    fn find_function(&mut self, names: u32, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find_function(names, start)?))
    }
    fn name(&mut self, s: u32) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.name(s)?))
    }
    fn normalized(&mut self) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.normalized()))
    }
    fn find_access(&mut self, access: u64, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find_access(access, start)))
    }
    fn limit(&mut self) -> wasmtime::Result<i64> {
        let limit = self.ask()?.limit();
        Ok(limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX)))
    }
    fn dialect(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.dialect())
    }
    fn shape_in(&mut self, learned: String) -> wasmtime::Result<bool> {
        Ok(self.ask()?.shape_in(&learned))
    }
    fn find_column_use(&mut self, names: u32, uses: u64, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find_column_use(names, uses, start)?))
    }
    fn find_unlisted_function(&mut self, names: u32, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find_unlisted_function(names, start)?))
    }
    fn function_name(&mut self, i: u32) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.function_name(i)?))
    }
    fn find_setting(&mut self, names: u32, start: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.find_setting(names, start)?))
    }
    fn setting_value(&mut self, i: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.ask()?.setting_value(i)?.map(text))
    }
}

impl client::Host for State {
    fn user(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.user())
    }
    fn database(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.database())
    }
    fn user_in(&mut self, names: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.user_in(names)?))
    }
    fn address_in(&mut self, networks: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.address_in(networks)?))
    }
    fn address(&mut self) -> wasmtime::Result<String> {
        Ok(self.ask()?.address())
    }
    fn role(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.role())
    }
    fn application(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.application())
    }
    fn transaction(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.transaction())
    }
    fn setting(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.ask()?.setting(&name).map(text))
    }
}

impl values::Host for State {
    fn features(&mut self) -> wasmtime::Result<u64> {
        Ok(self.ask()?.features())
    }
    fn row_limit_at_most(&mut self, n: u64) -> wasmtime::Result<bool> {
        Ok(self.ask()?.row_limit_at_most(n))
    }
    fn literals(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ask()?.literals())
    }
    fn literal(&mut self, i: u32) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.literal(i)?))
    }
    fn parameters(&mut self) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.parameters()))
    }
    fn parameter(&mut self, i: u32) -> wasmtime::Result<Option<String>> {
        ok(self.ask()?.parameter(i))
    }
    fn text(&mut self) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.text()))
    }
    fn mentions(&mut self, names: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.mentions(names)?))
    }
}

impl clock::Host for State {
    fn in_window(&mut self, windows: u32) -> wasmtime::Result<i32> {
        Ok(index(self.ask()?.in_window(windows)?))
    }
    fn before(&mut self, unix_ms: u64) -> wasmtime::Result<bool> {
        Ok(self.ask()?.before(unix_ms))
    }
    fn next_edge(&mut self, windows: u32) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.next_edge(windows)?))
    }
}

impl counters::Host for State {
    fn read(&mut self, name: String) -> wasmtime::Result<u64> {
        Ok(self.ask()?.counter(&name))
    }
}

impl ast::Host for State {
    fn get(&mut self) -> wasmtime::Result<ast::Image> {
        let image = self.ask()?.ast();
        Ok(ast::Image {
            version: image.version,
            nodes: image.nodes.clone(),
            heap: image.heap.clone(),
        })
    }
}

impl log::Host for State {
    fn write(&mut self, level: u32, text: String) -> wasmtime::Result<()> {
        match &mut self.ask {
            Some(ask) => ask.log(level, &text),
            None if self.setup_logs.len() < 32 => self.setup_logs.push((level, text)),
            None => {}
        }
        Ok(())
    }
}

impl verdict::Host for State {
    fn reason(&mut self, rule: String, message: String, hint: String) -> wasmtime::Result<()> {
        ok(self.ask()?.reason(&rule, &message, &hint))
    }
    fn disguise(&mut self, as_code: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.disguise(as_code))
    }
    fn notice(&mut self, rule: String, text: String) -> wasmtime::Result<()> {
        ok(self.ask()?.notice(&rule, &text))
    }
    fn alert(&mut self, rule: String, severity: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.alert(&rule, severity))
    }
    fn rows_changed_max(&mut self, relation: i32, rows: u64) -> wasmtime::Result<()> {
        let relation = match relation {
            -1 => None,
            index => Some(
                u32::try_from(index).map_err(|_| Fault::verdict("a negative relation index"))?,
            ),
        };
        ok(self.ask()?.rows_changed_max(relation, rows))
    }
    fn rows_returned_max(&mut self, rows: u64) -> wasmtime::Result<()> {
        ok(self.ask()?.rows_returned_max(rows))
    }
    fn table_rows_max(
        &mut self,
        names: u32,
        pattern: u32,
        changed: i64,
        returned: i64,
    ) -> wasmtime::Result<()> {
        ok(self
            .ask()?
            .table_rows_max(names, pattern, changed, returned))
    }
    fn rate(
        &mut self,
        bucket: String,
        by: u64,
        burst: u32,
        period_ms: u64,
    ) -> wasmtime::Result<()> {
        ok(self.ask()?.rate(&bucket, by, burst, period_ms))
    }
    fn plan_max(&mut self, measure: u32, limit: f64) -> wasmtime::Result<()> {
        ok(self.ask()?.plan_max(measure, limit))
    }
    fn want_plan(&mut self) -> wasmtime::Result<()> {
        ok(self.ask()?.want_plan())
    }
    fn preview(&mut self, rows: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.preview(rows))
    }
    fn dry_run(&mut self) -> wasmtime::Result<()> {
        ok(self.ask()?.dry_run())
    }
    fn read_only(&mut self) -> wasmtime::Result<()> {
        ok(self.ask()?.read_only())
    }
    fn backup(&mut self, scope: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.backup(scope))
    }
    fn confirm(&mut self, ttl_ms: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.confirm(ttl_ms))
    }
    fn statement_timeout(&mut self, ms: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.statement_timeout(ms))
    }
    fn lock_timeout(&mut self, ms: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.lock_timeout(ms))
    }
    fn mask(&mut self, column: u32, method: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.mask(column, method))
    }
    fn learn(&mut self, learned: String) -> wasmtime::Result<()> {
        ok(self.ask()?.learn(&learned))
    }
}

impl response::Host for State {
    fn column(&mut self, name: String, type_oid: u32) -> wasmtime::Result<()> {
        ok(self.ask()?.column(&name, type_oid))
    }
    fn row(&mut self, values: Vec<Option<String>>) -> wasmtime::Result<()> {
        ok(self.ask()?.row(values))
    }
}

impl plan::Host for State {
    fn measure(&mut self, m: u32) -> wasmtime::Result<f64> {
        ok(self.ask()?.plan_measure(m))
    }
    fn json(&mut self) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.plan_json()?))
    }
}

impl event::Host for State {
    fn number(&mut self, field: u32) -> wasmtime::Result<u64> {
        ok(self.ask()?.event_number(field))
    }
    fn text(&mut self, field: u32) -> wasmtime::Result<String> {
        Ok(text(self.ask()?.event_text(field)?))
    }
}
