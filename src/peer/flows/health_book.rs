//! The copies that a peer knows of, for the files that it reports on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::chord::View;
use crate::id::{ContentId, FileName, KeyRange, Position};
use crate::wire::limits::{HEALTH_NAMES_MAX, HOLDERS_PER_OBJECT_MAX};
use crate::wire::{Entry, StorageReply};

/// The known copies, by holder, of the files that this peer reports on.
#[derive(Debug, Default)]
pub(in crate::peer) struct HealthBook {
    book: Mutex<Book>,
    /// The last look, and when it was made.
    pub(super) last: tokio::sync::Mutex<Option<(Instant, Arc<Looked>)>>,
}

/// The answers of one look at the copies of the files that this peer reports on.
#[derive(Debug)]
pub(super) struct Looked {
    /// The answer to `Health`.
    pub(super) health: StorageReply,
    /// The answer to `CountCopies`.
    pub(super) copies: StorageReply,
}

/// The facts themselves.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The other peers that have an object, each with the incarnation in which it said so.
    copies: BTreeMap<ContentId, BTreeMap<Position, u64>>,
    /// Objects here that their owner was offered and has not taken.
    pub(super) orphans: BTreeSet<ContentId>,
    /// Contents that records name and that no answering peer has.
    lost: BTreeMap<ContentId, Vec<FileName>>,
    /// Whether there are more of these than were looked for.
    more_lost: bool,
}

/// The peers that answer, with their incarnations.
pub(super) struct Living {
    pub(super) me: Position,
    lives: BTreeMap<Position, u64>,
}

impl Living {
    pub(super) fn of(view: &View) -> Living {
        let lives = view.alive().map(|entry| (entry.position, entry.incarnation)).collect();
        Living { me: view.me.position, lives }
    }
}

impl HealthBook {
    /// Notes that another peer has the objects that it offers.
    pub(in crate::peer) fn hear_offer(&self, from: &Entry, objects: &[ContentId]) {
        objects.iter().for_each(|content| self.hear_copy(from, *content, true));
    }

    /// Notes whether another peer has an object, as it said.
    pub(in crate::peer) fn hear_copy(&self, of: &Entry, content: ContentId, has: bool) {
        let mut book = self.lock();
        if !has {
            if let Some(copies) = book.copies.get_mut(&content) {
                copies.remove(&of.position);
            }
            return;
        }
        if book.copies.len() >= BOOK_MAX && !book.copies.contains_key(&content) {
            return;
        }
        let copies = book.copies.entry(content).or_default();
        if copies.len() < HOLDERS_PER_OBJECT_MAX || copies.contains_key(&of.position) {
            copies.insert(of.position, of.incarnation);
        }
    }

    /// Notes whether the owner of an object has it now, after an offer.
    pub(super) fn hear_owner(&self, content: ContentId, has: bool) {
        let mut book = self.lock();
        if has {
            book.orphans.remove(&content);
        } else {
            book.orphans.insert(content);
        }
    }

    /// Notes that the owner of a range has all that is here of it.
    pub(super) fn hear_owner_has_all(&self, range: &KeyRange) {
        self.lock().orphans.retain(|content| !range.contains(&content.key()));
    }

    /// The objects of which something is known.
    pub(super) fn contents(&self) -> BTreeSet<ContentId> {
        let book = self.lock();
        book.copies.keys().chain(&book.orphans).copied().collect()
    }

    /// Forgets objects that are not here: this peer knows nothing about them. Forgets holders that are known by other
    /// ways.
    pub(super) fn keep_only(
        &self,
        held: &BTreeSet<ContentId>,
        is_known: impl Fn(&ContentId, &Position, u64) -> bool,
    ) {
        let mut book = self.lock();
        book.copies.retain(|content, copies| {
            copies.retain(|peer, life| !is_known(content, peer, *life));
            !copies.is_empty() && held.contains(content)
        });
        book.orphans.retain(|content| held.contains(content));
    }

    /// Contents that records name and that no answering peer has, each with some of its names; and whether there are
    /// more of these.
    pub(super) fn lost(&self) -> (BTreeMap<ContentId, Vec<FileName>>, bool) {
        let book = self.lock();
        (book.lost.clone(), book.more_lost)
    }

    /// Notes that no peer gave an object whose copy here was bad. The next search looks again.
    pub(super) fn seems_lost(&self, content: ContentId, mut names: Vec<FileName>) {
        names.truncate(HEALTH_NAMES_MAX);
        self.lock().lost.insert(content, names);
    }

    /// Sets what [`HealthBook::lost`] tells.
    pub(super) fn set_lost(&self, lost: BTreeMap<ContentId, Vec<FileName>>, more: bool) {
        let mut book = self.lock();
        (book.lost, book.more_lost) = (lost, more);
    }

    /// The answering holders of an object, this peer among them, in ring order from the owner; `agreed` are holders
    /// that comparisons have shown.
    pub(super) fn holders(
        &self,
        living: &Living,
        content: &ContentId,
        agreed: impl IntoIterator<Item = (Position, u64)>,
    ) -> Vec<Position> {
        let book = self.lock();
        let copies = book.copies.get(content).into_iter().flatten().map(|(peer, life)| (*peer, *life));
        let copies = copies.chain(agreed);
        let others = copies.filter(|(peer, life)| living.lives.get(peer) == Some(life)).map(|(peer, _)| peer);
        let mut holders: Vec<Position> = others.chain([living.me]).collect();
        drop(book);
        let key = content.key();
        holders.sort_by_key(|peer| key.distance_to(peer));
        holders.dedup();
        holders
    }

    /// The book itself.
    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most objects whose holders are known; some of these objects may not be here.
const BOOK_MAX: usize = 1_000_000;
