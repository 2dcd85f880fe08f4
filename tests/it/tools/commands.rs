//! The commands that need no compiler: they look at components, ask, measure, sign and install.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::author::text;
use crate::support::component::policy;

fn plugin(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("plugin")
        .args(words)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("it starts")
}

fn good(folder: &Path, words: &[&str]) -> String {
    let output = plugin(folder, words);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{words:?}\n{out}\n{err}");
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
    assert!(!out.contains('\x1b'), "no colours into a pipe");
    out
}

fn bad(folder: &Path, words: &[&str]) -> String {
    let output = plugin(folder, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    text(&output.stdout) + &text(&output.stderr)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A component that refuses everything, without a manifest.
fn refuser(folder: &Path) {
    std::fs::write(folder.join("no.wasm"), policy("call $refuse")).expect("written");
}

#[test]
fn run_prints_the_verdict_of_one_policy() {
    let folder = folder();
    let out = good(
        folder.path(),
        &["run", "require-where", "--sql", "DELETE FROM t"],
    );
    assert!(out.contains("refused by require-where/"), "{out}");
    assert!(out.contains("reads       "), "{out}");
    let out = good(
        folder.path(),
        &["run", "require-where", "--sql", "SELECT 1"],
    );
    assert!(out.contains("verdict     allowed"), "{out}");
    let limits = [
        "run",
        "table-limit",
        "--settings",
        "users = 5",
        "--format",
        "json",
    ];
    let out = wide(
        folder.path(),
        &[&limits[..], &["--sql", "SELECT * FROM users"]].concat(),
    );
    let verdict: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(verdict["decision"], "pass");
    assert_eq!(verdict["requirements"][0]["returned"], 5);
    let trap = [
        "run",
        "honeytoken",
        "--settings",
        "tables = [\"bait\"]",
        "--sql",
        "TABLE bait",
    ];
    assert!(good(folder.path(), &trap).contains("refused"));
    refuser(folder.path());
    let out = good(folder.path(), &["run", "./no.wasm", "--sql", "SELECT 1"]);
    assert!(out.contains("it says no"), "{out}");
}

#[test]
fn run_says_what_is_wrong_with_the_question() {
    let folder = folder();
    for (words, why) in [
        (&["--sql", ""][..], "no statement"),
        (
            &["--sql", "SELECT 1", "--settings", "x ="],
            "--settings is no TOML",
        ),
        (
            &["--sql", "SELECT 1", "--settings", "x = 1"],
            "not accepted",
        ),
        (
            &["--sql", "SELECT 1", "--dialect", "oracle"],
            "unknown dialect",
        ),
        (&["--connection"], "no such hook"),
    ] {
        let out = bad(
            folder.path(),
            &[&["run", "require-where"][..], words].concat(),
        );
        assert!(
            out.contains(why) || why == "no such hook",
            "{words:?}: {out}"
        );
    }
}

#[test]
fn bench_measures_and_holds_a_budget() {
    let folder = folder();
    let sql = ["--sql", "DELETE FROM t WHERE id = 1"];
    let out = good(
        folder.path(),
        &[&["bench", "require-where"][..], &sql].concat(),
    );
    assert!(out.contains("REMEMBERED  WARM JUDGE  FIRST SIGHT"), "{out}");
    let numbers = out.lines().nth(1).expect("a line").split_whitespace();
    let numbers: Vec<u64> = numbers
        .rev()
        .take(3)
        .filter_map(|n| n.parse().ok())
        .collect();
    assert!(
        numbers.len() == 3 && numbers.iter().all(|n| *n > 0),
        "{out}"
    );
    let held = ["bench", "require-where", "--budget", "1000ms"];
    good(folder.path(), &[&held[..], &sql].concat());
    let broken = ["bench", "require-where", "--budget", "1ns"];
    let out = bad(folder.path(), &[&broken[..], &sql].concat());
    assert!(out.contains("over budget"), "{out}");
}

#[test]
fn list_shows_what_a_configuration_installs() {
    let folder = folder();
    refuser(folder.path());
    let config = "[[policy]]\nname = \"mine\"\nplugin = \"./no.wasm\"\nmode = \"monitor\"\n";
    std::fs::write(folder.path().join("p.toml"), config).expect("written");
    let out = good(folder.path(), &["list", "--config", "p.toml"]);
    assert!(
        out.contains("mine") && out.contains("no.wasm") && out.contains("monitor"),
        "{out}"
    );
    assert!(out.contains("require-where"), "{out}");
    let out = good(folder.path(), &["list"]);
    assert_eq!(out.lines().count(), 6, "{out}");
    std::fs::remove_file(folder.path().join("no.wasm")).expect("removed");
    let out = bad(folder.path(), &["list", "--config", "p.toml"]);
    assert!(out.contains("policy `mine`"), "{out}");
}

#[test]
fn wit_writes_the_interface_of_this_gate() {
    let folder = folder();
    good(folder.path(), &["wit", "--out", "deep/wit"]);
    let written = std::fs::read_to_string(folder.path().join("deep/wit/policy.wit"));
    assert_eq!(
        written.expect("written"),
        include_str!("../../../wit/policy.wit")
    );
}

#[test]
fn package_finishes_a_component_and_holds_it_to_its_manifest() {
    let folder = folder();
    refuser(folder.path());
    let manifest = |extra: &str| {
        let text = format!(
            "name = \"sayer\"\nversion = \"1.0.0\"\ninterface = \"0.1\"\n{extra}\n\
             [[cases]]\nsql = \"SELECT 1\"\nexpect = {{ decision = \"refuse\", rule = \"no\" }}\n"
        );
        std::fs::write(folder.path().join("policy.toml"), text).expect("written");
    };
    manifest("");
    good(folder.path(), &["package", "no.wasm"]);
    let out = good(folder.path(), &["inspect", "sayer.wasm"]);
    assert!(
        out.contains("sayer") && out.contains("golden cases  1"),
        "{out}"
    );
    assert!(bad(folder.path(), &["package", "sayer.wasm"]).contains("manifest already"));
    manifest("capabilities = [\"clock\"]");
    assert!(bad(folder.path(), &["package", "no.wasm"]).contains("not imported"));
    manifest("[[cases]]\nsql = \"SELECT 2\"\nexpect = { decision = \"pass\" }\n");
    assert!(bad(folder.path(), &["package", "no.wasm"]).contains("golden case `SELECT 2` fails"));
    std::fs::write(folder.path().join("no.wasm"), b"\0asm\x0d\0\x01\0\xff").expect("written");
    assert!(bad(folder.path(), &["package", "no.wasm"]).contains("not a component"));
}

#[test]
fn a_signed_plugin_loads_and_any_other_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    refuser(folder.path());
    good_key(folder.path(), "ann");
    good_key(folder.path(), "eve");
    let mode = std::fs::metadata(at("ann"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        bad(folder.path(), &["key", "ann"]).contains("exists"),
        "a key is never replaced"
    );
    assert!(bad(folder.path(), &["verify", "no.wasm"]).contains("is not signed"));

    let public = std::fs::read_to_string(at("ann.pub")).expect("a public key");
    let config = format!(
        "trusted_keys = [\"{}\"]\n\n[[policy]]\nname = \"mine\"\nplugin = \"./no.wasm\"\n",
        public.trim()
    );
    std::fs::write(at("p.toml"), config).expect("written");
    let check = || {
        let program = env!("CARGO_BIN_EXE_portcullis");
        let mut command = Command::new(program);
        let output = command
            .args(["check", "p.toml"])
            .current_dir(folder.path())
            .output();
        let output = output.expect("it starts");
        (output.status.success(), text(&output.stderr))
    };
    let (loaded, said) = check();
    assert!(!loaded && said.contains("is not signed"), "{said}");
    wide(folder.path(), &["sign", "no.wasm", "--key", "eve"]);
    let (loaded, said) = check();
    assert!(
        !loaded && said.contains("by nobody who is trusted"),
        "{said}"
    );
    wide(folder.path(), &["sign", "no.wasm", "--key", "ann"]);
    let (loaded, said) = check();
    assert!(loaded, "{said}");
    wide(folder.path(), &["verify", "no.wasm", "--key", "ann.pub"]);
    let shown = wide(folder.path(), &["inspect", "no.wasm"]);
    assert_eq!(
        shown.matches("signed by     ed25519:").count(),
        2,
        "{shown}"
    );
    assert!(wide(folder.path(), &["sign", "no.wasm", "--key", "ann"]).contains("already"));

    let mut bytes = std::fs::read(at("no.wasm")).expect("the component");
    let place = bytes
        .windows(10)
        .position(|w| w == b"it says no")
        .expect("its words");
    bytes[place] ^= 1;
    std::fs::write(at("no.wasm"), bytes).expect("written");
    let (loaded, said) = check();
    assert!(
        !loaded && said.contains("was changed after it was signed"),
        "{said}"
    );
    std::fs::set_permissions(at("ann"), std::fs::Permissions::from_mode(0o644)).expect("chmod");
    assert!(bad(folder.path(), &["sign", "no.wasm", "--key", "ann"]).contains("read by others"));
}

/// Lines with keys in them are longer than a terminal is wide.
fn wide(folder: &Path, words: &[&str]) -> String {
    let output = plugin(folder, words);
    assert!(
        output.status.success(),
        "{words:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn good_key(folder: &Path, name: &str) {
    let out = wide(folder, &["key", name]);
    assert!(out.contains("trusted_keys = [\"ed25519:"), "{out}");
}

#[test]
fn install_takes_only_what_was_meant() {
    use sha2::Digest as _;
    let folder = folder();
    refuser(folder.path());
    let bytes = std::fs::read(folder.path().join("no.wasm")).expect("the component");
    let hash: String = sha2::Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let other = hash.replace('0', "1");
    let out = bad(folder.path(), &["install", "no.wasm", "--sha256", &other]);
    assert!(out.contains("nothing was installed"), "{out}");
    assert!(!folder.path().join("plugins").exists());
    let out = wide(folder.path(), &["install", "no.wasm", "--sha256", &hash]);
    assert!(out.contains("plugin = \"./plugins/no.wasm\""), "{out}");
    assert_eq!(
        std::fs::read(folder.path().join("plugins/no.wasm")).expect("there"),
        bytes
    );
    for (url, why) in [
        ("https://localhost:1/p.wasm", "needs --sha256"),
        ("http://localhost:1/p.wasm", "is not taken"),
    ] {
        assert!(bad(folder.path(), &["install", url]).contains(why), "{url}");
    }
    std::fs::write(folder.path().join("junk"), "junk").expect("written");
    assert!(bad(folder.path(), &["install", "junk"]).contains("is not WebAssembly"));
}

#[test]
fn install_fetches_over_tls_and_believes_only_the_given_authority() {
    use sha2::Digest as _;
    let folder = folder();
    let bytes = policy("i32.const 0");
    let hash: String = sha2::Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("written");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into(),
        )
        .expect("a server");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let config = std::sync::Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            serve(socket, config.clone(), &bytes);
        }
    });
    let url = format!("https://localhost:{port}/fetched.wasm");
    let install = ["install", &url, "--sha256", &hash];
    bad(folder.path(), &install);
    wide(folder.path(), &[&install[..], &["--ca", "ca.pem"]].concat());
    assert!(folder.path().join("plugins/fetched.wasm").is_file());
}

fn serve(socket: std::net::TcpStream, config: std::sync::Arc<rustls::ServerConfig>, body: &[u8]) {
    use std::io::{Read as _, Write as _};
    let Ok(connection) = rustls::ServerConnection::new(config) else {
        return;
    };
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let mut asked = [0; 4096];
    if stream.read(&mut asked).is_ok() {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

#[test]
fn the_host_of_native_tests_answers_nonsense_with_an_error() {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["plugin", "host"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let questions = [
        "nonsense",
        "[\"begin\",[0]]",
        "[\"no_such_question\",[]]",
        "[\"configure\",[]]",
        "[\"dialect\",[]]",
        "[\"names\",[[\"a*\"]]]",
        "[\"configured\",[]]",
        "[\"case\",[{\"sql\":\"SELECT 1\",\"expect\":{}}]]",
        "[\"begin\",[0]]",
        "[\"relation_at\",[9]]",
        "[\"find\",[]]",
        "[\"finish\",[\"pass\"]]",
    ];
    let mut input = child.stdin.take().expect("its input");
    input
        .write_all((questions.join("\n") + "\n").as_bytes())
        .expect("asked");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), questions.len());
    for index in [0, 1, 2, 4, 10] {
        assert!(answers[index]["error"].is_string(), "{}", questions[index]);
    }
    assert_eq!(answers[5]["answer"], json!({ "Ok": 0 }));
    assert_eq!(
        answers[9]["answer"],
        json!([0, 0, 0, 0]),
        "the empty answer of a fault"
    );
    assert!(
        answers[11]["answer"]["Err"].is_string(),
        "the fault is told at the end"
    );
}
