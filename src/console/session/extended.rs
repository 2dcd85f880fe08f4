//! Parse, Bind, Describe, Execute, Close: how most drivers say everything.

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Answer, describe};
use super::{Error, NAMES_MAX, Session};
use crate::console::command::Command;
use crate::model::UserMessage;
use crate::wire::postgres::frame::client;
use crate::wire::postgres::{self, encode, message};

/// A statement; none: an empty one.
pub(super) struct Prepared(Option<Command>);

/// A statement about to run, or running.
pub(super) struct Portal {
    command: Option<Command>,
    formats: Vec<bool>,
    answer: Option<Answer>,
}

type Said = Result<(), UserMessage>;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// The outer error ends the session, the inner one the pipeline.
    pub(super) async fn on_extended(&mut self, tag: u8, body: &[u8]) -> Result<Said, Error> {
        match tag {
            client::PARSE => Ok(self.on_parse(&message::parse(body)?)),
            client::BIND => self.on_bind(&message::bind(body)?),
            client::DESCRIBE => Ok(self.on_describe(&message::target(tag, body)?)),
            client::EXECUTE => self.on_execute(&message::execute(body)?).await,
            client::CLOSE => {
                let target = message::target(tag, body)?;
                if !target.portal {
                    self.statements.remove(target.name);
                } else {
                    self.portals.remove(target.name);
                }
                encode::frame(&mut self.outbox, b'3', |_| {});
                Ok(Ok(()))
            }
            client::FUNCTION_CALL => {
                // Ends with ReadyForQuery like a Query.
                let message = "function calls are not supported by the console";
                self.fail(&UserMessage::error("0A000", message));
                encode::ready(&mut self.outbox, self.status);
                Ok(Ok(()))
            }
            other => Err(postgres::Error::Malformed(char::from(other)).into()),
        }
    }

    fn on_parse(&mut self, parse: &message::Parse<'_>) -> Said {
        let mut commands = self.read_command(parse.text)?;
        if commands.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(UserMessage::error("42601", message));
        }
        let name = parse.name.to_vec();
        if !name.is_empty() {
            let shown = String::from_utf8_lossy(&name);
            if self.statements.contains_key(&name) {
                let message = format!("prepared statement \"{shown}\" already exists");
                return Err(UserMessage::error("42P05", message));
            }
            if self.statements.len() >= NAMES_MAX {
                let message = format!("at most {NAMES_MAX} prepared statements");
                return Err(UserMessage::error("53400", message));
            }
        }
        self.statements.insert(name, Prepared(commands.pop()));
        encode::frame(&mut self.outbox, b'1', |_| {});
        Ok(())
    }

    fn on_bind(&mut self, bind: &message::Bind<'_>) -> Result<Said, Error> {
        let values = bind.count()?;
        if values > 0 {
            let message = format!(
                "bind message supplies {values} parameters, but prepared statement \"{}\" requires 0",
                String::from_utf8_lossy(bind.statement)
            );
            return Ok(Err(UserMessage::error("08P01", message)));
        }
        let formats = bind.result_formats()?;
        let Some(Prepared(command)) = self.statements.get(bind.statement) else {
            return Ok(Err(unknown("prepared statement", bind.statement, "26000")));
        };
        if self.portals.len() >= NAMES_MAX && !self.portals.contains_key(bind.portal) {
            let message = format!("at most {NAMES_MAX} portals");
            return Ok(Err(UserMessage::error("53400", message)));
        }
        let portal = Portal {
            command: command.clone(),
            formats,
            answer: None,
        };
        self.portals.insert(bind.portal.to_vec(), portal);
        encode::frame(&mut self.outbox, b'2', |_| {});
        Ok(Ok(()))
    }

    fn on_describe(&mut self, target: &message::Target<'_>) -> Said {
        if !target.portal {
            let Some(Prepared(command)) = self.statements.get(target.name) else {
                return Err(unknown("prepared statement", target.name, "26000"));
            };
            encode::frame(&mut self.outbox, b't', |out| out.put_u16(0));
            describe(&mut self.outbox, command.as_ref(), &[]);
        } else {
            let Some(portal) = self.portals.get(target.name) else {
                return Err(unknown("portal", target.name, "34000"));
            };
            describe(&mut self.outbox, portal.command.as_ref(), &portal.formats);
        }
        Ok(())
    }

    async fn on_execute(&mut self, execute: &message::Execute<'_>) -> Result<Said, Error> {
        let Some(mut portal) = self.portals.remove(execute.portal) else {
            return Ok(Err(unknown("portal", execute.portal, "34000")));
        };
        let Some(command) = &portal.command else {
            encode::frame(&mut self.outbox, b'I', |_| {});
            return Ok(Ok(()));
        };
        let mut answer = match portal.answer.take() {
            Some(begun) => begun,
            None => match self.answer(command).await? {
                Ok(answer) => answer,
                Err(message) => return Ok(Err(message)),
            },
        };
        let at_most = usize::try_from(execute.rows_max).unwrap_or(0);
        if answer.rows(&mut self.outbox, at_most, &portal.formats) {
            answer.complete(&mut self.outbox);
        } else {
            encode::frame(&mut self.outbox, b's', |_| {});
        }
        portal.answer = Some(answer);
        self.portals.insert(execute.portal.to_vec(), portal);
        Ok(Ok(()))
    }

    /// Portals live as long as the transaction.
    pub(super) fn end_portals(&mut self) {
        if self.status == b'I' {
            self.portals.clear();
        }
    }
}

fn unknown(what: &str, name: &[u8], code: &'static str) -> UserMessage {
    let name = String::from_utf8_lossy(name);
    UserMessage::error(code, format!("{what} \"{name}\" does not exist"))
}
