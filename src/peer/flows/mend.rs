//! The notices of the store: shown to people, kept for `status`, and acted on where that helps.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::blob::{Kind, Notice};
use crate::files::Wish;
use crate::id::{ContentId, FileName};
use crate::peer::api::{PeerEvent, Progress};
use crate::peer::shared::Shared;
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo, PeerName};

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
    fn nobody_answered(&self, content: &ContentId) {
        self.change(content, |told| told.then = format!(", and {NOBODY_ANSWERED}"));
    }

    fn change(&self, content: &ContentId, change: impl FnOnce(&mut Told)) {
        if let Some(told) = self.lock().iter_mut().rfind(|told| told.lacking.as_ref() == Some(content)) {
            change(told);
        }
    }

    /// Records a notice and returns its line.
    fn add(&self, notice: &Notice) -> String {
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

fn came_back(from: Option<PeerName>) -> String {
    from.map_or("a good copy came back".to_owned(), |peer| format!("a good copy came back from peer {peer}"))
}

/// The objects whose copies here were bad, and of which a good copy is being looked for.
#[derive(Debug, Default)]
pub(in crate::peer) struct Mending {
    contents: Mutex<BTreeSet<ContentId>>,
    ended: Notify,
}

impl Mending {
    fn begin(&self, content: ContentId) {
        self.lock().insert(content);
    }

    fn end(&self, content: &ContentId) {
        self.lock().remove(content);
        self.ended.notify_waiters();
    }

    /// Waits until nobody looks for a good copy of this object any more.
    pub(in crate::peer) async fn until_over(&self, content: &ContentId) {
        loop {
            let ended = self.ended.notified();
            if !self.lock().contains(content) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ContentId>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object that a notice wants to be fetched again.
fn wanted(notice: &Notice) -> Option<ContentId> {
    match notice {
        Notice::Quarantined { object, kind: Kind::Replica, .. } => Some(object.content),
        _ => None,
    }
}

/// Shows the notices of the store, and fetches objects whose copies went to quarantine, until the peer ends.
pub(in crate::peer) async fn mend(shared: Arc<Shared>) {
    let (tell, mut notices) = mpsc::channel(WAITING_MAX);
    let weak = Arc::downgrade(&shared);
    shared.store.on_notice(move |notice| {
        let Some(shared) = weak.upgrade() else { return };
        let is_shown = tell.max_capacity() - tell.capacity() < NOTICES_MAX;
        let wanted = wanted(&notice);
        wanted.iter().for_each(|content| shared.flows.mending.begin(*content));
        if tell.try_send((notice, is_shown)).is_err() {
            wanted.iter().for_each(|content| shared.flows.mending.end(content));
            shared.flows.repair_wanted.notify_one();
        }
    });
    let places = Arc::new(Semaphore::new(FETCHES_MAX));
    let mut fetches = JoinSet::new();
    loop {
        let (notice, is_shown): (Notice, bool) = tokio::select! {
            notice = notices.recv() => match notice {
                Some(notice) => notice,
                None => return,
            },
            Some(_) = fetches.join_next() => continue,
        };
        if is_shown {
            // These are more notices than a person reads; the log has all of them.
            shared.tell(PeerEvent::Warning(shared.flows.notices.add(&notice)));
        }
        let Notice::Quarantined { object, kind: Kind::Replica, names, .. } = notice else { continue };
        if fetches.len() >= WAITING_MAX {
            shared.flows.mending.end(&object.content);
            shared.flows.repair_wanted.notify_one();
            continue;
        }
        let (shared, places) = (shared.clone(), places.clone());
        fetches.spawn(async move {
            shared.fetch_again(object, names, &places, is_shown).await;
            shared.flows.mending.end(&object.content);
        });
    }
}

impl Shared {
    /// Fetches an object whose copy here was bad from another holder. If that fails, a round of repair brings the
    /// object later, like any missing copy.
    async fn fetch_again(
        self: &Arc<Self>,
        object: ObjectInfo,
        names: Vec<FileName>,
        places: &Semaphore,
        is_shown: bool,
    ) {
        let content = object.content;
        let links = names.into_iter().map(|name| Link { name, clock: Timestamp::default() }).collect();
        let wish = Wish { content, known: Some(object), links };
        let what = 'tried: {
            let mut backoff = FETCH_BACKOFF;
            for tries in 0..FETCH_TRIES_MAX {
                if tries > 0 {
                    tokio::time::sleep(backoff.next()).await;
                }
                let _place = places.acquire().await;
                let Ok(sources) = self.bring(wish.clone(), Arc::new(Progress::default())).await else {
                    continue;
                };
                if matches!(self.blocking(move |store| store.promote(&content)).await, Ok(true)) {
                    let from = sources.last().map(|peer| self.named(peer));
                    self.flows.notices.came(&content, from.clone());
                    break 'tried came_back(from);
                }
            }
            self.flows.notices.nobody_answered(&content);
            self.flows.repair_wanted.notify_one();
            NOBODY_ANSWERED.to_owned()
        };
        if is_shown {
            self.tell(PeerEvent::Warning(format!("sha256:{content}: {what}")));
        }
    }
}

const NOBODY_ANSWERED: &str = "no other holder has answered yet";
/// The most lines that `status` shows.
const NOTICES_MAX: usize = 16;
/// The most notices that wait to be looked at, and objects that wait to be fetched again. Repair brings the copies of
/// any others.
const WAITING_MAX: usize = 4_096;
/// The most objects that are fetched again at the same time.
const FETCHES_MAX: usize = 4;
/// The most tries to fetch an object again, and the pauses between them.
const FETCH_TRIES_MAX: u32 = 4;
const FETCH_BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(1), 4, Duration::from_secs(15));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OutboardDigest, Position};

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
