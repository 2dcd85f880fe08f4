//! Compiles the built-in policies to components and embeds them.
//!
//! The work is done once per state of the sources: components are kept by hash
//! under `<target>/policies`, beside the target folder of the inner cargo run,
//! so that debug, release and every set of features share both.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The built-in policies in the order in which they best judge: a trap must not
/// be announced by the refusal of another policy, and a statement that is
/// refused anyway must not be planned. Which of them run where the file names
/// none, `config::DEFAULT_POLICIES` says.
const POLICIES: &[&str] = &[
    "honeytoken",
    "network",
    "schedule",
    "signature",
    "read-only",
    "column-guard",
    "require-where",
    "table-limit",
    "rate-limit",
    "plan-guard",
];

/// What `portcullis plugin new` unpacks.
const TEMPLATE: &str = "template.tar.gz";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PORTCULLIS_POLICIES_DIR");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let embedded = std::env::var_os("CARGO_FEATURE_EMBEDDED_POLICIES").is_some();
    let names = if embedded { POLICIES } else { &[] };
    let result = match std::env::var_os("PORTCULLIS_POLICIES_DIR") {
        Some(folder) => prebuilt(Path::new(&folder), names, &out),
        None => provide(names, &out),
    };
    if let Err(sentence) = result.and_then(|()| write_list(names, &out)) {
        for line in sentence.lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

/// `builtin_policies.rs`: name and bytes of each component.
fn write_list(names: &[&str], out: &Path) -> Result<(), String> {
    let mut text = String::from(
        "/// Name and component of each built-in policy, in the order they best judge.\n",
    );
    text.push_str("pub static BUILTIN: &[(&str, &[u8])] = &[\n");
    for name in names {
        let path = out.join(format!("{name}.wasm"));
        let _ = writeln!(text, "    ({name:?}, include_bytes!({path:?})),");
    }
    text.push_str("];\n");
    text.push_str(
        "/// A policy crate with everything it needs, as a packed archive; empty: not built in.\n",
    );
    let template = if names.is_empty() {
        "b\"\"".to_owned()
    } else {
        format!("include_bytes!({:?})", out.join(TEMPLATE))
    };
    let _ = writeln!(text, "pub static TEMPLATE: &[u8] = {template};");
    write_if_changed(&out.join("builtin_policies.rs"), text.as_bytes())
}

/// Components somebody else has built, `<name>.wasm` each.
fn prebuilt(folder: &Path, names: &[&str], out: &Path) -> Result<(), String> {
    for name in names {
        let path = folder.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", path.display());
        copy(&path, &out.join(format!("{name}.wasm")))?;
    }
    if names.is_empty() {
        return Ok(());
    }
    let path = folder.join(TEMPLATE);
    println!("cargo::rerun-if-changed={}", path.display());
    copy(&path, &out.join(TEMPLATE))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let bytes = std::fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
    write_if_changed(to, &bytes)
}

/// Same content, same time stamp: what embeds the file is not compiled again.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(not(feature = "embedded-policies"))]
fn provide(_names: &[&str], _out: &Path) -> Result<(), String> {
    Ok(())
}

/// The policy crate that new ones start as.
#[cfg(feature = "embedded-policies")]
const HELLO: &str = "examples/policies/hello";

#[cfg(feature = "embedded-policies")]
fn provide(names: &[&str], out: &Path) -> Result<(), String> {
    use portcullis_build::toolchain::Toolchain;

    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let watched = ["plugins", "sdk", "wit", "Cargo.lock", "Cargo.toml", HELLO];
    for name in watched {
        println!("cargo::rerun-if-changed={}", root.join(name).display());
    }
    let rustc = std::env::var_os("RUSTC");
    let toolchain = Toolchain::find(rustc.as_deref()).map_err(|missing| missing.to_string())?;
    let folder = shared_folder(out);
    let kept = folder.join("components").join(key(&root, &toolchain)?);
    let complete = |name: &&str| kept.join(format!("{name}.wasm")).is_file();
    if !names.iter().all(complete) {
        compile(&root, &toolchain, names, &folder, &kept)?;
    }
    let template = kept.join(TEMPLATE);
    if !names.is_empty() && !template.is_file() {
        let stage = folder.join("template");
        let packed = portcullis_build::vendor::pack(&root, &stage)?;
        write_if_changed(&template, &packed)?;
    }
    if !names.is_empty() {
        copy(&template, &out.join(TEMPLATE))?;
    }
    for name in names {
        let file = format!("{name}.wasm");
        copy(&kept.join(&file), &out.join(&file))?;
    }
    Ok(())
}

/// Cargo holds a lock on the target folder around this script, so the inner
/// run gets one of its own inside it.
#[cfg(feature = "embedded-policies")]
fn shared_folder(out: &Path) -> PathBuf {
    let tagged = out
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    // <target>/<profile>/build/<package>/out
    tagged
        .or_else(|| out.ancestors().nth(4))
        .unwrap_or(out)
        .join("policies")
}

#[cfg(feature = "embedded-policies")]
fn compile(
    root: &Path,
    toolchain: &portcullis_build::toolchain::Toolchain,
    names: &[&str],
    folder: &Path,
    kept: &Path,
) -> Result<(), String> {
    use portcullis_build::{component, guest};

    let manifest = root.join("Cargo.toml");
    let target_dir = folder.join("target");
    let guest = guest::Guest {
        manifest: &manifest,
        packages: names,
        target_dir: &target_dir,
        locked: true,
        progress: false,
    };
    let modules = guest::build(toolchain, &guest).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    for name in names {
        let core = modules.join(format!("{}.wasm", name.replace('-', "_")));
        let core = std::fs::read(&core).map_err(|error| format!("{}: {error}", core.display()))?;
        let manifest = component::manifest(&root.join("plugins").join(name).join("policy.toml"));
        let (_, manifest) = manifest.map_err(|error| error.to_string())?;
        let encoded =
            component::encode(&core, &manifest).map_err(|error| format!("{name}: {error}"))?;
        write_if_changed(&kept.join(format!("{name}.wasm")), &encoded)?;
    }
    Ok(())
}

/// What the components depend on: sources, lockfile, compiler, and the profile,
/// which stands in `Cargo.toml` and in the flags of `portcullis-build`.
#[cfg(feature = "embedded-policies")]
fn key(root: &Path, toolchain: &portcullis_build::toolchain::Toolchain) -> Result<String, String> {
    use sha2::{Digest as _, Sha256};

    let mut files = Vec::new();
    for name in ["plugins", "sdk", "wit", HELLO] {
        collect(&root.join(name), &mut files)?;
    }
    files.push(root.join("Cargo.lock"));
    files.sort();
    let mut hash = Sha256::new();
    hash.update(format!("{toolchain:?}\n"));
    hash.update(policy_profile(root)?);
    for file in files {
        let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        hash.update(format!("{name}\0{}\0", bytes.len()));
        hash.update(bytes);
    }
    Ok(hash
        .finalize()
        .iter()
        .take(16)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
}

#[cfg(feature = "embedded-policies")]
fn policy_profile(root: &Path) -> Result<String, String> {
    let path = root.join("Cargo.toml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let from = text.find("[profile.policy]").unwrap_or(text.len());
    Ok(text[from..]
        .lines()
        .take_while(|line| !line.is_empty())
        .collect())
}

#[cfg(feature = "embedded-policies")]
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let wrong = |error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != "tests" {
                collect(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}
