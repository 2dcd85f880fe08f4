//! Which of several gates that run side by side: while one follows another,
//! both serve clients.

use std::fmt;

/// Number of a gate's process, drawn anew at each start. It is part of every
/// cancel key, so that a request finds the process whose session it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId(u16);

impl ProcessId {
    /// Bits of it. With those of [`ProcessId::SESSION_BITS`] they fill the
    /// positive half of the process id that the protocol has room for.
    pub const BITS: u32 = 11;
    /// Bits that are left for a session: more than there may be clients.
    pub const SESSION_BITS: u32 = 31 - ProcessId::BITS;

    /// From any number; what is too much is cut off.
    pub fn new(number: u16) -> ProcessId {
        ProcessId(number & ((1 << ProcessId::BITS) - 1))
    }

    /// What the key of a session begins with; none: no gate gave that key.
    pub fn of_key(pid: i32) -> Option<ProcessId> {
        let number = u32::try_from(pid).ok()? >> ProcessId::SESSION_BITS;
        u16::try_from(number).ok().map(ProcessId)
    }

    /// The process id of a session with this number.
    pub fn key(self, session: u32) -> i32 {
        let session = session & ((1 << ProcessId::SESSION_BITS) - 1);
        // 31 bits together: it fits.
        ((u32::from(self.0) << ProcessId::SESSION_BITS) | session).cast_signed()
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_it_is() {
        for number in [0, 1, 1023, 2047] {
            let process = ProcessId::new(number);
            for session in [1, 77, (1 << ProcessId::SESSION_BITS) - 1] {
                let key = process.key(session);
                assert!(key > 0, "{key}");
                assert_eq!(ProcessId::of_key(key), Some(process));
            }
        }
        assert_eq!(ProcessId::of_key(-1), None);
        assert_eq!(ProcessId::new(2048), ProcessId::new(0));
        assert_eq!(ProcessId::new(0x5a3).to_string(), "5a3");
    }
}
