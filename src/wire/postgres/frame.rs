//! Frame headers: a type byte and a length that counts itself.

use super::Error;

/// Bytes of type and length.
pub const HEADER: usize = 5;

/// Type bytes sent by clients.
pub mod client {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close.
    pub const CLOSE: u8 = b'C';
    /// CopyData.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone.
    pub const COPY_DONE: u8 = b'c';
    /// CopyFail.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe.
    pub const DESCRIBE: u8 = b'D';
    /// Execute.
    pub const EXECUTE: u8 = b'E';
    /// Flush.
    pub const FLUSH: u8 = b'H';
    /// FunctionCall.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// Password, SASL and GSS answers.
    pub const PASSWORD: u8 = b'p';
    /// Query.
    pub const QUERY: u8 = b'Q';
    /// Sync.
    pub const SYNC: u8 = b'S';
    /// Terminate.
    pub const TERMINATE: u8 = b'X';

    /// Whether clients send such messages once they have logged in.
    pub fn is_known(tag: u8) -> bool {
        matches!(
            tag,
            BIND | CLOSE
                | COPY_DATA
                | COPY_DONE
                | COPY_FAIL
                | DESCRIBE
                | EXECUTE
                | FLUSH
                | FUNCTION_CALL
                | PARSE
                | QUERY
                | SYNC
                | TERMINATE
        )
    }
}

/// Type bytes sent by servers.
pub mod server {
    /// Authentication requests and their end.
    pub const AUTHENTICATION: u8 = b'R';
    /// BackendKeyData.
    pub const KEY_DATA: u8 = b'K';
    /// BindComplete.
    pub const BIND_COMPLETE: u8 = b'2';
    /// CloseComplete.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// CommandComplete.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// CopyData.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone.
    pub const COPY_DONE: u8 = b'c';
    /// CopyInResponse.
    pub const COPY_IN: u8 = b'G';
    /// CopyOutResponse.
    pub const COPY_OUT: u8 = b'H';
    /// CopyBothResponse.
    pub const COPY_BOTH: u8 = b'W';
    /// DataRow.
    pub const DATA_ROW: u8 = b'D';
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY: u8 = b'I';
    /// ErrorResponse.
    pub const ERROR: u8 = b'E';
    /// FunctionCallResponse.
    pub const FUNCTION_RESULT: u8 = b'V';
    /// NoData.
    pub const NO_DATA: u8 = b'n';
    /// NoticeResponse.
    pub const NOTICE: u8 = b'N';
    /// NotificationResponse.
    pub const NOTIFICATION: u8 = b'A';
    /// ParameterDescription.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// ParameterStatus.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// ParseComplete.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// PortalSuspended.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// ReadyForQuery.
    pub const READY: u8 = b'Z';
    /// RowDescription.
    pub const ROW_DESCRIPTION: u8 = b'T';
    /// NegotiateProtocolVersion.
    pub const NEGOTIATE: u8 = b'v';
}

/// Reads a header: the type byte and the size of the whole frame in bytes.
///
/// None while fewer than five bytes are there. The length field counts itself
/// and not the type byte, so its minimum is four; above `bytes_max` the peer is
/// not allowed to make us wait for the rest.
#[inline]
pub fn peek(bytes: &[u8], bytes_max: usize) -> Result<Option<(u8, usize)>, Error> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    if length < 4 || length as usize > bytes_max {
        return Err(Error::Length {
            tag: char::from(header[0]),
            length: i64::from(length),
        });
    }
    Ok(Some((header[0], 1 + length as usize)))
}

/// The first whole frame in `bytes`: type, body, and size of the frame.
#[inline]
pub fn whole(bytes: &[u8], bytes_max: usize) -> Result<Option<(u8, &[u8], usize)>, Error> {
    match peek(bytes, bytes_max)? {
        Some((tag, size)) if bytes.len() >= size => Ok(Some((tag, &bytes[HEADER..size], size))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_whole_header() {
        for n in 0..5 {
            assert_eq!(peek(&b"Q\0\0\0\x04"[..n], 1024), Ok(None));
        }
        assert_eq!(peek(b"Q\0\0\0\x04", 1024), Ok(Some((b'Q', 5))));
    }

    #[test]
    fn refuses_lengths_that_cannot_be() {
        for length in [-1i32, 0, 3, 2000, i32::MIN, i32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert!(peek(&bytes, 1024).is_err(), "{length}");
        }
    }
}
