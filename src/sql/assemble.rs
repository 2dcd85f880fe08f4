//! Statements out of a text: cutting, limits, reading, the second opinion.
//!
//! Read [`analyze`] first.

use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use crate::model::facts::{Class, Handle};
use crate::model::{Analysis, BindValue, Effects, Facts, FunctionUse, Kind, Kinds, Literal};
use crate::model::{Predicate, Problem, Relation, Statement, Traits, Via};

use super::Lexer;
use super::builtin;
use super::lex::{Kw, Tok, Token, lex, text_of};
use super::read::{Prepared, Reader};
use super::{lexical, normalize, split};

/// Most statements in one text.
const STATEMENTS_MAX: usize = 10_000;

/// A text with its tokens.
pub(super) struct Text<'a> {
    pub source: &'a str,
    pub lexer: Lexer,
    pub tokens: &'a [Token],
    pub pairs: &'a [u32],
}

/// See [`super::analyze`].
pub(super) fn analyze(source: &str, lexer: Lexer) -> Analysis {
    if source.len() > lexer.text_bytes_max || source.len() > u32::MAX as usize / 2 {
        let text = format!("the text is longer than {} bytes", lexer.text_bytes_max);
        return unreadable(source, lexer, Problem::TooLarge(text));
    }
    if source.as_bytes().contains(&0) {
        return unreadable(
            source,
            lexer,
            Problem::Encoding("the text holds a NUL byte".to_owned()),
        );
    }
    let tokens = match lex(source, lexer) {
        Ok(tokens) => tokens,
        Err(error) => return unreadable(source, lexer, Problem::Untokenizable(error.to_string())),
    };
    let cut = split::split(&tokens, lexer.dialect);
    if cut.statements.len() > STATEMENTS_MAX {
        let text = format!("more than {STATEMENTS_MAX} statements");
        return unreadable(source, lexer, Problem::TooLarge(text));
    }
    let text = Text {
        source,
        lexer,
        tokens: &tokens,
        pairs: &cut.pairs,
    };
    let mut prepared = Prepared::new();
    let mut statements = Vec::with_capacity(cut.statements.len());
    let several = cut.statements.len() > 1;
    for part in &cut.statements {
        let extra = if several {
            Traits::IN_STRING
        } else {
            Traits::empty()
        };
        let facts = match &part.problem {
            None => facts(&text, part.range.clone(), &prepared),
            Some(problem) => opaque(&text, part.range.clone(), problem.clone()),
        };
        let statement = Arc::new(build(&text, part.range.clone(), facts, extra));
        remember(&mut prepared, &statement);
        statements.push(statement);
    }
    Analysis {
        text: Arc::from(source),
        statements,
        problem: None,
    }
}

/// Follows PREPARE and DEALLOCATE through the string.
fn remember(prepared: &mut Prepared, statement: &Statement) {
    match &statement.facts.handle {
        Some(Handle::Prepare(name, inner)) => {
            prepared.insert(name.clone(), inner.clone());
        }
        Some(Handle::Deallocate(Some(name))) => {
            prepared.remove(name);
        }
        Some(Handle::Deallocate(None) | Handle::DiscardAll) => prepared.clear(),
        _ => {}
    }
}

/// One opaque statement that stands for a text which must be refused.
fn unreadable(source: &str, lexer: Lexer, problem: Problem) -> Analysis {
    let mut facts = Facts::empty(Kind::Other);
    facts.kind = first_word(source);
    facts.traits = Traits::OPAQUE | Traits::UNEXPLAINED_WRITE | Traits::DESTRUCTIVE;
    facts.effects = Effects::READS | Effects::WRITES | Effects::SCHEMA | Effects::CODE;
    facts.problems.push(problem.clone());
    let class = Class {
        normalized: Arc::from(source),
        shape: shape(source),
        dialect: lexer.dialect,
        facts,
        origins: Box::default(),
    };
    let statement = Statement::new(source, 0..source.len(), Arc::new(class));
    let _ = statement.literals.set(Arc::from([]));
    Analysis {
        text: Arc::from(source),
        statements: vec![Arc::new(statement)],
        problem: Some(problem),
    }
}

/// Kind of a text that cannot be cut, by its first word.
fn first_word(source: &str) -> Kind {
    let trimmed = source.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
    let end = trimmed
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(trimmed.len());
    lexical::kind_of(Kw::of(&trimmed.as_bytes()[..end]))
}

/// Reads one statement of the text.
pub(super) fn statement(text: &Text<'_>, range: Range<usize>, prepared: &Prepared) -> Statement {
    let facts = facts(text, range.clone(), prepared);
    build(text, range, facts, Traits::empty())
}

fn facts(text: &Text<'_>, range: Range<usize>, prepared: &Prepared) -> Facts {
    let mut reader = Reader::new(
        text.source,
        text.lexer,
        text.tokens,
        text.pairs,
        prepared,
        range.clone(),
    );
    match reader.statement() {
        Ok(()) => {
            let explained = std::mem::take(&mut reader.explained);
            let mut facts = reader.facts;
            let found =
                lexical::unexplained(text.tokens, range.clone(), text.lexer.dialect, |index| {
                    explained.contains(&index)
                });
            if let Some(index) = found {
                let word = text
                    .tokens
                    .get(index)
                    .map_or("", |token| token.text(text.source));
                facts.traits |= Traits::OPAQUE | Traits::UNEXPLAINED_WRITE | Traits::DESTRUCTIVE;
                facts.problems.push(Problem::Unexplained(format!(
                    "{word} can start a write here"
                )));
                let tokens = text.tokens.get(range.clone()).unwrap_or(&[]);
                add_lexical(&mut facts, text, tokens);
            }
            facts
        }
        Err(confused) => {
            let near = text
                .tokens
                .get(confused.at)
                .filter(|_| confused.at < range.end);
            let near = near.map_or("the end", |token| token.text(text.source));
            let near: String = near.chars().take(40).collect();
            opaque(
                text,
                range,
                Problem::Unparsable(format!("{confused} near {near}")),
            )
        }
    }
}

/// A statement known by its tokens only.
fn opaque(text: &Text<'_>, range: Range<usize>, problem: Problem) -> Facts {
    let tokens = text.tokens.get(range.clone()).unwrap_or(&[]);
    let first = tokens
        .iter()
        .find(|token| token.kind != Tok::LParen)
        .map_or(Kw::None, |token| token.kw);
    let mut facts = Facts::empty(lexical::kind_of(first));
    facts.traits |= Traits::OPAQUE;
    facts.problems.push(problem);
    add_lexical(&mut facts, text, tokens);
    let possible = facts.effects - Effects::READS;
    if lexical::is_harmless_start(first) && possible.is_empty() {
        facts.traits |= Traits::HARMLESS;
    }
    if matches!(facts.kind, Kind::Update | Kind::Delete) {
        facts.predicate = Predicate::None;
    }
    facts
}

fn add_lexical(facts: &mut Facts, text: &Text<'_>, tokens: &[Token]) {
    let found = lexical::tokens(text.source, text.lexer, tokens);
    let (effects, destructive) = lexical::call_effects(&found, text.lexer.dialect);
    facts.effects |= found.effects | effects;
    if found.writes {
        facts.traits |= Traits::UNEXPLAINED_WRITE;
    }
    if found.writes || destructive {
        facts.traits |= Traits::DESTRUCTIVE;
    }
    for (name, access) in found.relations {
        facts.relations.push(Relation {
            schema: name.schema,
            name: name.name,
            access,
            via: Via::Lexical,
        });
    }
    for (schema, name) in found.functions {
        let harmless = schema.is_none()
            && builtin::function(&name, text.lexer.dialect) == builtin::Function::Harmless;
        if !harmless {
            facts.traits |= Traits::CALLS_FUNCTIONS;
        }
        facts.functions.push(FunctionUse {
            schema,
            name,
            harmless,
        });
    }
    // Opaque facts are possibilities; readers of SELECT expect rows, too.
    if facts.kind == Kind::Select {
        facts.effects |= Effects::READS;
        facts.traits |= Traits::RETURNS_ROWS;
    }
}

fn build(text: &Text<'_>, range: Range<usize>, mut facts: Facts, extra: Traits) -> Statement {
    let tokens = text.tokens.get(range.clone()).unwrap_or(&[]);
    let start = tokens.first().map_or(0, |token| token.start as usize);
    let end = tokens.last().map_or(start, |token| token.end as usize);
    parameters(text, tokens, &mut facts);
    let literals: Arc<[Literal]> = constants(text.source, tokens).collect();
    facts.has_literals = !literals.is_empty();
    let normalized = normalize::normalize(text, range, &facts);
    facts.traits |= extra;
    let class = Class {
        shape: shape(&normalized),
        normalized: Arc::from(normalized),
        dialect: text.lexer.dialect,
        facts,
        origins: Box::default(),
    };
    let own = text.source.get(start..end).unwrap_or("");
    let statement = Statement {
        kinds: Kinds::of(&literals),
        ..Statement::new(own, start..end, Arc::new(class))
    };
    let _ = statement.literals.set(literals);
    statement
}

/// The values an EXECUTE gives to its statement, in order; none where one of
/// them is more than a constant, so that the server alone can tell.
pub fn execute_values(statement: &Statement) -> Option<Vec<BindValue>> {
    let name = handle_span(statement)?;
    let lexer = Lexer {
        dialect: statement.dialect,
        ..Lexer::POSTGRES
    };
    let tokens = lex(&statement.text, lexer).ok()?;
    let mut rest = tokens.iter().skip_while(|t| (t.start as usize) < name.end);
    let text = |bytes: &str| BindValue {
        type_oid: 0,
        binary: false,
        bytes: Some(bytes::Bytes::copy_from_slice(bytes.as_bytes())),
    };
    let Some(open) = rest.next() else {
        return Some(Vec::new());
    };
    if open.kind != Tok::LParen {
        return None;
    }
    let mut values = Vec::new();
    loop {
        let mut token = rest.next()?;
        let minus = token.kind == Tok::Op && token.text(&statement.text) == "-";
        if minus {
            token = rest.next()?;
        }
        values.push(match token.kind {
            Tok::Number if minus => text(&format!("-{}", token.text(&statement.text))),
            Tok::Number | Tok::String if !minus => text(&text_of(token, &statement.text)),
            Tok::Word if token.kw == Kw::Null && !minus => BindValue {
                bytes: None,
                ..text("")
            },
            Tok::Word if !minus && matches!(token.kw, Kw::True | Kw::False) => {
                text(&token.text(&statement.text).to_ascii_lowercase())
            }
            _ => return None,
        });
        match rest.next()?.kind {
            Tok::Comma => {}
            Tok::RParen => break,
            _ => return None,
        }
    }
    rest.next().is_none().then_some(values)
}

/// The constants of a statement, in order of appearance; read anew where the
/// class of the statement was known and nobody had asked for them yet.
pub fn literals(statement: &Statement) -> &Arc<[Literal]> {
    statement.literals.get_or_init(|| {
        // Only texts that were read under the standard rules come without their constants.
        let lexer = Lexer {
            dialect: statement.dialect,
            ..Lexer::POSTGRES
        };
        let tokens = lex(&statement.text, lexer).unwrap_or_default();
        let base = statement.span.start;
        constants(&statement.text, &tokens)
            .map(|literal| Literal {
                span: literal.span.start + base..literal.span.end + base,
                ..literal
            })
            .collect()
    })
}

/// Where the name stands that EXECUTE or DEALLOCATE uses, in bytes of the statement's own text.
pub fn handle_span(statement: &Statement) -> Option<Range<usize>> {
    let lexer = Lexer {
        dialect: statement.dialect,
        ..Lexer::POSTGRES
    };
    let tokens = lex(&statement.text, lexer).ok()?;
    let verb = tokens
        .iter()
        .position(|token| matches!(token.kw, Kw::Execute | Kw::Deallocate))?;
    let mut name = tokens.get(verb + 1)?;
    if name.kw == Kw::Prepare && tokens.len() > verb + 2 {
        name = tokens.get(verb + 2)?;
    }
    name.is_name()
        .then_some(name.start as usize..name.end as usize)
}

fn constants<'t>(source: &'t str, tokens: &'t [Token]) -> impl Iterator<Item = Literal> + 't {
    tokens
        .iter()
        .filter(|token| matches!(token.kind, Tok::String | Tok::Number))
        .map(|token| Literal {
            span: token.start as usize..token.end as usize,
            value: Arc::from(text_of(token, source)),
            string: token.kind == Tok::String,
        })
}

fn parameters(text: &Text<'_>, tokens: &[Token], facts: &mut Facts) {
    let mut unnumbered = 0u16;
    for token in tokens.iter().filter(|token| token.kind == Tok::Param) {
        let digits = token.text(text.source).trim_start_matches(['$', '?']);
        match digits.parse::<u16>() {
            Ok(number) => facts.parameters = facts.parameters.max(number),
            Err(_) => {
                unnumbered = unnumbered.saturating_add(1);
                facts.parameters = facts.parameters.max(unnumbered);
            }
        }
    }
}

/// Hash of a normalized text.
pub(super) fn shape(normalized: &str) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(normalized.as_bytes());
    hasher.finish()
}
