//! The syntax tree as an arena image, for policies that want more than facts.
//!
//! The tree comes from sqlparser, fed with our own tokens: token boundaries are
//! the server's, positions are bytes. Its node types are mapped to a registry of
//! our own, so a new parser release breaks no plugin; what the parser does not
//! know is one node of kind `other` that spans the statement.
//!
//! Deliberately not here: facts. They never depend on this tree.
//!
//! Read [`ast_image`] first.

mod map;
mod tokens;

use std::sync::Arc;

use sqlparser::dialect::{Dialect as ParserDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use crate::model::facts::AstImage;
use crate::model::{Dialect, Statement};

use super::Lexer;
use super::lex::{Kw, Tok, Token, lex};

/// Version of the registry below.
pub const AST_VERSION: u32 = 1;

/// Node kinds: number, name, the SQL they stand for.
pub const AST_KINDS: &[(u32, &str, &str)] = &[
    (
        kind::OTHER,
        "other",
        "syntax the parser does not know; spans the statement",
    ),
    (
        kind::STATEMENT,
        "statement",
        "a statement; its name is the leading verb",
    ),
    (
        kind::QUERY,
        "query",
        "SELECT, VALUES, set operations, with ORDER BY and LIMIT",
    ),
    (
        kind::CTE,
        "cte",
        "a query of a WITH list; its name is the CTE's",
    ),
    (kind::SELECT, "select", "SELECT … FROM … WHERE …"),
    (
        kind::TABLE,
        "table",
        "a table in FROM or as target; its name is qualified",
    ),
    (kind::DERIVED, "derived", "a subquery in FROM"),
    (kind::TABLE_FUNCTION, "table-function", "a function in FROM"),
    (kind::JOIN, "join", "joined tables in brackets"),
    (kind::FACTOR, "from-item", "any other item of FROM"),
    (kind::BINARY, "binary", "a op b; its name is the operator"),
    (kind::UNARY, "unary", "op a; its name is the operator"),
    (
        kind::COLUMN,
        "column",
        "a column, qualified or not; its name is as written",
    ),
    (
        kind::CONSTANT,
        "constant",
        "a literal or parameter in an expression",
    ),
    (kind::CALL, "call", "f(…); its name is the function's"),
    (kind::CASE, "case", "CASE … END"),
    (
        kind::CAST,
        "cast",
        "CAST(x AS t), x::t; its name is the type",
    ),
    (kind::IN_LIST, "in-list", "x IN (…)"),
    (kind::IN_SUBQUERY, "in-subquery", "x IN (SELECT …)"),
    (kind::EXISTS, "exists", "EXISTS (SELECT …)"),
    (kind::SUBQUERY, "subquery", "(SELECT …) as a value"),
    (kind::BETWEEN, "between", "x BETWEEN a AND b"),
    (kind::LIKE, "like", "x LIKE p, ILIKE, SIMILAR TO"),
    (kind::IS, "is", "x IS NULL, IS TRUE, IS DISTINCT FROM …"),
    (kind::BRACKETS, "brackets", "(x)"),
    (kind::ARRAY, "array", "ARRAY[…]"),
    (kind::TUPLE, "tuple", "(a, b)"),
    (kind::ANY_ALL, "any-all", "x op ANY (…), x op ALL (…)"),
    (kind::EXPRESSION, "expression", "any other expression"),
    (
        kind::VALUE,
        "value",
        "a constant; its literal is the index in the facts",
    ),
    (kind::PARAMETER, "parameter", "$1; its name is as written"),
    (
        kind::NAME,
        "name",
        "a single word of a name: alias, column of a list",
    ),
    (kind::ORDER_BY, "order-by", "ORDER BY"),
    (kind::ORDER_KEY, "order-key", "one key of ORDER BY"),
    (kind::GROUP_BY, "group-by", "GROUP BY"),
];

/// Numbers of the node kinds.
pub mod kind {
    #![allow(missing_docs, reason = "described one by one in AST_KINDS")]
    pub const OTHER: u32 = 0;
    pub const STATEMENT: u32 = 1;
    pub const QUERY: u32 = 2;
    pub const CTE: u32 = 3;
    pub const SELECT: u32 = 4;
    pub const TABLE: u32 = 10;
    pub const DERIVED: u32 = 11;
    pub const TABLE_FUNCTION: u32 = 12;
    pub const JOIN: u32 = 13;
    pub const FACTOR: u32 = 19;
    pub const BINARY: u32 = 20;
    pub const UNARY: u32 = 21;
    pub const COLUMN: u32 = 22;
    pub const CONSTANT: u32 = 23;
    pub const CALL: u32 = 24;
    pub const CASE: u32 = 25;
    pub const CAST: u32 = 26;
    pub const IN_LIST: u32 = 27;
    pub const IN_SUBQUERY: u32 = 28;
    pub const EXISTS: u32 = 29;
    pub const SUBQUERY: u32 = 30;
    pub const BETWEEN: u32 = 31;
    pub const LIKE: u32 = 32;
    pub const IS: u32 = 33;
    pub const BRACKETS: u32 = 34;
    pub const ARRAY: u32 = 35;
    pub const TUPLE: u32 = 36;
    pub const ANY_ALL: u32 = 37;
    pub const EXPRESSION: u32 = 49;
    pub const VALUE: u32 = 50;
    pub const PARAMETER: u32 = 51;
    pub const NAME: u32 = 61;
    pub const ORDER_BY: u32 = 70;
    pub const ORDER_KEY: u32 = 71;
    pub const GROUP_BY: u32 = 72;
}

/// Statements with more tokens are one node of kind `other`.
const TOKENS_MAX: usize = 20_000;
/// Longer chains of operators would make a tree too deep to drop.
const OPERATORS_MAX: usize = 1_000;
/// Deeper brackets are left to the facts.
const BRACKETS_MAX: usize = 24;

/// The image of a statement; built on first demand and kept with it.
pub fn ast_image(statement: &Statement) -> Arc<AstImage> {
    statement
        .ast
        .get_or_init(|| Arc::new(build(statement)))
        .clone()
}

fn build(statement: &Statement) -> AstImage {
    let base = statement.span.start;
    let parsed = if statement.facts.is_opaque() {
        None
    } else {
        parse(statement)
    };
    match parsed {
        Some(tree) => map::image(&tree, statement),
        None => map::other(base, base + statement.text.len()),
    }
}

fn parse(statement: &Statement) -> Option<sqlparser::ast::Statement> {
    let lexer = Lexer {
        dialect: statement.dialect,
        ..Lexer::POSTGRES
    };
    let cut = lex(&statement.text, lexer).ok()?;
    if !is_small(&cut) {
        return None;
    }
    let dialect: &dyn ParserDialect = match statement.dialect {
        Dialect::Sqlite => &SQLiteDialect {},
        _ => &PostgreSqlDialect {},
    };
    let tokens = tokens::for_parser(
        &statement.text,
        &cut,
        statement.dialect,
        statement.span.start,
    );
    let mut parser = Parser::new(dialect).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().ok()?;
    if statements.len() == 1 {
        statements.pop()
    } else {
        None
    }
}

fn is_small(cut: &[Token]) -> bool {
    let operators = cut
        .iter()
        .filter(|t| t.kind == Tok::Op || matches!(t.kw, Kw::And | Kw::Or | Kw::Not | Kw::Union));
    let mut depth = 0usize;
    let mut deepest = 0;
    for token in cut {
        match token.kind {
            Tok::LParen | Tok::LBracket => depth += 1,
            Tok::RParen | Tok::RBracket => depth = depth.saturating_sub(1),
            _ if token.kw == Kw::Case => depth += 1,
            _ if token.kw == Kw::End => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    cut.len() <= TOKENS_MAX && operators.count() <= OPERATORS_MAX && deepest <= BRACKETS_MAX
}
