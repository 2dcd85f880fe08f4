//! Any text: analysis ends, does not panic, and says something consistent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::model::Effects;
use portcullis::sql::{Lexer, analyze, ast_image};

fuzz_target!(|text: &str| {
    for lexer in [
        Lexer::POSTGRES,
        Lexer::SQLITE,
        Lexer {
            standard_strings: false,
            ..Lexer::POSTGRES
        },
    ] {
        let analysis = analyze(text, lexer);
        assert_eq!(&*analysis.text, text);
        for statement in &analysis.statements {
            assert!(
                text.get(statement.span.clone()).is_some(),
                "a span outside of the text"
            );
            let facts = &statement.facts;
            let writes = !facts.writes().is_empty();
            assert!(
                !writes || facts.is_opaque() || facts.effects != Effects::empty(),
                "a write without an effect"
            );
            let image = ast_image(statement);
            assert_eq!(image.nodes.len() % 8, 0, "whole nodes");
        }
        // Said twice, the same is said.
        let again = analyze(text, lexer);
        assert_eq!(analysis.statements.len(), again.statements.len());
        for (first, second) in analysis.statements.iter().zip(&again.statements) {
            assert_eq!(first.shape, second.shape);
            assert_eq!(first.normalized, second.normalized);
        }
    }
});
