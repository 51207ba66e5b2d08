//! The files that have fewer copies than they should.
//!
//! Each peer reports on the files that it owns, and on files that their owner lacks. It learns of other peers' copies
//! from offers, its own and those of others, and from stores. Before it reports a file as short of copies it asks
//! again, so that the report does not lag. `status` joins the reports of the living members:
//! `A ->[Health] B`, `B ->[Health { short, total, below_quorum }] A` names the files that are short, and
//! `A ->[CountCopies] B`, `B ->[Copies(counts)] A` counts all files by their holders. Both are of one look.
//!
//! Only data that the ring was given counts: objects that its peers hold, and contents that a name record names. A
//! holder that is not a replica counts as a copy; a holder that does not answer does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::health_book::{Living, Looked};
use crate::blob::BlobError;
use crate::chord::{Route, View};
use crate::files::Env as _;
use crate::id::{ContentId, KeyRange, Position};
use crate::peer::api::{Listed, PeerName, ShortFile};
use crate::peer::ring::clock::unix_ms;
use crate::peer::shared::Shared;
use crate::replica::{Tally, replicas};
use crate::wire::limits::{FRAME_BYTES_MAX, HEALTH_NAMES_MAX, LISTED_MAX, OFFERS_PER_MESSAGE_MAX};
use crate::wire::{CopyCounts, Entry, FileHealth, LostFile, ObjectInfo, StorageReply, StorageRequest, codec};

/// The joined reports of the living members on their files.
#[derive(Debug, Default)]
pub(in crate::peer) struct Health {
    /// The files that lack copies, those with the fewest first.
    pub short: Vec<ShortFile>,
    pub total: u64,
    pub below_quorum: u64,
    /// The number of listed files of which no answering member has a copy.
    pub without_copy: u64,
    /// The living members that did not report.
    pub unheard: Listed<PeerName>,
}

impl Shared {
    /// The health of the ring's files, as its living members report it; at most [`ASKED_MAX`] of them are asked.
    pub(in crate::peer) async fn health(self: &Arc<Self>) -> Health {
        let view = self.view();
        if !view.is_member() {
            return Health::default();
        }
        let mut asked = JoinSet::new();
        for whom in std::iter::once(&view.me).chain(view.alive()).take(ASKED_MAX) {
            let (shared, whom) = (self.clone(), whom.clone());
            asked.spawn(async move {
                let answer = shared.ask_storage(&whom, StorageRequest::Health, HEALTH_TIMEOUT).await;
                (whom.position, answer)
            });
        }
        let mut answers = Vec::new();
        let mut unheard: Vec<Position> = view.alive().skip(ASKED_MAX - 1).map(|e| e.position).collect();
        while let Some(Ok((peer, answer))) = asked.join_next().await {
            match answer {
                Ok(StorageReply::Health { short, total, below_quorum }) => {
                    answers.push((short, total, below_quorum));
                }
                _ => unheard.push(peer),
            }
        }
        let (settings, members) = (self.ring.settings(), view.members_count());
        let (copies, quorum) = (settings.copies(members), settings.write_quorum(members));
        let joined = join(answers, copies, quorum);
        let without_copy = joined.files.iter().filter(|file| file.holders.is_empty()).count() as u64;
        let short = joined.files.into_iter().map(|file| ShortFile {
            content: file.content,
            names: file.names,
            holders: self.all_named(&file.holders),
            copies,
            quorum,
            missing: self.all_named(&file.missing),
        });
        Health {
            short: short.collect(),
            total: joined.total,
            below_quorum: joined.below_quorum,
            without_copy,
            unheard: self.all_named(&unheard),
        }
    }

    /// Handles `Health`.
    pub(in crate::peer) async fn answer_health(self: &Arc<Self>) -> StorageReply {
        self.looked_lately().await.health.clone()
    }

    /// Handles `CountCopies`.
    pub(in crate::peer) async fn answer_count_copies(self: &Arc<Self>) -> StorageReply {
        self.looked_lately().await.copies.clone()
    }

    /// The last look, or a new one. Peers that ask at nearly the same time get the answers of one look.
    async fn looked_lately(self: &Arc<Self>) -> Arc<Looked> {
        let mut last = self.flows.health.last.lock().await;
        if let Some((made, looked)) = last.as_ref()
            && made.elapsed() < FRESH
        {
            return looked.clone();
        }
        let looked = Arc::new(self.look_at_health().await);
        *last = Some((Instant::now(), looked.clone()));
        looked
    }

    async fn look_at_health(self: &Arc<Self>) -> Looked {
        let view = self.view();
        let (settings, members) = (self.ring.settings(), view.members_count());
        let (copies, quorum) = (settings.copies(members), settings.write_quorum(members));
        let mine = match self.answered_for(&view).await {
            Ok(mine) => mine,
            // A peer that cannot list its objects cannot report on their copies.
            Err(error) => {
                let refused = StorageReply::refused(error.to_string());
                return Looked { health: refused.clone(), copies: refused };
            }
        };
        let living = Living::of(&view);
        let seems_short = |content: &ContentId| self.holders_known(&living, content).len() < copies;
        let doubtful: Vec<ContentId> = mine.iter().map(|(content, _)| *content).filter(seems_short).collect();
        let begin = Instant::now();
        for page in doubtful.chunks(OFFERS_PER_MESSAGE_MAX) {
            if begin.elapsed() < ASKING_MAX {
                self.ask_anew(&view, page).await;
            }
        }
        let (mut files, mut tally): (Vec<FileHealth>, Tally) = Default::default();
        for (content, length) in mine {
            let holders = self.holders_known(&living, &content);
            let missing = match holders.len() < copies {
                true => missing_replicas(&view, &content.key(), &holders, copies),
                false => Vec::new(),
            };
            // Of several holders of a file that its owner lacks, the first counts it.
            if view.owns(&content.key()) || holders.first() == Some(&living.me) {
                tally.add(&holders, &missing, length);
            }
            if holders.len() < copies {
                files.push(FileHealth { content, names: Vec::new(), holders, missing });
            }
        }
        let (lost, more_lost) = self.flows.health.lost();
        let counts = self.counts(&view, copies, tally, lost.keys(), more_lost);
        files.extend(lost.into_iter().map(|(content, names)| {
            let missing = missing_replicas(&view, &content.key(), &[], copies);
            FileHealth { content, names, holders: Vec::new(), missing }
        }));
        let total = files.len() as u64;
        let below_quorum = files.iter().filter(|file| file.holders.len() < quorum).count() as u64;
        files.sort_by_key(|file| (file.holders.len(), file.content));
        files.truncate(LISTED_MAX);
        let health = StorageReply::Health { short: self.page_of_health(files).await, total, below_quorum };
        Looked { health, copies: StorageReply::Copies(counts) }
    }

    /// The report on the number of copies.
    fn counts<'a>(
        &self,
        view: &View,
        copies: usize,
        tally: Tally,
        lost: impl Iterator<Item = &'a ContentId>,
        more_lost: bool,
    ) -> CopyCounts {
        let lost = lost.map(|content| LostFile {
            content: *content,
            lacking: missing_replicas(view, &content.key(), &[], copies),
        });
        tally.report(lost.collect(), more_lost, self.is_syncing())
    }

    /// The answering holders of an object, by all that is known.
    fn holders_known(&self, living: &Living, content: &ContentId) -> Vec<Position> {
        self.with_agreements(|agreements| {
            self.flows.health.holders(living, content, agreements.holders(content))
        })
    }

    /// Notes that a peer has all that is here of a range.
    pub(in crate::peer) fn note_all(&self, of: &Entry, range: &KeyRange) {
        if let Some(Route::Owner { owner, .. }) = self.view().route(&range.last)
            && owner.position == of.position
        {
            self.flows.health.hear_owner_has_all(range);
        }
    }

    /// Handles `Lacks`: lists the named objects that are not here.
    pub(in crate::peer) async fn answer_lacks(
        self: &Arc<Self>,
        objects: Vec<ContentId>,
    ) -> Result<StorageReply, String> {
        let lacking = self.blocking(move |store| {
            let mut lacking = Vec::new();
            for (i, content) in objects.iter().enumerate() {
                if !store.contains(content)? {
                    lacking.push(i as u16);
                }
            }
            Ok(lacking)
        });
        let objects = lacking.await.map_err(|error: BlobError| error.to_string())?;
        Ok(StorageReply::Wanted { objects, records: Vec::new(), arriving: Vec::new() })
    }

    /// Notes what a round of offers has learned about one peer.
    pub(in crate::peer) fn note_offer(
        &self,
        view: &View,
        to: &Entry,
        asked: &BTreeSet<ContentId>,
        has: &BTreeSet<ContentId>,
    ) {
        for content in asked {
            self.flows.health.hear_copy(to, *content, has.contains(content));
            // Another replica's copy says nothing about the owner.
            let is_owner = match view.route(&content.key()) {
                Some(Route::Owner { owner, .. }) => owner.position == to.position,
                _ => true,
            };
            if is_owner && !view.owns(&content.key()) {
                self.flows.health.hear_owner(*content, has.contains(content));
            }
        }
    }

    /// Whether a member has been away for so long that it is no longer waited for.
    pub(in crate::peer) fn is_gone_for_good(&self, peer: &Position) -> bool {
        self.ring
            .contacts
            .away_since(peer)
            .is_some_and(|since| gone(since, unix_ms(), self.flows.repair.gone_after()))
    }

    /// Since when a member is away, and whether it is no longer waited for.
    pub(in crate::peer) fn absence_of(&self, peer: &Position) -> (Option<u64>, bool) {
        (self.ring.contacts.away_since(peer), self.is_gone_for_good(peer))
    }

    /// The files that this peer reports on, with their lengths: those of its own range, and those that their owner
    /// lacks.
    async fn answered_for(&self, view: &View) -> Result<Vec<(ContentId, u64)>, BlobError> {
        let orphans = self.flows.health.lock().orphans.clone();
        let view = view.clone();
        let listed = self.blocking(move |store| {
            let (mut mine, mut after) = (Vec::new(), None);
            loop {
                let page = store.infos_after(after, PAGE)?;
                let Some(last) = page.last() else { return Ok(mine) };
                after = Some(last.content);
                // An object that was only requested here came from the ring too: if this peer owns it, it keeps it.
                let reported =
                    |info: &&ObjectInfo| view.owns(&info.content.key()) || orphans.contains(&info.content);
                mine.extend(page.iter().filter(reported).map(|info| (info.content, info.length)));
            }
        });
        listed.await
    }

    /// Asks the peers that should have these objects, or were heard to have them, whether they do.
    async fn ask_anew(self: &Arc<Self>, view: &View, contents: &[ContentId]) {
        if contents.is_empty() {
            return;
        }
        let copies = usize::from(self.ring.settings().replicas);
        let mut whom: BTreeMap<Position, Entry> = BTreeMap::new();
        for entry in replicas(&view.me, &view.successors, copies).into_iter().skip(1) {
            whom.insert(entry.position, entry);
        }
        // If another peer is the owner, its replicas may stand before this peer.
        for entry in view.alive().collect::<Vec<_>>().into_iter().rev().take(copies) {
            whom.insert(entry.position, entry.clone());
        }
        let mut asked = JoinSet::new();
        for entry in whom.into_values().filter(|entry| !view.is_gone(entry)) {
            let (shared, contents) = (self.clone(), contents.to_vec());
            asked.spawn(async move { (shared.lacking(&entry, &contents).await, entry) });
        }
        while let Some(Ok((lacking, entry))) = asked.join_next().await {
            let Some(lacking) = lacking else { continue };
            let lacking: BTreeSet<ContentId> = lacking.into_iter().collect();
            for content in contents {
                let has = !lacking.contains(content);
                self.flows.health.hear_copy(&entry, *content, has);
                if !has {
                    self.with_agreements(|agreements| agreements.lacks(&entry.position, *content));
                }
            }
        }
    }

    /// The objects, of those given, that a peer lacks; none if the peer does not answer.
    pub(in crate::peer) async fn lacking(
        self: &Arc<Self>,
        whom: &Entry,
        contents: &[ContentId],
    ) -> Option<Vec<ContentId>> {
        let request = StorageRequest::Lacks { objects: contents.to_vec() };
        match self.ask_storage(whom, request, LACKS_TIMEOUT).await {
            Ok(StorageReply::Wanted { objects, .. }) => {
                Some(objects.iter().filter_map(|i| contents.get(usize::from(*i)).copied()).collect())
            }
            _ => None,
        }
    }

    /// As many of these files as fit into a frame, with names.
    async fn page_of_health(&self, mut files: Vec<FileHealth>) -> Vec<FileHealth> {
        let contents: Vec<ContentId> = files.iter().map(|file| file.content).collect();
        let named = self.blocking(move |store| {
            contents.iter().map(|content| store.names_of(content)).collect::<Result<Vec<_>, _>>()
        });
        let mut bytes = 0;
        let named = named.await.unwrap_or_default();
        for (file, links) in files.iter_mut().zip(named) {
            file.names.extend(links.into_iter().map(|link| link.name));
            file.names.sort();
            file.names.dedup();
            file.names.truncate(HEALTH_NAMES_MAX);
        }
        files
            .into_iter()
            .take_while(|file| {
                bytes += codec::encode(file).map_or(FRAME_BYTES_MAX, |encoded| encoded.len());
                bytes < FRAME_BYTES_MAX - FRAME_SPARE
            })
            .collect()
    }
}

/// The joined reports of several peers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Joined {
    files: Vec<FileHealth>,
    total: u64,
    below_quorum: u64,
}

/// Merges the reports on each file; drops files that turn out to have all their copies.
fn join(answers: Vec<(Vec<FileHealth>, u64, u64)>, copies: usize, quorum: usize) -> Joined {
    let is_below = |file: &FileHealth| file.holders.len() < quorum;
    let mut joined = Joined::default();
    let mut files: BTreeMap<ContentId, FileHealth> = BTreeMap::new();
    for (short, total, below) in answers {
        // For files beyond the lists only the numbers are known.
        let told_below = short.iter().filter(|file| is_below(file)).count() as u64;
        joined.total = joined.total.saturating_add(total.saturating_sub(short.len() as u64));
        joined.below_quorum = joined.below_quorum.saturating_add(below.saturating_sub(told_below));
        for file in short.into_iter().take(LISTED_MAX) {
            let known = files.entry(file.content).or_insert_with(|| FileHealth {
                content: file.content,
                names: Vec::new(),
                holders: Vec::new(),
                missing: Vec::new(),
            });
            known.names.extend(file.names);
            known.holders.extend(file.holders);
            known.missing.extend(file.missing);
        }
    }
    for mut file in files.into_values() {
        file.names.sort();
        file.names.dedup();
        file.names.truncate(HEALTH_NAMES_MAX);
        file.holders = once_each(file.holders);
        file.missing = once_each(file.missing);
        let holders = &file.holders;
        file.missing.retain(|peer| !holders.contains(peer));
        file.missing.truncate(copies.saturating_sub(file.holders.len()));
        if file.holders.len() < copies {
            joined.total = joined.total.saturating_add(1);
            joined.below_quorum = joined.below_quorum.saturating_add(u64::from(is_below(&file)));
            joined.files.push(file);
        }
    }
    joined.files.sort_by(|a, b| {
        (a.holders.len(), a.names.first(), a.content).cmp(&(b.holders.len(), b.names.first(), b.content))
    });
    joined.files.truncate(LISTED_MAX);
    joined
}

/// The peers without repetition, in the order of their first occurrence.
fn once_each(peers: Vec<Position>) -> Vec<Position> {
    let mut seen = BTreeSet::new();
    peers.into_iter().filter(|peer| seen.insert(*peer)).collect()
}

/// The members that should have the data of a key and are not among its holders, whether they answer or not: as many as
/// copies are missing.
fn missing_replicas(view: &View, key: &Position, holders: &[Position], copies: usize) -> Vec<Position> {
    let members = view.alive().chain(view.away()).chain([&view.me]).map(|entry| entry.position);
    let mut around: Vec<Position> = members.filter(|peer| !holders.contains(peer)).collect();
    around.sort_by_key(|peer| key.distance_to(peer));
    around.truncate(copies.saturating_sub(holders.len()));
    around
}

/// Whether a peer that is away since `since_ms` is gone; both times are in milliseconds.
fn gone(since_ms: u64, now_ms: u64, limit: Duration) -> bool {
    u128::from(now_ms.saturating_sub(since_ms)) > limit.as_millis()
}

/// How long a report is reused.
const FRESH: Duration = Duration::from_millis(250);
/// The most members that one status asks.
const ASKED_MAX: usize = 64;
/// The timeout of their reports; they ask other peers themselves meanwhile.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
const LACKS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a look asks other peers again about files that seem short; files that are not asked about by then count with
/// the copies that are known.
const ASKING_MAX: Duration = Duration::from_secs(1);
/// The number of objects that are read from the index at a time.
const PAGE: usize = 4_096;
/// The space that a reply needs beside its files, in bytes.
const FRAME_SPARE: usize = 64;

#[cfg(test)]
mod tests;
