//! Bytes in several buffers, one after the other: what came in many packets is passed on, hashed and written as it lies.

use bytes::Bytes;

/// Some bytes in any number of shared buffers, none of them empty. A clone copies no byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rope {
    parts: Vec<Bytes>,
    length: usize,
}

impl Rope {
    /// Adds bytes at the end.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.length += part.len();
            self.parts.push(part);
        }
    }

    /// All bytes of these ropes, one behind the other.
    pub fn joined(ropes: Vec<Rope>) -> Rope {
        let mut all = Rope::default();
        ropes.into_iter().flat_map(Rope::into_parts).for_each(|part| all.push(part));
        all
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The buffers, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The buffers, in order; a part that was sent may be taken out of them.
    pub(super) fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// Takes the first `bytes` bytes off; all of them if there are fewer.
    pub fn split_to(&mut self, bytes: usize) -> Rope {
        let mut first = Rope::default();
        let mut whole = 0;
        while let Some(part) = self.parts.get(whole)
            && first.length + part.len() <= bytes
        {
            first.length += part.len();
            whole += 1;
        }
        first.parts = self.parts.drain(..whole).collect();
        if let Some(part) = self.parts.first_mut() {
            first.push(part.split_to(bytes - first.length));
        }
        self.length -= first.length;
        first
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Rope {
        let mut rope = Rope::default();
        rope.push(bytes);
        rope
    }
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Rope {
        Bytes::from(bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: where it is cut changes nothing, and no part is empty.
        #[test]
        fn a_cut_rope_has_the_same_bytes(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..6),
            cuts in prop::collection::vec(0usize..20, 0..6),
        ) {
            let mut rope = Rope::default();
            parts.iter().for_each(|part| rope.push(Bytes::copy_from_slice(part)));
            let all = parts.concat();
            prop_assert_eq!(rope.len(), all.len());
            let mut pieces: Vec<Rope> = Vec::new();
            for cut in cuts {
                let length = rope.len();
                let piece = rope.split_to(cut);
                prop_assert_eq!(piece.len(), cut.min(length));
                pieces.push(piece);
            }
            pieces.push(rope);
            let parts: Vec<Bytes> = pieces.into_iter().flat_map(Rope::into_parts).collect();
            prop_assert!(parts.iter().all(|part| !part.is_empty()));
            prop_assert_eq!(parts.concat(), all);
        }
    }
}
