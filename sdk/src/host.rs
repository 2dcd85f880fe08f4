//! The gate's side of the interface as plain functions.
//!
//! Compiled to WebAssembly they are the imports of the component. Natively
//! they go to whatever [`Host`] the thread has installed: the `testing`
//! feature installs the gate's own implementation. The syntax tree (`ast.get`)
//! is not here yet.

macro_rules! host {
    ($($(#[$meta:meta])* $module:ident::$function:ident as $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+) => {
        $(
            #[cfg(target_arch = "wasm32")]
            #[inline]
            pub(crate) fn $name($($argument: $type),*) $(-> $result)? {
                crate::bindings::simple::portcullis::policy::$module::$function($($argument),*)
            }

            #[cfg(not(target_arch = "wasm32"))]
            pub(crate) fn $name($($argument: $type),*) $(-> $result)? {
                native::with(|host| host.$name($($argument),*))
            }
        )+

        /// Everything a policy can ask or say, one method per function of the interface.
        #[cfg(not(target_arch = "wasm32"))]
        pub trait Host {
            $(
                #[doc = concat!("`", stringify!($module), ".", stringify!($function), "`.")]
                fn $name(&self, $($argument: $type),*) $(-> $result)?;
            )+

            /// `statement.relation-at`: schema, name, access, via.
            fn relation_at(&self, index: u32) -> (u32, u32, u64, u32);
        }

        /// Each question goes to the program and back.
        #[cfg(all(feature = "program", not(feature = "testing"), not(target_arch = "wasm32")))]
        impl Host for crate::testing::Program {
            $(
                fn $name(&self, $($argument: $type),*) $(-> $result)? {
                    self.call(stringify!($name), serde_json::json!([$($argument),*]))
                }
            )+

            fn relation_at(&self, index: u32) -> (u32, u32, u64, u32) {
                self.call("relation_at", serde_json::json!([index]))
            }
        }
    };
}

host! {
    setup::intern as intern(name: &str) -> u32;
    setup::names as names(patterns: &[String]) -> Result<u32, String>;
    setup::networks as networks(cidrs: &[String]) -> Result<u32, String>;
    setup::windows as windows(specs: &[String]) -> Result<u32, String>;
    statement::dialect as dialect() -> u32;
    statement::predicate as predicate() -> u32;
    statement::relations as relations() -> u32;
    statement::find as find(names: u32, access: u64, start: u32) -> i32;
    statement::pattern as pattern(index: u32, names: u32) -> i32;
    statement::find_column as find_column(names: u32, start: u32) -> i32;
    statement::find_function as find_function(names: u32, start: u32) -> i32;
    statement::name as name(symbol: u32) -> String;
    statement::normalized as normalized() -> String;
    statement::find_access as find_access(access: u64, start: u32) -> i32;
    statement::limit as limit() -> i64;
    statement::shape_in as shape_in(learned: &str) -> bool;
    statement::find_column_use as find_column_use(names: u32, uses: u64, start: u32) -> i32;
    statement::find_unlisted_function as find_unlisted_function(names: u32, start: u32) -> i32;
    statement::function_name as function_name(index: u32) -> String;
    statement::find_setting as find_setting(names: u32, start: u32) -> i32;
    statement::setting_value as setting_value(index: u32) -> Option<String>;
    client::user as user() -> u32;
    client::database as database() -> u32;
    client::user_in as user_in(names: u32) -> i32;
    client::address_in as address_in(networks: u32) -> i32;
    client::address as address() -> String;
    client::role as role() -> u32;
    client::application as application() -> u32;
    client::transaction as transaction() -> u32;
    client::setting as setting(name: &str) -> Option<String>;
    values::features as features() -> u64;
    values::row_limit_at_most as row_limit_at_most(n: u64) -> bool;
    values::literals as literals() -> u32;
    values::literal as literal(index: u32) -> String;
    values::parameters as parameters() -> i32;
    values::parameter as parameter(index: u32) -> Option<String>;
    values::text as text() -> String;
    values::mentions as mentions(names: u32) -> i32;
    clock::in_window as in_window(windows: u32) -> i32;
    clock::before as before(unix_ms: u64) -> bool;
    clock::next_edge as next_edge(windows: u32) -> String;
    counters::read as counter(name: &str) -> u64;
    log::write as log(level: u32, text: &str);
    verdict::reason as reason(rule: &str, message: &str, hint: &str);
    verdict::disguise as disguise(as_code: u32);
    verdict::notice as notice(rule: &str, text: &str);
    verdict::alert as alert(rule: &str, severity: u32);
    verdict::rows_changed_max as rows_changed_max(relation: i32, rows: u64);
    verdict::rows_returned_max as rows_returned_max(rows: u64);
    verdict::table_rows_max as table_rows_max(names: u32, pattern: u32, changed: i64, returned: i64);
    verdict::rate as rate(bucket: &str, by: u64, burst: u32, period_ms: u64);
    verdict::plan_max as plan_max(measure: u32, limit: f64);
    verdict::want_plan as want_plan();
    verdict::preview as preview(rows: u32);
    verdict::dry_run as dry_run();
    verdict::read_only as read_only();
    verdict::backup as backup(scope: u32);
    verdict::confirm as confirm(ttl_ms: u32);
    verdict::statement_timeout as statement_timeout(ms: u32);
    verdict::lock_timeout as lock_timeout(ms: u32);
    verdict::mask as mask(column: u32, method: u32);
    verdict::learn as learn(learned: &str);
    response::column as response_column(name: &str, type_oid: u32);
    response::row as response_row(values: &[Option<String>]);
    plan::measure as measure(measure: u32) -> f64;
    plan::json as plan_json() -> String;
    event::number as event_number(field: u32) -> u64;
    event::text as event_text(field: u32) -> String;
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn relation_at(index: u32) -> (u32, u32, u64, u32) {
    let relation = crate::bindings::simple::portcullis::policy::statement::relation_at(index);
    (
        relation.schema,
        relation.name,
        relation.access,
        relation.via,
    )
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::install;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::relation_at;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::Host;

    thread_local! {
        static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
    }

    /// Answers the questions of policies that run on this thread inside `body`.
    pub fn install<T>(host: Rc<dyn Host>, body: impl FnOnce() -> T) -> T {
        struct Restore(Option<Rc<dyn Host>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let before = self.0.take();
                HOST.with(|slot| *slot.borrow_mut() = before);
            }
        }
        let _restore = Restore(HOST.with(|slot| slot.borrow_mut().replace(host)));
        body()
    }

    pub(super) fn with<T>(ask: impl FnOnce(&dyn Host) -> T) -> T {
        let host = HOST.with(|slot| slot.borrow().clone());
        let host = host.expect("a policy can ask only while it is judging; see `testing`");
        ask(&*host)
    }

    pub(crate) fn relation_at(index: u32) -> (u32, u32, u64, u32) {
        with(|host| host.relation_at(index))
    }
}
