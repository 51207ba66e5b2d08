//! An outboard that comes from another peer: page after page, each checked before it is kept.

use super::{Midstate, Outboard, chunk_count};
use crate::id::ContentId;
use crate::wire::ObjectInfo;
use crate::wire::limits::MIDSTATES_PER_PAGE_MAX;

/// The pages of one outboard so far, all from one sender.
#[derive(Debug)]
pub struct OutboardPages {
    content: ContentId,
    /// The object as the first page described it; the other pages must agree.
    object: Option<ObjectInfo>,
    midstates: Vec<Midstate>,
}

/// Why a page is bad, or the outboard is not the one that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The page is of another object, or has another length or digest than the page before.
    #[error("the page is of another object")]
    OtherObject,
    /// The page has more midstates than are wanted, too few, or a part of one.
    #[error("the page has {bytes} bytes where others are due")]
    Length {
        /// The number of bytes of the page.
        bytes: usize,
    },
    /// The object would be larger than any that is fetched.
    #[error("an outboard of {midstates} midstates is not fetched")]
    TooLong {
        /// The number of midstates that it would have.
        midstates: u64,
    },
    /// The whole is not the outboard that the sender named.
    #[error("the outboard has another digest than the sender says")]
    Digest,
}

impl OutboardPages {
    /// The number of midstates of the largest outboard that is fetched: 64 MiB, for a file of 2 TiB.
    pub const MIDSTATES_MAX: u64 = 1 << 21;

    /// No pages yet, of the outboard of this content id.
    pub fn new(content: ContentId) -> OutboardPages {
        OutboardPages { content, object: None, midstates: Vec::new() }
    }

    /// The first midstate, counted from zero, of the page that is due.
    pub fn next(&self) -> u32 {
        self.midstates.len() as u32
    }

    /// Takes the page that was due. Returns the outboard once it is whole. Proves nothing about its truth.
    ///
    /// # Errors
    /// [`PageError`] when the page is bad; the sender is asked no further.
    pub fn add(
        &mut self,
        object: ObjectInfo,
        page: &[u8],
    ) -> Result<Option<(ObjectInfo, Outboard)>, PageError> {
        if object.content != self.content || self.object.is_some_and(|before| before != object) {
            return Err(PageError::OtherObject);
        }
        self.object = Some(object);
        let wanted = chunk_count(object.length) - 1;
        if wanted > Self::MIDSTATES_MAX {
            return Err(PageError::TooLong { midstates: wanted });
        }
        let due = (wanted as usize - self.midstates.len()).min(MIDSTATES_PER_PAGE_MAX);
        if page.len() != 32 * due {
            return Err(PageError::Length { bytes: page.len() });
        }
        self.midstates.extend(page.as_chunks::<32>().0.iter().copied().map(Midstate));
        if (self.midstates.len() as u64) < wanted {
            return Ok(None);
        }
        let midstates = std::mem::take(&mut self.midstates);
        let outboard = Outboard::new(object.length, midstates).map_err(|_| PageError::Digest)?;
        if outboard.digest() == object.outboard {
            Ok(Some((object, outboard)))
        } else {
            Err(PageError::Digest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OutboardDigest;
    use crate::outboard::CHUNK_BYTES;

    const PAGE: usize = MIDSTATES_PER_PAGE_MAX;

    fn sample(midstates: usize) -> (ObjectInfo, Vec<u8>) {
        let bytes: Vec<u8> = (0..midstates as u32).flat_map(|i| [i.to_be_bytes(); 8].concat()).collect();
        let all = bytes.as_chunks::<32>().0.iter().copied().map(Midstate).collect();
        let length = (midstates as u64 + 1) * CHUNK_BYTES;
        let outboard = Outboard::new(length, all).unwrap().digest();
        (ObjectInfo { content: ContentId([7; 32]), length, outboard }, bytes)
    }

    #[test]
    fn pages_become_the_outboard() {
        for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 5] {
            let (object, bytes) = sample(count);
            let mut pages = OutboardPages::new(object.content);
            let whole = loop {
                let first = pages.next() as usize;
                let page = &bytes[32 * first..32 * count.min(first + PAGE)];
                if let Some(whole) = pages.add(object, page).unwrap() {
                    break whole;
                }
            };
            assert_eq!(whole.1.midstates().len(), count);
            assert_eq!(whole.1.digest(), object.outboard);
        }
    }

    #[test]
    fn pages_that_are_refused() {
        let (object, bytes) = sample(PAGE + 2);
        let begun = || {
            let mut pages = OutboardPages::new(object.content);
            assert_eq!(pages.add(object, &bytes[..32 * PAGE]), Ok(None));
            pages
        };
        let other = ObjectInfo { content: ContentId([8; 32]), ..object };
        let longer = ObjectInfo { length: object.length + 1, ..object };
        let lying = ObjectInfo { outboard: OutboardDigest([0; 32]), ..object };
        let rest = &bytes[32 * PAGE..];
        for changed in [other, longer, lying] {
            assert_eq!(begun().add(changed, rest), Err(PageError::OtherObject));
        }
        for wrong in [&rest[..32], &rest[1..], &[], &bytes[..]] {
            assert_eq!(begun().add(object, wrong), Err(PageError::Length { bytes: wrong.len() }));
        }
        let mut damaged = rest.to_vec();
        damaged[5] ^= 1;
        assert_eq!(begun().add(object, &damaged), Err(PageError::Digest));
        let huge = ObjectInfo { length: u64::MAX, ..object };
        let refused = OutboardPages::new(object.content).add(huge, &bytes[..32]);
        assert!(matches!(refused, Err(PageError::TooLong { .. })), "{refused:?}");
    }
}
