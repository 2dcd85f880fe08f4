//! Exchanges of the gate's own on the client's link.
//!
//! Always extended messages with names of our own inside a pipeline: a simple
//! Query would destroy the client's unnamed statement. Nothing of them reaches
//! the client.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::expected::{Expected, Own};
use super::session::Session;
use crate::wire::postgres::encode;

/// Name of statements and portals of the gate.
pub(super) const OWN_NAME: &[u8] = b"portcullis_own";

/// What came back.
#[derive(Default)]
pub(super) struct Answer {
    /// Rows in text form.
    pub(super) rows: Vec<Vec<Option<Bytes>>>,
    /// Body of the first ErrorResponse.
    pub(super) error: Option<BytesMut>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Runs one statement inside the current pipeline, without Sync.
    ///
    /// After an error the server skips everything up to the next Sync.
    pub(super) async fn ask(&mut self, text: &str) -> Result<Answer, Error> {
        self.write_own(text, b"\0\0\0\0\0\0", &[]);
        self.settle().await?;
        Ok(std::mem::take(&mut self.own))
    }

    /// Writes a request of [`Session::ask`] without waiting.
    pub(super) fn write_own(&mut self, text: &str, values: &[u8], types: &[u32]) {
        let out = &mut self.up;
        // An exchange that failed has left the name behind; closing none is no error.
        encode::close(out, b'S', OWN_NAME);
        encode::parse(out, OWN_NAME, text.as_bytes(), types);
        encode::bind_rest(out, OWN_NAME, OWN_NAME, values);
        encode::execute(out, OWN_NAME, 0);
        encode::close(out, b'P', OWN_NAME);
        encode::close(out, b'S', OWN_NAME);
        self.queue.push(Expected::Own(Own::Closes(3)));
    }

    /// Runs a string by simple Query; only where the client's unnamed statement is lost anyway.
    pub(super) async fn ask_simple(&mut self, text: &str) -> Result<Answer, Error> {
        self.write_simple(text);
        self.settle().await?;
        Ok(std::mem::take(&mut self.own))
    }

    /// Writes the request of [`Session::ask_simple`] without waiting.
    pub(super) fn write_simple(&mut self, text: &str) {
        encode::query(&mut self.up, text);
        self.queue.push(Expected::Own(Own::Ready));
    }
}
