//! The built-in policies, embedded as components by the build script.

#[cfg(feature = "embedded-policies")]
include!(concat!(env!("OUT_DIR"), "/builtin_policies.rs"));

/// Name and component of each built-in policy, in their usual order.
#[cfg(feature = "embedded-policies")]
pub fn all() -> &'static [(&'static str, &'static [u8])] {
    BUILTIN
}

/// None are embedded in this build.
#[cfg(not(feature = "embedded-policies"))]
pub fn all() -> &'static [(&'static str, &'static [u8])] {
    &[]
}

/// The component of one built-in policy.
pub fn find(name: &str) -> Option<&'static [u8]> {
    all()
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, component)| *component)
}

/// A policy crate with the SDK and everything that needs, packed; what `plugin new` unpacks.
pub fn template() -> Option<&'static [u8]> {
    #[cfg(feature = "embedded-policies")]
    return Some(TEMPLATE).filter(|packed| !packed.is_empty());
    #[cfg(not(feature = "embedded-policies"))]
    None
}
