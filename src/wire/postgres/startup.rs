//! The first packet, which has no type byte.

use super::Error;

/// Largest first packet in bytes, as PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// The newest minor version of protocol 3 that is spoken: long cancel keys.
pub const MINOR_MAX: u16 = 2;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;

/// What a first packet asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum First {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    Gssenc,
    /// CancelRequest: process id and secret.
    Cancel(i32, Vec<u8>),
    /// StartupMessage.
    Startup(Startup),
    /// A protocol this gate does not speak.
    Unsupported {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
}

/// StartupMessage of protocol 3.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Startup {
    /// Minor version asked for.
    pub minor: u16,
    /// Names and values in order.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// The minor version that is spoken with this client.
    pub fn spoken(&self) -> u16 {
        self.minor.min(MINOR_MAX)
    }

    /// Value of a parameter; the last one counts, as on the server.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// Size of the first packet, once four bytes are there.
pub fn size(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some(length) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    if !(8..=STARTUP_BYTES_MAX as i32).contains(&length) {
        return Err(Error::Length {
            tag: ' ',
            length: i64::from(length),
        });
    }
    Ok(Some(length as usize))
}

/// Reads a whole first packet.
pub fn read(packet: &[u8]) -> Result<First, Error> {
    let malformed = || Error::Malformed(' ');
    let code: &[u8; 4] = packet
        .get(4..)
        .and_then(|p| p.first_chunk())
        .ok_or_else(malformed)?;
    let body = &packet[8..];
    match u32::from_be_bytes(*code) {
        SSL if body.is_empty() => Ok(First::Ssl),
        GSSENC if body.is_empty() => Ok(First::Gssenc),
        CANCEL => {
            // The secret is four bytes until protocol 3.2, then up to 256.
            let pid = body.first_chunk::<4>().ok_or_else(malformed)?;
            let secret = &body[4..];
            if !(4..=256).contains(&secret.len()) {
                return Err(malformed());
            }
            Ok(First::Cancel(i32::from_be_bytes(*pid), secret.to_vec()))
        }
        SSL | GSSENC => Err(malformed()),
        version => {
            let (major, minor) = ((version >> 16) as u16, version as u16);
            if major != 3 {
                return Ok(First::Unsupported { major, minor });
            }
            Ok(First::Startup(Startup {
                minor,
                parameters: parameters(body)?,
            }))
        }
    }
}

fn parameters(body: &[u8]) -> Result<Vec<(String, String)>, Error> {
    // The list ends with one more zero byte, and nothing may follow it.
    let mut rest = body.strip_suffix(b"\0").ok_or(Error::Malformed(' '))?;
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let mut next = || -> Result<String, Error> {
            let end = memchr::memchr(0, rest).ok_or(Error::Malformed(' '))?;
            let text = std::str::from_utf8(&rest[..end]).map_err(|_| Error::Encoding(' '))?;
            rest = &rest[end + 1..];
            Ok(text.to_owned())
        };
        let name = next()?;
        if name.is_empty() {
            return Err(Error::Malformed(' '));
        }
        parameters.push((name, next()?));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((8 + body.len()) as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&code.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn reads_a_startup_message() {
        let First::Startup(startup) = read(&packet(196_608, b"user\0ann\0database\0\0\0")).unwrap()
        else {
            panic!("not a startup message")
        };
        assert_eq!(startup.get("user"), Some("ann"));
        assert_eq!(startup.get("database"), Some(""));
        assert_eq!(startup.minor, 0);
    }

    #[test]
    fn refuses_packets_no_client_sends() {
        for body in [
            &b"user\0ann"[..],
            b"user\0ann\0",
            b"",
            b"user\0\0",
            b"\0\0\0",
            b"user\0ann\0x\0",
        ] {
            assert!(read(&packet(196_608, body)).is_err(), "{body:?}");
        }
        assert!(size(&[0, 0, 0, 7]).is_err());
        assert!(size(&[0x7f, 0, 0, 0]).is_err());
        assert!(size(&[0xff, 0, 0, 0]).is_err());
        assert!(read(&packet(SSL, b"x")).is_err());
        assert!(read(&packet(CANCEL, b"\0\0\0\x01\0\0")).is_err());
    }

    #[test]
    fn names_versions_it_does_not_speak() {
        assert_eq!(
            read(&packet(131_072, b"x")),
            Ok(First::Unsupported { major: 2, minor: 0 })
        );
    }
}
