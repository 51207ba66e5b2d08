//! The way to a peer: the one of this process, or one of another process. Prompt and shell both use it, so that a
//! command is the same in both.

use std::num::NonZeroU64;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;

use crate::id::{ContentId, FileName};
use crate::peer::{
    ByteRange, Client, DropReport, EvictReport, Failure, ForgetReport, Handle, HistoryReport, LeavePlan,
    LeaveReport, MemberLine, ObjectBytes, PinReport, PingReport, Progress, RangeReport, RemoveReport,
    RequestReport, RestoreReport, RingFiles, RingLine, ScrubReport, StatusReport, StopReport, StopSpan,
    StoreError, StoreItem, StoreOptions, StoreReport, TreePeer, VersionChoice, Wanted, WhereisReport,
};
use crate::wire::FileEntry;

/// A peer that takes commands.
pub(super) enum PeerLink {
    /// A peer in this process.
    InProcess(Handle),
    /// A peer in another process, over `quoit-client/1`.
    Remote(Client),
}

type Answer<T> = Result<T, Failure>;

impl PeerLink {
    pub(super) async fn store(
        &self,
        path: &Path,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        match self {
            PeerLink::InProcess(peer) => peer.store(path, options, progress).await,
            PeerLink::Remote(peer) => peer.store(path, options, progress).await,
        }
    }

    /// The results of many stores, in the order of the files.
    pub(super) fn store_many(
        &self,
        items: Vec<StoreItem>,
    ) -> Pin<Box<dyn Stream<Item = Result<StoreReport, StoreError>> + '_>> {
        match self {
            PeerLink::InProcess(peer) => Box::pin(peer.store_many(items)),
            PeerLink::Remote(peer) => Box::pin(peer.store_many(items)),
        }
    }

    /// The same peer, for commands about directories.
    pub(super) fn for_trees(&self) -> TreePeer<'_> {
        match self {
            PeerLink::InProcess(peer) => TreePeer::InProcess(peer),
            PeerLink::Remote(peer) => TreePeer::Remote(peer),
        }
    }

    /// Stores standard input, which at a prompt is the prompt's own.
    pub(super) async fn store_standard_input(
        &self,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        match self {
            PeerLink::InProcess(_) => Err(Failure::new(
                "standard input has the commands of this prompt: `quoit store - --as NAME` at a shell stores it",
            )
            .into()),
            PeerLink::Remote(peer) => {
                peer.store_input(std::io::stdin(), Path::new("standard input"), options, progress).await
            }
        }
    }

    pub(super) async fn request(
        &self,
        wanted: &Wanted,
        keep: bool,
        progress: &Arc<Progress>,
    ) -> Answer<RequestReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.request(wanted, keep, progress).await?),
            PeerLink::Remote(peer) => peer.request(wanted, keep, progress).await,
        }
    }

    pub(super) async fn read(&self, content: ContentId) -> Answer<ObjectBytes> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.read(content).await?),
            PeerLink::Remote(peer) => peer.read(content).await,
        }
    }

    pub(super) async fn read_range(
        &self,
        wanted: &Wanted,
        range: ByteRange,
    ) -> Answer<(RangeReport, ObjectBytes)> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.read_range(wanted, range).await?),
            PeerLink::Remote(peer) => peer.read_range(wanted, range).await,
        }
    }

    pub(super) async fn files(&self) -> Answer<Vec<FileEntry>> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.files().await?),
            PeerLink::Remote(peer) => peer.files().await,
        }
    }

    pub(super) async fn files_of_ring(&self) -> Answer<RingFiles> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.files_of_ring().await?),
            PeerLink::Remote(peer) => peer.files_of_ring().await,
        }
    }

    pub(super) async fn ring(&self) -> Answer<Vec<RingLine>> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.ring().await?),
            PeerLink::Remote(peer) => peer.ring().await,
        }
    }

    pub(super) async fn status(&self) -> Answer<StatusReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.status().await),
            PeerLink::Remote(peer) => peer.status().await,
        }
    }

    pub(super) async fn safe_to_stop(&self, peers: &[String], span: StopSpan) -> Answer<StopReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.safe_to_stop(peers, span).await?),
            PeerLink::Remote(peer) => peer.safe_to_stop(peers, span).await,
        }
    }

    pub(super) async fn members(&self) -> Answer<Vec<MemberLine>> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.members().await?),
            PeerLink::Remote(peer) => peer.members().await,
        }
    }

    /// Finds a name; for a person at the prompt of the peer itself, the beginning of a name is enough.
    pub(super) async fn whereis(&self, name: &FileName, a_beginning_will_do: bool) -> Answer<WhereisReport> {
        match self {
            PeerLink::InProcess(peer) if a_beginning_will_do => Ok(peer.whereis_beginning(name).await?),
            PeerLink::InProcess(peer) => Ok(peer.whereis(name).await?),
            PeerLink::Remote(peer) => peer.whereis(name).await,
        }
    }

    pub(super) async fn history(&self, name: &FileName) -> Answer<HistoryReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.history(name).await?),
            PeerLink::Remote(peer) => peer.history(name).await,
        }
    }

    pub(super) async fn remove(&self, name: &FileName) -> Answer<RemoveReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.remove(name).await?),
            PeerLink::Remote(peer) => peer.remove(name).await,
        }
    }

    pub(super) async fn restore(&self, name: &FileName, version: &VersionChoice) -> Answer<RestoreReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.restore(name, version).await?),
            PeerLink::Remote(peer) => peer.restore(name, version).await,
        }
    }

    pub(super) async fn ping(&self, whom: &str) -> Answer<PingReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.ping(whom).await?),
            PeerLink::Remote(peer) => peer.ping(whom).await,
        }
    }

    pub(super) async fn forget(&self, whom: &str, sure: bool) -> Answer<ForgetReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.forget(whom, sure).await?),
            PeerLink::Remote(peer) => peer.forget(whom, sure).await,
        }
    }

    pub(super) async fn pin(&self, wanted: &Wanted, progress: &Arc<Progress>) -> Answer<PinReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.pin(wanted, progress).await?),
            PeerLink::Remote(peer) => peer.pin(wanted, progress).await,
        }
    }

    pub(super) async fn unpin(&self, wanted: &Wanted) -> Answer<PinReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.unpin(wanted).await?),
            PeerLink::Remote(peer) => peer.unpin(wanted).await,
        }
    }

    pub(super) async fn drop_copy(&self, wanted: &Wanted) -> Answer<DropReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.drop_copy(wanted).await?),
            PeerLink::Remote(peer) => peer.drop_copy(wanted).await,
        }
    }

    pub(super) async fn evict(&self, dry_run: bool) -> Answer<EvictReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.evict(dry_run).await?),
            PeerLink::Remote(peer) => peer.evict(dry_run).await,
        }
    }

    pub(super) async fn scrub(
        &self,
        rate: Option<NonZeroU64>,
        progress: &Arc<Progress>,
    ) -> Answer<ScrubReport> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.scrub(rate, progress).await?),
            PeerLink::Remote(peer) => peer.scrub(rate, progress).await,
        }
    }

    pub(super) async fn plan_leave(&self) -> Answer<LeavePlan> {
        match self {
            PeerLink::InProcess(peer) => Ok(peer.plan_leave().await?),
            PeerLink::Remote(peer) => peer.plan_leave().await,
        }
    }

    pub(super) async fn leave(&self, force: bool) -> Answer<LeaveReport> {
        match self {
            PeerLink::InProcess(peer) if force => Ok(peer.leave_anyway().await?),
            PeerLink::InProcess(peer) => Ok(peer.leave().await?),
            PeerLink::Remote(peer) if force => peer.leave_anyway().await,
            PeerLink::Remote(peer) => peer.leave().await,
        }
    }
}
