//! The open registries, as types; `wit/registry.rs` is the table.
//!
//! The gate sends numbers, so that it may learn new ones within 0.1 without
//! breaking a compiled policy. Here they have names; a number this SDK has no
//! name for is `Other` or an unnamed bit. `docs/registry.md` of the gate lists them all.

use bitflags::bitflags;

#[path = "../../wit/registry.rs"]
mod registry;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident, unknown is $unknown:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every entry this SDK knows.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// From the number of the interface.
            pub const fn from_code(code: u32) -> $name {
                match code { $($code => $name::$variant,)+ _ => $name::$unknown }
            }

            /// The name that logs and documentation use.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The number of the interface.
            pub const fn code(self) -> u32 { self as u32 }
        }
    };
}

macro_rules! flags {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $vdoc:literal])* $flag:ident = $bits:expr => $text:literal,)+ }) => {
        bitflags! {
            $(#[doc = $doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
            pub struct $name: u64 {
                $($(#[doc = $vdoc])* const $flag = $bits;)+
                // Bits of later registries are kept.
                const _ = !0;
            }
        }
    };
}

registry::registries!(codes, flags);

codes! {
    /// State of the session's transaction.
    Transaction, unknown is Active {
        /// Not in a transaction block.
        Idle = 0 => "idle",
        /// In a transaction block.
        Active = 1 => "active",
        /// In a failed transaction block.
        Failed = 2 => "failed",
    }
}

codes! {
    /// How bad an alert is.
    Severity, unknown is Critical {
        /// Worth a line.
        Info = 0 => "info",
        /// Worth a look.
        Warning = 1 => "warning",
        /// Somebody should look now.
        Critical = 2 => "critical",
    }
}

impl Access {
    /// Any access whatever, those of later registries included.
    pub const ANY: Access = Access::all();
    /// Any access that changes rows.
    pub const CHANGE: Access = Access::INSERT
        .union(Access::UPDATE)
        .union(Access::DELETE)
        .union(Access::TRUNCATE);
}

bitflags! {
    /// By what a rate is counted; several together make one key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct RateBy: u64 {
        /// The user.
        const USER = 1;
        /// The client's address.
        const ADDRESS = 2;
        /// application_name.
        const APPLICATION = 4;
        /// The database.
        const DATABASE = 8;
        /// The statement's kind.
        const CLASS = 16;
    }
}
