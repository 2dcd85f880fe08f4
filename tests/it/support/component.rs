//! Policies from WebAssembly text: small, and as badly behaved as a test needs.

/// A component whose `judge` is this text; `(call $refuse)` refuses by the rule `no`.
pub fn policy(judge: &str) -> Vec<u8> {
    let text = module("", "i32.const 1024", judge);
    encode(&wat::parse_str(text).expect("WebAssembly text"), "simple")
}

/// Like [`policy`], with imports.
pub fn importing(imports: &str, judge: &str) -> Vec<u8> {
    let text = module("", "i32.const 1024", judge);
    let text = text.replacen("(memory (export", &format!("{imports}\n(memory (export"), 1);
    encode(&wat::parse_str(text).expect("WebAssembly text"), "simple")
}

/// A component that lets every statement pass and whose connection hook is this text.
/// `(call $is_bad)` says whether the application calls itself `bad`.
pub fn connection_policy(hook: &str) -> Vec<u8> {
    hooks("i32.const 0", hook, "i32.const 0", "")
}

/// A component that lets everything pass and whose event hook is this text;
/// `(call $number (i32.const 1))` is the outcome of the statement.
pub fn event_policy(hook: &str) -> Vec<u8> {
    hooks("i32.const 0", "i32.const 0", "i32.const 0", hook)
}

/// A component that wants the plan of every statement and judges it by this text;
/// `(call $measure (i32.const 1))` is its total cost.
pub fn plan_policy(hook: &str) -> Vec<u8> {
    hooks("(call $want_plan) i32.const 0", "i32.const 0", hook, "")
}

fn hooks(judge: &str, connection: &str, plan: &str, observe: &str) -> Vec<u8> {
    let extra = format!(
        r#"(global $bad (mut i32) (i32.const 0))
        (func $is_bad (result i32) (i32.eq (call $application) (global.get $bad)))
        (func (export "portcullis:policy/connection-hook@0.1.0#judge-connection") (result i32) {connection})
        (func (export "portcullis:policy/plan-hook@0.1.0#judge-plan") (result i32) {plan})
        (func (export "portcullis:policy/event-hook@0.1.0#observe") {observe})
        (data (i32.const 64) "bad")"#
    );
    let configure = "(global.set $bad (call $intern (i32.const 64) (i32.const 3))) i32.const 1024";
    let text = module(&extra, configure, judge);
    encode(&wat::parse_str(text).expect("WebAssembly text"), "full")
}

fn module(extra: &str, configure: &str, judge: &str) -> String {
    let hooked = if extra.is_empty() {
        ""
    } else {
        r#"(import "portcullis:policy/client@0.1.0" "application" (func $application (result i32)))
        (import "portcullis:policy/setup@0.1.0" "intern" (func $intern (param i32 i32) (result i32)))
        (import "portcullis:policy/plan@0.1.0" "measure" (func $measure (param i32) (result f64)))
        (import "portcullis:policy/event@0.1.0" "number" (func $number (param i32) (result i64)))
        (import "portcullis:policy/verdict@0.1.0" "want-plan" (func $want_plan))"#
    };
    format!(
        r#"(module
        (import "portcullis:policy/verdict@0.1.0" "reason"
            (func $reason (param i32 i32 i32 i32 i32 i32)))
        {hooked}
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 8192))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
            global.get $next
            (global.set $next (i32.add (global.get $next) (local.get 3))))
        (func $refuse (result i32)
            (call $reason (i32.const 16) (i32.const 2) (i32.const 32) (i32.const 10) (i32.const 48) (i32.const 0))
            i32.const 1)
        {extra}
        (func (export "portcullis:policy/policy@0.1.0#configure") (param i32 i32) (result i32) {configure})
        (func (export "portcullis:policy/policy@0.1.0#judge") (param i32 i64 i64) (result i32) {judge})
        (data (i32.const 16) "no")
        (data (i32.const 32) "it says no"))"#
    )
}

fn encode(core: &[u8], world: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let interface = include_str!("../../../wit/policy.wit");
    let package = resolve
        .push_str("policy.wit", interface)
        .expect("the interface");
    let world = resolve
        .select_world(&[package], Some(world))
        .expect("its world");
    let mut module = core.to_vec();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding)
        .expect("metadata");
    wit_component::ComponentEncoder::default()
        .module(&module)
        .expect("a module")
        .validate(true)
        .encode()
        .expect("a component")
}
