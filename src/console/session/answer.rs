//! What a command comes to, ready to be sent in whichever protocol.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Error, Session};
use crate::config::ConsoleRole;
use crate::console::act::{self, settings};
use crate::console::command::Command;
use crate::console::show::{self, Show};
use crate::console::table::{self, Kind, Table, Value};
use crate::model::UserMessage;
use crate::wire::postgres::encode;

/// Rows, if there are any to be, and the tag.
pub(super) struct Answer {
    notice: Option<UserMessage>,
    table: Option<Table>,
    sent: usize,
    tag: String,
}

impl Answer {
    fn tag(tag: impl Into<String>) -> Answer {
        Answer {
            notice: None,
            table: None,
            sent: 0,
            tag: tag.into(),
        }
    }

    fn rows_of(table: Table) -> Answer {
        Answer {
            table: Some(table),
            ..Answer::tag("SHOW")
        }
    }

    /// RowDescription, where there are rows.
    pub(super) fn describe(&self, out: &mut BytesMut, formats: &[bool]) {
        if let Some(table) = &self.table {
            table::describe(out, &table.columns, formats);
        }
    }

    /// The next rows, at most so many (0: all). True: that was all.
    pub(super) fn rows(&mut self, out: &mut BytesMut, at_most: usize, formats: &[bool]) -> bool {
        if let Some(notice) = self.notice.take() {
            encode::notice(out, &notice);
        }
        let Some(table) = &self.table else {
            return true;
        };
        let left = &table.rows[self.sent..];
        let count = if at_most == 0 {
            left.len()
        } else {
            left.len().min(at_most)
        };
        for row in &left[..count] {
            table::row(out, &table.columns, row, formats);
        }
        self.sent += count;
        // As on a server: it is not known to be the end before one more is asked for.
        at_most == 0 || count < at_most
    }

    /// CommandComplete.
    pub(super) fn complete(&self, out: &mut BytesMut) {
        encode::command_complete(out, &self.tag);
    }
}

/// RowDescription or NoData of a command that has not run yet.
pub(super) fn describe(out: &mut BytesMut, command: Option<&Command>, formats: &[bool]) {
    match command {
        Some(Command::Show(Show::Help)) | None => encode::frame(out, b'n', |_| {}),
        Some(Command::Show(what)) => table::describe(out, what.columns(), formats),
        Some(Command::Setting(name, _)) => {
            table::describe(out, &[(name, kind_of(name))], formats);
        }
        Some(_) => encode::frame(out, b'n', |_| {}),
    }
}

fn kind_of(name: &str) -> Kind {
    if name == "?column?" {
        Kind::Int
    } else {
        Kind::Text
    }
}

fn notice(message: impl Into<String>) -> UserMessage {
    UserMessage {
        severity: "NOTICE",
        ..UserMessage::error("00000", message)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Carries a command out.
    pub(super) async fn answer(
        &mut self,
        command: &Command,
    ) -> Result<Result<Answer, UserMessage>, Error> {
        if self.status == b'E' && !matches!(command, Command::Commit | Command::Rollback) {
            let message =
                "current transaction is aborted, commands ignored until end of transaction block";
            return Ok(Err(UserMessage::error("25P02", message)));
        }
        let started = std::time::Instant::now();
        let answer = match command {
            Command::Begin => Ok(self.transaction(b'T', "BEGIN")),
            Command::Commit if self.status == b'E' => Ok(self.transaction(b'I', "ROLLBACK")),
            Command::Commit => Ok(self.transaction(b'I', "COMMIT")),
            Command::Rollback => Ok(self.transaction(b'I', "ROLLBACK")),
            Command::Courtesy(tag) => Ok(Answer::tag(*tag)),
            Command::Setting(name, value) => Ok(setting(name, value)),
            Command::Set(key, value) if settings::is_of_sessions(key) => {
                Ok(self.pretend(key, value))
            }
            Command::Show(Show::Help) => Ok(Answer {
                notice: Some(notice("Console usage").detail(show::help())),
                ..Answer::tag("SHOW")
            }),
            Command::Show(what) => {
                let console = self.console.clone();
                match self.attend(what.table(&console)).await? {
                    Some(table) => table.map(Answer::rows_of),
                    None => Err(cancelled()),
                }
            }
            command if self.role == ConsoleRole::Reader && !command.only_looks() => {
                Err(UserMessage::error("42501", "admin access needed")
                    .hint("The user is named in `readers` of [console]: it may only SHOW."))
            }
            command => self.act(command).await?,
        };
        self.presence.ran(started, std::time::Instant::now());
        if self.status == b'I' {
            self.presence.transaction_ended();
        }
        Ok(answer)
    }

    async fn act(&mut self, command: &Command) -> Result<Result<Answer, UserMessage>, Error> {
        let console = self.console.clone();
        let tag = match command {
            Command::Set(key, value) => format!("SET {key}={value}"),
            _ => String::new(),
        };
        let answer = match self.attend(act::act(&console, command.clone())).await {
            Ok(Some(Ok(_))) if !tag.is_empty() => Ok(Answer::tag(tag)),
            Ok(Some(done)) => done.map(Answer::tag),
            Ok(None) => {
                act::give_up(&console, command).await;
                Err(cancelled())
            }
            Err(error) => {
                // Whoever suspended everything and vanished must not leave it so.
                if matches!(command, Command::Suspend) {
                    act::give_up(&console, command).await;
                }
                return Err(error);
            }
        };
        Ok(answer)
    }

    fn transaction(&mut self, status: u8, tag: &str) -> Answer {
        self.status = status;
        Answer::tag(tag)
    }

    /// A setting that a driver makes of its own accord.
    fn pretend(&mut self, key: &str, value: &str) -> Answer {
        if key == "application_name" {
            self.presence.introduces_itself(value);
            encode::parameter_status(&mut self.outbox, "application_name", value);
        }
        Answer {
            notice: (key != "application_name").then(|| notice("SET ignored")),
            ..Answer::tag("SET")
        }
    }
}

fn setting(name: &'static str, value: &str) -> Answer {
    let kind = kind_of(name);
    let value = match (kind, value.parse()) {
        (Kind::Int, Ok(number)) => Value::Number(number),
        _ => value.into(),
    };
    Answer::rows_of(Table {
        columns: vec![(name, kind)].into(),
        rows: vec![vec![value]],
    })
}

fn cancelled() -> UserMessage {
    UserMessage::error("57014", "canceling statement due to user request")
}
