//! The way to a peer: the one of this process, or one of another process. Prompt and shell both use it, so that a
//! command is the same in both.

use std::path::Path;
use std::sync::Arc;

use crate::id::{ContentId, FileName};
use crate::peer::{
    Client, Failure, ForgetReport, Handle, LeavePlan, LeaveReport, ObjectBytes, PingReport, Progress,
    RequestReport, RingFiles, RingLine, StatusReport, StoreError, StoreOptions, StoreReport, Wanted,
    WhereisReport,
};
use crate::wire::FileEntry;

/// A peer that takes commands.
pub(super) enum Door {
    /// A peer in this process.
    Here(Handle),
    /// A peer in another process, over `quoit-client/1`.
    There(Client),
}

type Answer<T> = Result<T, Failure>;

impl Door {
    pub(super) async fn store(
        &self,
        path: &Path,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        match self {
            Door::Here(peer) => peer.store(path, options, progress).await,
            Door::There(peer) => peer.store(path, options, progress).await,
        }
    }

    pub(super) async fn request(
        &self,
        wanted: &Wanted,
        keep: bool,
        progress: &Arc<Progress>,
    ) -> Answer<RequestReport> {
        match self {
            Door::Here(peer) => Ok(peer.request(wanted, keep, progress).await?),
            Door::There(peer) => peer.request(wanted, keep, progress).await,
        }
    }

    pub(super) async fn read(&self, content: ContentId) -> Answer<ObjectBytes> {
        match self {
            Door::Here(peer) => Ok(peer.read(content).await?),
            Door::There(peer) => peer.read(content).await,
        }
    }

    pub(super) async fn files(&self) -> Answer<Vec<FileEntry>> {
        match self {
            Door::Here(peer) => Ok(peer.files().await?),
            Door::There(peer) => peer.files().await,
        }
    }

    pub(super) async fn files_of_ring(&self) -> Answer<RingFiles> {
        match self {
            Door::Here(peer) => Ok(peer.files_of_ring().await?),
            Door::There(peer) => peer.files_of_ring().await,
        }
    }

    pub(super) async fn ring(&self) -> Answer<Vec<RingLine>> {
        match self {
            Door::Here(peer) => Ok(peer.ring().await?),
            Door::There(peer) => peer.ring().await,
        }
    }

    pub(super) async fn status(&self) -> Answer<StatusReport> {
        match self {
            Door::Here(peer) => Ok(peer.status().await),
            Door::There(peer) => peer.status().await,
        }
    }

    /// Finds a name; for a person at the prompt of the peer itself, the beginning of a name is enough.
    pub(super) async fn whereis(&self, name: &FileName, a_beginning_will_do: bool) -> Answer<WhereisReport> {
        match self {
            Door::Here(peer) if a_beginning_will_do => Ok(peer.whereis_beginning(name).await?),
            Door::Here(peer) => Ok(peer.whereis(name).await?),
            Door::There(peer) => peer.whereis(name).await,
        }
    }

    pub(super) async fn ping(&self, whom: &str) -> Answer<PingReport> {
        match self {
            Door::Here(peer) => Ok(peer.ping(whom).await?),
            Door::There(peer) => peer.ping(whom).await,
        }
    }

    pub(super) async fn forget(&self, whom: &str, sure: bool) -> Answer<ForgetReport> {
        match self {
            Door::Here(peer) => Ok(peer.forget(whom, sure).await?),
            Door::There(peer) => peer.forget(whom, sure).await,
        }
    }

    pub(super) async fn plan_leave(&self) -> Answer<LeavePlan> {
        match self {
            Door::Here(peer) => Ok(peer.plan_leave().await?),
            Door::There(peer) => peer.plan_leave().await,
        }
    }

    pub(super) async fn leave(&self, force: bool) -> Answer<LeaveReport> {
        match self {
            Door::Here(peer) if force => Ok(peer.leave_anyway().await?),
            Door::Here(peer) => Ok(peer.leave().await?),
            Door::There(peer) if force => peer.leave_anyway().await,
            Door::There(peer) => peer.leave().await,
        }
    }
}
