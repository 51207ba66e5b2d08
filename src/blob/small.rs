//! Small objects that come with all their bytes, many at once: one append to the journal makes all of them durable.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::change::Change;
use super::claim::Claim;
use super::error::{BlobError, Result};
use super::journal::{Entry, Journal};
use super::part::came;
use super::promises::Promise;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;
use crate::outboard::ChunkHasher;
use crate::wire::{Link, ObjectInfo};

/// A small object and its bytes.
#[derive(Debug, Clone)]
pub struct SmallObject {
    /// The content id that the bytes should have.
    pub content: ContentId,
    /// The names under which it is linked.
    pub links: Vec<Link>,
    /// All its bytes.
    pub bytes: Bytes,
}

/// An object that is being kept: its place in the batch, what it is, and its claim until the end; its promise, unless the
/// whole batch has one.
struct Coming {
    at: usize,
    info: ObjectInfo,
    entry: Entry,
    _claim: Claim,
    _promise: Option<Promise>,
}

/// The state of the index and of the disk, for a batch as a whole.
struct Outlook {
    /// The claimed objects that the index knows.
    known: BTreeSet<ContentId>,
    /// The room of all others that are claimed, if they fit together.
    promise: Option<Promise>,
    now_ms: u64,
}

impl Store {
    /// Keeps small objects; durable on return. One result for each, in their order.
    ///
    /// # Errors
    /// For each object those of [`Store::receive`] and [`Receiver::finish`](super::Receiver::finish);
    /// [`BlobError::TooLong`] for an object that is too long for the journal.
    pub fn keep_small(&self, objects: Vec<SmallObject>, kind: Kind) -> Vec<Result<ObjectInfo>> {
        let mut results = Vec::with_capacity(objects.len());
        let mut coming = Vec::with_capacity(objects.len());
        // The claims come first: while they last, no other receiver changes what is found out then.
        let claims: Vec<Result<Claim>> = objects.iter().map(|object| self.claim_small(object)).collect();
        let outlook = match self.look_ahead(&objects, &claims) {
            Ok(outlook) => outlook,
            Err(error) => return objects.iter().map(|_| Err(error.again())).collect(),
        };
        for (at, (object, claim)) in objects.into_iter().zip(claims).enumerate() {
            let begun = claim.and_then(|claim| self.begin_small(at, object, claim, kind, &outlook));
            results.push(begun.map(|object| {
                let info = object.info;
                coming.push(object);
                info
            }));
        }
        if coming.is_empty() {
            return results;
        }
        let journaled = match self.journal_objects(coming.iter().map(|object| &object.entry)) {
            Ok(journaled) => journaled,
            Err(error) => {
                self.fail(&mut results, &coming, error);
                return results;
            }
        };
        let mut placed = Vec::with_capacity(coming.len());
        for object in coming {
            match self.place_journaled(&object.entry) {
                Ok(stamp) => {
                    self.checks().note(object.entry.content, stamp, self.now());
                    // Another peer counts on this copy from now on.
                    self.uses().promised(&object.entry.content);
                    placed.push(object);
                }
                Err(error) => {
                    self.note_failed_write(object.info.length, &error);
                    results[object.at] = Err(error);
                }
            }
        }
        let changes: Vec<Change> = placed
            .iter()
            .flat_map(|object| came(object.info, kind, &object.entry.links, outlook.now_ms))
            .collect();
        if let Err(error) = self.index().submit_journaled(changes) {
            // Objects that the index did not take would take the room that the next try needs.
            for object in &placed {
                let _lock = self.object_locks().lock(&object.entry.content.0);
                self.checks().forget(&object.entry.content);
                self.layout().remove_quietly(&self.layout().object(&object.entry.content));
            }
            self.fail(&mut results, &placed, error);
            return results;
        }
        drop(journaled);
        for object in placed {
            self.promises().succeeded(object.info.length);
            object.entry.links.iter().for_each(|link| self.show_link(&link.name));
        }
        results
    }

    fn claim_small(&self, object: &SmallObject) -> Result<Claim> {
        let length = object.bytes.len() as u64;
        if !Journal::takes(length) {
            return Err(BlobError::TooLong { length });
        }
        Claim::new(self.receiving(), object.content)
    }

    fn look_ahead(&self, objects: &[SmallObject], claims: &[Result<Claim>]) -> Result<Outlook> {
        self.layout().check()?;
        let claimed = objects.iter().zip(claims).filter(|(_, claim)| claim.is_ok()).map(|(object, _)| object);
        let known = self.index().known_among(claimed.clone().map(|object| object.content))?;
        let new = claimed.filter(|object| !known.contains(&object.content));
        let lengths: Vec<u64> = new.map(|object| object.bytes.len() as u64).collect();
        Ok(Outlook { promise: self.promise_all(&lengths)?, known, now_ms: self.wall_ms() })
    }

    fn begin_small(
        &self,
        at: usize,
        object: SmallObject,
        claim: Claim,
        kind: Kind,
        outlook: &Outlook,
    ) -> Result<Coming> {
        let SmallObject { content, links, bytes } = object;
        let length = bytes.len() as u64;
        // "Already here" applies only to checked bytes; wrong bytes make room for the right ones.
        let is_known = outlook.known.contains(&content);
        if is_known && self.check(&content)? {
            return Err(BlobError::AlreadyHere { content });
        }
        let is_promised = outlook.promise.is_some() && !is_known;
        let promise = if is_promised { None } else { Some(self.promise(length, 0)?) };
        let mut hasher = ChunkHasher::default();
        hasher.update(&bytes);
        let (found, outboard) = hasher.finish();
        if found != content {
            return Err(BlobError::Mismatch { content, found, resumed: 0 });
        }
        let info = ObjectInfo { content, length, outboard: outboard.digest() };
        let entry = Entry { content, kind, came_ms: outlook.now_ms, links, bytes };
        Ok(Coming { at, info, entry, _claim: claim, _promise: promise })
    }

    /// Notes that none of these objects is kept, for one reason.
    fn fail(&self, results: &mut [Result<ObjectInfo>], objects: &[Coming], error: BlobError) {
        for object in objects {
            self.note_failed_write(object.info.length, &error);
            results[object.at] = Err(error.again());
        }
    }
}
