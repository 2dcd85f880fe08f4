//! Buffers nobody uses now.
//!
//! A session needs buffers only while bytes are under way. Ten thousand idle
//! clients share the few that this worker keeps, instead of holding four each.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers kept.
const KEPT_MAX: usize = 256;
/// Larger ones are given back to the allocator.
const BYTES_MAX: usize = 64 * 1024;
/// Room in a new one.
pub(super) const BYTES_NEW: usize = 16 * 1024;

/// One worker's spare buffers.
#[derive(Debug, Default)]
pub struct Spares(RefCell<Vec<BytesMut>>);

impl Spares {
    /// How many are kept, and their bytes.
    pub(super) fn kept(&self) -> (usize, usize) {
        let kept = self.0.borrow();
        (kept.len(), kept.iter().map(BytesMut::capacity).sum())
    }

    /// Gives an unused buffer room.
    #[inline]
    pub(super) fn lend(&self, buffer: &mut BytesMut) {
        if buffer.capacity() == 0 {
            let spare = self.0.borrow_mut().pop();
            *buffer = spare.unwrap_or_else(|| BytesMut::with_capacity(BYTES_NEW));
        }
    }

    /// Takes an empty buffer back.
    #[inline]
    pub(super) fn collect(&self, buffer: &mut BytesMut) {
        if buffer.is_empty() && buffer.capacity() != 0 {
            self.keep(buffer);
        }
    }

    fn keep(&self, buffer: &mut BytesMut) {
        let mut buffer = std::mem::take(buffer);
        // What was handed out in parts finds its way back to the start of its memory here.
        if buffer.capacity() < BYTES_NEW && !buffer.try_reclaim(BYTES_NEW) {
            return;
        }
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT_MAX && buffer.capacity() <= BYTES_MAX {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_buffer_serves_many_in_turn() {
        let spares = Spares::default();
        let mut first = BytesMut::new();
        spares.lend(&mut first);
        first.extend_from_slice(b"something");
        spares.collect(&mut first);
        assert_eq!(&first[..], b"something", "in use");
        let place = first.as_ptr();
        first.clear();
        spares.collect(&mut first);
        assert_eq!(first.capacity(), 0);
        let mut second = BytesMut::new();
        spares.lend(&mut second);
        assert_eq!(second.as_ptr(), place);
        assert!(second.capacity() >= BYTES_NEW);
    }
}
