//! The steps of this crate for the command line; `cargo xtask` calls it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_build::{component, page};

const USAGE: &str = "usage: portcullis-build build <folder> <target folder> [--output FILE]\n       portcullis-build docs <plugins> <docs>";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["build", folder, target] => build(folder, target, None),
        ["build", folder, target, "--output", file] => build(folder, target, Some(file)),
        ["docs", plugins, docs] => write_pages(Path::new(plugins), Path::new(docs)),
        _ => Err(USAGE.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build(folder: &str, target: &str, output: Option<&str>) -> Result<(), String> {
    let folder = Path::new(folder);
    let built = component::build(folder, Path::new(target), true);
    let built = built.map_err(|error| error.to_string())?;
    let beside = || folder.join(format!("{}.wasm", built.name));
    let path = output.map_or_else(beside, PathBuf::from);
    let wrong = |error| format!("{}: {error}", path.display());
    std::fs::write(&path, &built.bytes).map_err(wrong)?;
    println!(
        "{} ({} kB)",
        path.display(),
        built.bytes.len().div_ceil(1000)
    );
    Ok(())
}

fn write_pages(plugins: &Path, docs: &Path) -> Result<(), String> {
    std::fs::create_dir_all(docs).map_err(|error| format!("{}: {error}", docs.display()))?;
    for (name, text) in page::all(plugins).map_err(|error| error.to_string())? {
        let path = docs.join(format!("{name}.md"));
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
