//! `Status`, `Ring`, `Files`: the reports that people ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::blob::BlobError;
use crate::chord::{PhaseKind, View};
use crate::files;
use crate::id::{ContentId, Position};
use crate::peer::api::{
    FilesError, Listed, NotActive, RingError, RingFile, RingFiles, RingFilesError, RingLine, StatusReport,
    word_list,
};
use crate::peer::shared::{STORAGE_TIMEOUT, Shared};
use crate::replica::all_is_seen;
use crate::wire::limits::{FILES_PER_PAGE_MAX, LISTED_MAX, MEMBERS_MAX};
use crate::wire::{
    Entry, Fault, FileEntry, MemberState, MembershipReply, MembershipRequest, StorageReply, StorageRequest,
};

impl Shared {
    /// The state of this peer.
    pub(in crate::peer) async fn status(self: &Arc<Self>) -> StatusReport {
        let view = self.view();
        let counted = self
            .blocking(|store| -> Result<_, BlobError> {
                let (objects, bytes) = store.totals()?;
                Ok((objects, bytes, store.record_count()?, store.siblings(LISTED_MAX)?))
            })
            .await;
        let poisoned = self.store.is_poisoned().then(|| {
            "this peer could not make sure that what it wrote is on its disk, so it writes nothing more until it is started again".to_owned()
        });
        let trouble = poisoned.or_else(|| counted.as_ref().err().map(ToString::to_string));
        let (objects, bytes, records, siblings) = counted.unwrap_or_default();
        let (health, unkept, verdict, verified) =
            tokio::join!(self.health(), self.unkept_of_ring(), self.verdict(), self.verifications());
        // The reason why the account is missing is the one why the counts are.
        let space = self.space().await.unwrap_or_default();
        let (gone, away): (Vec<_>, Vec<_>) =
            view.away().map(|entry| entry.position).partition(|peer| self.is_gone_for_good(peer));
        let me = view.is_member().then_some(&view.me).into_iter();
        let counters = self.transport.counters();
        StatusReport {
            peer: self.named(&view.me.position),
            incarnation: view.me.incarnation,
            ring: self.verifier.ring_name().to_owned(),
            address: view.me.address.clone(),
            phase: phase_in_words(&view),
            settings: view.settings,
            interval: self.ring.interval,
            small_ring: view.small,
            predecessor: view.predecessor.as_ref().map(|entry| self.named(&entry.position)),
            successors: self.all_named(view.successors.iter().map(|entry| &entry.position)),
            alive: self.all_named(me.chain(view.alive()).map(|entry| &entry.position)),
            away: self.all_named(&away),
            gone: self.all_named(&gone),
            unreachable: self.unreachable().into_iter().collect(),
            objects,
            bytes,
            records,
            syncing: self.is_syncing(),
            short: health.short,
            short_total: health.total,
            below_quorum: health.below_quorum,
            unheard: health.unheard,
            trouble,
            siblings: Listed { first: siblings.0, total: siblings.1 },
            certificate_until: unix_seconds(self.identity.valid_until()),
            data_dir: self.store.dir().to_string_lossy().into_owned(),
            misbehaving: self.misbehaving(),
            refused: counters.refused_handshakes(),
            malformed: counters.malformed(),
            dropped: counters.dropped_datagrams() + counters.flooded_datagrams(),
            notices: self.notice_lines().await,
            unkept,
            verdict,
            space,
            verified,
        }
    }

    /// The notices for a person: a full disk, a wrong clock, and the recent notices of the store.
    async fn notice_lines(self: &Arc<Self>) -> Listed<String> {
        let full = self.full_with().await.map(|free| {
            format!(
                "the disk under {} is full ({free} bytes are free): nothing new is kept here until there is \
                 room; what is here is served",
                self.store.dir().display()
            )
        });
        full.into_iter().chain(self.ring.clock_notice()).chain(self.flows.notices.lines()).collect()
    }

    /// The peers of the ring in order, this one first; then the members that do not answer.
    ///
    /// # Errors
    /// When this peer is in no ring.
    pub(in crate::peer) async fn ring(self: &Arc<Self>) -> Result<Vec<RingLine>, RingError> {
        let walked = self.walk().await?;
        let mut lines: Vec<RingLine> = walked
            .iter()
            .enumerate()
            .map(|(i, entry)| {
                let before = &walked[(i + walked.len() - 1) % walked.len()];
                let share = before.position.distance_to(&entry.position).as_fraction();
                let share = if walked.len() == 1 { 1.0 } else { share };
                self.ring_line(entry, MemberState::Alive, share)
            })
            .collect();
        let view = self.view();
        let silent = view.away().filter(|entry| walked.iter().all(|w| w.position != entry.position));
        lines.extend(silent.map(|entry| self.ring_line(entry, MemberState::Dead, 0.0)));
        Ok(lines)
    }

    /// This peer's files.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(in crate::peer) async fn files(self: &Arc<Self>) -> Result<Vec<FileEntry>, FilesError> {
        self.first_files(usize::MAX).await
    }

    /// The first `wanted` of this peer's files, or a few more.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(in crate::peer) async fn first_files(
        self: &Arc<Self>,
        wanted: usize,
    ) -> Result<Vec<FileEntry>, FilesError> {
        let read = self.blocking(move |store| -> Result<_, BlobError> {
            let mut files: Vec<FileEntry> = Vec::new();
            loop {
                let after = files.last().map(|file| file.object.content);
                let page = store.objects_after(after, FILES_PER_PAGE_MAX)?;
                if page.is_empty() || files.len() >= wanted {
                    return Ok(files);
                }
                files.extend(page);
            }
        });
        Ok(read.await?)
    }

    /// The files of all peers of the ring.
    ///
    /// # Errors
    /// When this peer is in no ring.
    pub(in crate::peer) async fn files_of_ring(self: &Arc<Self>) -> Result<RingFiles, RingFilesError> {
        let _one_at_a_time = self.control.listing.lock().await;
        let (walked, passed_over) = self.everybody().await?;
        let mut asked = JoinSet::new();
        let budget = Arc::new(AtomicUsize::new(0));
        for (rank, whom) in walked.iter().cloned().enumerate() {
            let (shared, budget) = (self.clone(), budget.clone());
            asked.spawn(async move { (rank, shared.files_of(&whom, &budget).await) });
        }
        let mut by_content: BTreeMap<ContentId, (FileEntry, Vec<usize>)> = BTreeMap::new();
        let view = self.view();
        let mut heard: BTreeSet<Position> = BTreeSet::new();
        loop {
            // A silent peer costs no more than this once the other listings are enough.
            let enough = all_is_seen(&view, files::Env::copies(self.as_ref()), &heard);
            let patience = if enough { LATE_LISTING } else { LISTING_MAX };
            let (rank, files) = match timeout(patience, asked.join_next()).await {
                Ok(Some(Ok((rank, Some(files))))) => (rank, files),
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => break,
            };
            heard.insert(walked[rank].position);
            for file in files {
                let (known, ranks) =
                    by_content.entry(file.object.content).or_insert_with(|| (file.clone(), Vec::new()));
                ranks.push(rank);
                known.names.extend(file.names);
                known.names.sort();
                known.names.dedup();
            }
        }
        let mut files: Vec<RingFile> = by_content
            .into_values()
            .map(|(file, mut ranks)| {
                ranks.sort_unstable();
                let holders = ranks.iter().take(HOLDERS_LISTED_MAX).map(|rank| &walked[*rank].position);
                RingFile { file, holders: self.all_named(holders) }
            })
            .collect();
        files.sort_by(|a, b| a.file.names.first().cmp(&b.file.names.first()));
        let silent: BTreeSet<Position> = walked
            .iter()
            .map(|entry| entry.position)
            .chain(passed_over)
            .chain(view.away().map(|entry| entry.position))
            .filter(|peer| !heard.contains(peer))
            .collect();
        let complete = silent.is_empty() || all_is_seen(&view, files::Env::copies(self.as_ref()), &heard);
        Ok(RingFiles { files, silent: self.all_named(&silent), complete })
    }

    /// The peers to ask for a listing: the members that are believed to live, in order, this one first; and those of
    /// them that did not answer on the way. In a small ring this peer knows all members and asks no other peer.
    pub(super) async fn everybody(self: &Arc<Self>) -> Result<(Vec<Entry>, Vec<Position>), NotActive> {
        let view = self.view();
        if view.is_member() && view.small {
            return Ok((std::iter::once(&view.me).chain(view.alive()).cloned().collect(), Vec::new()));
        }
        let walked = self.walk().await?;
        let known = view.alive().map(|entry| entry.position);
        let passed_over = known.filter(|peer| walked.iter().all(|entry| entry.position != *peer)).collect();
        Ok((walked, passed_over))
    }

    /// The ring's living peers in order, this one first; each names the next.
    async fn walk(self: &Arc<Self>) -> Result<Vec<Entry>, NotActive> {
        self.until_member().await?;
        let view = self.view();
        let me = view.me.position;
        let mut walked = vec![view.me.clone()];
        // By distance: the peers that this one knows, and the peers that asked peers name.
        let mut ahead: BTreeMap<Position, Entry> = BTreeMap::new();
        for entry in view.successors.iter().chain(view.alive()) {
            ahead.insert(me.distance_to(&entry.position), entry.clone());
        }
        while let Some((distance, next)) = ahead.pop_first() {
            if walked.len() >= MEMBERS_MAX {
                break;
            }
            let request = MembershipRequest::FindOwner { key: next.position };
            let Ok(reply) = self.ask_membership(&next, request, HOP_TIMEOUT).await else { continue };
            if matches!(reply, MembershipReply::Gone { .. }) {
                continue;
            }
            walked.push(next.clone());
            // A peer asked for its own position names itself and its successors.
            if let MembershipReply::Owner { owner, successors, .. } = reply
                && owner.position == next.position
                && let Some(successors) = self.list_after(&next, successors)
            {
                let further = successors.into_iter().map(|entry| (me.distance_to(&entry.position), entry));
                ahead.extend(further.filter(|(further, _)| *further > distance));
            }
        }
        Ok(walked)
    }

    pub(super) fn ring_line(&self, entry: &Entry, state: MemberState, share: f64) -> RingLine {
        RingLine {
            peer: self.named(&entry.position),
            address: entry.address.clone(),
            incarnation: entry.incarnation,
            state,
            gone: state == MemberState::Dead && self.is_gone_for_good(&entry.position),
            share,
            me: entry.position == self.position(),
        }
    }

    async fn files_of(self: &Arc<Self>, whom: &Entry, budget: &AtomicUsize) -> Option<Vec<FileEntry>> {
        let begin = Instant::now();
        let mut files: Vec<FileEntry> = Vec::new();
        loop {
            let after = files.last().map(|file| file.object.content);
            let reply = self.ask_storage(whom, StorageRequest::ListFiles { after }, STORAGE_TIMEOUT).await;
            let Ok(StorageReply::Files { files: page, more }) = reply else { return None };
            if let Err(fault) = check_page(after, &page, more) {
                self.blame_answer(&whom.position, fault);
                return None;
            }
            let spent = page.iter().map(weight).sum::<usize>();
            files.extend(page);
            let all = budget.fetch_add(spent, Ordering::Relaxed) + spent;
            if all > LISTING_BYTES_MAX {
                // A peer that lists very much is not known to lie: the listing is shown without it.
                return None;
            }
            if begin.elapsed() > LISTING_MAX {
                self.blame_answer(&whom.position, Fault::Endless);
                return None;
            }
            if !more {
                return Some(files);
            }
        }
    }
}

fn unix_seconds(time: std::time::SystemTime) -> u64 {
    time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The approximate memory that an entry of a listing takes, in bytes.
fn weight(file: &FileEntry) -> usize {
    size_of::<FileEntry>()
        + file.names.iter().map(|name| size_of_val(name) + name.as_str().len()).sum::<usize>()
}

/// Checks a page of a listing: it continues in order after the last one, and it makes progress.
fn check_page(after: Option<ContentId>, page: &[FileEntry], more: bool) -> Result<(), Fault> {
    let mut last = after;
    for file in page {
        if last.is_some_and(|last| last >= file.object.content) {
            return Err(Fault::BadList);
        }
        last = Some(file.object.content);
    }
    if page.len() > FILES_PER_PAGE_MAX || (more && page.is_empty()) { Err(Fault::BadList) } else { Ok(()) }
}

fn phase_in_words(view: &View) -> String {
    match view.phase {
        PhaseKind::Entering if view.waiting_for.is_empty() => "on its way into the ring".to_owned(),
        PhaseKind::Entering if view.waiting_for.len() == 1 => {
            format!("waiting for peer {}", view.waiting_for[0])
        }
        PhaseKind::Entering => format!("waiting for peers {}", word_list(view.waiting_for.clone())),
        PhaseKind::Active => "active".to_owned(),
        PhaseKind::Leaving => "leaving".to_owned(),
        PhaseKind::Checking => "stopped for a while; asking whether the ring still counts it".to_owned(),
        PhaseKind::Ended => "out of the ring".to_owned(),
    }
}

/// The timeout of one hop of a walk.
const HOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the next listing is waited for once those that came are enough.
const LATE_LISTING: Duration = Duration::from_secs(1);
/// The timeout of one peer's listing.
const LISTING_MAX: Duration = Duration::from_secs(60);
/// The most memory that all peers' listings together may take, in bytes.
const LISTING_BYTES_MAX: usize = 256 << 20;
/// The most holders of one file that a listing names.
const HOLDERS_LISTED_MAX: usize = 64;
