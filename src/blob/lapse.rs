//! Leases: objects that names refer to stay, and others are freed once their lease has lapsed.

use super::change::{Change, Discard, ObjectRow};
use super::error::Result;
use super::evict::Amount;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;

impl Store {
    /// Renews the leases of those of these objects that are here, at this time in milliseconds since the Unix epoch. One
    /// that was freed here is wanted again. Durable on return.
    ///
    /// # Errors
    /// [`BlobError::Poisoned`](super::BlobError::Poisoned), or the errors of the index.
    pub fn renew_leases(&self, contents: Vec<ContentId>, at_unix_ms: u64) -> Result<()> {
        match contents.is_empty() {
            true => Ok(()),
            false => self.index().submit([Change::Leased(contents, at_unix_ms)]),
        }
    }

    /// At most `max` replicas here whose lease is dated `before_unix_ms` or earlier. Objects without a lease, or with one
    /// later than `now_unix_ms`, get one now.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn lapsed(&self, now_unix_ms: u64, before_unix_ms: u64, max: usize) -> Result<Vec<ContentId>> {
        let (mut after, mut lapsed) = (None, Vec::new());
        loop {
            let page = self.index().objects_after(after, OBJECTS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(lapsed) };
            after = Some(last.content);
            let contents: Vec<ContentId> = page.into_iter().map(|(info, _)| info.content).collect();
            let mut to_date = Vec::new();
            for (content, lease) in self.index().leases_of(&contents)? {
                match lease {
                    Some(at) if at <= before_unix_ms => lapsed.push(content),
                    Some(at) if at <= now_unix_ms => {}
                    Some(_) | None => to_date.push(content),
                }
            }
            self.renew_leases(to_date, now_unix_ms)?;
            if lapsed.len() >= max {
                lapsed.truncate(max);
                return Ok(lapsed);
            }
        }
    }

    /// The replicas here whose lease is dated `before_unix_ms` or earlier, pinned ones left out.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn unreferenced(&self, before_unix_ms: u64) -> Result<Unreferenced> {
        let (mut after, mut found) = (None, Unreferenced::default());
        loop {
            let page = self.index().objects_after(after, OBJECTS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.content);
            let contents: Vec<ContentId> = page.iter().map(|(info, _)| info.content).collect();
            for ((info, kind), (content, lease)) in page.iter().zip(self.index().leases_of(&contents)?) {
                let Some(at) = lease.filter(|at| *kind == Kind::Replica && *at <= before_unix_ms) else {
                    continue;
                };
                if self.index().is_pinned(&content)? {
                    continue;
                }
                found.amount.objects += 1;
                found.amount.bytes = found.amount.bytes.saturating_add(info.length);
                found.oldest_unix_ms = Some(found.oldest_unix_ms.map_or(at, |oldest: u64| oldest.min(at)));
            }
        }
    }

    /// Frees an object that no name refers to: removes it if it is a replica and its lease is dated `before_unix_ms` or
    /// earlier, as looked at in the transaction that removes it. Until a name refers to it, or it is stored, again, the
    /// store remembers that it was freed. True if it was.
    ///
    /// # Errors
    /// The errors of [`Store::discard`].
    pub fn free_lapsed(&self, content: &ContentId, before_unix_ms: u64) -> Result<bool> {
        let still = move |row: &ObjectRow| {
            row.kind == Kind::Replica && row.leased_unix_ms.is_some_and(|at| at <= before_unix_ms)
        };
        self.discard_as(content, Discard::of_lapsed(*content, still))
    }

    /// Whether an object was freed here, and no name has referred to it since.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn was_freed(&self, content: &ContentId) -> Result<bool> {
        self.index().was_freed(content)
    }
}

/// The objects that no name refers to any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unreferenced {
    /// The number of these objects, and of their bytes.
    pub amount: Amount,
    /// The date of the oldest of their leases, in milliseconds since the Unix epoch.
    pub oldest_unix_ms: Option<u64>,
}

/// The objects that are looked at together.
const OBJECTS_PER_PAGE: usize = 4_096;
