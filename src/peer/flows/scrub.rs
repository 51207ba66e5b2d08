//! Scrubbing: this peer reads and hashes its objects again, now for a person, or slowly and for ever by a schedule.
//!
//! A bad object goes to quarantine, where the notice of the store makes `mend` fetch a good copy. The scrub of a person
//! waits for that and counts the outcome. Disk and hashing run on blocking threads, one chunk at a time; the pauses
//! between the chunks are taken by the task, so that a peer that ends waits for one chunk at most.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::blob::{Aged, BlobError, Kind, Scrub, ScrubStep, Store};
use crate::files::Wish;
use crate::id::ContentId;
use crate::peer::api::{PeerEvent, Progress, ScrubError, ScrubReport};
use crate::peer::shared::{STORAGE_TIMEOUT, Shared};
use crate::replica::{NextScrub, Scrubbing, Stock, Verification};
use crate::transport::spawn_blocking;
use crate::wire::ObjectInfo;
use crate::wire::limits::{FILES_PER_PAGE_MAX, LISTED_MAX};

impl Shared {
    /// Reads and hashes every object of this peer again, at most `rate` bytes a second, and waits until good copies of
    /// the bad ones came or nobody gave one.
    ///
    /// # Errors
    /// [`ScrubError`]: another scrub runs, or the index cannot be read.
    pub(in crate::peer) async fn scrub(
        self: &Arc<Self>,
        rate: Option<NonZeroU64>,
        progress: &Arc<Progress>,
    ) -> Result<ScrubReport, ScrubError> {
        // The caller may hold its progress longer than the scrub lasts.
        let running = Arc::new(Progress::default());
        self.flows.scrubs.begin(&running)?;
        let begin = Instant::now();
        let (objects, bytes) = self.blocking(Store::totals).await?;
        for shown in [&running, progress] {
            shown.begin_objects(objects);
            shown.begin(0, bytes);
        }
        let mut report = ScrubReport::default();
        let mut bad = Vec::new();
        let mut after = None;
        loop {
            let page = self.blocking(move |store| store.objects_after(after, FILES_PER_PAGE_MAX)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.object.content);
            for object in page.into_iter().map(|file| file.object) {
                let done = report.bytes;
                let step = self.read_again(object.content, |read, _| {
                    progress.done.store(done + read, Ordering::Relaxed);
                    pause_at_rate(begin, done + read, rate)
                });
                match step.await {
                    Ok(ScrubStep::Sound) => report.sound += 1,
                    Ok(ScrubStep::Quarantined(object, kind)) => bad.push((object, kind)),
                    // It was freed meanwhile, or a hand took its file away: repair brings back what belongs here.
                    Ok(ScrubStep::Gone | ScrubStep::Read(_)) => {
                        self.flows.repair_wanted.notify_one();
                        continue;
                    }
                    Err(error) => {
                        self.tell_unread(&object.content, &error);
                        report.unreadable += 1;
                    }
                }
                report.objects += 1;
                report.bytes += object.length;
                [&running, progress].iter().for_each(|shown| shown.object_done());
                progress.done.store(report.bytes, Ordering::Relaxed);
                tokio::time::sleep(pause_at_rate(begin, report.bytes, rate)).await;
            }
        }
        if let Err(error) = self.blocking(Store::write_verified).await {
            tracing::warn!(%error, "what was verified is not in the index");
        }
        self.scrub_records().await;
        report.quarantined = bad.len() as u64;
        self.count_healed(bad, &mut report).await;
        report.took = begin.elapsed();
        Ok(report)
    }

    /// Reads and hashes an object again, chunk by chunk. After each chunk but the last, `pause` is told the bytes read so
    /// far and how long the chunk took, and says how long to wait.
    async fn read_again(
        &self,
        content: ContentId,
        mut pause: impl FnMut(u64, Duration) -> Duration + Send,
    ) -> Result<ScrubStep, BlobError> {
        let mut scrub = Scrub::new(&self.store, content);
        let mut read = 0;
        loop {
            let begin = Instant::now();
            let (next, step) = spawn_blocking(move || {
                let step = scrub.step();
                (scrub, step)
            })
            .await;
            scrub = next;
            match step? {
                ScrubStep::Read(bytes) => {
                    read += bytes;
                    tokio::time::sleep(pause(read, begin.elapsed())).await;
                }
                ended => return Ok(ended),
            }
        }
    }

    /// Waits until the bad objects were fetched again or nobody gave a good copy, and counts both.
    async fn count_healed(self: &Arc<Self>, bad: Vec<(ObjectInfo, Kind)>, report: &mut ScrubReport) {
        let quorum = self.ring.settings().write_quorum(self.view().members_count());
        let mut not_healed = Vec::new();
        for (object, kind) in bad {
            let content = object.content;
            match kind {
                Kind::Replica => self.flows.mending.until_over(&content).await,
                // Nobody fetches a copy again that was only requested here, unless it is asked for.
                Kind::Requested => {
                    let wish = Wish { content, known: Some(object), links: Vec::new() };
                    if let Err(error) = self.bring(wish, Arc::default()).await {
                        tracing::info!(%content, %error, "no good copy came");
                    }
                }
            }
            match self.blocking(move |store| store.contains(&content)).await {
                Ok(true) => report.fetched_again += 1,
                Ok(false) | Err(_) => not_healed.push(content),
            }
        }
        report.not_fetched_again = not_healed.len() as u64;
        for content in not_healed.iter().take(LISTED_MAX) {
            // A peer that cannot ask its ring cannot tell.
            let holders = self.holders_of(*content, STORAGE_TIMEOUT).await;
            report.below_quorum += u64::from(holders.is_ok_and(|holders| holders.entries.len() < quorum));
        }
        report.not_healed = not_healed.into_iter().collect();
    }

    /// Reads the log of name records again; it is written anew if some of its bytes hold no record.
    async fn scrub_records(&self) {
        if let Err(error) = self.blocking(Store::scrub_records).await {
            tracing::warn!(%error, "the log of name records could not be verified");
        }
    }

    fn tell_unread(&self, content: &ContentId, error: &BlobError) {
        tracing::warn!(%content, %error, "an object could not be read");
        self.tell(PeerEvent::Warning(format!("sha256:{content} could not be verified: {error}")));
    }

    /// The objects here, as the schedule looks at them, without those that cannot be read; `None` if there are none.
    async fn stock(&self, unread: &BTreeSet<ContentId>) -> Result<Option<Stock>, BlobError> {
        let unread = unread.clone();
        self.blocking(move |store| {
            let (objects, bytes) = store.totals()?;
            let oldest = store.least_lately_verified(&unread)?;
            let latest = store.latest_verified(&unread)?;
            Ok(oldest.zip(latest).map(|(oldest, latest)| Stock {
                objects,
                bytes,
                oldest: verification(oldest),
                latest: verification(latest),
            }))
        })
        .await
    }
}

/// The wait until this many bytes may have been read since `begin`, at this rate.
fn pause_at_rate(begin: Instant, bytes: u64, rate: Option<NonZeroU64>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| {
        let due = (bytes as f64 / rate.get() as f64).min(PAUSE_MAX_SECONDS);
        Duration::from_secs_f64(due).saturating_sub(begin.elapsed())
    })
}

fn verification(aged: Aged) -> Verification {
    Verification { content: aged.content, length: aged.length, at_ms: aged.verified_ms }
}

/// Reads and hashes the objects again by the schedule, until the peer ends. Each is verified within `every`; zero means
/// never.
pub(in crate::peer) async fn keep_scrubbing(shared: Arc<Shared>, every: Duration) {
    let Some(plan) = Scrubbing::within(every) else { return };
    let mut last = shared.ring.clock.now();
    let mut unread = BTreeSet::new();
    let mut records_due = Some(Instant::now() + IDLE);
    loop {
        if records_due.is_some_and(|due| Instant::now() >= due) {
            shared.scrub_records().await;
            records_due = Instant::now().checked_add(every);
        }
        let wait = match shared.stock(&unread).await {
            // The scrub of a person does the same work.
            _ if shared.flows.scrubs.is_running() => IDLE,
            Ok(None) => IDLE,
            Ok(Some(stock)) => {
                let since_last = shared.ring.clock.now().since(last);
                match plan.next(&stock, shared.store.wall_ms(), since_last) {
                    NextScrub::Wait(wait) => wait,
                    NextScrub::Read(content) => {
                        shared.scrub_by_plan(&plan, content, stock.bytes, &mut unread).await;
                        last = shared.ring.clock.now();
                        Duration::ZERO
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the objects to verify are not known");
                IDLE
            }
        };
        tokio::time::sleep(wait).await;
    }
}

impl Shared {
    async fn scrub_by_plan(
        self: &Arc<Self>,
        plan: &Scrubbing,
        content: ContentId,
        bytes: u64,
        unread: &mut BTreeSet<ContentId>,
    ) {
        let mut before = 0;
        let step = self.read_again(content, |read, took| {
            let chunk = read - before;
            before = read;
            plan.chunk_pause(chunk, took, bytes, self.flows.transfers.are_running())
        });
        if let Err(error) = step.await {
            self.tell_unread(&content, &error);
            if unread.len() >= UNREAD_MAX {
                unread.clear();
            }
            unread.insert(content);
        }
    }
}

/// How long the schedule waits where there is nothing to do.
const IDLE: Duration = Duration::from_secs(30);
/// The longest that a rate may stretch a scrub: ten years.
const PAUSE_MAX_SECONDS: f64 = 315_360_000.0;
/// The most objects that the schedule passes over because they could not be read.
const UNREAD_MAX: usize = 1_000;
