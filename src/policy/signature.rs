//! Who vouches for a component: Ed25519 signatures in sections at its end.
//!
//! Each signature covers everything before the first signature, so that several
//! people can sign one component, in any order. Nothing may follow but signatures.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::config::PublicKey;

/// Name of the custom section, at component level: public key, then signature.
pub const SECTION: &str = "portcullis:signature";

/// What is signed starts with this, so that no signature made for anything else fits.
const CONTEXT: &[u8] = b"portcullis plugin 1\0";

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// Why a signature cannot be made or believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a component.
    #[error("the component is cut off or something follows its signatures")]
    Malformed,
    /// A signature that does not fit its key and the content.
    #[error("the signature of {0} is wrong: the component was changed after it was signed")]
    Wrong(PublicKey),
    /// Nobody who is trusted has signed.
    #[error("is signed by nobody who is trusted")]
    Untrusted,
    /// No signature at all.
    #[error("is not signed")]
    Unsigned,
    /// The key file holds no key.
    #[error("this is no Ed25519 private key")]
    Key,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// The content, and key and signature of each who signed.
fn split(component: &[u8]) -> Result<(&[u8], Vec<(PublicKey, &[u8])>), Error> {
    let mut at = 8.min(component.len());
    let (mut content, mut signatures) = (None, Vec::new());
    while at < component.len() {
        let (body, next) = section(component, at).ok_or(Error::Malformed)?;
        let signed = body.and_then(|body| body.strip_prefix(SECTION.as_bytes()));
        match signed {
            Some(signed) => {
                content.get_or_insert(at);
                let (key, signature) =
                    signed.split_at_checked(KEY_BYTES).ok_or(Error::Malformed)?;
                let key = key.try_into().map_err(|_| Error::Malformed)?;
                if signature.len() != SIGNATURE_BYTES {
                    return Err(Error::Malformed);
                }
                signatures.push((PublicKey(key), signature));
            }
            None if content.is_some() => return Err(Error::Malformed),
            None => {}
        }
        at = next;
    }
    Ok((&component[..content.unwrap_or(component.len())], signatures))
}

/// Name and content of the section at `at` if it is a custom one, and where the next begins.
fn section(component: &[u8], at: usize) -> Option<(Option<&[u8]>, usize)> {
    let id = *component.get(at)?;
    let (size, start) = super::manifest::leb128_at(component, at + 1)?;
    let end = start.checked_add(size)?;
    component.get(start..end)?;
    if id != 0 {
        return Some((None, end));
    }
    let (length, name) = super::manifest::leb128_at(component, start)?;
    let body = component.get(name..end)?;
    // Only a name that ends where it says it ends.
    let body = Some(body).filter(|_| length == SECTION.len());
    Some((body, end))
}

/// Keys of those who signed; their signatures are not looked at.
pub fn signers(component: &[u8]) -> Vec<PublicKey> {
    let split = split(component).map(|(_, signatures)| signatures);
    let keys = split.unwrap_or_default();
    keys.into_iter().map(|(key, _)| key).collect()
}

/// Checks every signature; the keys of those who signed.
pub fn verify(component: &[u8]) -> Result<Vec<PublicKey>, Error> {
    let (content, signatures) = split(component)?;
    if signatures.is_empty() {
        return Err(Error::Unsigned);
    }
    let message = message(content);
    for (key, signature) in &signatures {
        let public = UnparsedPublicKey::new(&ED25519, &key.0);
        public
            .verify(&message, signature)
            .map_err(|_| Error::Wrong(*key))?;
    }
    Ok(signatures.into_iter().map(|(key, _)| key).collect())
}

/// One of these has signed, and no signature is wrong.
pub fn require(component: &[u8], trusted: &[PublicKey]) -> Result<PublicKey, Error> {
    let signed = verify(component)?;
    let found = signed.iter().find(|key| trusted.contains(key));
    found.copied().ok_or(Error::Untrusted)
}

/// A new private key, as PKCS #8, and its public key.
pub fn new_key() -> Result<(Vec<u8>, PublicKey), Error> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::Random)?;
    let public = public_key(made.as_ref())?;
    Ok((made.as_ref().to_vec(), public))
}

/// The public half of a private key in PKCS #8.
pub fn public_key(private: &[u8]) -> Result<PublicKey, Error> {
    let pair = key_pair(private)?;
    let bytes = pair.public_key().as_ref().try_into();
    bytes.map(PublicKey).map_err(|_| Error::Key)
}

/// The section that vouches for this component; append it.
pub fn sign(component: &[u8], private: &[u8]) -> Result<Vec<u8>, Error> {
    let pair = key_pair(private)?;
    let (content, _) = split(component)?;
    let mut section = pair.public_key().as_ref().to_vec();
    section.extend_from_slice(pair.sign(&message(content)).as_ref());
    Ok(section)
}

/// OpenSSL writes the older form, which does not hold the public key.
fn key_pair(private: &[u8]) -> Result<Ed25519KeyPair, Error> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(private).map_err(|_| Error::Key)
}

fn message(content: &[u8]) -> Vec<u8> {
    [CONTEXT, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        portcullis_build::component::append_section(&mut bytes, "other", &[7; 300]);
        bytes
    }

    fn signed(bytes: &mut Vec<u8>, private: &[u8]) {
        let section = sign(bytes, private).unwrap();
        portcullis_build::component::append_section(bytes, SECTION, &section);
    }

    #[test]
    fn believes_what_two_people_signed_in_any_order() {
        let (ann, ann_public) = new_key().unwrap();
        let (ben, ben_public) = new_key().unwrap();
        let mut bytes = component();
        signed(&mut bytes, &ann);
        signed(&mut bytes, &ben);
        assert_eq!(verify(&bytes), Ok(vec![ann_public, ben_public]));
        assert_eq!(require(&bytes, &[ben_public]), Ok(ben_public));
        let (_, stranger) = new_key().unwrap();
        assert_eq!(require(&bytes, &[stranger]), Err(Error::Untrusted));
        assert_eq!(require(&bytes, &[]), Err(Error::Untrusted));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (ann, public) = new_key().unwrap();
        let mut bytes = component();
        assert_eq!(require(&bytes, &[public]), Err(Error::Unsigned));
        signed(&mut bytes, &ann);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(require(&changed, &[public]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn nothing_may_follow_a_signature() {
        let (ann, public) = new_key().unwrap();
        let mut bytes = component();
        signed(&mut bytes, &ann);
        portcullis_build::component::append_section(&mut bytes, "later", b"x");
        assert_eq!(require(&bytes, &[public]), Err(Error::Malformed));
    }
}
