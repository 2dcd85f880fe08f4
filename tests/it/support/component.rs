//! Policies from WebAssembly text: small, and as badly behaved as a test needs.

/// A component whose `judge` is this text; `(call $refuse)` refuses by the rule `no`.
pub fn policy(judge: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "portcullis:policy/verdict@0.1.0" "reason"
            (func $reason (param i32 i32 i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 8192))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
            global.get $next
            (global.set $next (i32.add (global.get $next) (local.get 3))))
        (func $refuse (result i32)
            (call $reason (i32.const 16) (i32.const 2) (i32.const 32) (i32.const 9) (i32.const 48) (i32.const 0))
            i32.const 1)
        (func (export "portcullis:policy/policy@0.1.0#configure") (param i32 i32) (result i32) i32.const 1024)
        (func (export "portcullis:policy/policy@0.1.0#judge") (param i32 i64 i64) (result i32) {judge})
        (data (i32.const 16) "no")
        (data (i32.const 32) "it says no"))"#
    );
    encode(&wat::parse_str(text).expect("WebAssembly text"))
}

fn encode(core: &[u8]) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let interface = include_str!("../../../wit/policy.wit");
    let package = resolve
        .push_str("policy.wit", interface)
        .expect("the interface");
    let world = resolve
        .select_world(&[package], Some("simple"))
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
