//! A PostgreSQL client of one page: start-up without password, simple and extended queries.
//!
//! Its own, because `xtask` must build within seconds of a clone, and because a
//! demonstration is worth more when nothing of the gate takes part in it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a statement was answered with.
#[derive(Debug, Default)]
pub struct Answer {
    /// Rows in text form.
    pub rows: Vec<Vec<Option<String>>>,
    /// Command tag of the last statement.
    pub tag: String,
    /// The error, when there was one.
    pub error: Option<Fields>,
}

/// Fields of an error.
#[derive(Debug, Default)]
pub struct Fields {
    /// SQLSTATE.
    pub code: String,
    /// What happened.
    pub message: String,
    /// To what.
    pub detail: String,
    /// What to do instead.
    pub hint: String,
    /// Policy and rule, `policy/rule`.
    pub rule: String,
}

/// One connection.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects and logs in.
    pub fn connect(address: SocketAddr, user: &str, database: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = Client { stream };
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        body.extend(strings(&[
            "user",
            user,
            "database",
            database,
            "application_name",
            "demo",
            "",
        ]));
        client
            .stream
            .write_all(&((body.len() as u32 + 4).to_be_bytes()))?;
        client.stream.write_all(&body)?;
        match client.collect()?.error {
            Some(fields) => Err(io::Error::other(fields.message)),
            None => Ok(client),
        }
    }

    /// One Query message.
    pub fn simple(&mut self, sql: &str) -> io::Result<Answer> {
        self.stream.write_all(&message(b'Q', &strings(&[sql])))?;
        self.collect()
    }

    /// Parse, Bind with text values, Execute, Sync.
    pub fn extended(&mut self, sql: &str, values: &[&str]) -> io::Result<Answer> {
        let mut bytes = message(b'P', &[strings(&["", sql]), vec![0, 0]].concat());
        let mut bind = strings(&["", ""]);
        bind.extend([0, 0]);
        bind.extend((values.len() as u16).to_be_bytes());
        for value in values {
            bind.extend((value.len() as u32).to_be_bytes());
            bind.extend(value.as_bytes());
        }
        bind.extend([0, 0]);
        bytes.extend(message(b'B', &bind));
        bytes.extend(message(b'E', &[0, 0, 0, 0, 0]));
        bytes.extend(message(b'S', &[]));
        self.stream.write_all(&bytes)?;
        self.collect()
    }

    /// Everything up to ReadyForQuery, or to the error that ends the connection.
    fn collect(&mut self) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'D' => answer.rows.push(row(&body).ok_or_else(damaged)?),
                b'C' => answer.tag = text(&body),
                b'E' => {
                    let fatal = text(&body).starts_with("SFATAL");
                    answer.error = Some(fields(&body));
                    if fatal {
                        return Ok(answer);
                    }
                }
                b'R' if body != [0, 0, 0, 0] => {
                    return Err(io::Error::other("the gate asks for a password"));
                }
                b'Z' => return Ok(answer),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut body = vec![0; length.checked_sub(4).ok_or_else(damaged)? as usize];
        self.stream.read_exact(&mut body)?;
        Ok((header[0], body))
    }
}

fn damaged() -> io::Error {
    io::Error::other("a message is damaged")
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn strings(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(part.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let count = u16::from_be_bytes(body.get(..2)?.try_into().ok()?);
    let mut rest = &body[2..];
    let mut values = Vec::new();
    for _ in 0..count {
        let (length, tail) = rest.split_at_checked(4)?;
        let length = i32::from_be_bytes(length.try_into().ok()?);
        let size = usize::try_from(length).unwrap_or(0);
        let (value, tail) = tail.split_at_checked(size)?;
        values.push((length >= 0).then(|| text(value)));
        rest = tail;
    }
    Some(values)
}

fn fields(body: &[u8]) -> Fields {
    let mut fields = Fields::default();
    for part in body
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
    {
        let value = text(&part[1..]);
        match part[0] {
            b'C' => fields.code = value,
            b'M' => fields.message = value,
            b'D' => fields.detail = value,
            b'H' => fields.hint = value,
            b'n' => fields.rule = value,
            _ => {}
        }
    }
    fields
}
