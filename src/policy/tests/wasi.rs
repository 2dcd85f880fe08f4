//! Components that import WASI and want to see the machine: they find nothing.
//!
//! Each asks for one thing, and refuses when it got anything of it.

use super::super::{FaultKind, Outcome};
use super::support::{Bench, House, core_importing, encode, select, shape, verdict};
use crate::config::Runtime;

/// The corner of WASI 0.2 that the components here import.
const WASI: &str = r"
package wasi:io@0.2.6 {
  interface error { resource error; }
  interface poll { resource pollable { ready: func() -> bool; block: func(); } }
  interface streams {
    use error.{error};
    use poll.{pollable};
    variant stream-error { last-operation-failed(error), closed }
    resource input-stream { read: func(len: u64) -> result<list<u8>, stream-error>; }
    resource output-stream {
      check-write: func() -> result<u64, stream-error>;
      blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
    }
  }
}
package wasi:cli@0.2.6 {
  interface environment {
    get-environment: func() -> list<tuple<string, string>>;
    get-arguments: func() -> list<string>;
    initial-cwd: func() -> option<string>;
  }
  interface exit { exit: func(status: result); }
  interface stdin { use wasi:io/streams@0.2.6.{input-stream}; get-stdin: func() -> input-stream; }
  interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }
}
package wasi:clocks@0.2.6 {
  interface wall-clock {
    record datetime { seconds: u64, nanoseconds: u32 }
    now: func() -> datetime;
  }
  interface monotonic-clock {
    use wasi:io/poll@0.2.6.{pollable};
    now: func() -> u64;
    subscribe-duration: func(when: u64) -> pollable;
  }
}
package wasi:random@0.2.6 {
  interface random { get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; }
}
package wasi:filesystem@0.2.6 {
  interface types {
    enum error-code { access, no-entry }
    resource descriptor { read: func(length: u64, offset: u64) -> result<tuple<list<u8>, bool>, error-code>; }
  }
  interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }
}
package wasi:sockets@0.2.6 {
  interface network { enum error-code { unknown, access-denied, not-supported } resource network; }
  interface instance-network { use network.{network}; instance-network: func() -> network; }
  interface tcp { resource tcp-socket; }
  interface tcp-create-socket {
    use network.{error-code};
    use tcp.{tcp-socket};
    enum family { ipv4, ipv6 }
    create-tcp-socket: func(family: family) -> result<tcp-socket, error-code>;
  }
  interface ip-name-lookup {
    use network.{network, error-code};
    resource found;
    resolve-addresses: func(network: borrow<network>, name: string) -> result<found, error-code>;
  }
}
package wasi:http@0.2.6 { interface outgoing { send: func(url: string) -> u32; } }
";

/// A component that imports these functions: interface, name, core signature, and the id.
fn component(imports: &[(&str, &str, &str, &str)], body: &str) -> Vec<u8> {
    let wit = include_str!("../../../wit/policy.wit");
    let mut interfaces: Vec<&str> = imports.iter().map(|(interface, ..)| *interface).collect();
    interfaces.dedup();
    let named = interfaces
        .iter()
        .map(|name| format!("import wasi:{name}@0.2.6;"));
    let world = format!(
        "world curious {{ include imports; {} export policy; }}",
        named.collect::<String>()
    );
    let lines = imports.iter().map(|(interface, name, signature, id)| {
        format!("(import \"wasi:{interface}@0.2.6\" \"{name}\" (func {id} {signature}))\n")
    });
    let core = core_importing(&lines.collect::<String>(), "", "i32.const 1024", body);
    encode(&core, &format!("{wit}\n{world}\n{WASI}"), "curious")
}

/// Judged once on the second engine.
fn asked(component: &[u8]) -> (Outcome, Bench) {
    let mut bench = House::aside(component).bench();
    let outcome = bench.ask(&select("1"));
    (outcome, bench)
}

/// Refuses when the word at this place is not zero.
const FOUND: &str = "(then (return (call $refuse))))";

#[test]
fn there_is_nothing_to_see() {
    let read_clock = format!(
        "(call $it (i32.const 2048)) (if (i64.ne (i64.load (i32.const 2048)) (i64.const 0)) {FOUND}
         (if (i32.load (i32.const 2056)) {FOUND} i32.const 0"
    );
    let list =
        format!("(call $it (i32.const 2048)) (if (i32.load (i32.const 2052)) {FOUND} i32.const 0");
    let option = format!(
        "(call $it (i32.const 2048)) (if (i32.load8_u (i32.const 2048)) {FOUND} i32.const 0"
    );
    let denied = |call: &str, code: i32| {
        format!(
            "{call} (if (i32.ne (i32.load8_u (i32.const 2048)) (i32.const 1)) {FOUND}
             (if (i32.ne (i32.load8_u (i32.const 2052)) (i32.const {code})) {FOUND} i32.const 0"
        )
    };
    let to = "(param i32)";
    let it = "$it";
    let cases: &[(&str, &[(&str, &str, &str, &str)], String)] = &[
        (
            "the environment",
            &[("cli/environment", "get-environment", to, it)],
            list.clone(),
        ),
        (
            "arguments",
            &[("cli/environment", "get-arguments", to, it)],
            list.clone(),
        ),
        (
            "the folder it was started in",
            &[("cli/environment", "initial-cwd", to, it)],
            option,
        ),
        (
            "folders",
            &[("filesystem/preopens", "get-directories", to, it)],
            list,
        ),
        (
            "the time",
            &[("clocks/wall-clock", "now", to, it)],
            read_clock,
        ),
        (
            "the time that passes",
            &[("clocks/monotonic-clock", "now", "(result i64)", it)],
            format!(
                "(local $n i32) (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
                 (br_if $again (i32.lt_u (local.get $n) (i32.const 1000))))
                 (if (i64.ne (call $it) (i64.const 0)) {FOUND} i32.const 0"
            ),
        ),
        (
            "what cannot be foreseen",
            &[("random/random", "get-random-u64", "(result i64)", it)],
            format!("(if (i64.ne (call $it) (call $it)) {FOUND} i32.const 0"),
        ),
        (
            "what is typed",
            &[
                ("cli/stdin", "get-stdin", "(result i32)", "$stdin"),
                (
                    "io/streams",
                    "[method]input-stream.read",
                    "(param i32 i64 i32)",
                    it,
                ),
            ],
            denied(
                "(call $it (call $stdin) (i64.const 100) (i32.const 2048))",
                1,
            ),
        ),
        (
            "a socket",
            &[(
                "sockets/tcp-create-socket",
                "create-tcp-socket",
                "(param i32 i32)",
                it,
            )],
            denied("(call $it (i32.const 0) (i32.const 2048))", 1),
        ),
        (
            "names of the network",
            &[
                (
                    "sockets/instance-network",
                    "instance-network",
                    "(result i32)",
                    "$network",
                ),
                (
                    "sockets/ip-name-lookup",
                    "resolve-addresses",
                    "(param i32 i32 i32 i32)",
                    it,
                ),
            ],
            denied(
                "(call $it (call $network) (i32.const 16) (i32.const 2) (i32.const 2048))",
                1,
            ),
        ),
    ];
    for (what, imports, body) in cases {
        let (outcome, mut bench) = asked(&component(imports, body));
        assert_eq!(verdict(&outcome), "permit", "{what} was seen");
        let Outcome::Permit(permit) = bench.ask(&select("2")) else {
            panic!("{what}")
        };
        assert!(permit.remembered(), "{what}: the same answer every time");
    }
}

#[test]
fn what_has_no_way_to_say_no_traps() {
    let cases: &[(&str, &[(&str, &str, &str, &str)], &str)] = &[
        (
            "ending the process",
            &[("cli/exit", "exit", "(param i32)", "$it")],
            "(call $it (i32.const 0)) i32.const 0",
        ),
        (
            "a file it made up",
            &[(
                "filesystem/types",
                "[method]descriptor.read",
                "(param i32 i64 i64 i32)",
                "$it",
            )],
            "(call $it (i32.const 3) (i64.const 10) (i64.const 0) (i32.const 2048)) i32.const 0",
        ),
        (
            "a request over the web",
            &[(
                "http/outgoing",
                "send",
                "(param i32 i32) (result i32)",
                "$it",
            )],
            "(drop (call $it (i32.const 16) (i32.const 2))) i32.const 0",
        ),
        (
            "more handles than anybody needs",
            &[("cli/stdout", "get-stdout", "(result i32)", "$it")],
            "(loop (drop (call $it)) br 0) i32.const 0",
        ),
        (
            "a gigabyte of random bytes",
            &[(
                "random/random",
                "get-random-bytes",
                "(param i64 i32)",
                "$it",
            )],
            "(call $it (i64.const 1073741824) (i32.const 2048)) i32.const 0",
        ),
    ];
    for (what, imports, body) in cases {
        let (outcome, _bench) = asked(&component(imports, body));
        let Outcome::Refuse(refused) = outcome else {
            panic!("{what} went well")
        };
        assert_eq!(refused.refusal.constraint(), "p/fault", "{what}");
    }
}

#[test]
fn a_flood_on_standard_output_goes_nowhere_and_ends() {
    let stdout: &[(&str, &str, &str, &str)] = &[
        ("cli/stdout", "get-stdout", "(result i32)", "$stdout"),
        (
            "io/streams",
            "[method]output-stream.blocking-write-and-flush",
            "(param i32 i32 i32 i32)",
            "$it",
        ),
    ];
    let line = "(call $it (local.get $out) (i32.const 16) (i32.const 4096) (i32.const 2048))";
    let once = format!(
        "(local $out i32) (local.set $out (call $stdout)) {line} (i32.load8_u (i32.const 2048))"
    );
    let (outcome, _bench) = asked(&component(stdout, &once));
    assert_eq!(verdict(&outcome), "permit", "as if it had been written");
    let flood =
        format!("(local $out i32) (local.set $out (call $stdout)) (loop {line} br 0) i32.const 0");
    let (outcome, _bench) = asked(&component(stdout, &flood));
    let Outcome::Refuse(refused) = outcome else {
        panic!("it never ends")
    };
    assert_eq!(refused.faults[0].1.kind, FaultKind::Timeout);
}

#[test]
fn all_memories_together_have_the_room() {
    // wit-component makes one memory; the bound is tried with what one may have.
    let body = "(if (i32.eq (memory.grow (i32.const 3900)) (i32.const -1)) (then unreachable))
                (if (i32.ne (memory.grow (i32.const 300)) (i32.const -1)) (then (return (call $refuse)))) i32.const 0";
    let (outcome, mut bench) = asked(&component(&[], body));
    // 243 of 256 MiB are there, and the next 18 are not.
    assert_eq!(verdict(&outcome), "permit");
    assert_eq!(verdict(&bench.ask(&shape(1))), "permit");
}

#[test]
fn an_ordinary_policy_gets_no_wasi_and_is_told_the_setting() {
    let curious = component(
        &[("cli/environment", "get-arguments", "(param i32)", "$it")],
        "(call $it (i32.const 2048)) i32.const 0",
    );
    let mut house = House::of(&curious);
    let errors = house.load().unwrap_err();
    assert!(
        errors[0].message.contains("wasi:cli/environment@0.2.6"),
        "{}",
        errors[0].message
    );
    assert!(
        errors[0].hint.contains("runtime = \"interpreted\""),
        "{}",
        errors[0].hint
    );
    house.config.policies[0].runtime = Runtime::Interpreted;
    assert!(house.load().is_ok());
}

#[test]
fn what_is_not_wasi_is_imported_nowhere() {
    let wit = include_str!("../../../wit/policy.wit");
    let wit = format!(
        "{wit}\nworld curious {{ include imports; import other:host/files@1.0.0; export policy; }}
         package other:host@1.0.0 {{ interface files {{ open: func() -> u32; }} }}"
    );
    let import = r#"(import "other:host/files@1.0.0" "open" (func $it (result i32)))"#;
    let core = core_importing(
        import,
        "",
        "i32.const 1024",
        "(drop (call $it)) i32.const 0",
    );
    let component = encode(&core, &wit, "curious");
    for runtime in [Runtime::Ordinary, Runtime::Interpreted] {
        let mut house = House::of(&component);
        house.config.policies[0].runtime = runtime;
        let errors = house.load().unwrap_err();
        assert!(
            errors[0].message.contains("other:host/files"),
            "{runtime:?}"
        );
    }
}
