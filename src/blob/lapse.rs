//! Leases: objects that names refer to stay, and others are freed once their lease has lapsed.

use super::change::{Change, Discard, ObjectRow};
use super::error::Result;
use super::store::Store;
use super::tables::Kind;
use crate::id::ContentId;
use crate::wire::{Amount, ObjectInfo};

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
        let mut lapsed = Vec::new();
        self.for_each_page(|page| {
            let mut to_date = Vec::new();
            for Leased { content, at_unix_ms, .. } in page {
                match at_unix_ms {
                    Some(at) if at <= before_unix_ms => lapsed.push(content),
                    Some(at) if at <= now_unix_ms => {}
                    Some(_) | None => to_date.push(content),
                }
            }
            self.renew_leases(to_date, now_unix_ms)?;
            Ok(lapsed.len() < max)
        })?;
        lapsed.truncate(max);
        Ok(lapsed)
    }

    /// The replicas here whose lease is dated `before_unix_ms` or earlier, pinned ones left out.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn unreferenced(&self, before_unix_ms: u64) -> Result<Unreferenced> {
        let mut found = Unreferenced::default();
        self.for_each_page(|page| {
            for Leased { content, length, kind, at_unix_ms } in page {
                if let Some(at) = at_unix_ms.filter(|at| kind == Kind::Replica && *at <= before_unix_ms)
                    && !self.index().is_pinned(&content)?
                {
                    found.amount.add(length);
                    found.oldest_unix_ms =
                        Some(found.oldest_unix_ms.map_or(at, |oldest: u64| oldest.min(at)));
                }
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// Visits all objects with their leases, a page at a time, until `visit` returns false.
    fn for_each_page(&self, mut visit: impl FnMut(Vec<Leased>) -> Result<bool>) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.index().objects_after(after, OBJECTS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.content);
            let contents: Vec<ContentId> = page.iter().map(|(info, _)| info.content).collect();
            let leases = self.index().leases_of(&contents)?;
            let leased = |((info, kind), (content, at_unix_ms)): ((ObjectInfo, Kind), _)| Leased {
                content,
                length: info.length,
                kind,
                at_unix_ms,
            };
            if !visit(page.into_iter().zip(leases).map(leased).collect())? {
                return Ok(());
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

/// An object and its lease.
struct Leased {
    content: ContentId,
    /// Its length in bytes.
    length: u64,
    kind: Kind,
    /// The date of its lease in milliseconds since the Unix epoch, if it has one.
    at_unix_ms: Option<u64>,
}

/// The objects that no name refers to any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unreferenced {
    /// The number of them, and of their bytes.
    pub amount: Amount,
    /// The date of the oldest of their leases, in milliseconds since the Unix epoch.
    pub oldest_unix_ms: Option<u64>,
}

/// The objects that are looked at together.
const OBJECTS_PER_PAGE: usize = 4_096;
