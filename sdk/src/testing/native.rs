//! The gate's own implementation of the questions, behind the SDK's functions.
//!
//! What would trap a component is noted as the fault of the call; the policy
//! meanwhile gets an empty answer and its verdict counts for nothing.

use std::cell::RefCell;

use portcullis::model::Decision;
use portcullis::policy::{Ask, Fault, Judged, NativeHost, Setup, Subject};

use crate::host::Host;

/// Where a policy is in its life.
enum Stage {
    Configuring(Setup),
    Waiting(NativeHost),
    Judging(NativeHost, Box<Ask>),
    Between,
}

/// One policy's host.
pub(super) struct Native {
    stage: RefCell<Stage>,
    fault: RefCell<Option<Fault>>,
}

impl Native {
    pub(super) fn new() -> Native {
        Native {
            stage: RefCell::new(Stage::Configuring(Setup::new())),
            fault: RefCell::new(None),
        }
    }

    /// Ends `configure`.
    pub(super) fn configured(&self) -> Result<(), Fault> {
        let stage = self.stage.replace(Stage::Between);
        if let Stage::Configuring(setup) = stage {
            self.stage
                .replace(Stage::Waiting(NativeHost::new("policy", setup)));
        }
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Begins a call; the three scalars it is made with.
    pub(super) fn begin(&self, subject: Subject) -> (u32, u64, u64) {
        match self.stage.replace(Stage::Between) {
            Stage::Waiting(host) | Stage::Judging(host, _) => {
                let ask = host.ask(subject);
                let shape = ask.shape();
                self.stage.replace(Stage::Judging(host, Box::new(ask)));
                shape
            }
            _ => panic!("a policy is configured before it judges"),
        }
    }

    /// Ends the call.
    pub(super) fn finish(&self, decision: Decision) -> Result<Judged, Fault> {
        let Stage::Judging(host, ask) = self.stage.replace(Stage::Between) else {
            panic!("no call was begun");
        };
        self.stage.replace(Stage::Waiting(host));
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => ask.finish(decision),
        }
    }

    fn ask<T>(&self, question: impl FnOnce(&mut Ask) -> T) -> T {
        match &mut *self.stage.borrow_mut() {
            Stage::Judging(_, ask) => question(ask),
            _ => panic!("a statement can be asked about only in `judge` and its hooks"),
        }
    }

    fn setup<T>(&self, question: impl FnOnce(&mut Setup) -> T) -> T {
        match &mut *self.stage.borrow_mut() {
            Stage::Configuring(setup) => question(setup),
            _ => panic!("names, networks and windows are registered in `configure`"),
        }
    }

    fn note<T: Default>(&self, answer: Result<T, Fault>) -> T {
        answer.unwrap_or_else(|fault| {
            self.fault.borrow_mut().get_or_insert(fault);
            T::default()
        })
    }

    fn index(&self, answer: Result<Option<u32>, Fault>) -> i32 {
        self.note(answer)
            .and_then(|index| i32::try_from(index).ok())
            .unwrap_or(-1)
    }
}

fn optional(index: i32) -> Option<u32> {
    u32::try_from(index).ok()
}

impl Host for Native {
    fn intern(&self, name: &str) -> u32 {
        self.note(self.setup(|setup| setup.intern(name)))
    }
    fn names(&self, patterns: &[String]) -> Result<u32, String> {
        self.setup(|setup| setup.names(patterns))
            .unwrap_or_else(|fault| Err(fault.to_string()))
    }
    fn networks(&self, cidrs: &[String]) -> Result<u32, String> {
        self.setup(|setup| setup.networks(cidrs))
            .unwrap_or_else(|fault| Err(fault.to_string()))
    }
    fn windows(&self, specs: &[String]) -> Result<u32, String> {
        self.setup(|setup| setup.windows(specs))
            .unwrap_or_else(|fault| Err(fault.to_string()))
    }

    fn dialect(&self) -> u32 {
        self.ask(Ask::dialect)
    }
    fn predicate(&self) -> u32 {
        self.ask(Ask::predicate)
    }
    fn relations(&self) -> u32 {
        self.ask(Ask::relations)
    }
    fn relation_at(&self, index: u32) -> (u32, u32, u64, u32) {
        let view = self.ask(|ask| ask.relation_at(index));
        self.note(view.map(|view| (view.schema, view.name, view.access, view.via)))
    }
    fn find(&self, names: u32, access: u64, start: u32) -> i32 {
        self.index(self.ask(|ask| ask.find(names, access, start)))
    }
    fn pattern(&self, index: u32, names: u32) -> i32 {
        self.index(self.ask(|ask| ask.pattern(index, names)))
    }
    fn find_column(&self, names: u32, start: u32) -> i32 {
        self.index(self.ask(|ask| ask.find_column(names, start)))
    }
    fn find_column_use(&self, names: u32, uses: u64, start: u32) -> i32 {
        self.index(self.ask(|ask| ask.find_column_use(names, uses, start)))
    }
    fn find_unlisted_function(&self, names: u32, start: u32) -> i32 {
        self.index(self.ask(|ask| ask.find_unlisted_function(names, start)))
    }
    fn function_name(&self, index: u32) -> String {
        self.note(self.ask(|ask| ask.function_name(index)))
            .to_string()
    }
    fn find_setting(&self, names: u32, start: u32) -> i32 {
        self.index(self.ask(|ask| ask.find_setting(names, start)))
    }
    fn setting_value(&self, index: u32) -> Option<String> {
        self.note(self.ask(|ask| ask.setting_value(index)))
            .map(|value| value.to_string())
    }
    fn find_function(&self, names: u32, start: u32) -> i32 {
        self.index(self.ask(|ask| ask.find_function(names, start)))
    }
    fn name(&self, symbol: u32) -> String {
        self.note(
            self.ask(|ask| ask.name(symbol))
                .map(|name| name.to_string()),
        )
    }
    fn normalized(&self) -> String {
        self.ask(Ask::normalized).to_string()
    }
    fn find_access(&self, access: u64, start: u32) -> i32 {
        self.index(Ok(self.ask(|ask| ask.find_access(access, start))))
    }
    fn limit(&self) -> i64 {
        self.ask(Ask::limit)
            .and_then(|limit| i64::try_from(limit).ok())
            .unwrap_or(-1)
    }
    fn shape_in(&self, learned: &str) -> bool {
        self.ask(|ask| ask.shape_in(learned))
    }

    fn user(&self) -> u32 {
        self.ask(Ask::user)
    }
    fn database(&self) -> u32 {
        self.ask(Ask::database)
    }
    fn user_in(&self, names: u32) -> i32 {
        self.index(self.ask(|ask| ask.user_in(names)))
    }
    fn address_in(&self, networks: u32) -> i32 {
        self.index(self.ask(|ask| ask.address_in(networks)))
    }
    fn address(&self) -> String {
        self.ask(Ask::address)
    }
    fn role(&self) -> u32 {
        self.ask(Ask::role)
    }
    fn application(&self) -> u32 {
        self.ask(Ask::application)
    }
    fn transaction(&self) -> u32 {
        self.ask(Ask::transaction)
    }
    fn setting(&self, name: &str) -> Option<String> {
        self.ask(|ask| ask.setting(name))
            .map(|value| value.to_string())
    }

    fn features(&self) -> u64 {
        self.ask(Ask::features)
    }
    fn row_limit_at_most(&self, n: u64) -> bool {
        self.ask(|ask| ask.row_limit_at_most(n))
    }
    fn literals(&self) -> u32 {
        self.ask(Ask::literals)
    }
    fn literal(&self, index: u32) -> String {
        self.note(
            self.ask(|ask| ask.literal(index))
                .map(|text| text.to_string()),
        )
    }
    fn parameters(&self) -> i32 {
        self.index(Ok(self.ask(Ask::parameters)))
    }
    fn parameter(&self, index: u32) -> Option<String> {
        self.note(self.ask(|ask| ask.parameter(index)))
    }
    fn text(&self) -> String {
        self.ask(Ask::text).to_string()
    }
    fn mentions(&self, names: u32) -> i32 {
        self.index(self.ask(|ask| ask.mentions(names)))
    }

    fn in_window(&self, windows: u32) -> i32 {
        self.index(self.ask(|ask| ask.in_window(windows)))
    }
    fn next_edge(&self, windows: u32) -> String {
        self.note(self.ask(|ask| ask.next_edge(windows)))
            .to_string()
    }
    fn before(&self, unix_ms: u64) -> bool {
        self.ask(|ask| ask.before(unix_ms))
    }
    fn counter(&self, name: &str) -> u64 {
        self.ask(|ask| ask.counter(name))
    }
    fn log(&self, level: u32, text: &str) {
        match &mut *self.stage.borrow_mut() {
            Stage::Judging(_, ask) => ask.log(level, text),
            _ => println!("log {level}: {text}"),
        }
    }
    fn measure(&self, measure: u32) -> f64 {
        self.note(self.ask(|ask| ask.plan_measure(measure)))
    }
    fn plan_json(&self) -> String {
        self.note(self.ask(Ask::plan_json).map(|json| json.to_string()))
    }
    fn event_number(&self, field: u32) -> u64 {
        self.note(self.ask(|ask| ask.event_number(field)))
    }
    fn event_text(&self, field: u32) -> String {
        self.note(self.ask(|ask| ask.event_text(field).map(|text| text.to_string())))
    }

    fn reason(&self, rule: &str, message: &str, hint: &str) {
        self.note(self.ask(|ask| ask.reason(rule, message, hint)));
    }
    fn disguise(&self, as_code: u32) {
        self.note(self.ask(|ask| ask.disguise(as_code)));
    }
    fn notice(&self, rule: &str, text: &str) {
        self.note(self.ask(|ask| ask.notice(rule, text)));
    }
    fn alert(&self, rule: &str, severity: u32) {
        self.note(self.ask(|ask| ask.alert(rule, severity)));
    }
    fn rows_changed_max(&self, relation: i32, rows: u64) {
        self.note(self.ask(|ask| ask.rows_changed_max(optional(relation), rows)));
    }
    fn rows_returned_max(&self, rows: u64) {
        self.note(self.ask(|ask| ask.rows_returned_max(rows)));
    }
    fn table_rows_max(&self, names: u32, pattern: u32, changed: i64, returned: i64) {
        self.note(self.ask(|ask| ask.table_rows_max(names, pattern, changed, returned)));
    }
    fn rate(&self, bucket: &str, by: u64, burst: u32, period_ms: u64) {
        self.note(self.ask(|ask| ask.rate(bucket, by, burst, period_ms)));
    }
    fn plan_max(&self, measure: u32, limit: f64) {
        self.note(self.ask(|ask| ask.plan_max(measure, limit)));
    }
    fn want_plan(&self) {
        self.note(self.ask(Ask::want_plan));
    }
    fn preview(&self, rows: u32) {
        self.note(self.ask(|ask| ask.preview(rows)));
    }
    fn dry_run(&self) {
        self.note(self.ask(Ask::dry_run));
    }
    fn read_only(&self) {
        self.note(self.ask(Ask::read_only));
    }
    fn backup(&self, scope: u32) {
        self.note(self.ask(|ask| ask.backup(scope)));
    }
    fn confirm(&self, ttl_ms: u32) {
        self.note(self.ask(|ask| ask.confirm(ttl_ms)));
    }
    fn statement_timeout(&self, ms: u32) {
        self.note(self.ask(|ask| ask.statement_timeout(ms)));
    }
    fn lock_timeout(&self, ms: u32) {
        self.note(self.ask(|ask| ask.lock_timeout(ms)));
    }
    fn mask(&self, column: u32, method: u32) {
        self.note(self.ask(|ask| ask.mask(column, method)));
    }
    fn learn(&self, learned: &str) {
        self.note(self.ask(|ask| ask.learn(learned)));
    }
    fn response_column(&self, name: &str, type_oid: u32) {
        self.note(self.ask(|ask| ask.column(name, type_oid)));
    }
    fn response_row(&self, values: &[Option<String>]) {
        self.note(self.ask(|ask| ask.row(values.to_vec())));
    }
}
