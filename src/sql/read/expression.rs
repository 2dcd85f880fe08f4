//! Expressions as runs of tokens.
//!
//! Only what matters for the facts is looked for: brackets that open queries,
//! calls, columns, casts, operators. Operand and operator positions are told
//! apart, because a bare word behind an operand is an alias and no column.

use std::sync::Arc;

use crate::model::{FunctionUse, Traits, Via};
use crate::sql::builtin;
use crate::sql::lex::{Kw, Tok};

use super::{Read, Reader};

/// What a word means inside an expression.
enum Word {
    /// An operator or a word in front of an operand.
    Infix,
    /// A constant.
    Operand,
    /// Anything else: a column, a call, a type or an alias.
    Name,
}

fn word(kw: Kw) -> Word {
    match kw {
        Kw::And
        | Kw::Or
        | Kw::Not
        | Kw::In
        | Kw::Like
        | Kw::Ilike
        | Kw::Between
        | Kw::Similar
        | Kw::Is => Word::Infix,
        Kw::Escape
        | Kw::To
        | Kw::Overlaps
        | Kw::Case
        | Kw::When
        | Kw::Then
        | Kw::Else
        | Kw::Distinct => Word::Infix,
        Kw::All
        | Kw::Any
        | Kw::Some
        | Kw::Exists
        | Kw::Array
        | Kw::Row
        | Kw::From
        | Kw::For
        | Kw::Using => Word::Infix,
        Kw::Placing
        | Kw::Both
        | Kw::Leading
        | Kw::Trailing
        | Kw::Symmetric
        | Kw::Asymmetric
        | Kw::Order => Word::Infix,
        Kw::Group
        | Kw::By
        | Kw::Partition
        | Kw::Where
        | Kw::Filter
        | Kw::Within
        | Kw::Union
        | Kw::Except => Word::Infix,
        Kw::Intersect
        | Kw::On
        | Kw::Variadic
        | Kw::Having
        | Kw::Limit
        | Kw::Offset
        | Kw::Values => Word::Infix,
        Kw::Null
        | Kw::True
        | Kw::False
        | Kw::Default
        | Kw::Isnull
        | Kw::Notnull
        | Kw::End
        | Kw::Asc => Word::Operand,
        Kw::Desc | Kw::CurrentDate | Kw::CurrentTime | Kw::CurrentTimestamp | Kw::Localtime => {
            Word::Operand
        }
        Kw::Localtimestamp | Kw::CurrentUser | Kw::CurrentRole | Kw::SessionUser | Kw::User => {
            Word::Operand
        }
        Kw::CurrentCatalog => Word::Operand,
        _ => Word::Name,
    }
}

/// Words that SQLite's grammar has as operators.
fn sqlite_infix(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Glob | Kw::Regexp | Kw::Match | Kw::Is | Kw::Isnull | Kw::Notnull | Kw::Over
    )
}

impl Reader<'_> {
    /// Reads the tokens `from..to` as an expression or a list of expressions.
    pub fn expression(&mut self, from: usize, to: usize) -> Read<()> {
        self.within((from, to), |reader| {
            let mut operand = false;
            while !reader.done() {
                operand = reader.expression_token(operand)?;
            }
            Ok(())
        })
    }

    /// One step; says whether an operand has just ended.
    fn expression_token(&mut self, operand: bool) -> Read<bool> {
        let Some(token) = self.token(0) else {
            return Ok(operand);
        };
        match token.kind {
            Tok::LParen if self.query_starts_inside(self.at) => {
                self.subquery()?;
                Ok(true)
            }
            Tok::RParen | Tok::RBracket | Tok::String | Tok::Number | Tok::Param => {
                self.at += 1;
                Ok(true)
            }
            Tok::LParen | Tok::LBracket | Tok::Comma | Tok::Assign | Tok::Colon | Tok::DotDot => {
                self.at += 1;
                Ok(false)
            }
            Tok::Semicolon => self.confused("an expression"),
            Tok::Cast => {
                self.at += 1;
                self.type_name()?;
                Ok(true)
            }
            Tok::Op => Ok(self.operator(operand)),
            Tok::Dot => self.field(),
            Tok::Quoted => self.name(operand),
            Tok::Word => self.expression_word(token.kw, operand),
        }
    }

    fn operator(&mut self, operand: bool) -> bool {
        let text = self.text(self.at);
        let star = text == "*" && !operand;
        if star {
            let counted = self.at > 0
                && self.kind_at(self.at - 1) == Tok::LParen
                && self.kind(1) == Some(Tok::RParen);
            if !counted {
                self.column(Arc::from("*"));
            }
        } else if !builtin::is_operator(text) {
            self.note_operator(text);
        }
        self.at += 1;
        star
    }

    fn note_operator(&mut self, text: &str) {
        if self.facts.operators.len() < 64
            && !self.facts.operators.iter().any(|known| &**known == text)
        {
            self.facts.operators.push(Arc::from(text));
        }
    }

    /// `(row).field`, `array[1].field`
    fn field(&mut self) -> Read<bool> {
        self.at += 1;
        match self.token(0) {
            Some(token) if token.is_name() => {
                self.column_token(self.at);
                self.at += 1;
                Ok(true)
            }
            Some(token) if token.kind == Tok::Op => {
                self.at += 1;
                Ok(true)
            }
            _ => self.confused("a field"),
        }
    }

    fn expression_word(&mut self, kw: Kw, operand: bool) -> Read<bool> {
        let bracket = self.kind(1) == Some(Tok::LParen);
        match kw {
            Kw::Select | Kw::Table if !self.sqlite() || kw == Kw::Select => self.trailing_query(),
            Kw::As => {
                self.at += 1;
                if self
                    .token(0)
                    .is_some_and(|token| token.is_name() || token.kind == Tok::String)
                {
                    self.at += 1;
                }
                Ok(true)
            }
            Kw::Cast | Kw::Treat | Kw::Xmlserialize if bracket => self.cast_call(),
            Kw::Collate => {
                self.at += 1;
                self.table_name()?;
                Ok(true)
            }
            Kw::At if operand && self.kw(1) == Kw::Time && self.kw(2) == Kw::Zone => {
                self.at += 3;
                Ok(false)
            }
            Kw::Over if operand => {
                self.at += 1;
                if self.token(0).is_some_and(|token| token.is_name()) {
                    self.at += 1;
                }
                Ok(true)
            }
            Kw::Operator if bracket && !self.sqlite() => self.qualified_operator(),
            _ if self.sqlite() && operand && sqlite_infix(kw) => {
                self.at += 1;
                Ok(matches!(kw, Kw::Isnull | Kw::Notnull))
            }
            // Words that are reserved elsewhere are names in SQLite.
            _ if self.sqlite() && !kw.in_sqlite() => self.name(operand),
            Kw::In if self.sqlite() && self.in_table() => {
                self.at += 1;
                self.in_table_name()
            }
            // `filter`, `within` and `partition` are names unless they stand behind an operand.
            Kw::Filter | Kw::Within | Kw::Partition if !operand => self.name(operand),
            _ => match word(kw) {
                Word::Infix => {
                    self.at += 1;
                    Ok(false)
                }
                Word::Operand => {
                    self.at += 1;
                    Ok(true)
                }
                Word::Name => self.name(operand),
            },
        }
    }

    /// SQLite: `x IN table`, `x IN schema.table`, `x IN function(…)`.
    fn in_table(&self) -> bool {
        self.token(1)
            .is_some_and(|next| next.is_name() || next.kind == Tok::String)
            && self.kw(1) != Kw::Select
    }

    fn in_table_name(&mut self) -> Read<bool> {
        let first = self.at;
        let name = self.table_name()?;
        if self.kind(0) == Some(Tok::LParen) {
            self.call(first, self.at - 1)?;
            return Ok(false);
        }
        self.read_table(&name);
        Ok(true)
    }

    /// `… UNION SELECT …` in the middle of an expression: the rest is a query.
    fn trailing_query(&mut self) -> Read<bool> {
        let range = (self.at, self.end);
        let saved = self.via;
        if self.via == Via::Direct {
            self.via = Via::Subquery;
        }
        let result = self.within(range, |reader| reader.query());
        self.via = saved;
        self.rest();
        result.map(|()| true)
    }

    /// `CAST(x AS type)`
    fn cast_call(&mut self) -> Read<bool> {
        self.at += 1;
        let (from, to) = self.group()?;
        let mut split = from;
        while split < to && self.kw_at(split) != Kw::As {
            split = match self.kind_at(split) {
                Tok::LParen | Tok::LBracket => self.partner(split) + 1,
                Tok::Dot => split + 2,
                _ => split + 1,
            };
        }
        self.deeper()?;
        self.expression(from, split.min(to))?;
        self.shallower();
        if split + 1 < to {
            self.within((split + 1, to), |reader| {
                reader.type_name()?;
                reader.rest();
                Ok(())
            })?;
        }
        Ok(true)
    }

    /// `OPERATOR(schema.+)`
    fn qualified_operator(&mut self) -> Read<bool> {
        self.at += 1;
        let (from, to) = self.group()?;
        let builtin_schema = self.text(from).eq_ignore_ascii_case("pg_catalog") || to == from + 1;
        if !builtin_schema || to == from || !builtin::is_operator(self.text(to - 1)) {
            let text: String = (from..to).map(|index| self.text(index)).collect();
            self.note_operator(&text);
        }
        Ok(false)
    }

    /// A type: `[schema.]name [PRECISION|VARYING|…] [(n)] [array bounds]`.
    pub fn type_name(&mut self) -> Read<()> {
        self.accept(Kw::Setof);
        let first = self.at;
        if !self.token(0).is_some_and(|token| token.is_name()) {
            return self.confused("a type");
        }
        self.at += 1;
        while self.kind(0) == Some(Tok::Dot) && self.token(1).is_some_and(|token| token.is_name()) {
            self.at += 2;
        }
        self.note_type(first, self.at - 1);
        if self.is_op(0, "%") {
            self.at += 2;
        }
        loop {
            match self.kind(0) {
                Some(Tok::LParen) if !self.query_starts_inside(self.at) => {
                    self.at = self.partner(self.at) + 1
                }
                Some(Tok::LBracket)
                    if self.at + 1 == self.partner(self.at)
                        || self.at + 2 == self.partner(self.at) =>
                {
                    self.at = self.partner(self.at) + 1;
                }
                Some(Tok::Word) if self.continues_type() => self.at += 1,
                _ => return Ok(()),
            }
        }
    }

    /// The second word of `double precision`, `character varying`, `timestamp with time zone`, `interval year to month`.
    fn continues_type(&self) -> bool {
        let before = self.kw_at(self.at - 1);
        match self.kw(0) {
            Kw::Precision | Kw::Zone | Kw::Array => true,
            Kw::With | Kw::Without => self.kw(1) == Kw::Time,
            Kw::Time => matches!(before, Kw::With | Kw::Without),
            Kw::Character | Kw::Char => before == Kw::National,
            _ => self.is_word(0, "varying"),
        }
    }

    fn note_type(&mut self, first: usize, last: usize) {
        let builtin_schema = first == last || self.text(first).eq_ignore_ascii_case("pg_catalog");
        let name = self.folded(last);
        if builtin_schema && builtin::is_type(&name) {
            return;
        }
        let name = if first == last {
            name
        } else {
            Arc::from(format!("{}.{name}", self.folded(first)))
        };
        if self.facts.types.len() < 64 && !self.facts.types.contains(&name) {
            self.facts.types.push(name);
        }
    }

    /// A dotted name: call, typed constant, alias or column.
    fn name(&mut self, operand: bool) -> Read<bool> {
        let first = self.at;
        let mut last = first;
        self.at += 1;
        while self.kind(0) == Some(Tok::Dot) {
            match self.token(1) {
                Some(token) if token.is_name() => last = self.at + 1,
                Some(token) if token.kind == Tok::Op && token.text(self.source) == "*" => {
                    self.column(Arc::from("*"));
                    self.at += 2;
                    return Ok(true);
                }
                _ => return self.confused("a name behind the dot"),
            }
            self.at += 2;
        }
        match self.kind(0) {
            Some(Tok::LParen) => {
                self.call(first, last)?;
                Ok(false)
            }
            Some(Tok::String) if !operand && !self.sqlite() && self.kind_at(last) == Tok::Word => {
                // `date '2024-01-01'`
                self.note_type(first, last);
                self.at += 1;
                Ok(true)
            }
            _ if operand && first == last => Ok(true),
            _ => {
                self.column_token(last);
                Ok(true)
            }
        }
    }

    /// Notes the call of the function named by `first..=last`; the bracket is next.
    fn call(&mut self, first: usize, last: usize) -> Read<()> {
        let name = self.folded(last);
        let schema = (first != last).then(|| self.folded(last - 2));
        let system = schema
            .as_deref()
            .is_none_or(|schema| matches!(schema, "pg_catalog" | "information_schema"));
        let class = if system {
            builtin::function(&name, self.lexer.dialect)
        } else {
            builtin::Function::Unknown
        };
        let harmless = matches!(class, builtin::Function::Harmless);
        if !harmless {
            self.mark(Traits::CALLS_FUNCTIONS);
        }
        self.effect(class.effects());
        if class.destructive() {
            self.mark(Traits::DESTRUCTIVE);
        }
        let open = self.at;
        self.special_call(&name, system, (open + 1, self.partner(open)))?;
        self.note_function(FunctionUse {
            schema,
            name,
            harmless,
        });
        Ok(())
    }
}
