//! The copies that a peer knows of, for the files that it reports on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::chord::View;
use crate::id::{ContentId, FileName, Position};
use crate::wire::limits::HOLDERS_PER_OBJECT_MAX;
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
    pub(super) lost: BTreeMap<ContentId, Vec<FileName>>,
    /// Whether there are more of these than were looked for.
    pub(super) more_lost: bool,
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

    /// Forgets objects that are not here: this peer knows nothing about them.
    pub(super) fn keep_only(&self, held: &BTreeSet<ContentId>) {
        let mut book = self.lock();
        book.copies.retain(|content, _| held.contains(content));
        book.orphans.retain(|content| held.contains(content));
    }

    /// The answering holders of an object, this peer among them, in ring order from the owner.
    pub(super) fn holders(&self, living: &Living, content: &ContentId) -> Vec<Position> {
        let book = self.lock();
        let copies = book.copies.get(content).into_iter().flatten();
        let others =
            copies.filter(|(peer, life)| living.lives.get(peer) == Some(life)).map(|(peer, _)| *peer);
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
