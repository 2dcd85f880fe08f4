//! What the gate itself reads of a certificate: a few fields of its DER.
//!
//! Only certificates that were verified, or our own, decide anything here; still
//! every length is checked, because the bytes come from elsewhere.

use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use sha2::Digest as _;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// UTF8String, PrintableString, TeletexString, IA5String.
const STRINGS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.2.840.113549.1.1: signatures with RSA.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4: signatures with ECDSA.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2: the SHA-2 family.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// Values one after another.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value: tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = behind;
                bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }
}

/// The parts of a certificate that matter here.
struct Parts<'a> {
    validity: Der<'a>,
    subject: Der<'a>,
    extensions: Option<Der<'a>>,
    signature_algorithm: Der<'a>,
}

fn parts(certificate: &[u8]) -> Option<Parts<'_>> {
    let mut whole = Der(Der(certificate).expect(SEQUENCE)?);
    let mut tbs = Der(whole.expect(SEQUENCE)?);
    let signature_algorithm = Der(whole.expect(SEQUENCE)?);
    let mut ahead = tbs;
    if ahead.next()?.0 == VERSION {
        tbs = ahead;
    }
    tbs.next()?; // serial number
    tbs.expect(SEQUENCE)?; // signature
    tbs.expect(SEQUENCE)?; // issuer
    let validity = Der(tbs.expect(SEQUENCE)?);
    let subject = Der(tbs.expect(SEQUENCE)?);
    tbs.expect(SEQUENCE)?; // public key
    let mut extensions = None;
    while let Some((tag, content)) = tbs.next() {
        if tag == EXTENSIONS {
            extensions = Some(Der(Der(content).expect(SEQUENCE)?));
        }
    }
    Some(Parts {
        validity,
        subject,
        extensions,
        signature_algorithm,
    })
}

/// The common name of the subject. None when there is none, more than one, or
/// one with a zero byte, in which others might read another name.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let mut subject = parts(certificate)?.subject;
    let mut found = None;
    while let Some((SET, set)) = subject.next() {
        let mut set = Der(set);
        while let Some((SEQUENCE, attribute)) = set.next() {
            let mut attribute = Der(attribute);
            if attribute.expect(OID)? != COMMON_NAME {
                continue;
            }
            let (tag, bytes) = attribute.next()?;
            let text = std::str::from_utf8(bytes).ok()?;
            if !STRINGS.contains(&tag) || text.contains('\0') || found.is_some() {
                return None;
            }
            found = Some(text.to_owned());
        }
    }
    found.filter(|name| !name.is_empty())
}

/// Whether it names hosts the modern way; only without may the common name stand for one.
pub(super) fn has_alternative_names(certificate: &[u8]) -> bool {
    let Some(mut extensions) = parts(certificate).and_then(|parts| parts.extensions) else {
        return false;
    };
    while let Some((_, extension)) = extensions.next() {
        if Der(extension).expect(OID) == Some(SUBJECT_ALT_NAME) {
            return true;
        }
    }
    false
}

/// Whether it is valid at this time; none when it cannot be read.
pub(super) fn is_valid_at(certificate: &[u8], now: UnixTime) -> Option<bool> {
    let mut validity = parts(certificate)?.validity;
    let (from, until) = (time(validity.next()?)?, time(validity.next()?)?);
    Some((from..=until).contains(&now.as_secs()))
}

/// When it runs out, in seconds since 1970.
pub fn expires(certificate: &[u8]) -> Option<u64> {
    let mut validity = parts(certificate)?.validity;
    validity.next()?;
    time(validity.next()?)
}

/// Seconds since 1970; RFC 5280 4.1.2.5: always UTC, always with seconds.
fn time((tag, text): (u8, &[u8])) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let moment =
        jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0);
    let moment = moment.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let since: Duration = std::time::SystemTime::from(moment.timestamp())
        .duration_since(UNIX_EPOCH)
        .ok()?;
    Some(since.as_secs())
}

/// Channel binding `tls-server-end-point` (RFC 5929 section 4): the hash of the
/// server's certificate with the hash of its signature, SHA-256 in place of MD5
/// and SHA-1. None where the signature has no hash of its own, as Ed25519.
pub fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut algorithm = parts(certificate)?.signature_algorithm;
    let oid = algorithm.expect(OID)?;
    let hash = if let Some([kind]) = oid.strip_prefix(RSA) {
        match kind {
            4 | 5 => Hash::Sha256,
            10 => pss_hash(algorithm)?,
            11 => Hash::Sha256,
            12 => Hash::Sha384,
            13 => Hash::Sha512,
            14 => Hash::Sha224,
            _ => return None,
        }
    } else {
        match oid.strip_prefix(ECDSA)? {
            [1] => Hash::Sha256,
            [3, 1] => Hash::Sha224,
            [3, 2] => Hash::Sha256,
            [3, 3] => Hash::Sha384,
            [3, 4] => Hash::Sha512,
            _ => return None,
        }
    };
    Some(match hash {
        Hash::Sha224 => sha2::Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => sha2::Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => sha2::Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => sha2::Sha512::digest(certificate).to_vec(),
    })
}

enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// RSASSA-PSS says its hash in parameters, field 0; SHA-1 when it does not.
fn pss_hash(mut algorithm: Der<'_>) -> Option<Hash> {
    let mut parameters = Der(algorithm.expect(SEQUENCE)?);
    let Some((0xa0, field)) = parameters.next() else {
        return Some(Hash::Sha256);
    };
    let oid = Der(Der(field).expect(SEQUENCE)?).expect(OID)?;
    match oid.strip_prefix(SHA2) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        Some([4]) => Some(Hash::Sha224),
        Some(_) => None,
        None => Some(Hash::Sha256),
    }
}
