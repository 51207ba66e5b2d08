//! The door to a running peer, for commands, gateways and tests.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::broadcast;

use super::object_bytes::ObjectBytes;
use crate::id::{ContentId, FileName, Position};
use crate::peer::api::{
    ByteRange, DropError, DropReport, Ended, EvictReport, FilesError, ForgetError, ForgetReport,
    HistoryReport, LeaveError, LeavePlan, LeaveReport, MayStopError, MemberLine, PeerEvent, PeerName,
    PinError, PinReport, PingError, PingReport, PlanLeaveError, Progress, RangeReport, ReadError,
    RemoveError, RemoveReport, RequestError, RequestReport, RestoreError, RestoreReport, RingError,
    RingFiles, RingFilesError, RingLine, ScrubError, ScrubReport, StartError, StatusReport, StopReport,
    StopSpan, StoreError, StoreOptions, StoreReport, VersionChoice, Wanted, WhereisReport,
};
use crate::peer::boot::running::Running;
use crate::peer::shared::Shared;
use crate::wire::{Address, FileEntry};

/// A running peer. Cheap to clone. The peer runs until it leaves, is shut down, or ends by itself.
///
/// The futures of deep flows are boxed here: unboxed, a caller's own future would be as deep and large as all of the flow,
/// past what the compiler lays out by default.
#[derive(Clone)]
pub struct Handle {
    pub(in crate::peer) shared: Arc<Shared>,
    pub(in crate::peer) running: Arc<Running>,
}

impl Handle {
    /// The events of the peer from now on.
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        let events = self.shared.control.events.subscribe();
        // A warning from the start is given to the first subscriber.
        if !self.shared.control.warned_of_certificate.swap(true, Ordering::Relaxed) {
            self.shared.warn_of_certificate();
        }
        events
    }

    /// Waits until the peer is a member of its ring.
    ///
    /// # Errors
    /// [`StartError::Ended`] when it ends before.
    pub async fn wait_active(&self) -> Result<(), StartError> {
        Ok(self.until_active().await?)
    }

    /// Like [`Handle::wait_active`]; if the peer ends before, the reason.
    pub(in crate::peer) async fn until_active(&self) -> Result<(), Ended> {
        tokio::select! {
            active = self.shared.ring.view_until(std::time::Duration::MAX, |view| view.is_member()) => match active {
                true => Ok(()),
                // The view ends with the peer, perhaps before this task learns the reason.
                false => Err(self.ended().await),
            },
            why = self.ended() => Err(why),
        }
    }

    /// Stores a file; see [`StoreOptions`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store(
        &self,
        path: &Path,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        Box::pin(self.shared.store(path, options, progress.clone())).await
    }

    /// Fetches a file into this peer's objects and, if it is to be kept under its name, into received/.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(
        &self,
        wanted: &Wanted,
        keep: bool,
        progress: &Arc<Progress>,
    ) -> Result<RequestReport, RequestError> {
        Box::pin(self.shared.request(wanted, keep, progress.clone())).await
    }

    /// Hands everything over, tells the neighbours, and ends the peer.
    ///
    /// # Errors
    /// [`LeaveError`]: the peer is in no ring, is already leaving, or stays because fewer than min(R, N − 1) living peers
    /// would have a copy of something.
    pub async fn leave(&self) -> Result<LeaveReport, LeaveError> {
        self.leave_if(false).await
    }

    /// Like [`Handle::leave`], but leaves even if something may be lost, once nothing moves any more.
    ///
    /// # Errors
    /// [`LeaveError`]: the peer is in no ring, or is leaving already.
    pub async fn leave_anyway(&self) -> Result<LeaveReport, LeaveError> {
        self.leave_if(true).await
    }

    async fn leave_if(&self, force: bool) -> Result<LeaveReport, LeaveError> {
        let report = Box::pin(self.shared.leave(force)).await?;
        self.shared.stop(&self.running, true).await;
        Ok(report)
    }

    /// The state of the peer.
    pub async fn status(&self) -> StatusReport {
        self.shared.status().await
    }

    /// The ring's peers in order, this one first; then the members that do not answer.
    ///
    /// # Errors
    /// [`RingError`]: the peer is in no ring.
    pub async fn ring(&self) -> Result<Vec<RingLine>, RingError> {
        self.shared.ring().await
    }

    /// This peer's files.
    ///
    /// # Errors
    /// [`FilesError`]: they cannot be read.
    pub async fn files(&self) -> Result<Vec<FileEntry>, FilesError> {
        self.shared.files().await
    }

    /// The first `wanted` of this peer's files, or a few more.
    ///
    /// # Errors
    /// [`FilesError`]: they cannot be read.
    pub async fn first_files(&self, wanted: usize) -> Result<Vec<FileEntry>, FilesError> {
        self.shared.first_files(wanted).await
    }

    /// The files of all peers.
    ///
    /// # Errors
    /// [`RingFilesError`]: the peer is in no ring.
    pub async fn files_of_ring(&self) -> Result<RingFiles, RingFilesError> {
        self.shared.files_of_ring().await
    }

    /// The peers that have a name's record and its file.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn whereis(&self, name: &FileName) -> Result<WhereisReport, RequestError> {
        Box::pin(self.shared.whereis(name, false)).await
    }

    /// The versions of a name, and how many peers hold the bytes of each.
    ///
    /// # Errors
    /// [`RequestError`]: there is no record of the name, or that cannot be told.
    pub async fn history(&self, name: &FileName) -> Result<HistoryReport, RequestError> {
        Box::pin(self.shared.history_report(name)).await
    }

    /// Removes a name. Its bytes stay as long as a version needs them.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove(&self, name: &FileName) -> Result<RemoveReport, RemoveError> {
        Box::pin(self.shared.remove(name)).await
    }

    /// Makes the file of a version the current one again, in a new version, which also settles the siblings.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn restore(
        &self,
        name: &FileName,
        version: &VersionChoice,
    ) -> Result<RestoreReport, RestoreError> {
        Box::pin(self.shared.restore(name, version)).await
    }

    /// The bytes of an object: from this peer's own copy or, without one, directly from the holders.
    ///
    /// # Errors
    /// [`ReadError`]: no answering holder has the object.
    pub async fn read(&self, content: ContentId) -> Result<ObjectBytes, ReadError> {
        let (object, pieces) = Box::pin(self.shared.bytes_of(content, 0)).await?;
        Ok(ObjectBytes::of_pieces(object, pieces))
    }

    /// Some bytes of a file, and what proves them: from this peer's own copy or, without one, only the chunks that they
    /// lie in, from the holders, each checked by an outboard. Nothing is kept.
    ///
    /// # Errors
    /// [`ReadError`]: the range goes beyond the end of the file, or no answering holder has it.
    pub async fn read_range(
        &self,
        wanted: &Wanted,
        range: ByteRange,
    ) -> Result<(RangeReport, ObjectBytes), ReadError> {
        let (report, pieces) = Box::pin(self.shared.range_of(wanted, range)).await?;
        let bytes = ObjectBytes::of_local_range(&report, pieces);
        Ok((report, bytes))
    }

    /// Pings another peer, given by its number, display name, address, or the beginning of its position.
    ///
    /// # Errors
    /// [`PingError`]: there is no such peer. A peer that does not answer is not an error.
    pub async fn ping(&self, whom: &str) -> Result<PingReport, PingError> {
        self.shared.ping(whom).await
    }

    /// Like [`Handle::whereis`], for a person: if there is no such name, the one name that begins with it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn whereis_beginning(&self, name: &FileName) -> Result<WhereisReport, RequestError> {
        Box::pin(self.shared.whereis(name, true)).await
    }

    /// Reads and hashes every object of the peer again, at most `rate` bytes a second. Bad ones go to quarantine, and
    /// good copies are fetched from other holders.
    ///
    /// # Errors
    /// [`ScrubError`]: another scrub runs, or the objects cannot be listed.
    pub async fn scrub(
        &self,
        rate: Option<NonZeroU64>,
        progress: &Arc<Progress>,
    ) -> Result<ScrubReport, ScrubError> {
        self.shared.scrub(rate, progress).await
    }

    /// Forgets a member that does not answer and will not come back: it is no longer waited for, and its files belong
    /// to the peers that stay. It may join again. Unless `sure`, only reports which peer is meant.
    ///
    /// # Errors
    /// [`ForgetError`]: there is no such member, or it answers.
    pub async fn forget(&self, whom: &str, sure: bool) -> Result<ForgetReport, ForgetError> {
        self.shared.forget(whom, sure).await
    }

    /// Whether these peers may stop, all at once: with every file readable and stores acknowledged meanwhile; or, for
    /// good, with all copies made elsewhere. Each is given by its number, display name, address, or the beginning of its
    /// position; none means this peer.
    ///
    /// # Errors
    /// [`MayStopError`]: the peer is in no ring, there is no such member, or too many are named.
    pub async fn safe_to_stop(&self, peers: &[String], span: StopSpan) -> Result<StopReport, MayStopError> {
        Box::pin(self.shared.safe_to_stop(peers, span)).await
    }

    /// The members of the ring in its order, this one first, each in its own words; then those that do not answer.
    ///
    /// # Errors
    /// [`RingError`]: the peer is in no ring.
    pub async fn members(&self) -> Result<Vec<MemberLine>, RingError> {
        self.shared.members().await
    }

    /// Brings a file to this peer and pins it: it stays until it is unpinned, whatever its name comes to stand for.
    ///
    /// # Errors
    /// [`PinError`].
    pub async fn pin(&self, wanted: &Wanted, progress: &Arc<Progress>) -> Result<PinReport, PinError> {
        Box::pin(self.shared.pin(wanted, progress.clone())).await
    }

    /// Ends the pin of a file at this peer.
    ///
    /// # Errors
    /// [`PinError`].
    pub async fn unpin(&self, wanted: &Wanted) -> Result<PinReport, PinError> {
        self.shared.unpin(wanted).await
    }

    /// Frees this peer's copy of a file, if this peer is none of those that should keep it, and all of these vouch for
    /// theirs.
    ///
    /// # Errors
    /// [`DropError`] tells why the copy stays.
    pub async fn drop_copy(&self, wanted: &Wanted) -> Result<DropReport, DropError> {
        self.shared.drop_copy(wanted).await
    }

    /// Frees all copies of this peer that are safe elsewhere; with `dry_run` only finds out which ones these are.
    ///
    /// # Errors
    /// [`DropError`]: the peer is in no ring, or its index cannot be read.
    pub async fn evict(&self, dry_run: bool) -> Result<EvictReport, DropError> {
        self.shared.evict(dry_run).await
    }

    /// The plan of a departure now.
    ///
    /// # Errors
    /// [`PlanLeaveError`]: the peer is in no ring, or would stay.
    pub async fn plan_leave(&self) -> Result<LeavePlan, PlanLeaveError> {
        self.shared.plan_leave().await
    }

    /// The report of the departure if this peer is about to end because it has left, on any client's command; waits for
    /// that end.
    pub async fn has_left(&self) -> Option<LeaveReport> {
        let report = self.shared.flows.left.borrow().clone()?;
        self.running.stopped().await;
        Some(report)
    }

    /// Waits until the peer has ended, and returns the reason.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.shared.ring.ended.subscribe();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or(Ended::Unknown)
    }

    /// Shuts down a peer that never became active, and removes what its start made.
    pub async fn undo_start(&self) {
        self.shutdown().await;
        self.running.undo().await;
    }

    /// Ends the peer without telling the ring, as a kill does, but flushes and closes its store.
    pub async fn shutdown(&self) {
        self.shared.stop(&self.running, false).await;
    }

    /// The name of the peer, as people know it.
    pub fn name(&self) -> PeerName {
        self.shared.named(&self.shared.position())
    }

    /// The peer's position.
    pub fn position(&self) -> Position {
        self.shared.position()
    }

    /// The address at which other peers reach it.
    pub fn address(&self) -> Address {
        self.shared.view().me.address.clone()
    }

    /// The peer's data directory.
    pub fn data_dir(&self) -> &Path {
        self.shared.store.dir()
    }

    /// The ring's name.
    pub fn ring_name(&self) -> &str {
        self.shared.verifier.ring_name()
    }
}
