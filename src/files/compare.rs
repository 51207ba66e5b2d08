//! The comparison of what two peers hold: `A ->[Compare] B`, `B ->[Differ] A`.
//!
//! A names ranges of keys, each with the digest of what it holds of it. Of the ranges that differ it asks again part by
//! part, until a part holds so little that a list of it costs no more. So two peers that hold the same exchange one
//! small message, and any others as much as they differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ask::ask_storage;
use super::bytes::DiskError as _;
use super::env::Env;
use super::records::STORAGE_TIMEOUT;
use crate::id::KeyRange;
use crate::replica::{Extent, Mark};
use crate::wire::limits::RANGES_PER_MESSAGE_MAX;
use crate::wire::{Difference, Entry, MissingReason, RangeDigest, StorageReply, StorageRequest};

/// A comparison with one peer, on its way from large ranges to small ones.
pub struct Comparison {
    with: Entry,
    mark: Mark,
    /// The ranges that were to be compared.
    whole: Vec<RangeDigest>,
    /// The ranges that are still to be compared.
    open: Vec<RangeDigest>,
}

/// The outcome of one step of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// The ranges in which both peers hold the same.
    pub same: Vec<RangeDigest>,
    /// The ranges that differ, and of which a list is to be made.
    pub differing: Vec<KeyRange>,
}

impl Comparison {
    /// Begins a comparison of these ranges with a peer.
    ///
    /// # Errors
    /// The reason why this peer's digests cannot be read.
    pub async fn begin<E: Env>(
        env: &Arc<E>,
        with: &Entry,
        ranges: &[KeyRange],
    ) -> Result<Comparison, E::DiskError> {
        let mark = env.with_agreements(|agreements| agreements.mark());
        let whole = digests_of(env, ranges.to_vec()).await?;
        Ok(Comparison { with: with.clone(), mark, open: whole.clone(), whole })
    }

    /// Leaves out the ranges that were compared with this peer shortly before.
    pub fn leave_out_fresh<E: Env>(&mut self, env: &Arc<E>) {
        let (now, with) = (env.now(), &self.with);
        env.with_agreements(|agreements| {
            let is_due = |one: &RangeDigest| !agreements.is_fresh(now, with, &one.range, &one.digest);
            self.whole.retain(is_due);
        });
        self.open.clone_from(&self.whole);
    }

    /// The next step; `None` once everything was compared.
    ///
    /// # Errors
    /// The other peer does not answer, or this peer's digests cannot be read.
    pub async fn next<E: Env>(&mut self, env: &Arc<E>) -> Result<Option<Compared>, MissingReason> {
        // Of nothing that is not here there is anything to offer.
        self.open.retain(|one| one.digest.count > 0);
        if self.open.is_empty() {
            return Ok(None);
        }
        let rest = self.open.len().saturating_sub(RANGES_PER_MESSAGE_MAX);
        let asked = self.open.split_off(rest);
        let request = StorageRequest::Compare { ranges: asked.clone() };
        let differ = match ask_storage(env, &self.with, request, STORAGE_TIMEOUT).await {
            Ok(StorageReply::Differ { ranges }) => ranges,
            answer => {
                self.open.extend(asked);
                let broken = MissingReason::Refused("it broke the protocol".to_owned());
                return Err(answer.err().unwrap_or(broken));
            }
        };
        let counts: BTreeMap<usize, u64> =
            differ.into_iter().map(|differs| (usize::from(differs.range), differs.count)).collect();
        let (mut compared, mut parts) = (Compared::default(), Vec::new());
        for (i, one) in asked.into_iter().enumerate() {
            match counts.get(&i) {
                None => compared.same.push(one),
                Some(0) => compared.differing.push(one.range),
                Some(_) if one.digest.count <= LISTED_MAX => compared.differing.push(one.range),
                Some(_) => match one.range.parts() {
                    only if only.len() == 1 => compared.differing.extend(only),
                    several => parts.extend(several),
                },
            }
        }
        self.note(env, &compared, &parts);
        self.open.extend(digests_of(env, parts).await.map_err(|error| error.missing_reason())?);
        Ok(Some(compared))
    }

    /// The ranges that were not compared, since the other peer does not answer.
    pub fn left(&self) -> impl Iterator<Item = KeyRange> {
        self.open.iter().map(|one| one.range)
    }

    /// Notes that the peer has all that was here when the comparison began, since it was given what it lacked.
    pub fn has_all<E: Env>(&self, env: &Arc<E>) {
        let now = env.now();
        for one in self.whole.iter().filter(|one| one.digest.count > 0) {
            env.with_agreements(|agreements| {
                if !agreements.is_fresh(now, &self.with, &one.range, &one.digest) {
                    agreements.agree(now, &self.with, (one.range, one.digest), Extent::More, self.mark);
                }
            });
            env.heard_all(&self.with, &one.range);
        }
    }

    fn note<E: Env>(&self, env: &Arc<E>, compared: &Compared, parts: &[KeyRange]) {
        let now = env.now();
        env.with_agreements(|agreements| {
            for range in compared.differing.iter().chain(parts) {
                agreements.differ(&self.with.position, range);
            }
            for one in &compared.same {
                agreements.agree(now, &self.with, (one.range, one.digest), Extent::Same, self.mark);
            }
        });
        compared.same.iter().for_each(|one| env.heard_all(&self.with, &one.range));
    }
}

async fn digests_of<E: Env>(env: &Arc<E>, ranges: Vec<KeyRange>) -> Result<Vec<RangeDigest>, E::DiskError> {
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let digests = env.digests(ranges.clone()).await?;
    Ok(ranges.into_iter().zip(digests).map(|(range, digest)| RangeDigest { range, digest }).collect())
}

/// Handles `Compare`: answers in which of these ranges this peer holds something else than the asking one.
///
/// # Errors
/// The reason when too much is asked, this peer is not a member, or its digests cannot be read.
pub async fn answer_compare<E: Env>(
    env: &Arc<E>,
    asker: &Entry,
    ranges: Vec<RangeDigest>,
) -> Result<StorageReply, String> {
    if ranges.len() > RANGES_PER_MESSAGE_MAX {
        return Err(format!("at most {RANGES_PER_MESSAGE_MAX} ranges are compared at a time"));
    }
    if !env.view().is_member() {
        return Err("this peer is not active in its ring".to_owned());
    }
    let (mark, now) = (env.with_agreements(|agreements| agreements.mark()), env.now());
    let asked = ranges.iter().map(|theirs| theirs.range).collect();
    let mine = env.digests(asked).await.map_err(|error| error.to_string())?;
    let (mut differ, mut is_new) = (Vec::new(), false);
    for (i, (theirs, mine)) in (0..u16::MAX).zip(ranges.iter().zip(mine)) {
        let is_same = match env.laws().digests_compared {
            true => theirs.digest == mine,
            false => theirs.digest.count == mine.count,
        };
        if is_same {
            let same = (theirs.range, mine);
            env.with_agreements(|agreements| agreements.agree(now, asker, same, Extent::Same, mark));
            env.heard_all(asker, &theirs.range);
        } else {
            is_new |= env.with_agreements(|agreements| agreements.differ(&asker.position, &theirs.range));
            differ.push(Difference { range: i, count: mine.count });
        }
    }
    if is_new {
        // The asking peer gives what this one lacks; what that one lacks is this one's to give. Peers that cannot agree,
        // since a disk is full, do not wake each other again and again.
        env.repair_wanted().notify_one();
    }
    Ok(StorageReply::Differ { ranges: differ })
}

/// A range with so few entries is listed instead of compared part by part: a list of it is as long as the digests of
/// its parts.
const LISTED_MAX: u64 = 32;
