//! The recent notices of the store, each with what happened after it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::blob::{Kind, Notice};
use crate::id::ContentId;
use crate::wire::PeerName;

/// The last notices of the store, oldest first.
#[derive(Debug, Default)]
pub(in crate::peer) struct NoticeBook(Mutex<VecDeque<Told>>);

#[derive(Debug)]
struct Told {
    what: String,
    /// The outcome for a bad copy, in words.
    then: String,
    /// The object of which a good copy is still looked for.
    lacking: Option<ContentId>,
}

impl NoticeBook {
    /// The notices, one line each.
    pub(in crate::peer) fn lines(&self) -> Vec<String> {
        self.lock().iter().map(|told| format!("{}{}", told.what, told.then)).collect()
    }

    /// Notes that a good copy of an object is here.
    pub(in crate::peer) fn came(&self, content: &ContentId, from: Option<PeerName>) {
        self.change(content, |told| {
            told.then = format!(", and {}", came_back(from));
            told.lacking = None;
        });
    }

    /// Notes that no asked peer gave a good copy of an object.
    pub(super) fn nobody_answered(&self, content: &ContentId) {
        self.change(content, |told| told.then = format!(", and {NOBODY_ANSWERED}"));
    }

    fn change(&self, content: &ContentId, change: impl FnOnce(&mut Told)) {
        if let Some(told) = self.lock().iter_mut().rfind(|told| told.lacking.as_ref() == Some(content)) {
            change(told);
        }
    }

    /// Records a notice and returns its line.
    pub(super) fn add(&self, notice: &Notice) -> String {
        let (then, lacking) = match notice {
            Notice::Quarantined { object, kind: Kind::Replica, .. } => {
                (", and a good copy is looked for", Some(object.content))
            }
            Notice::Quarantined { kind: Kind::Requested, .. } => (", and a request brings a good one", None),
            _ => ("", None),
        };
        let told = Told { what: notice.to_string(), then: then.to_owned(), lacking };
        let line = format!("{}{}", told.what, told.then);
        let mut book = self.lock();
        if book.len() == NOTICES_MAX {
            book.pop_front();
        }
        book.push_back(told);
        line
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A good copy came back, in words.
pub(super) fn came_back(from: Option<PeerName>) -> String {
    from.map_or("a good copy came back".to_owned(), |peer| format!("a good copy came back from peer {peer}"))
}

/// No copy came back, in words.
pub(super) const NOBODY_ANSWERED: &str = "no other holder has answered yet";
/// The most lines that `status` shows.
pub(super) const NOTICES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OutboardDigest, Position};
    use crate::wire::ObjectInfo;

    fn quarantined(seed: usize, kind: Kind) -> (ContentId, Notice) {
        let content = ContentId::of(&seed.to_le_bytes());
        let object = ObjectInfo { content, length: 8, outboard: OutboardDigest([0; 32]) };
        (content, Notice::Quarantined { object, kind, names: Vec::new(), reason: "it is rotten".to_owned() })
    }

    fn last_of(book: &NoticeBook) -> String {
        let line = book.lines().pop().unwrap();
        line.split_once("it is in quarantine/").unwrap().1.to_owned()
    }

    /// Found by reading the code: a notice said "is fetched from another holder" of a copy that no flow fetched, and
    /// after all tries had failed.
    #[test]
    fn a_notice_says_what_happened() {
        let book = NoticeBook::default();
        let (content, notice) = quarantined(1, Kind::Replica);
        book.add(&notice);
        assert_eq!(last_of(&book), ", and a good copy is looked for");
        book.nobody_answered(&content);
        assert_eq!(last_of(&book), ", and no other holder has answered yet");
        let peer = PeerName { position: Position::of_number(36), name: None };
        book.came(&content, Some(peer));
        assert_eq!(last_of(&book), ", and a good copy came back from peer 36");
        book.came(&content, None);
        assert!(last_of(&book).ends_with("from peer 36"), "that one was lacking no more");
        let (content, notice) = quarantined(2, Kind::Requested);
        book.add(&notice);
        book.came(&content, None);
        assert_eq!(last_of(&book), ", and a request brings a good one");
    }

    #[test]
    fn the_book_keeps_the_last_notices() {
        let book = NoticeBook::default();
        for seed in 0..2 * NOTICES_MAX {
            book.add(&quarantined(seed, Kind::Replica).1);
        }
        assert_eq!(book.lines().len(), NOTICES_MAX);
        book.came(&quarantined(0, Kind::Replica).0, None);
        assert!(book.lines().iter().all(|line| line.ends_with("is looked for")));
    }
}
