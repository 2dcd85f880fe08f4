//! `docs/writing-a-policy.md`, run as its reader would run it: the blocks in
//! their order, in an empty folder.

use std::path::Path;

use super::author::{Author, text};
use crate::support::postgres::free_port;
use crate::support::source;

/// A fenced block: its language, its text, and the file the sentence before it names.
struct Block {
    language: String,
    text: String,
    file: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut before) = (Vec::new(), "");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if !line.is_empty() {
                before = line;
            }
            continue;
        };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let named = before
            .strip_suffix("`:")
            .and_then(|line| line.rsplit_once('`'));
        blocks.push(Block {
            language: language.to_owned(),
            text: inside.join("\n") + "\n",
            file: named.map(|(_, file)| file.to_owned()),
        });
        before = "";
    }
    blocks
}

/// One script: what is to be written is written where it stands on the page.
fn script(page: &str) -> String {
    let mut script = "set -e\ntrap 'kill $! 2>/dev/null || true' EXIT\n".to_owned();
    for block in blocks(page) {
        match (&*block.language, block.file) {
            ("sh", _) => script.push_str(&block.text),
            (_, Some(file)) => {
                script.push_str(&format!("cat > {file} <<'END-OF-BLOCK'\n"));
                script.push_str(&block.text);
                script.push_str("END-OF-BLOCK\n");
            }
            (language, None) => {
                panic!("a block of {language} that nobody would know what to do with")
            }
        }
    }
    script
}

#[test]
fn the_tutorial_works_from_the_first_block_to_the_last() {
    let page = source::root().join("docs/writing-a-policy.md");
    let page = std::fs::read_to_string(page).expect("the tutorial");
    let port = free_port().expect("a port").to_string();
    let script = script(&page).replace("6432", &port);
    let author = Author::new();
    let output = author
        .command(Path::new("sh"), &author.folder)
        .args(["-c", &script])
        .output()
        .expect("a shell");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for said in [
        "ok 5 cases agree",
        "refused by no-export/limit",
        "customers is read without a LIMIT of at most 10",
        "2 statements: 1 allowed",
        "signed no-export.wasm by ed25519:",
        "installed plugins/no-export.wasm",
    ] {
        assert!(out.contains(said), "{said}\n{out}\n{err}");
    }
}
