//! The log: lines for people or for machines, on standard error.
//!
//! Lines go through a bounded queue to a thread of their own. A worker must
//! never wait for a terminal or a full pipe, so lines that do not fit are
//! dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogConfig;

/// Lines that wait for the writer.
const QUEUE_LINES: usize = 8_192;

/// Keeps the log running; lines that wait are written when it is dropped.
pub struct Log {
    queue: Queue,
    writer: Option<JoinHandle<()>>,
}

impl Log {
    /// Where the number of dropped lines can be read.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.queue.dropped.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The subscriber keeps a sender for ever, so the end is said in words.
        let _ = self.queue.lines.send(Message::End);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Why the log cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `log.level` cannot be read.
    #[error("the log level \"{0}\" cannot be read")]
    Level(String),
    /// There is a log already, or no thread for it.
    #[error("the log cannot be installed: {0}")]
    Install(String),
}

/// Checks `log.level`.
pub fn filter(level: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|_| Error::Level(level.to_owned()))
}

/// Installs the log of the process. Only `main` does this.
pub fn install(config: &LogConfig) -> Result<Log, Error> {
    let filter = filter(&config.level)?;
    let (lines, waiting) = sync_channel(QUEUE_LINES);
    let queue = Queue {
        lines,
        dropped: Arc::default(),
    };
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&waiting, io::stderr()))
        .map_err(|error| Error::Install(error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue.clone());
    let installed = if config.json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        use io::IsTerminal as _;
        builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .try_init()
    };
    installed.map_err(|error| Error::Install(error.to_string()))?;
    Ok(Log {
        queue,
        writer: Some(writer),
    })
}

enum Message {
    Line(Vec<u8>),
    End,
}

#[derive(Clone)]
struct Queue {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

fn write_lines(waiting: &Receiver<Message>, mut out: impl Write) {
    let mut buffer = Vec::new();
    while let Ok(Message::Line(line)) = waiting.recv() {
        buffer.clear();
        buffer.extend_from_slice(&line);
        let mut end = false;
        // One write for what has gathered meanwhile.
        while buffer.len() < 1 << 16 {
            match waiting.try_recv() {
                Ok(Message::Line(line)) => buffer.extend_from_slice(&line),
                Ok(Message::End) => {
                    end = true;
                    break;
                }
                Err(_) => break,
            }
        }
        // A closed standard error is no reason to stop the gate.
        let _ = out.write_all(&buffer);
        if end {
            break;
        }
    }
    let _ = out.flush();
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            queue: self,
            bytes: Vec::new(),
        }
    }
}

/// One line on its way into the queue.
pub struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if !line.is_empty() && self.queue.lines.try_send(Message::Line(line)).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
