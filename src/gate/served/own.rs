//! Statements that this session carries out itself: transactions, settings, session state.

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Stop;
use super::session::Session;
use crate::backend::rows::{Column, Type};
use crate::backend::sqlite::token::{Token, TokenKind, tokens};
use crate::gate::Error;
use crate::model::UserMessage;
use crate::wire::postgres::encode;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// BEGIN or START TRANSACTION; whether READ ONLY was said, and the tag.
    Begin(bool, &'static str),
    /// COMMIT; true with AND CHAIN.
    Commit(bool),
    /// ROLLBACK; true with AND CHAIN.
    Rollback(bool),
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE.
    Release(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// SET name = value; none for DEFAULT; true for LOCAL.
    Set(String, Option<String>, bool),
    /// SET TRANSACTION and SET SESSION CHARACTERISTICS; whether READ ONLY was said.
    SetTransaction(bool),
    /// RESET name; none for ALL.
    Reset(Option<String>),
    /// SHOW name.
    Show(String),
    /// SHOW ALL.
    ShowAll,
    /// DEALLOCATE name; none for ALL.
    Deallocate(Option<String>),
    /// DISCARD; true for ALL.
    Discard(bool),
    /// Nothing to do here; the tag.
    Nothing(&'static str),
    /// Not something this database has; the words that name it.
    Unsupported(String),
}

impl Own {
    /// Whether a statement is one of them.
    pub(super) fn read(text: &str) -> Option<Own> {
        let all = tokens(text).ok()?;
        let end = all.iter().position(|t| t.is_sign(";")).unwrap_or(all.len());
        let all = &all[..end];
        let verb = all.first()?.name()?;
        let rest = &all[1..];
        let chain = rest.windows(2).any(|w| w[0].is("and") && w[1].is("chain"));
        let read_only = rest.windows(2).any(|w| w[0].is("read") && w[1].is("only"));
        Some(match verb.as_str() {
            "begin" => Own::Begin(read_only, "BEGIN"),
            "start" if rest.first()?.is("transaction") => {
                Own::Begin(read_only, "START TRANSACTION")
            }
            "commit" | "end" if rest.first().is_some_and(|t| t.is("prepared")) => {
                Own::unsupported(all)
            }
            "commit" | "end" => Own::Commit(chain),
            "rollback" | "abort" => rollback(rest, chain).unwrap_or_else(|| Own::unsupported(all)),
            "savepoint" => Own::Savepoint(rest.first()?.name()?),
            "release" => Own::Release(last_name(rest, "savepoint")?),
            "set" => set(rest)?,
            "reset" => Own::Reset(Some(rest.first()?.name()?).filter(|n| n != "all")),
            "show" => show(rest)?,
            "deallocate" => {
                Own::Deallocate(Some(last_name(rest, "prepare")?).filter(|n| n != "all"))
            }
            "discard" => Own::Discard(rest.first()?.is("all")),
            "unlisten" => Own::Nothing("UNLISTEN"),
            "close" if rest.first()?.is("all") => Own::Nothing("CLOSE CURSOR ALL"),
            "prepare" | "execute" | "declare" | "fetch" | "move" | "close" | "listen"
            | "notify" | "copy" | "lock" | "do" | "call" | "grant" | "revoke" | "refresh"
            | "comment" | "load" | "security" | "cluster" | "checkpoint" | "merge" | "import"
            | "reassign" | "attach" | "detach" => Own::unsupported(all),
            _ => return None,
        })
    }

    fn unsupported(all: &[Token<'_>]) -> Own {
        Own::Unsupported(all[0].text.to_ascii_uppercase())
    }

    /// Whether it may run in a failed transaction block.
    pub(super) fn ends_failure(&self) -> bool {
        matches!(self, Own::Commit(_) | Own::Rollback(_) | Own::RollbackTo(_))
    }

    /// Columns it answers with.
    pub(super) fn columns(&self) -> Vec<Column> {
        let column = |name: &str| Column {
            name: name.into(),
            kind: Type::TEXT,
            certain: true,
        };
        match self {
            Own::Show(name) => vec![column(shown_name(name))],
            Own::ShowAll => vec![column("name"), column("setting"), column("description")],
            _ => Vec::new(),
        }
    }
}

fn shown_name(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        other => other,
    }
}

fn rollback(rest: &[Token<'_>], chain: bool) -> Option<Own> {
    let rest = &rest[rest
        .iter()
        .take_while(|t| t.is_any(&["work", "transaction"]))
        .count()..];
    match rest.first() {
        Some(t) if t.is("prepared") => None,
        Some(t) if t.is("to") => Some(Own::RollbackTo(last_name(&rest[1..], "savepoint")?)),
        _ => Some(Own::Rollback(chain)),
    }
}

/// A name, behind a word that may be left out.
fn last_name(rest: &[Token<'_>], word: &str) -> Option<String> {
    let skip = usize::from(rest.len() > 1 && rest[0].is(word));
    rest.get(skip)?.name()
}

fn set(rest: &[Token<'_>]) -> Option<Own> {
    let first = rest.first()?;
    let read_only = rest.windows(2).any(|w| w[0].is("read") && w[1].is("only"));
    if first.is("transaction") || first.is("session") && rest.get(1)?.is("characteristics") {
        return Some(Own::SetTransaction(read_only));
    }
    if first.is("constraints") {
        return Some(Own::Unsupported("SET CONSTRAINTS".into()));
    }
    let local = first.is("local");
    let rest = if first.is_any(&["local", "session"]) {
        &rest[1..]
    } else {
        rest
    };
    if rest.first()?.is("time") && rest.get(1)?.is("zone") {
        return Some(Own::Set(
            "timezone".into(),
            Some(constant(&rest[2..])),
            local,
        ));
    }
    if rest.first()?.is("names") {
        return Some(Own::Set(
            "client_encoding".into(),
            Some(constant(&rest[1..])),
            local,
        ));
    }
    if rest.first()?.is_any(&["role", "authorization"]) {
        return Some(Own::Unsupported("SET ROLE".into()));
    }
    let (mut name, mut at) = (rest.first()?.name()?, 1);
    while rest.get(at)?.is_sign(".") {
        name = format!("{name}.{}", rest.get(at + 1)?.name()?);
        at += 2;
    }
    let assigns = rest.get(at)?.is("to") || rest.get(at)?.is_sign("=");
    let value = &rest[at + 1..];
    let default = matches!(value, [one] if one.is("default"));
    assigns.then(|| Own::Set(name, (!default).then(|| constant(value)), local))
}

/// The value of SET: constants and words, lists kept with their commas.
fn constant(value: &[Token<'_>]) -> String {
    let part = |t: &Token<'_>| match t.kind {
        TokenKind::Text => t.string().unwrap_or_default(),
        _ if t.is_sign(",") => ", ".to_owned(),
        _ => t.text.to_string(),
    };
    value.iter().map(part).collect()
}

fn show(rest: &[Token<'_>]) -> Option<Own> {
    let words: Vec<String> = rest.iter().filter_map(Token::name).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["all"] => Own::ShowAll,
        ["transaction", "isolation", "level"] => Own::Show("transaction_isolation".into()),
        ["time", "zone"] => Own::Show("timezone".into()),
        ["session", "authorization"] => Own::Show("session_authorization".into()),
        parts if !parts.is_empty() => Own::Show(parts.join(".")),
        _ => return None,
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Carries it out; the tag for CommandComplete.
    pub(super) async fn run_own(&mut self, own: &Own) -> Result<String, Stop> {
        let tag = match own {
            Own::Begin(read_only, tag) => {
                if self.begin_block() {
                    self.read_only(*read_only)?;
                } else {
                    self.warn("25001", "there is already a transaction in progress");
                }
                tag
            }
            Own::Commit(chain) => return self.own_commit(*chain).await,
            Own::Rollback(chain) => {
                let block = self.transaction.in_block();
                if !block {
                    self.warn("25P01", "there is no transaction in progress");
                }
                self.rollback().await?;
                if *chain && block {
                    self.begin_block();
                }
                "ROLLBACK"
            }
            Own::Savepoint(_) | Own::Release(_) | Own::RollbackTo(_) => {
                return self.own_savepoint(own).await;
            }
            Own::Set(name, value, local) => {
                self.own_set(name, value.as_deref(), *local)?;
                "SET"
            }
            Own::SetTransaction(read_only) => {
                self.read_only(*read_only)?;
                "SET"
            }
            Own::Reset(name) => {
                self.settings.reset(name.as_deref())?;
                self.note_settings();
                "RESET"
            }
            Own::Show(_) | Own::ShowAll => "SHOW",
            Own::Deallocate(name) => {
                self.deallocate(name.as_deref()).await?;
                if name.is_some() {
                    "DEALLOCATE"
                } else {
                    "DEALLOCATE ALL"
                }
            }
            Own::Discard(all) => {
                if *all {
                    self.deallocate(None).await?;
                    self.settings.reset(None)?;
                    self.note_settings();
                }
                "DISCARD ALL"
            }
            Own::Nothing(tag) => tag,
            Own::Unsupported(what) => {
                return Err(Stop::failed(
                    UserMessage::error(
                        "0A000",
                        format!("{what} is not supported by this database"),
                    )
                    .hint("Behind this name stands an embedded SQLite database."),
                ));
            }
        };
        Ok((*tag).to_owned())
    }

    /// Rows of SHOW.
    pub(super) fn own_rows(&self, own: &Own) -> Result<Vec<Vec<String>>, UserMessage> {
        match own {
            Own::Show(name) => match self.settings.get(name) {
                Some(value) => Ok(vec![vec![value.to_owned()]]),
                None => Err(UserMessage::error(
                    "42704",
                    format!("unrecognized configuration parameter \"{name}\""),
                )),
            },
            Own::ShowAll => Ok(self
                .settings
                .all()
                .map(|(n, v)| vec![n.to_owned(), v.to_owned(), String::new()])
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    async fn own_commit(&mut self, chain: bool) -> Result<String, Stop> {
        let block = self.transaction.in_block();
        if !block {
            self.warn("25P01", "there is no transaction in progress");
        }
        let committed = self.commit().await??;
        if chain && block {
            self.begin_block();
        }
        Ok(if committed { "COMMIT" } else { "ROLLBACK" }.to_owned())
    }

    async fn own_savepoint(&mut self, own: &Own) -> Result<String, Stop> {
        if !self.transaction.in_block() {
            let (words, code) = match own {
                Own::Savepoint(_) => ("SAVEPOINT", "25P01"),
                Own::Release(_) => ("RELEASE SAVEPOINT", "25P01"),
                _ => ("ROLLBACK TO SAVEPOINT", "25P01"),
            };
            return Err(Stop::failed(UserMessage::error(
                code,
                format!("{words} can only be used in transaction blocks"),
            )));
        }
        let tag = match own {
            Own::Savepoint(name) => {
                self.savepoint(name.clone()).await??;
                "SAVEPOINT"
            }
            Own::Release(name) => {
                self.release(name.clone()).await??;
                "RELEASE"
            }
            Own::RollbackTo(name) => {
                self.rollback_to(name.clone()).await??;
                "ROLLBACK"
            }
            _ => "",
        };
        Ok(tag.to_owned())
    }

    fn own_set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), UserMessage> {
        match value {
            None => self.settings.reset(Some(name))?,
            Some(value) => {
                if let Some((name, value)) = self.settings.set(name, value, local)? {
                    encode::parameter_status(&mut self.outbox, name, &value);
                }
            }
        }
        self.note_settings();
        Ok(())
    }

    fn read_only(&mut self, on: bool) -> Result<(), UserMessage> {
        if on {
            self.settings.set("transaction_read_only", "on", true)?;
        }
        Ok(())
    }

    fn warn(&mut self, code: &'static str, text: &str) {
        let message = UserMessage {
            severity: "WARNING",
            ..UserMessage::error(code, text)
        };
        encode::notice(&mut self.outbox, &message);
    }

    async fn deallocate(&mut self, name: Option<&str>) -> Result<(), Stop> {
        let names: Vec<Vec<u8>> = match name {
            None => self
                .statements
                .keys()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            Some(name) if self.statements.contains_key(name.as_bytes()) => {
                vec![name.as_bytes().to_vec()]
            }
            Some(name) => {
                return Err(Stop::failed(UserMessage::error(
                    "26000",
                    format!("prepared statement \"{name}\" does not exist"),
                )));
            }
        };
        for name in names {
            self.forget_statement(&name).await.map_err(Stop::Fatal)?;
        }
        Ok(())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fatal(error)
    }
}

impl From<UserMessage> for Stop {
    fn from(message: UserMessage) -> Stop {
        Stop::failed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_statements_of_the_session() {
        let set = |n: &str, v: &str| Some(Own::Set(n.into(), Some(v.into()), false));
        let cases = [
            (
                "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
                Some(Own::Begin(true, "BEGIN")),
            ),
            (
                "start transaction;",
                Some(Own::Begin(false, "START TRANSACTION")),
            ),
            ("END", Some(Own::Commit(false))),
            ("rollback and chain", Some(Own::Rollback(true))),
            (
                "ROLLBACK WORK TO SAVEPOINT a",
                Some(Own::RollbackTo("a".into())),
            ),
            ("rollback to \"A b\"", Some(Own::RollbackTo("A b".into()))),
            ("RELEASE a", Some(Own::Release("a".into()))),
            ("SET search_path TO a, b", set("search_path", "a, b")),
            ("set session datestyle = 'ISO'", set("datestyle", "ISO")),
            ("SET TIME ZONE 'UTC'", set("timezone", "UTC")),
            (
                "SET LOCAL a.b = 3",
                Some(Own::Set("a.b".into(), Some("3".into()), true)),
            ),
            ("SET x TO DEFAULT", Some(Own::Set("x".into(), None, false))),
            ("SET TRANSACTION READ ONLY", Some(Own::SetTransaction(true))),
            (
                "SHOW TRANSACTION ISOLATION LEVEL",
                Some(Own::Show("transaction_isolation".into())),
            ),
            ("deallocate all", Some(Own::Deallocate(None))),
            ("COPY t FROM STDIN", Some(Own::Unsupported("COPY".into()))),
            ("select 1", None),
            ("/* begin */ update t set a = 1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Own::read(text), expected, "{text}");
        }
    }
}
