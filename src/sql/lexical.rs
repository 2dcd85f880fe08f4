//! Facts from tokens alone: what a text may touch and whether it may write.
//!
//! Used where no grammar helps: statements that cannot be read, code inside
//! strings, and as the second opinion on everything that was read.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::{Access, Dialect, Effects, Kind};

use super::Lexer;
use super::builtin;
use super::lex::{Form, Kw, Tok, Token, lex, name_of, text_of};
use super::read::TableName;

/// How deep strings inside strings of code are looked into.
const STRINGS_DEEP: u32 = 3;

/// What the tokens leave open.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every name, as a relation that may be touched.
    pub relations: Vec<(TableName, Access)>,
    /// Functions that are called, by schema and name.
    pub functions: Vec<(Option<Arc<str>>, Arc<str>)>,
    /// What the words can do.
    pub effects: Effects,
    /// A word stands there that can change rows or objects.
    pub writes: bool,
    index: HashMap<(Option<Arc<str>>, Arc<str>), usize>,
}

impl Found {
    fn add(&mut self, schema: Option<Arc<str>>, name: Arc<str>, access: Access) {
        let key = (schema.clone(), name.clone());
        match self.index.get(&key) {
            Some(at) => self.relations[*at].1 |= access,
            None => {
                self.index.insert(key, self.relations.len());
                self.relations.push((TableName { schema, name }, access));
            }
        }
    }

    fn merge(&mut self, other: Found) {
        for (name, access) in other.relations {
            self.add(name.schema, name.name, access);
        }
        self.effects |= other.effects;
        self.writes |= other.writes;
    }
}

/// Code in a string: its own tokens, and those of the strings in it.
pub(super) fn scan(text: &str, lexer: Lexer) -> Found {
    scan_deep(text, lexer, 0)
}

fn scan_deep(text: &str, lexer: Lexer, depth: u32) -> Found {
    let Ok(cut) = lex(text, lexer) else {
        return words(text);
    };
    let mut found = tokens(text, lexer, &cut);
    if depth < STRINGS_DEEP {
        for token in cut
            .iter()
            .filter(|token| token.kind == Tok::String && token.form != Form::Bits)
        {
            found.merge(scan_deep(&text_of(token, text), lexer, depth + 1));
        }
    }
    found
}

/// Text that is no SQL (another language's function body): its words.
fn words(text: &str) -> Found {
    let mut found = Found::default();
    let letter = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    for word in text.split(|c| !letter(c)).filter(|word| !word.is_empty()) {
        let kw = Kw::of(word.as_bytes());
        note_word(&mut found, kw);
        if !kw.reserved() {
            found.add(
                None,
                Arc::from(super::lex::fold_word(word)),
                Access::POSSIBLE,
            );
        }
    }
    found
}

/// Every name and every word that can do something.
pub(super) fn tokens(source: &str, lexer: Lexer, cut: &[Token]) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    while at < cut.len() {
        let token = &cut[at];
        if !token.is_name() {
            at += 1;
            continue;
        }
        let label = at > 0 && cut[at - 1].kind == Tok::Dot;
        if token.kind == Tok::Word && !label {
            note_word(&mut found, token.kw);
        }
        if token.kind == Tok::Word && token.kw.reserved() && !label {
            at += 1;
            continue;
        }
        at = note_chain(&mut found, source, lexer, cut, at);
    }
    found
}

/// A dotted name: as relation, as its parts, as a call.
fn note_chain(found: &mut Found, source: &str, lexer: Lexer, cut: &[Token], first: usize) -> usize {
    let mut last = first;
    while cut.get(last + 1).is_some_and(|dot| dot.kind == Tok::Dot)
        && cut.get(last + 2).is_some_and(Token::is_name)
    {
        last += 2;
    }
    let name =
        |index: usize| -> Arc<str> { Arc::from(name_of(&cut[index], source, lexer.dialect)) };
    let access = access_before(cut, first) | Access::POSSIBLE;
    if last == first {
        found.add(None, name(first), access);
    } else {
        found.add(Some(name(last - 2)), name(last), access);
        // `t.column` names the table too.
        found.add(None, name(last - 2), Access::POSSIBLE);
    }
    if cut[last].kind == Tok::Quoted {
        let folded = Arc::from(name_of(&cut[last], source, lexer.dialect).to_ascii_lowercase());
        let schema = (last != first).then(|| name(last - 2));
        found.add(schema, folded, access);
    }
    let call = cut[last].kw == Kw::None || last != first;
    if call
        && cut
            .get(last + 1)
            .is_some_and(|next| next.kind == Tok::LParen)
    {
        let schema = (last != first).then(|| name(last - 2));
        found.functions.push((schema, name(last)));
    }
    last + 1
}

/// What the word in front of a name does to it.
fn access_before(cut: &[Token], at: usize) -> Access {
    let kw = |back: usize| at.checked_sub(back).map_or(Kw::None, |index| cut[index].kw);
    let (one, two) = match kw(1) {
        Kw::Only | Kw::Table | Kw::View | Kw::Exists => (kw(2), kw(3)),
        other => (other, kw(2)),
    };
    match (two, one) {
        (Kw::Delete, Kw::From) => Access::DELETE,
        (Kw::Insert | Kw::Replace, Kw::Into) => Access::INSERT,
        (Kw::Merge, Kw::Into) => Access::INSERT | Access::UPDATE | Access::DELETE,
        (_, Kw::Into) => Access::CREATE | Access::INSERT,
        (_, Kw::Update) => Access::UPDATE,
        (_, Kw::Truncate) => Access::TRUNCATE,
        (_, Kw::Drop) => Access::DROP,
        (_, Kw::Alter) => Access::ALTER,
        (_, Kw::Create) => Access::CREATE,
        (_, Kw::From | Kw::Join) => Access::SELECT,
        (Kw::Drop, Kw::If) => Access::DROP,
        (Kw::Alter, Kw::If) => Access::ALTER,
        (_, Kw::Copy) => Access::SELECT | Access::INSERT,
        _ => Access::empty(),
    }
}

fn note_word(found: &mut Found, kw: Kw) {
    let effects = match kw {
        Kw::Insert
        | Kw::Update
        | Kw::Delete
        | Kw::Merge
        | Kw::Truncate
        | Kw::Into
        | Kw::Replace => Effects::WRITES,
        Kw::Refresh => Effects::WRITES,
        Kw::Create | Kw::Alter | Kw::Drop | Kw::Import | Kw::Reindex | Kw::Cluster => {
            Effects::SCHEMA
        }
        Kw::Copy => Effects::READS | Effects::WRITES,
        Kw::Grant | Kw::Revoke | Kw::Reassign => Effects::PRIVILEGE,
        Kw::Do | Kw::Call | Kw::Execute | Kw::Load => Effects::CODE,
        Kw::Program => Effects::PROGRAM,
        Kw::Select => {
            found.effects |= Effects::READS;
            return;
        }
        _ => return,
    };
    found.effects |= effects;
    found.writes = true;
}

/// What a statement is that cannot be read, by its first word.
pub(super) fn kind_of(kw: Kw) -> Kind {
    match kw {
        Kw::Select | Kw::Values | Kw::Table | Kw::With => Kind::Select,
        Kw::Insert | Kw::Replace => Kind::Insert,
        Kw::Update => Kind::Update,
        Kw::Delete => Kind::Delete,
        Kw::Merge => Kind::Merge,
        Kw::Truncate => Kind::Truncate,
        Kw::Copy => Kind::Copy,
        Kw::Create => Kind::Create,
        Kw::Alter | Kw::Reassign => Kind::Alter,
        Kw::Drop => Kind::Drop,
        Kw::Explain => Kind::Explain,
        Kw::Prepare => Kind::Prepare,
        Kw::Execute => Kind::Execute,
        Kw::Deallocate => Kind::Deallocate,
        Kw::Declare => Kind::Declare,
        Kw::Fetch | Kw::Move => Kind::Fetch,
        Kw::Close => Kind::Close,
        Kw::Begin | Kw::Start => Kind::Begin,
        Kw::Commit | Kw::End => Kind::Commit,
        Kw::Rollback | Kw::Abort => Kind::Rollback,
        Kw::Savepoint | Kw::Release => Kind::Savepoint,
        Kw::Set => Kind::Set,
        Kw::Reset => Kind::Reset,
        Kw::Show => Kind::Show,
        Kw::Discard => Kind::Discard,
        Kw::Lock => Kind::Lock,
        Kw::Do => Kind::Do,
        Kw::Call => Kind::Call,
        Kw::Grant => Kind::Grant,
        Kw::Revoke => Kind::Revoke,
        Kw::Vacuum | Kw::Analyze | Kw::Analyse | Kw::Cluster | Kw::Reindex | Kw::Checkpoint => {
            Kind::Maintain
        }
        Kw::Refresh => Kind::Refresh,
        Kw::Listen | Kw::Unlisten | Kw::Notify => Kind::Notify,
        Kw::Comment | Kw::Security => Kind::Comment,
        Kw::Load | Kw::Import => Kind::Load,
        Kw::Attach | Kw::Detach => Kind::Attach,
        Kw::Pragma => Kind::Pragma,
        _ => Kind::Other,
    }
}

/// No continuation of this word can touch rows, objects, rights or the outside.
pub(super) fn is_harmless_start(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Show
            | Kw::Fetch
            | Kw::Move
            | Kw::Close
            | Kw::Listen
            | Kw::Unlisten
            | Kw::Savepoint
            | Kw::Release
            | Kw::Deallocate
    )
}

/// The first token that can start a write and is not accounted for.
pub(super) fn unexplained(
    cut: &[Token],
    range: std::ops::Range<usize>,
    dialect: Dialect,
    explained: impl Fn(usize) -> bool,
) -> Option<usize> {
    range.clone().find(|index| {
        let token = &cut[*index];
        if token.kind != Tok::Word || token.kw == Kw::None || explained(*index) {
            return false;
        }
        let label = *index > range.start && {
            let before = &cut[index - 1];
            before.kind == Tok::Dot || before.kw == Kw::As
        };
        !label && starts_write(cut, *index, range.end, dialect)
    })
}

fn starts_write(cut: &[Token], at: usize, end: usize, dialect: Dialect) -> bool {
    let kw = |ahead: usize| {
        cut.get(at + ahead)
            .filter(|_| at + ahead < end)
            .map_or(Kw::None, |token| token.kw)
    };
    let sqlite = dialect == Dialect::Sqlite;
    match kw(0) {
        Kw::Insert | Kw::Merge => kw(1) == Kw::Into || (sqlite && kw(1) == Kw::Or),
        Kw::Replace => sqlite && kw(1) == Kw::Into,
        Kw::Delete => kw(1) == Kw::From,
        Kw::Update => (sqlite && kw(1) == Kw::Or) || updates(cut, at + 1, end),
        Kw::Truncate | Kw::Drop | Kw::Alter => kw(1) == Kw::Table,
        Kw::Into | Kw::Do | Kw::Create | Kw::Grant => !sqlite || kw(0) == Kw::Create,
        _ => false,
    }
}

/// `UPDATE [ONLY] [(] name [)] [*] [[AS] alias] SET`: whether SET follows.
fn updates(cut: &[Token], from: usize, end: usize) -> bool {
    let token = |at: usize| cut.get(at).filter(|_| at < end);
    let mut at = from;
    if token(at).is_some_and(|t| t.kw == Kw::Only) {
        at += 1;
    }
    if token(at).is_some_and(|t| t.kind == Tok::LParen) && at > from {
        at += 1;
    }
    if !token(at).is_some_and(|t| t.is_name() && !t.kw.reserved()) {
        return false;
    }
    at += 1;
    while token(at).is_some_and(|t| t.kind == Tok::Dot) {
        at += 2;
    }
    // A bracket, a star, AS and an alias at most.
    for _ in 0..5 {
        match token(at) {
            Some(t) if t.kw == Kw::Set => return true,
            Some(t) if matches!(t.kind, Tok::RParen | Tok::Op) || t.kw == Kw::As || t.is_name() => {
                at += 1
            }
            _ => return false,
        }
    }
    false
}

/// Effects of the calls among the tokens.
pub(super) fn call_effects(found: &Found, dialect: Dialect) -> (Effects, bool) {
    let mut effects = Effects::empty();
    let mut destructive = false;
    for (schema, name) in &found.functions {
        if Kw::of(name.as_bytes()) != Kw::None && schema.is_none() {
            continue;
        }
        let class = match schema.as_deref() {
            None | Some("pg_catalog") => builtin::function(name, dialect),
            _ => builtin::Function::Unknown,
        };
        effects |= class.effects();
        destructive |= class.destructive();
    }
    (effects, destructive)
}
