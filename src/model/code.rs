//! The open registries as types of the gate; `wit/registry.rs` is the table.

use bitflags::bitflags;

#[path = "../../wit/registry.rs"]
mod registry;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident, unknown is $unknown:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every entry, in the order of the registry.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The name used in JSON, logs and documentation.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The number used in the policy interface.
            pub const fn code(self) -> u32 { self as u32 }

            /// The entry with this number, if this version knows it.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }

            /// The entry with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

macro_rules! flags {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $vdoc:literal])* $flag:ident = $bits:expr => $text:literal,)+ }) => {
        bitflags! {
            $(#[doc = $doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
            pub struct $name: u64 { $($(#[doc = $vdoc])* const $flag = $bits;)+ }
        }

        impl $name {
            /// Flag and name, in the order of the registry.
            pub const NAMES: &'static [($name, &'static str)] = &[$(($name::$flag, $text),)+];

            /// Names of the flags that are set.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
            }
        }
    };
}

registry::registries!(codes, flags);

impl Access {
    /// Any access that changes rows.
    pub const CHANGE: Access = Access::INSERT
        .union(Access::UPDATE)
        .union(Access::DELETE)
        .union(Access::TRUNCATE);
}
