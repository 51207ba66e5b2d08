//! The room for files at this peer: what takes it, what a person pins, and which copies go.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::blob::BlobError;
use crate::files::{self, Env as _, NotEvicted, NotFreed};
use crate::id::{ContentId, FileName};
use crate::peer::api::{
    DropError, DropReport, EvictReport, PinError, PinReport, Progress, RequestError, SpaceReport, Wanted,
};
use crate::peer::shared::Shared;
use crate::wire::limits::REASON_BYTES_MAX;
use crate::wire::shortened;

impl Shared {
    /// The account of the room at this peer.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(in crate::peer) async fn space(&self) -> Result<SpaceReport, BlobError> {
        let (terms, now) = (self.lease_terms(), self.ring_ms());
        let (space, going) = self
            .blocking(move |store| -> Result<_, BlobError> {
                Ok((store.space()?, store.unreferenced(terms.unreferenced_before(now))?))
            })
            .await?;
        Ok(SpaceReport {
            going: going.amount,
            going_from_ms: going.oldest_unix_ms.map(|at| terms.lapses_at(at)),
            ..space
        })
    }

    /// Brings a file here and pins it.
    ///
    /// # Errors
    /// [`PinError`].
    pub(in crate::peer) async fn pin(
        self: &Arc<Self>,
        wanted: &Wanted,
        progress: Arc<Progress>,
    ) -> Result<PinReport, PinError> {
        let brought = self.request(wanted, false, progress).await?;
        let content = brought.content;
        let pinned = self.blocking(move |store| -> Result<_, BlobError> {
            let was_pinned = store.is_pinned(&content)?;
            Ok((was_pinned, store.pin(&content)?))
        });
        match pinned.await? {
            (_, false) => Err(PinError::NotKept { content }),
            (was_pinned, true) => Ok(PinReport {
                name: brought.name,
                content,
                length: brought.length,
                pinned: true,
                changed: !was_pinned,
            }),
        }
    }

    /// Ends the pin of a file. The file stays as what it is without a pin.
    ///
    /// # Errors
    /// [`PinError`].
    pub(in crate::peer) async fn unpin(self: &Arc<Self>, wanted: &Wanted) -> Result<PinReport, PinError> {
        let (name, content) = self.meant(wanted).await?;
        let unpinned = self.blocking(move |store| -> Result<_, BlobError> {
            let length = store.info(&content)?.map_or(0, |info| info.length);
            Ok((length, store.unpin(&content)?))
        });
        let (length, changed) = unpinned.await?;
        Ok(PinReport { name, content, length, pinned: false, changed })
    }

    /// Frees this peer's copy of a file, if all peers that should keep the file vouch for theirs.
    ///
    /// # Errors
    /// [`DropError`] tells why the copy stays, and names the others.
    pub(in crate::peer) async fn drop_copy(
        self: &Arc<Self>,
        wanted: &Wanted,
    ) -> Result<DropReport, DropError> {
        let (name, content) = self.meant(wanted).await?;
        let info = self.blocking(move |store| store.info(&content)).await;
        let length = match info {
            Ok(Some(info)) => info.length,
            Ok(None) => return Err(DropError::NotHere { content }),
            Err(error) => return Err(DropError::Disk { content, why: error.to_string() }),
        };
        match files::free_copy(self, content, true).await {
            Ok(holders) => Ok(DropReport { name, content, length, holders: self.all_named(&holders) }),
            Err(why) => Err(self.drop_error(content, why)),
        }
    }

    /// Frees all copies here that are safe elsewhere, or only finds out which ones these are.
    ///
    /// # Errors
    /// [`DropError`] when this peer is in no ring, or its index cannot be read.
    pub(in crate::peer) async fn evict(self: &Arc<Self>, dry_run: bool) -> Result<EvictReport, DropError> {
        let mut report = EvictReport { dry_run, ..EvictReport::default() };
        let mut reasons = BTreeSet::new();
        let evicted = files::evict(self, !dry_run, |copy, freed| match freed {
            Ok(()) => report.freed.add(copy.length),
            // It went meanwhile.
            Err(NotFreed::NotHere) => {}
            Err(NotFreed::Pinned) => report.pinned.add(copy.length),
            Err(NotFreed::Belongs { .. }) => report.belonging.add(copy.length),
            Err(why) => {
                report.unsafe_elsewhere.add(copy.length);
                if reasons.len() < REASONS_MAX {
                    let why = self.drop_error(copy.content, why).to_string();
                    reasons.insert(shortened(why, REASON_BYTES_MAX));
                }
            }
        });
        evicted.await.map_err(|why| match why {
            NotEvicted::NotActive(error) => DropError::NotActive(error),
            NotEvicted::Unreadable(why) => DropError::Unreadable { why },
        })?;
        report.reasons = reasons.into_iter().collect();
        Ok(report)
    }

    /// The file that a person means, which need not be brought here; a name that the ring does not know any more means
    /// the file that it is linked to here.
    async fn meant(self: &Arc<Self>, wanted: &Wanted) -> Result<(Option<FileName>, ContentId), RequestError> {
        match self.content_of(wanted).await {
            Ok((content, record)) => Ok((record.map(|record| record.name), content)),
            Err(error @ RequestError::UnknownName { .. }) => {
                let (Wanted::Name(name) | Wanted::NameOrBeginning(name)) = wanted else { return Err(error) };
                let name = name.clone();
                let linked = {
                    let name = name.clone();
                    self.blocking(move |store| store.linked(&name)).await
                };
                match linked {
                    Ok(Some(content)) => Ok((Some(name), content)),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn drop_error(&self, content: ContentId, why: NotFreed) -> DropError {
        match why {
            NotFreed::NotActive(error) => DropError::NotActive(error),
            NotFreed::NotHere => DropError::NotHere { content },
            NotFreed::Pinned => DropError::Pinned { content },
            NotFreed::Belongs { keepers } => {
                DropError::Belongs { content, keepers: self.all_named(&keepers) }
            }
            NotFreed::TooFew { holders, missing } => DropError::TooFew {
                content,
                needed: self.copies(),
                holders: self.all_named(&holders),
                missing: self.missing_named(&missing),
            },
            NotFreed::Another(peer) => DropError::Another { content, peer: self.named(&peer) },
            NotFreed::NoWord(why) => DropError::NoWord { content, why },
            NotFreed::InUse => DropError::InUse { content },
            NotFreed::Disk(why) => DropError::Disk { content, why },
        }
    }
}

/// The most reasons that one report names.
const REASONS_MAX: usize = 8;
