//! What a component says about itself: the JSON in its section `portcullis:manifest`.

use std::sync::Arc;

use serde::Deserialize;

use super::cases::Case;

/// Name of the custom section, at component level.
pub const SECTION: &str = "portcullis:manifest";

/// The manifest. Unknown keys are for newer hosts and are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Name of the plugin.
    pub name: Arc<str>,
    /// Version of the plugin.
    pub version: String,
    /// Interface track it is written for, `0.1`.
    pub interface: String,
    /// One or two sentences.
    pub description: String,
    /// Capabilities it wants beyond the ordinary ones.
    pub capabilities: Vec<Arc<str>>,
    /// Schema of its settings.
    pub settings: serde_json::Value,
    /// Its rules, with what they mean.
    pub rules: serde_json::Value,
    /// Golden cases.
    #[serde(alias = "case")]
    pub cases: Vec<Case>,
}

impl Manifest {
    /// Reads the section's content.
    pub fn parse(json: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if manifest.name.is_empty() {
            return Err("`name` is missing".to_owned());
        }
        if manifest.interface != "0.1" && !manifest.interface.starts_with("0.1.") {
            return Err(format!(
                "is for interface `{}`; this host speaks 0.1",
                manifest.interface
            ));
        }
        Ok(manifest)
    }

    /// Finds the section in a component, without running or validating anything.
    pub fn find(component: &[u8]) -> Result<Option<Manifest>, String> {
        let mut rest = component.get(8..).unwrap_or_default();
        let mut found = None;
        while let Some((&id, after)) = rest.split_first() {
            let (size, after) = leb128(after).ok_or("the component is cut off")?;
            let body = after.get(..size).ok_or("the component is cut off")?;
            rest = &after[size..];
            let Some((length, body)) = (if id == 0 { leb128(body) } else { None }) else {
                continue;
            };
            if body.get(..length) == Some(SECTION.as_bytes()) {
                if found.is_some() {
                    return Err(format!("there are two sections {SECTION}"));
                }
                found = Some(Manifest::parse(body.get(length..).unwrap_or_default())?);
            }
        }
        Ok(found)
    }
}

/// The number at `at`, and where it ends.
#[cfg(feature = "gate")]
pub(super) fn leb128_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (value, rest) = leb128(bytes.get(at..)?)?;
    Some((value, bytes.len() - rest.len()))
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for (name, content) in sections {
            let body = name.len() + 1 + content.len();
            bytes.push(0);
            bytes.extend([
                (body & 0x7f) as u8 | 0x80,
                (body >> 7) as u8,
                name.len() as u8,
            ]);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(content);
        }
        bytes
    }

    #[test]
    fn finds_its_section_among_others() {
        let json = br#"{"name":"p","version":"1","interface":"0.1","future":1}"#;
        let bytes = component(&[("other", b"x"), (SECTION, json)]);
        let manifest = Manifest::find(&bytes).unwrap().unwrap();
        assert_eq!(&*manifest.name, "p");
        assert!(
            Manifest::find(&component(&[("other", b"x")]))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn refuses_what_it_cannot_believe() {
        let json = br#"{"name":"p","interface":"0.1"}"#;
        assert!(Manifest::find(&component(&[(SECTION, json), (SECTION, json)])).is_err());
        assert!(Manifest::find(&component(&[(SECTION, b"{")])).is_err());
        assert!(
            Manifest::find(&component(&[(
                SECTION,
                br#"{"name":"p","interface":"0.2"}"#
            )]))
            .is_err()
        );
        let cut = component(&[(SECTION, json)]);
        assert!(Manifest::find(&cut[..cut.len() - 3]).is_err());
    }
}
