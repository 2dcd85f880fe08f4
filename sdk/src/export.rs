//! The macro that makes a crate a policy.

/// Makes the crate a policy: `export!(MyPolicy)`. Optional hooks follow by
/// name, any of them: `export!(MyPolicy, connection, plan, events)`.
///
/// Component exports exist only for WebAssembly: two policies linked into one
/// native test would collide.
#[macro_export]
macro_rules! export {
    ($policy:ty $(, $hook:ident)* $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $policy;
            ::std::thread_local! {
                static POLICY: $crate::guest::Slot<Exported> = const { $crate::guest::Slot::new() };
            }
            struct Component;
            $crate::__export_hook!(policy);
            $($crate::__export_hook!($hook);)*
        };

        #[cfg(not(target_arch = "wasm32"))]
        impl $crate::guest::Exported for $policy {
            $($crate::__native_hook!($hook);)*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __native_hook {
    (connection) => {
        fn connection(
            slot: &$crate::guest::Slot<Self>,
        ) -> ::std::option::Option<$crate::guest::Delivered> {
            ::std::option::Option::Some(slot.judge_connection())
        }
    };
    (plan) => {
        fn plan(
            slot: &$crate::guest::Slot<Self>,
        ) -> ::std::option::Option<$crate::guest::Delivered> {
            ::std::option::Option::Some(slot.judge_plan())
        }
    };
    (events) => {
        fn observe(slot: &$crate::guest::Slot<Self>) -> bool {
            slot.observe();
            true
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (policy) => {
        use $crate::bindings::simple::{exports::portcullis::policy::policy, portcullis::policy::types};

        impl policy::Guest for Component {
            fn configure(settings: ::std::string::String) -> Result<(), ::std::vec::Vec<types::Issue>> {
                $crate::guest::report_panics();
                let made = POLICY.with(|slot| slot.configure(&settings));
                made.map_err(|issues| {
                    let issue = |i: $crate::Issue| types::Issue { path: i.path, message: i.message, hint: i.hint };
                    issues.into_iter().map(issue).collect()
                })
            }

            fn judge(kind: u32, effects: u64, traits: u64) -> types::Decision {
                $crate::__decision!(simple, POLICY.with(|slot| slot.judge(kind, effects, traits)))
            }
        }
        $crate::bindings::simple::export_simple!(Component with_types_in $crate::bindings::simple);
    };
    (connection) => {
        impl $crate::bindings::with_connection::exports::portcullis::policy::connection_hook::Guest for Component {
            fn judge_connection() -> $crate::bindings::with_connection::portcullis::policy::types::Decision {
                $crate::__decision!(with_connection, POLICY.with(|slot| slot.judge_connection()))
            }
        }
        $crate::bindings::with_connection::export_with_connection!(
            Component with_types_in $crate::bindings::with_connection
        );
    };
    (events) => {
        impl $crate::bindings::with_events::exports::portcullis::policy::event_hook::Guest for Component {
            fn observe() {
                POLICY.with(|slot| slot.observe());
            }
        }
        $crate::bindings::with_events::export_with_events!(Component with_types_in $crate::bindings::with_events);
    };
    (plan) => {
        impl $crate::bindings::with_plan::exports::portcullis::policy::plan_hook::Guest for Component {
            fn judge_plan() -> $crate::bindings::with_plan::portcullis::policy::types::Decision {
                $crate::__decision!(with_plan, POLICY.with(|slot| slot.judge_plan()))
            }
        }
        $crate::bindings::with_plan::export_with_plan!(Component with_types_in $crate::bindings::with_plan);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __decision {
    ($world:ident, $delivered:expr) => {
        match $delivered {
            $crate::guest::Delivered::Pass => {
                $crate::bindings::$world::portcullis::policy::types::Decision::Pass
            }
            $crate::guest::Delivered::Refuse => {
                $crate::bindings::$world::portcullis::policy::types::Decision::Refuse
            }
            $crate::guest::Delivered::Respond => {
                $crate::bindings::$world::portcullis::policy::types::Decision::Respond
            }
        }
    };
}
