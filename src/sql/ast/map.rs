//! The parser's tree, visited once, as nodes of eight words.

use std::ops::ControlFlow;

use hashbrown::HashMap;
use sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectName, OrderBy, OrderByExpr, Query, Select, Statement as Tree,
    TableFactor, Value, ValueWithSpan, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use super::{AST_VERSION, kind};
use crate::model::Statement;
use crate::model::facts::AstImage;

/// Words of one node.
const WORDS: usize = 8;

/// An image with nothing but an unknown statement in it.
pub(super) fn other(start: usize, end: usize) -> AstImage {
    let nodes = vec![kind::OTHER, 0, 0, 0, 0, 0, start as u32, end as u32];
    AstImage {
        version: AST_VERSION,
        nodes,
        heap: String::new(),
    }
}

/// The image of a tree.
pub(super) fn image(tree: &Tree, statement: &Statement) -> AstImage {
    let literals = crate::sql::literals(statement).iter().enumerate();
    let mut builder = Builder {
        nodes: Vec::new(),
        heap: String::new(),
        names: HashMap::new(),
        open: Vec::new(),
        literals: literals
            .map(|(index, literal)| (literal.span.start, index as u32 + 1))
            .collect(),
        ctes: HashMap::new(),
        verb: statement.facts.kind.name(),
    };
    let _ = tree.visit(&mut builder);
    if let Some(root) = builder.nodes.get_mut(..WORDS) {
        root[6] = statement.span.start as u32;
        root[7] = statement.span.end as u32;
    }
    AstImage {
        version: AST_VERSION,
        nodes: builder.nodes,
        heap: builder.heap,
    }
}

/// A node whose children are still being visited.
struct Open {
    index: usize,
    last_child: usize,
}

struct Builder<'a> {
    nodes: Vec<u32>,
    heap: String,
    names: HashMap<String, u32>,
    open: Vec<Open>,
    literals: HashMap<usize, u32>,
    /// CTE names by the address of their query.
    ctes: HashMap<usize, String>,
    verb: &'a str,
}

impl Builder<'_> {
    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let offset = self.heap.len() as u32 + 1;
        self.heap.push_str(&name.replace('\0', ""));
        self.heap.push('\0');
        self.names.insert(name.to_owned(), offset);
        offset
    }

    fn enter(&mut self, kind: u32, name: &str, span: Option<Span>) -> ControlFlow<()> {
        let name = self.name(name);
        let index = self.nodes.len();
        let (start, end) = span.map_or((0, 0), bytes);
        self.nodes.extend([kind, 0, 0, 0, name, 0, start, end]);
        let number = (index / WORDS) as u32;
        if let Some(parent) = self.open.last_mut() {
            // Word 2 of the parent is its first child, word 3 of a child its next sibling.
            let link = if parent.last_child == 0 {
                parent.index + 2
            } else {
                parent.last_child + 3
            };
            self.nodes[link] = number;
            parent.last_child = index;
        }
        self.open.push(Open {
            index,
            last_child: 0,
        });
        ControlFlow::Continue(())
    }

    /// Ends the node; its span grows over its children's.
    fn leave(&mut self) -> ControlFlow<()> {
        if let (Some(done), Some(parent)) = (self.open.pop(), self.open.last()) {
            let (start, end) = (self.nodes[done.index + 6], self.nodes[done.index + 7]);
            if end != 0 {
                let at = parent.index;
                if self.nodes[at + 7] == 0 || start < self.nodes[at + 6] {
                    self.nodes[at + 6] = start;
                }
                self.nodes[at + 7] = self.nodes[at + 7].max(end);
            }
        }
        ControlFlow::Continue(())
    }
}

fn bytes(span: Span) -> (u32, u32) {
    (
        span.start.column.saturating_sub(1) as u32,
        span.end.column.saturating_sub(1) as u32,
    )
}

fn expression(expr: &Expr) -> (u32, String) {
    match expr {
        Expr::BinaryOp { op, .. } => (kind::BINARY, op.to_string()),
        Expr::UnaryOp { op, .. } => (kind::UNARY, op.to_string()),
        Expr::Identifier(ident) => (kind::COLUMN, ident.value.clone()),
        Expr::CompoundIdentifier(parts) => (
            kind::COLUMN,
            parts
                .iter()
                .map(|part| part.value.as_str())
                .collect::<Vec<_>>()
                .join("."),
        ),
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => {
            (kind::CONSTANT, String::new())
        }
        Expr::Function(function) => (kind::CALL, function.name.to_string()),
        Expr::Case { .. } => (kind::CASE, String::new()),
        Expr::Cast { data_type, .. } => (kind::CAST, data_type.to_string()),
        Expr::InList { .. } => (kind::IN_LIST, String::new()),
        Expr::InSubquery { .. } => (kind::IN_SUBQUERY, String::new()),
        Expr::Exists { .. } => (kind::EXISTS, String::new()),
        Expr::Subquery(_) => (kind::SUBQUERY, String::new()),
        Expr::Between { .. } => (kind::BETWEEN, String::new()),
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } => {
            (kind::LIKE, String::new())
        }
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsNotTrue(_) => {
            (kind::IS, String::new())
        }
        Expr::IsFalse(_) | Expr::IsNotFalse(_) | Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => {
            (kind::IS, String::new())
        }
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => (kind::IS, String::new()),
        Expr::Nested(_) => (kind::BRACKETS, String::new()),
        Expr::Array(_) => (kind::ARRAY, String::new()),
        Expr::Tuple(_) => (kind::TUPLE, String::new()),
        Expr::AnyOp { .. } | Expr::AllOp { .. } => (kind::ANY_ALL, String::new()),
        _ => (kind::EXPRESSION, String::new()),
    }
}

impl Visitor for Builder<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, _: &Tree) -> ControlFlow<()> {
        let verb = if self.open.is_empty() { self.verb } else { "" };
        self.enter(kind::STATEMENT, verb, None)
    }

    fn post_visit_statement(&mut self, _: &Tree) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let address = std::ptr::from_ref::<Query>(&cte.query).addr();
            self.ctes.insert(address, cte.alias.name.value.clone());
        }
        match self.ctes.remove(&std::ptr::from_ref(query).addr()) {
            Some(name) => self.enter(kind::CTE, &name, None),
            None => self.enter(kind::QUERY, "", None),
        }
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.enter(kind::SELECT, "", None)
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.enter(kind::TABLE, &relation.to_string(), None)
    }

    fn post_visit_relation(&mut self, _: &ObjectName) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let kind = match factor {
            TableFactor::Derived { .. } => kind::DERIVED,
            TableFactor::TableFunction { .. }
            | TableFactor::Function { .. }
            | TableFactor::UNNEST { .. } => kind::TABLE_FUNCTION,
            TableFactor::NestedJoin { .. } => kind::JOIN,
            _ => kind::FACTOR,
        };
        self.enter(kind, "", None)
    }

    fn post_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let (kind, name) = expression(expr);
        self.enter(kind, &name, None)
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        let (start, _) = bytes(value.span);
        if let Value::Placeholder(name) = &value.value {
            return self.enter(kind::PARAMETER, name, Some(value.span));
        }
        let _ = self.enter(kind::VALUE, "", Some(value.span));
        if let (Some(index), Some(open)) = (self.literals.get(&(start as usize)), self.open.last())
        {
            self.nodes[open.index + 5] = *index;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_value(&mut self, _: &ValueWithSpan) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> ControlFlow<()> {
        self.enter(kind::NAME, &ident.value, Some(ident.span))
    }

    fn post_visit_ident(&mut self, _: &Ident) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_order_by(&mut self, _: &OrderBy) -> ControlFlow<()> {
        self.enter(kind::ORDER_BY, "", None)
    }

    fn post_visit_order_by(&mut self, _: &OrderBy) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_order_by_expr(&mut self, _: &OrderByExpr) -> ControlFlow<()> {
        self.enter(kind::ORDER_KEY, "", None)
    }

    fn post_visit_order_by_expr(&mut self, _: &OrderByExpr) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_group_by(&mut self, _: &GroupByExpr) -> ControlFlow<()> {
        self.enter(kind::GROUP_BY, "", None)
    }

    fn post_visit_group_by(&mut self, _: &GroupByExpr) -> ControlFlow<()> {
        self.leave()
    }
}
