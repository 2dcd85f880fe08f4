//! The header of the PROXY protocol, version 2 (HAProxy's specification, 2.2).
//!
//! Binary, and the only version that is read: version 1 is a line of text whose
//! end has to be looked for, and no balancer needs it any more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What version 2 begins with. No client of PostgreSQL begins so: as a length
/// it would be 218 MB.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the fixed part.
pub const HEAD: usize = 16;

/// Most bytes behind it: addresses, and extensions that are not looked at.
pub const BODY_MAX: usize = 4096;

const VERSION_1: &[u8] = b"PROXY ";

/// Why this is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// The old one.
    #[error("PROXY protocol version 1 is not supported")]
    Version1,
    /// A version or a command that does not exist.
    #[error("the PROXY header has an unknown version or command")]
    Unknown,
    /// Longer than any balancer's, or too short for its addresses.
    #[error("the PROXY header has an impossible length")]
    Length,
}

/// The fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The balancer speaks for itself.
    local: bool,
    family: u8,
    /// Bytes that follow.
    pub body: usize,
}

/// Looks at the first bytes, as many as there are; an error as soon as they
/// cannot become a header.
pub fn begins(bytes: &[u8]) -> Result<(), Error> {
    let common = |expected: &[u8]| bytes.iter().zip(expected).all(|(a, b)| a == b);
    if common(&SIGNATURE) {
        Ok(())
    } else if bytes.len() >= VERSION_1.len() && common(VERSION_1) {
        Err(Error::Version1)
    } else if bytes.len() < VERSION_1.len() && common(VERSION_1) {
        Ok(())
    } else {
        Err(Error::Missing)
    }
}

/// Reads the fixed part.
pub fn head(bytes: &[u8; HEAD]) -> Result<Head, Error> {
    begins(bytes)?;
    let local = match bytes[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Error::Unknown),
    };
    let body = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if body > BODY_MAX {
        return Err(Error::Length);
    }
    Ok(Head {
        local,
        family: bytes[13] >> 4,
        body,
    })
}

/// The client's address; none when the balancer speaks for itself, or for
/// somebody without an address of the internet.
pub fn source(head: Head, body: &[u8]) -> Result<Option<IpAddr>, Error> {
    const INET: u8 = 1;
    const INET6: u8 = 2;
    match head.family {
        _ if head.local => Ok(None),
        INET => {
            let whole: &[u8; 12] = body.first_chunk().ok_or(Error::Length)?;
            let [a, b, c, d, ..] = *whole;
            Ok(Some(Ipv4Addr::new(a, b, c, d).into()))
        }
        INET6 => {
            let whole: &[u8; 36] = body.first_chunk().ok_or(Error::Length)?;
            let mut address = [0; 16];
            address.copy_from_slice(&whole[..16]);
            Ok(Some(IpAddr::from(Ipv6Addr::from(address)).to_canonical()))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<IpAddr>, Error> {
        let head = head(bytes.first_chunk().ok_or(Error::Missing)?)?;
        source(head, &bytes[HEAD..])
    }

    #[test]
    fn finds_the_address_and_looks_at_nothing_else() {
        let four = [
            &[203, 0, 113, 7, 127, 0, 0, 1, 0x30, 0x39, 0x19, 0x20][..],
            b"\x04\0\x02ab",
        ]
        .concat();
        let expected = Some("203.0.113.7".parse().unwrap());
        assert_eq!(read(&bytes(0x21, 0x11, &four)), Ok(expected));
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(
            read(&bytes(0x21, 0x21, &six)),
            Ok(Some("2001:db8::7".parse().unwrap()))
        );
        six[..16].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        assert_eq!(
            read(&bytes(0x21, 0x21, &six)),
            Ok(Some("10.0.0.1".parse().unwrap()))
        );
        assert_eq!(read(&bytes(0x20, 0x11, &four)), Ok(None), "its own check");
        assert_eq!(read(&bytes(0x20, 0, &[])), Ok(None));
        assert_eq!(
            read(&bytes(0x21, 0x31, &[0; 216])),
            Ok(None),
            "a Unix socket"
        );
    }

    #[test]
    fn refuses_what_is_no_header_as_soon_as_it_shows() {
        assert_eq!(read(&bytes(0x11, 0x11, &[0; 12])), Err(Error::Unknown));
        assert_eq!(read(&bytes(0x22, 0x11, &[0; 12])), Err(Error::Unknown));
        assert_eq!(read(&bytes(0x21, 0x11, &[0; 11])), Err(Error::Length));
        assert_eq!(read(&bytes(0x21, 0x21, &[0; 35])), Err(Error::Length));
        assert_eq!(
            read(&bytes(0x21, 0x11, &[0; BODY_MAX + 1])),
            Err(Error::Length)
        );
        assert_eq!(begins(b"\0"), Err(Error::Missing));
        assert_eq!(begins(b"\r\n\r\n\0\r\nQUIX"), Err(Error::Missing));
        assert_eq!(begins(b"PROXY TCP4 "), Err(Error::Version1));
        for length in 0..=12 {
            assert_eq!(begins(&SIGNATURE[..length]), Ok(()));
        }
        for length in 0..6 {
            assert_eq!(begins(&VERSION_1[..length]), Ok(()));
        }
    }
}
