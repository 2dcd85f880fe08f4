//! `portcullis plugin package`: finishes what another language's tools made, or WebAssembly text.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_build::component;

use crate::config::{Diagnostic, Runtime};
use crate::policy::Manifest;
use crate::policy::trial::Trial;

use super::super::terminal::{self, Paint, say};
use super::{build, cache, inspect, wit};

/// Puts the manifest in and writes the component to `out`, or beside the manifest.
pub(super) fn run(plugin: &Path, manifest: &Path, out: Option<&Path>) -> ExitCode {
    match package(plugin, manifest, out) {
        Ok((out, size, runtime)) => {
            let packaged = Paint::stdout().good("packaged");
            say(&format!("{packaged} {} ({size} bytes)\n", out.display()));
            if runtime == Runtime::Interpreted {
                say("the policy needs `runtime = \"interpreted\"` in the configuration\n");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            terminal::complain(&[problem]);
            ExitCode::FAILURE
        }
    }
}

fn package(
    plugin: &Path,
    manifest: &Path,
    out: Option<&Path>,
) -> Result<(PathBuf, usize, Runtime), Diagnostic> {
    let wrong = |error: component::Error| Diagnostic::error(error.to_string());
    let bytes = binary(plugin, inspect::bytes(&plugin.display().to_string())?)?;
    let (name, json) = component::manifest(manifest).map_err(wrong)?;
    let finished = if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
        component::encode(&typed(bytes)?, &json).map_err(wrong)?
    } else {
        if Manifest::find(&bytes).is_ok_and(|there| there.is_some()) {
            return Err(Diagnostic::error("it has a manifest already")
                .hint("package what the other language's tools wrote, not the result"));
        }
        component::with_manifest(bytes, &json)
    };
    let runtime = check(&finished, &json)?;
    let folder = manifest.parent().unwrap_or(Path::new("."));
    let out = build::target(folder, &name, out);
    build::replace(&out, &finished)
        .map_err(|error| Diagnostic::error(format!("{}: {error}", out.display())))?;
    Ok((out, finished.len(), runtime))
}

/// WebAssembly text becomes bytes; bytes stay what they are.
fn binary(plugin: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, Diagnostic> {
    if bytes.starts_with(b"\0asm") || plugin.extension().is_none_or(|end| end != "wat") {
        return Ok(bytes);
    }
    let parsed = wat::Parser::new().parse_bytes(Some(plugin), &bytes);
    parsed
        .map(|binary| binary.into_owned())
        .map_err(|error| Diagnostic::error(error.to_string()))
}

/// A module that says nothing about its types is taken for the world `simple`.
fn typed(mut module: Vec<u8>) -> Result<Vec<u8>, Diagnostic> {
    // As sdk and bindings generators name their section: `component-type:...`.
    let says = b"component-type";
    if module.windows(says.len()).any(|bytes| bytes == says) {
        return Ok(module);
    }
    let mut resolve = wit_parser::Resolve::default();
    let embedded = resolve
        .push_str("policy.wit", wit::INTERFACE)
        .and_then(|package| resolve.select_world(&[package], Some("simple")))
        .and_then(|world| {
            let encoding = wit_component::StringEncoding::UTF8;
            wit_component::embed_component_metadata(&mut module, &resolve, world, encoding)
        });
    embedded.map_err(|error| Diagnostic::error(format!("not a module: {error:#}")))?;
    Ok(module)
}

/// What a gate would say at load, said now: imports, manifest, golden cases. And
/// which runtime it needs for that.
fn check(bytes: &[u8], json: &str) -> Result<Runtime, Diagnostic> {
    let manifest = Manifest::parse(json.as_bytes())
        .map_err(|why| Diagnostic::error(format!("policy.toml {why}")))?;
    let (imports, _) = inspect::interfaces(bytes)
        .map_err(|why| Diagnostic::error(format!("not a component: {why}")))?;
    let unused = manifest
        .capabilities
        .iter()
        .find(|wanted| !imports.iter().any(|import| *import == ***wanted));
    if let Some(unused) = unused {
        return Err(
            Diagnostic::error(format!("`{unused}` is in `capabilities` and not imported"))
                .hint("the imports of a component are the truth; take it out of policy.toml"),
        );
    }
    let trial = Trial::new(bytes, cache::folder("policies").as_deref())
        .map_err(|why| Diagnostic::error(why.message).hint(why.hint))?;
    for case in &trial.manifest().cases {
        let checked = trial
            .judge(case)
            .and_then(|tried| case.expect.check(&tried.verdict));
        checked.map_err(|why| {
            Diagnostic::error(format!("golden case `{}` fails: {why}", case.title()))
        })?;
    }
    Ok(trial.runtime())
}
