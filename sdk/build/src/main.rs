//! The steps of this crate for the command line; `cargo xtask` calls it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_build::{component, page};

const USAGE: &str = "usage: portcullis-build build <folder> [--output FILE]\n       portcullis-build docs <plugins> <docs>";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["build", folder] => build(Path::new(folder), None),
        ["build", folder, "--output", file] => build(Path::new(folder), Some(file.into())),
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

fn build(folder: &Path, output: Option<PathBuf>) -> Result<(), String> {
    let built = component::build(folder, &folder.join("target"), true);
    let built = built.map_err(|error| error.to_string())?;
    let path = output.unwrap_or_else(|| folder.join(format!("{}.wasm", built.name)));
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
