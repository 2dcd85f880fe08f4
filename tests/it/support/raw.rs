//! A protocol client that sends exactly what it is told and hides nothing.
//!
//! Drivers repair, reorder and pipeline; a test of the protocol must not. Here a
//! [`Raw`] connection sends message sequences (see `script`) and returns every
//! message that came back. Read [`Raw::run`] first.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};

use super::answer::Answer;
use super::script::{self, Section};
use super::wire::{Encryption, Wire};

/// Longest wait for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the client makes of channel binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// It cannot.
    Unable,
    /// It could, and says that the server cannot.
    NotOffered,
    /// To this certificate.
    To(Vec<u8>),
}

/// How to log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Database; none: not sent.
    pub database: Option<String>,
    /// Password, when the server asks.
    pub password: Option<String>,
    /// Further start-up parameters.
    pub parameters: Vec<(String, String)>,
    /// Channel binding.
    pub binding: Binding,
    /// Version of the protocol that is asked for.
    pub version: u32,
}

impl Login {
    /// Without a password.
    pub fn new(user: &str, database: &str) -> Login {
        Login {
            user: user.to_owned(),
            database: Some(database.to_owned()),
            password: None,
            parameters: Vec::new(),
            binding: Binding::Unable,
            version: 196_608,
        }
    }

    /// With another version of the protocol: 3 and this.
    pub fn minor(mut self, minor: u16) -> Login {
        self.version = 196_608 + u32::from(minor);
        self
    }

    /// With a password.
    pub fn password(mut self, password: &str) -> Login {
        self.password = Some(password.to_owned());
        self
    }

    /// With channel binding.
    pub fn binding(mut self, binding: Binding) -> Login {
        self.binding = binding;
        self
    }

    /// With a start-up parameter.
    pub fn parameter(mut self, name: &str, value: &str) -> Login {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    fn packet(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        let mut pair = |name: &str, value: &str| {
            for text in [name, value] {
                body.extend(text.as_bytes());
                body.push(0);
            }
        };
        pair("user", &self.user);
        if let Some(database) = &self.database {
            pair("database", database);
        }
        for (name, value) in &self.parameters {
            pair(name, value);
        }
        body.push(0);
        let mut packet = (body.len() as u32 + 4).to_be_bytes().to_vec();
        packet.extend(body);
        packet
    }
}

/// One connection.
pub struct Raw {
    stream: Wire,
    inbox: Vec<u8>,
    /// Everything that came before the first ReadyForQuery.
    pub greeting: Vec<Answer>,
    /// The kinds of authentication that were asked for.
    pub asked: Vec<i32>,
    /// Process id and secret for cancelling.
    pub cancel_key: (i32, i32),
    /// The whole secret, which may be longer.
    pub cancel_secret: Vec<u8>,
}

impl Raw {
    /// Opens a connection without saying anything.
    pub fn open(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Raw::over(stream)
    }

    /// Opens a connection from one of this machine's own addresses.
    pub fn open_from(source: &str, address: SocketAddr) -> Raw {
        use socket2::{Domain, Socket, Type};
        let source: SocketAddr = source.parse().expect("an address with a port");
        let socket = Socket::new(Domain::for_address(source), Type::STREAM, None).expect("socket");
        socket.bind(&source.into()).expect("an own address");
        socket.connect(&address.into()).expect("a connection");
        Raw::over(socket.into())
    }

    /// Opens a connection to a Unix socket.
    pub fn open_unix(path: &std::path::Path) -> Raw {
        let stream = std::os::unix::net::UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Raw::speak(Wire::Unix(stream))
    }

    fn over(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).expect("nodelay");
        Raw::speak(Wire::Plain(stream))
    }

    /// Speaks over a stream that is open.
    pub fn speak(stream: Wire) -> Raw {
        Raw {
            stream,
            inbox: Vec::new(),
            greeting: Vec::new(),
            asked: Vec::new(),
            cancel_key: (0, 0),
            cancel_secret: Vec::new(),
        }
    }

    /// Logs in, or panics with the server's answer.
    pub fn login(address: SocketAddr, login: &Login) -> Raw {
        match Raw::try_login(address, login) {
            Ok(raw) => raw,
            Err(answer) => panic!("login refused: {}", answer.line()),
        }
    }

    /// Logs in, or returns the error the server sent.
    pub fn try_login(address: SocketAddr, login: &Login) -> Result<Raw, Answer> {
        Raw::open(address).start(login)
    }

    /// Asks for encryption, and carries the handshake through.
    pub fn open_encrypted(address: SocketAddr, encryption: &Encryption) -> std::io::Result<Raw> {
        let mut raw = Raw::open(address);
        raw.send_bytes(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
        match raw.receive_byte() {
            Some(b'S') => raw.encrypt(encryption),
            answer => Err(std::io::Error::other(format!("{answer:?} to SSLRequest"))),
        }
    }

    /// Goes on encrypted.
    pub fn encrypt(mut self, encryption: &Encryption) -> std::io::Result<Raw> {
        self.stream = self.stream.encrypt(encryption)?;
        Ok(self)
    }

    /// Logs in on a connection that is open, or returns the error the server sent.
    pub fn start(mut self, login: &Login) -> Result<Raw, Answer> {
        let raw = &mut self;
        raw.send_bytes(&login.packet());
        raw.authenticate(login)?;
        loop {
            let answer = raw.receive().expect("an answer to the start-up");
            match answer.tag {
                b'E' => return Err(answer),
                b'K' => {
                    raw.cancel_key = (answer.int32(0), answer.int32(4));
                    raw.cancel_secret = answer.body[4..].to_vec();
                }
                b'Z' => return Ok(self),
                _ => {}
            }
            raw.greeting.push(answer);
        }
    }

    fn authenticate(&mut self, login: &Login) -> Result<(), Answer> {
        let mut scram = None;
        loop {
            let answer = self.receive().expect("an answer to the start-up");
            if answer.tag == b'v' {
                self.greeting.push(answer);
                continue;
            }
            if answer.tag == b'R' {
                self.asked.push(answer.int32(0));
            }
            match (answer.tag, answer.tag == b'R' && answer.body.len() >= 4) {
                (b'R', true) => match answer.int32(0) {
                    0 => return Ok(()),
                    3 => self.send(
                        b'p',
                        format!("{}\0", login.password.as_deref().unwrap_or("")).as_bytes(),
                    ),
                    5 => {
                        let salt = answer.body[4..8].try_into().expect("a salt");
                        let password = login.password.as_deref().unwrap_or("");
                        let hash = md5_hash(login.user.as_bytes(), password.as_bytes(), salt);
                        self.send(b'p', format!("{hash}\0").as_bytes());
                    }
                    10 => scram = Some(self.begin_scram(login)),
                    11 => {
                        let scram: &mut ScramSha256 = scram.as_mut().expect("SASL began");
                        scram
                            .update(&answer.body[4..])
                            .expect("a server-first message");
                        let reply = scram.message().to_vec();
                        self.send(b'p', &reply);
                    }
                    12 => {
                        let scram = scram.as_mut().expect("SASL began");
                        scram
                            .finish(&answer.body[4..])
                            .expect("the server proves itself");
                    }
                    other => panic!("authentication method {other} is not spoken here"),
                },
                (b'E', _) => return Err(answer),
                _ => self.greeting.push(answer),
            }
        }
    }

    fn begin_scram(&mut self, login: &Login) -> ScramSha256 {
        let password = login.password.as_deref().unwrap_or("");
        let (mechanism, binding) = match &login.binding {
            Binding::Unable => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            Binding::NotOffered => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            Binding::To(hash) => {
                let binding = ChannelBinding::tls_server_end_point(hash.clone());
                (SCRAM_SHA_256_PLUS, binding)
            }
        };
        let scram = ScramSha256::new(password.as_bytes(), binding);
        let first = scram.message();
        let mut body = mechanism.as_bytes().to_vec();
        body.push(0);
        body.extend((first.len() as u32).to_be_bytes());
        body.extend(first);
        self.send(b'p', &body);
        scram
    }

    /// Sends one message.
    pub fn send(&mut self, tag: u8, body: &[u8]) {
        let message = script::message(tag, body);
        self.send_bytes(&message);
    }

    /// Sends bytes as they are, if the peer still reads.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer reads");
    }

    /// The next message; nothing when the peer has closed.
    pub fn receive(&mut self) -> Option<Answer> {
        self.receive_within(PATIENCE)
            .unwrap_or_else(|| panic!("no answer within {PATIENCE:?}"))
    }

    /// `None`: nothing came in time. `Some(None)`: the peer has closed.
    pub fn receive_within(&mut self, wait: Duration) -> Option<Option<Answer>> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(answer) = Answer::take(&mut self.inbox) {
                return Some(Some(answer));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if !self.fill(left)? {
                return Some(None);
            }
        }
    }

    /// Reads what is there: false at the end, `None` when the time ran out.
    fn fill(&mut self, wait: Duration) -> Option<bool> {
        let mut buffer = [0; 16384];
        self.stream
            .set_read_timeout(Some(wait))
            .expect("a time limit");
        match self.stream.read(&mut buffer) {
            Ok(0) => Some(false),
            Ok(count) => {
                self.inbox.extend(&buffer[..count]);
                Some(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                None
            }
            Err(_) => Some(false),
        }
    }

    /// One byte that is not a message (the answer to SSLRequest).
    pub fn receive_byte(&mut self) -> Option<u8> {
        if self.inbox.is_empty() && !self.fill(PATIENCE)? {
            return None;
        }
        Some(self.inbox.remove(0))
    }

    /// Plays a script and returns everything that came back, section after section.
    ///
    /// A section is answered when as many ReadyForQuery came as it holds Query,
    /// Sync and FunctionCall messages; one without any (it ends in Flush), when
    /// each of its messages is answered or an error came.
    pub fn run(&mut self, script: &str) -> Vec<Answer> {
        let mut answers = Vec::new();
        for section in script::sections(script) {
            self.send_bytes(&section.bytes);
            self.collect(&section, &mut answers);
        }
        answers
    }

    fn collect(&mut self, section: &Section, answers: &mut Vec<Answer>) {
        let (mut ready, mut steps) = (0, 0);
        let open = |ready, steps| {
            if section.ready > 0 {
                ready < section.ready
            } else {
                steps < section.steps
            }
        };
        while open(ready, steps) {
            match self.receive_within(PATIENCE) {
                Some(Some(answer)) => {
                    ready += usize::from(answer.tag == b'Z');
                    match answer.tag {
                        b'1' | b'2' | b'3' | b'T' | b'n' | b'C' | b's' | b'I' | b'G' => steps += 1,
                        b'E' => steps = section.steps,
                        _ => {}
                    }
                    answers.push(answer);
                }
                Some(None) => {
                    answers.push(Answer::closed());
                    return;
                }
                None => {
                    let got: Vec<String> = answers.iter().map(Answer::line).collect();
                    panic!(
                        "{ready} of {} ReadyForQuery within {PATIENCE:?}; so far:\n{}",
                        section.ready,
                        got.join("\n")
                    );
                }
            }
        }
    }

    /// Like [`Raw::run`], one line for each message.
    pub fn lines(&mut self, script: &str) -> Vec<String> {
        self.run(script).iter().map(Answer::line).collect()
    }

    /// One simple query; returns its rows, panics on an error.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let mut rows = Vec::new();
        self.send(b'Q', format!("{sql}\0").as_bytes());
        loop {
            let answer = self.receive().expect("an answer");
            match answer.tag {
                b'D' => rows.push(answer.row()),
                b'E' => panic!("{sql}: {}", answer.line()),
                b'Z' => return rows,
                _ => {}
            }
        }
    }

    /// The only value of a simple query.
    pub fn value(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    /// True when nothing more comes for a short while.
    pub fn is_silent(&mut self) -> bool {
        self.receive_within(Duration::from_millis(50)).is_none()
    }
}
