//! The files that belong to this peer and that it cannot take, as its neighbours offer them.
//!
//! Each round of repair offers them again. So an entry that is not renewed for a few rounds is of a file that is gone,
//! or that belongs elsewhere now.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::ContentId;
use crate::time::Moment;
use crate::wire::{MissingReason, StorageReply};

/// The files that cannot be taken, and the latest reason. At most [`Unkept::MAX`] files; more are refused one by one,
/// and not counted.
#[derive(Debug, Clone, Default)]
pub struct Unkept {
    files: BTreeMap<ContentId, File>,
    /// The reason for the latest refusal.
    reason: Option<MissingReason>,
}

#[derive(Debug, Clone)]
struct File {
    length: u64,
    offered: Moment,
}

impl Unkept {
    /// The most files that are remembered.
    pub const MAX: usize = 65_536;

    /// Notes that an object of this length should be kept here and cannot be, for this reason.
    pub fn refused(&mut self, now: Moment, content: ContentId, length: u64, reason: MissingReason) {
        if self.files.len() >= Unkept::MAX && !self.files.contains_key(&content) {
            self.forget(now);
        }
        if self.files.len() < Unkept::MAX || self.files.contains_key(&content) {
            self.files.insert(content, File { length, offered: now });
            self.reason = Some(reason);
        }
    }

    /// The length in bytes of an object that could not be taken before.
    pub fn length(&self, content: &ContentId) -> Option<u64> {
        self.files.get(content).map(|file| file.length)
    }

    /// Notes that an object is here now.
    pub fn came(&mut self, content: &ContentId) {
        self.files.remove(content);
    }

    /// The answer to an `Unkept` request: the number of files, their bytes and the latest reason.
    pub fn report(&mut self, now: Moment) -> StorageReply {
        self.forget(now);
        let bytes = self.files.values().fold(0u64, |sum, file| sum.saturating_add(file.length));
        let reason = self.reason.clone().filter(|_| !self.files.is_empty());
        StorageReply::Unkept { files: self.files.len() as u64, bytes, reason }
    }

    fn forget(&mut self, now: Moment) {
        self.files.retain(|_, file| now.since(file.offered) <= FRESH);
    }
}

/// The time for which a file counts after it was last offered: several rounds of repair.
const FRESH: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: MissingReason = MissingReason::NoRoom { length: 7, free: 1 };

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn an_object_that_is_not_offered_any_more_is_forgotten() {
        let mut unkept = Unkept::default();
        for (i, length) in [(0u8, 7), (1, 8), (2, 9)] {
            unkept.refused(at(0), ContentId::of(&[i]), length, FULL);
        }
        unkept.refused(at(200), ContentId::of(&[1]), 8, FULL);
        unkept.came(&ContentId::of(&[2]));
        assert_eq!(unkept.length(&ContentId::of(&[0])), Some(7));
        assert_eq!(unkept.report(at(300)), StorageReply::Unkept { files: 2, bytes: 15, reason: Some(FULL) });
        assert_eq!(unkept.report(at(301)), StorageReply::Unkept { files: 1, bytes: 8, reason: Some(FULL) });
        assert_eq!(unkept.report(at(501)), StorageReply::Unkept { files: 0, bytes: 0, reason: None });
    }

    #[test]
    fn they_are_bounded() {
        let mut unkept = Unkept::default();
        for i in 0..=Unkept::MAX {
            unkept.refused(at(0), ContentId::of(&i.to_be_bytes()), 1, FULL);
        }
        assert_eq!(unkept.length(&ContentId::of(&Unkept::MAX.to_be_bytes())), None);
        unkept.refused(at(301), ContentId::of(&Unkept::MAX.to_be_bytes()), 1, FULL);
        assert_eq!(unkept.files.len(), 1, "the others are long gone");
    }
}
