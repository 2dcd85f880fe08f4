//! Public keys of those whose plugins are trusted.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::reader::Table;

/// What every written key starts with.
const KIND: &str = "ed25519:";

/// An Ed25519 public key; written `ed25519:` and base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", STANDARD.encode(self.0))
    }
}

impl FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<PublicKey, &'static str> {
        let written = text.trim().strip_prefix(KIND);
        let bytes = written.and_then(|text| STANDARD.decode(text).ok());
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        key.map(PublicKey).ok_or("not a public key")
    }
}

/// The keys of a list; one that is none is reported.
pub(super) fn keys(table: Table<'_>, key: &str) -> Vec<PublicKey> {
    let read = table.texts(key).into_iter().filter_map(|text| {
        let key = text.value.parse();
        if key.is_err() {
            let hint = "`portcullis plugin key FILE` makes a pair and prints ed25519:…";
            let message = format!("`{}` is no public key", text.value);
            table.problems.error(text.span, message, hint);
        }
        key.ok()
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = PublicKey([7; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        for wrong in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:%%%"] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_of_nonsense_is_reported_where_it_stands() {
        let text = "trusted_keys = [\"ed25519:abc\"]\n";
        let list = crate::config::parse(text, "p.toml", &|_| None).unwrap_err();
        let shown = list[0].to_string();
        assert!(shown.contains("is no public key"), "{shown}");
        assert!(shown.contains("p.toml:1:17"), "{shown}");
    }

    #[test]
    fn a_policy_takes_the_keys_of_the_whole_file_unless_it_names_its_own() {
        let (all, own) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let text = format!(
            "trusted_keys = [\"{all}\"]\n[[policy]]\nname = \"a\"\nplugin = \"./a.wasm\"\n\
             [[policy]]\nname = \"b\"\nplugin = \"./b.wasm\"\nsigned_by = [\"{own}\"]\n"
        );
        let config = crate::config::parse(&text, "p.toml", &|_| None).unwrap();
        let of = |name: &str| {
            let policy = config.policies.iter().find(|policy| &*policy.name == name);
            policy.unwrap().signed_by.clone()
        };
        assert_eq!((of("a"), of("b")), (vec![all], vec![own]));
        assert!(
            of("honeytoken").is_empty(),
            "what is built in needs no signature"
        );
    }
}
