//! What the store has to tell: shown to people, kept for `status`, and mended where it can be.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::api::{PeerEvent, Progress};
use super::fetch::Wish;
use super::shared::Shared;
use crate::blob::{Kind, Notice};
use crate::id::FileName;
use crate::time::Timestamp;
use crate::wire::{Link, ObjectInfo};

/// The last things that the store told, oldest first.
#[derive(Debug, Default)]
pub(super) struct NoticeBook(Mutex<VecDeque<String>>);

impl NoticeBook {
    /// All of them, each one line.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn add(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() == NOTICES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn replace(&self, old: &str, new: String) {
        match self.lock().iter_mut().find(|line| *line == old) {
            Some(line) => *line = new,
            None => self.add(new),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what the store tells, and fetches again what went to quarantine, until the peer ends.
pub(super) async fn mend(shared: Arc<Shared>) {
    let (tell, mut notices) = mpsc::channel(NOTICES_MAX);
    shared.store.on_notice(move |notice| {
        // More at once than a person reads: the log has them all.
        let _ = tell.try_send(notice);
    });
    let places = Arc::new(Semaphore::new(FETCHES_MAX));
    let mut fetches = JoinSet::new();
    loop {
        let notice: Notice = tokio::select! {
            notice = notices.recv() => match notice {
                Some(notice) => notice,
                None => return,
            },
            Some(_) = fetches.join_next() => continue,
        };
        let text = notice.to_string();
        shared.notices.add(text.clone());
        shared.tell(PeerEvent::Warning(text.clone()));
        if let Notice::Quarantined { object, kind: Kind::Replica, names, .. } = notice {
            let (shared, places) = (shared.clone(), places.clone());
            fetches.spawn(async move {
                let _place = places.acquire().await;
                shared.fetch_again(object, names, &text).await;
            });
        }
    }
}

impl Shared {
    /// Brings an object of which the copy here was bad from another holder. What does not come now comes with
    /// a round of repair, as any missing copy does.
    async fn fetch_again(self: &Arc<Self>, object: ObjectInfo, names: Vec<FileName>, told: &str) {
        let links = names.into_iter().map(|name| Link { name, clock: Timestamp::default() }).collect();
        let wish = Wish { content: object.content, known: Some(object), links };
        for pause in FETCH_PAUSES {
            tokio::time::sleep(pause).await;
            let Ok(sources) = self.bring(wish.clone(), Arc::new(Progress::default())).await else { continue };
            let kept = self.blocking(move |store| store.promote(&object.content)).await;
            if !matches!(kept, Ok(true)) {
                continue;
            }
            let from = match sources.last() {
                Some(peer) => format!("it came again from peer {}", self.named(peer)),
                None => "it is here again".to_owned(),
            };
            let bad = told.split("; it is in quarantine/").next().unwrap_or(told);
            self.notices.replace(told, format!("{bad}; it is in quarantine/, and {from}"));
            self.tell(PeerEvent::Warning(format!("sha256:{}: {from}", object.content)));
            return;
        }
        self.repair_wanted.notify_one();
    }
}

/// Lines that `status` shows.
const NOTICES_MAX: usize = 16;
/// Objects that are fetched again at the same time.
const FETCHES_MAX: usize = 4;
/// Before each try to fetch an object again.
const FETCH_PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];
