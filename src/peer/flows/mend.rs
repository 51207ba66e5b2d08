//! The notices of the store: shown to people, kept for `status`, and acted on where that helps.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::notice_book::{NOBODY_ANSWERED, NOTICES_MAX, came_back};
use crate::backoff::Backoff;
use crate::blob::{Kind, Notice};
use crate::files::Wish;
use crate::id::{ContentId, FileName};
use crate::peer::api::{PeerEvent, Progress};
use crate::peer::shared::Shared;
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo};

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
        let Notice::Quarantined { object, kind, names, .. } = notice else { continue };
        // A pinned object is to stay here, whoever wanted it.
        let is_kept = kind == Kind::Replica || shared.store.is_pinned(&object.content).unwrap_or(false);
        if !is_kept {
            continue;
        }
        if fetches.len() >= WAITING_MAX {
            shared.flows.mending.end(&object.content);
            shared.flows.repair_wanted.notify_one();
            continue;
        }
        let (shared, places) = (shared.clone(), places.clone());
        fetches.spawn(async move {
            shared.fetch_again(object, kind, names, &places, is_shown).await;
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
        kind: Kind,
        names: Vec<FileName>,
        places: &Semaphore,
        is_shown: bool,
    ) {
        let content = object.content;
        let link = |name: &FileName| Link { name: name.clone(), clock: Timestamp::default() };
        let links = names.iter().map(link).collect();
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
                let is_here = self.blocking(move |store| match kind {
                    Kind::Replica => store.promote(&content),
                    Kind::Requested => store.contains(&content),
                });
                if matches!(is_here.await, Ok(true)) {
                    let from = sources.last().map(|peer| self.named(peer));
                    self.flows.notices.came(&content, from.clone());
                    break 'tried came_back(from);
                }
            }
            self.flows.notices.nobody_answered(&content);
            self.flows.health.seems_lost(content, names);
            self.flows.repair_wanted.notify_one();
            NOBODY_ANSWERED.to_owned()
        };
        if is_shown {
            self.tell(PeerEvent::Warning(format!("sha256:{content}: {what}")));
        }
    }
}

/// The most notices that wait to be looked at, and objects that wait to be fetched again. Repair brings the copies of
/// any others.
const WAITING_MAX: usize = 4_096;
/// The most objects that are fetched again at the same time.
const FETCHES_MAX: usize = 4;
/// The most tries to fetch an object again, and the pauses between them.
const FETCH_TRIES_MAX: u32 = 4;
const FETCH_BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(1), 4, Duration::from_secs(15));
