//! A peer of another process, commanded over `quoit-client/1`: the same methods and reports as
//! [`crate::peer::Handle`].

use std::fs::DirBuilder;
use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::choice::{Chosen, PeerChoice};
use super::gifts::{Gifts, Offer};
use super::object_bytes::ObjectBytes;
use super::spool::spool;
use crate::backoff::Backoff;
use crate::blob::{KnownFiles, Source, is_in_use};
use crate::id::{ContentId, FileName};
use crate::peer::api::{
    ByteRange, ConnectError, DropReport, EvictReport, Failure, ForgetReport, HistoryReport, LeavePlan,
    LeaveReport, MemberLine, PinReport, PingReport, Progress, RangeReport, RemoveReport, RequestReport,
    RestoreReport, RingFiles, RingLine, ScrubReport, StatusReport, StopReport, StopSpan, StoreError,
    StoreOptions, StoreReport, Verdict, VersionChoice, Wanted, WhereisReport,
};
use crate::peer::boot::folders::cache_dir;
use crate::peer::flows::store::{
    Hashed, NamedFile, forget, hash, known_files, name_of, requestable, unreadable,
};
use crate::peer::shared::GATHER;
use crate::transport::{
    ClientConnection, CommandReplies, DialError, Refusal, Rope, StreamError, spawn_blocking,
};
use crate::wire::limits::LISTED_MAX;
use crate::wire::{BatchedFile, ClientReply, ClientRequest, FileEntry, ObjectInfo, SignedRevocation};

/// A connection to the peer that is commanded.
pub struct Client {
    link: Arc<ClientConnection>,
    described: String,
    /// The peer's data directory, if it is on this machine.
    data_dir: Option<PathBuf>,
    /// The progress of commands without a viewer.
    idle: Progress,
    /// The files of the stores under way, and the task that gives them to the peer.
    gifts: Gifts,
    giving: OnceLock<JoinSet<()>>,
}

impl Client {
    /// Finds the peer that is meant and connects to it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] when the peer that is meant is not found, or not reached.
    pub async fn connect(choice: &PeerChoice) -> Result<Client, ConnectError> {
        let for_choice = choice.clone();
        Client::connect_to(spawn_blocking(move || for_choice.find()).await?).await
    }

    /// Connects to a peer that was found.
    ///
    /// # Errors
    /// [`ConnectError`] when it is not reached.
    pub(in crate::peer) async fn connect_to(chosen: Chosen) -> Result<Client, ConnectError> {
        match connect_in_turn(&chosen).await {
            Ok(link) => Ok(Client {
                link: Arc::new(link),
                described: chosen.described,
                data_dir: chosen.data_dir,
                idle: Progress::default(),
                gifts: Gifts::default(),
                giving: OnceLock::new(),
            }),
            Err(error) => Err(unreached(chosen, error)),
        }
    }

    /// Says goodbye and closes the connection.
    pub async fn close(self) {
        self.link.close().await;
    }

    /// See [`crate::peer::Handle::store`]. The file is read by this process; its bytes go through the peer.
    ///
    /// # Errors
    /// [`StoreError`] of the file itself; [`StoreError::Peer`] for all else, in the peer's words.
    pub async fn store(
        &self,
        path: &Path,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let name = name_of(path, options).await?;
        let known = self.known_files(options).await;
        let hashed = hash(path, known, progress).await?;
        self.store_hashed(NamedFile { path: path.to_owned(), name, hashed }, options, progress).await
    }

    /// Stores a file that was hashed.
    ///
    /// # Errors
    /// The errors of [`Client::store`].
    pub(super) async fn store_hashed(
        &self,
        file: NamedFile,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let NamedFile { path, name, hashed: Hashed { source, object, known_as } } = file;
        let stored = self.store_source(&path, (name, source, object), false, options, progress).await;
        if stored.is_err() {
            forget(known_as).await;
        }
        stored
    }

    /// Stores bytes whose length is not known before their end, under the name in the options. They are written once, to a
    /// file without a name in incoming/ of the peer if it is on this machine; of an input that fails nothing remains.
    /// `shown` is the name of the input for people.
    ///
    /// # Errors
    /// The errors of [`Client::store`]; [`StoreError::Nameless`] and [`StoreError::NoBytes`].
    pub async fn store_input(
        &self,
        input: impl Read + Send + 'static,
        shown: &Path,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let name = options.name.clone().ok_or_else(|| StoreError::Nameless { path: shown.to_owned() })?;
        let refused = |source| StoreError::Name { path: shown.to_owned(), source };
        let name = requestable(name).map_err(refused)?;
        let (source, object) = spool(input, self.data_dir(), shown, progress).await?;
        self.store_source(shown, (name, source, object), false, options, progress).await
    }

    /// Stores an object whose bytes are a file's; `path` is that of the file for people.
    pub(super) async fn store_source(
        &self,
        path: &Path,
        (name, source, object): (FileName, Source, ObjectInfo),
        is_tree: bool,
        options: &StoreOptions,
        progress: &Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let (wait, timeout_ms) = (options.wait, options.timeout.as_millis() as u64);
        let command = match is_tree {
            true => ClientRequest::StoreTree { name, object, wait, timeout_ms },
            false => ClientRequest::Store { name, object, wait, timeout_ms },
        };
        let take = |reply| match reply {
            ClientReply::Stored(report) => Some(report),
            _ => None,
        };
        self.give(path, (source, object), &command, progress, take).await
    }

    /// Makes an object durable in the ring without a name; its bytes are a file's.
    pub(super) async fn put(
        &self,
        path: &Path,
        source: Source,
        object: ObjectInfo,
        options: &StoreOptions,
    ) -> Result<(), StoreError> {
        let (wait, timeout_ms) = (options.wait, options.timeout.as_millis() as u64);
        let command = ClientRequest::Put { object, wait, timeout_ms };
        let take = |reply| matches!(reply, ClientReply::Placed).then_some(());
        self.give(path, (source, object), &command, &Progress::default(), take).await
    }

    /// Sends a command for which the peer asks for the bytes of a file.
    async fn give<T>(
        &self,
        path: &Path,
        (source, object): (Source, ObjectInfo),
        command: &ClientRequest,
        progress: &Progress,
        take: impl FnMut(ClientReply) -> Option<T>,
    ) -> Result<T, StoreError> {
        let offer = self.offer(source, object);
        let done = self.ask(command, progress, take).await;
        match offer.take_trouble() {
            // The defect of the file says more than the fact that its bytes did not come.
            Some(error) if done.is_err() => Err(unreadable(path, error)),
            _ => Ok(done?),
        }
    }

    /// The hashes of this user's files that are known.
    pub(super) async fn known_files(&self, options: &StoreOptions) -> Option<Arc<KnownFiles>> {
        match &self.data_dir {
            Some(dir) => known_files(dir, options).await,
            None => {
                let cache = cache_dir().filter(|_| !options.hash_again)?;
                let made = cache.clone();
                spawn_blocking(move || DirBuilder::new().recursive(true).mode(0o700).create(made))
                    .await
                    .ok()?;
                known_files(&cache, options).await
            }
        }
    }

    /// Stores small files that were hashed, with one command; one result for each, in their order.
    pub(super) async fn store_batch(
        &self,
        files: Vec<NamedFile>,
        options: &StoreOptions,
    ) -> Vec<Result<StoreReport, StoreError>> {
        let (mut offered, mut named, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for NamedFile { path, name, hashed: Hashed { source, object, known_as } } in files {
            named.push(BatchedFile { name, object });
            offered.push((path, source, object));
            known.push(known_as);
        }
        let timeout_ms = options.timeout.as_millis() as u64;
        let command = ClientRequest::StoreBatch { files: named, wait: options.wait, timeout_ms };
        let stored = self.give_batch(offered, &command, |reply| match reply {
            ClientReply::Stored(report) => Some(Ok(report)),
            ClientReply::NotStored(failure) => Some(Err(failure)),
            _ => None,
        });
        let stored = stored.await;
        for (result, known_as) in stored.iter().zip(known) {
            if result.is_err() {
                forget(known_as).await;
            }
        }
        stored
    }

    /// Makes small objects durable in the ring without names, with one command; one result for each, in their order. Each
    /// path is that of the object's file for people.
    pub(super) async fn put_batch(
        &self,
        objects: Vec<(PathBuf, Source, ObjectInfo)>,
        options: &StoreOptions,
    ) -> Vec<Result<(), StoreError>> {
        let (wait, timeout_ms) = (options.wait, options.timeout.as_millis() as u64);
        let bare = objects.iter().map(|(_, _, object)| *object).collect();
        let command = ClientRequest::PutBatch { objects: bare, wait, timeout_ms };
        let put = self.give_batch(objects, &command, |reply| match reply {
            ClientReply::Placed => Some(Ok(())),
            ClientReply::NotStored(failure) => Some(Err(failure)),
            _ => None,
        });
        put.await
    }

    /// Sends a command for which the peer asks for the bytes of many files. Gives one result for each, in their order.
    async fn give_batch<T>(
        &self,
        files: Vec<(PathBuf, Source, ObjectInfo)>,
        command: &ClientRequest,
        take: impl Fn(ClientReply) -> Option<Result<T, Failure>>,
    ) -> Vec<Result<T, StoreError>> {
        let offer = |(path, source, object)| (path, self.offer(source, object));
        let offers: Vec<(PathBuf, Offer)> = files.into_iter().map(offer).collect();
        let mut results = Vec::with_capacity(offers.len());
        let listed = self.list(command, |reply| match take(reply) {
            Some(result) => {
                results.push(result.map_err(StoreError::Peer));
                true
            }
            None => false,
        });
        let broken = match listed.await {
            Err(failure) => failure,
            Ok(()) => self.broke_the_protocol(),
        };
        results.truncate(offers.len());
        results.resize_with(offers.len(), || Err(StoreError::Peer(broken.clone())));
        let told =
            results.into_iter().zip(offers).map(|(result, (path, offer))| match offer.take_trouble() {
                // The defect of a file says more than the fact that its bytes did not come.
                Some(error) if result.is_err() => Err(unreadable(&path, error)),
                _ => result,
            });
        told.collect()
    }

    /// See [`crate::peer::Handle::request`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::request`], in words.
    pub async fn request(
        &self,
        wanted: &Wanted,
        keep: bool,
        progress: &Progress,
    ) -> Result<RequestReport, Failure> {
        let command = ClientRequest::Request { wanted: wanted.clone(), keep };
        let received = self.ask(&command, progress, |reply| match reply {
            ClientReply::Received(report) => Some(report),
            ClientReply::ReceivedTree(report) => Some(RequestReport { is_tree: true, ..report }),
            _ => None,
        });
        received.await
    }

    /// See [`crate::peer::Handle::read`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::read`], in words.
    pub async fn read(&self, content: ContentId) -> Result<ObjectBytes, Failure> {
        self.bytes_by(&ClientRequest::Read { content, offset: 0 }, content).await
    }

    /// The bytes of an object that a tree describes.
    pub(super) async fn open(&self, object: ObjectInfo) -> Result<ObjectBytes, Failure> {
        self.bytes_by(&ClientRequest::Open { object }, object.content).await
    }

    /// The bytes of small objects that a tree describes, with one command, in the order of the objects. `None` for one that
    /// is to be asked for alone.
    ///
    /// # Errors
    /// When the peer does not give them.
    pub(super) async fn open_batch(&self, objects: &[ObjectInfo]) -> Result<Vec<Option<Rope>>, Failure> {
        let mut replies = self.command(&ClientRequest::OpenBatch { objects: objects.to_vec() }).await?;
        let given = loop {
            match self.next(&mut replies).await? {
                ClientReply::Progress { .. } => {}
                ClientReply::Batch { given } if given.len() == objects.len() => break given,
                _ => return Err(self.broke_the_protocol()),
            }
        };
        let mut opened = Vec::with_capacity(objects.len());
        for (object, given) in objects.iter().zip(given) {
            if !given {
                opened.push(None);
                continue;
            }
            match self.bytes(&mut replies, object.length as usize).await {
                Ok(bytes) => opened.push(Some(bytes)),
                Err(error) => {
                    tracing::debug!(%error, "a batch broke off");
                    break;
                }
            }
        }
        opened.resize(objects.len(), None);
        Ok(opened)
    }

    /// The next bytes behind a reply, so many of them.
    async fn bytes(&self, replies: &mut CommandReplies, mut left: usize) -> Result<Rope, Failure> {
        let mut pieces = Vec::new();
        while left > 0 {
            let piece = replies.gather(left, GATHER).await.map_err(|error| self.lost(&error))?;
            let piece = piece.ok_or_else(|| self.broke_the_protocol())?;
            left -= piece.len();
            pieces.push(piece);
        }
        Ok(Rope::joined(pieces))
    }

    /// The whole object that a command asks for.
    async fn bytes_by(&self, command: &ClientRequest, content: ContentId) -> Result<ObjectBytes, Failure> {
        let mut replies = self.command(command).await?;
        loop {
            match self.next(&mut replies).await? {
                // The peer is looking for holders, or checks its own copy.
                ClientReply::Progress { .. } => {}
                ClientReply::Object(object) if object.content == content => {
                    return Ok(ObjectBytes::of_replies(object, replies));
                }
                _ => return Err(self.broke_the_protocol()),
            }
        }
    }

    /// See [`crate::peer::Handle::read_range`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::read_range`], in words.
    pub async fn read_range(
        &self,
        wanted: &Wanted,
        range: ByteRange,
    ) -> Result<(RangeReport, ObjectBytes), Failure> {
        let command = ClientRequest::ReadRange { wanted: wanted.clone(), range };
        let mut replies = self.command(&command).await?;
        loop {
            match self.next(&mut replies).await? {
                ClientReply::Progress { .. } => {}
                ClientReply::Range(report) if report.range == range => {
                    let bytes = ObjectBytes::of_range_in_replies(&report, replies);
                    return Ok((report, bytes));
                }
                _ => return Err(self.broke_the_protocol()),
            }
        }
    }

    /// See [`crate::peer::Handle::status`].
    ///
    /// # Errors
    /// When the peer does not answer.
    pub async fn status(&self) -> Result<StatusReport, Failure> {
        let (mut short, mut verdict) = (Vec::new(), Verdict::default());
        let status = self.ask(&ClientRequest::Status, &self.idle, |reply| match reply {
            ClientReply::ShortFile(file) => {
                if short.len() < LISTED_MAX {
                    short.push(file);
                }
                None
            }
            ClientReply::Verdict(of_ring) => {
                verdict = *of_ring;
                None
            }
            ClientReply::Status(status) => Some(*status),
            _ => None,
        });
        let status = status.await?;
        Ok(StatusReport { short, verdict, ..status })
    }

    /// See [`crate::peer::Handle::ring`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::ring`], in words.
    pub async fn ring(&self) -> Result<Vec<RingLine>, Failure> {
        let mut lines = Vec::new();
        self.list(&ClientRequest::Ring, |reply| {
            let ClientReply::RingLine(line) = reply else { return false };
            lines.push(line);
            true
        })
        .await?;
        Ok(lines)
    }

    /// See [`crate::peer::Handle::files`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::files`], in words.
    pub async fn files(&self) -> Result<Vec<FileEntry>, Failure> {
        let mut files = Vec::new();
        self.list(&ClientRequest::Files, |reply| {
            files.push(match reply {
                ClientReply::File(file) => file,
                ClientReply::PinnedFile(file) => FileEntry { pinned: true, ..file },
                _ => return false,
            });
            true
        })
        .await?;
        Ok(files)
    }

    /// See [`crate::peer::Handle::files_of_ring`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::files_of_ring`], in words.
    pub async fn files_of_ring(&self) -> Result<RingFiles, Failure> {
        let mut found = RingFiles::default();
        self.list(&ClientRequest::RingFiles, |reply| {
            match reply {
                ClientReply::RingFile(file) => found.files.push(file),
                ClientReply::Silent(peer) => found.silent.push(peer),
                ClientReply::AllListed => found.complete = true,
                _ => return false,
            }
            true
        })
        .await?;
        Ok(found)
    }

    /// See [`crate::peer::Handle::whereis`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::whereis`], in words.
    pub async fn whereis(&self, name: &FileName) -> Result<WhereisReport, Failure> {
        let command = ClientRequest::Whereis { name: name.clone() };
        let found = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Whereis(report) => Some(report),
            ClientReply::WhereisFull { report, full } => Some(WhereisReport { full, ..report }),
            _ => None,
        });
        found.await
    }

    /// See [`crate::peer::Handle::history`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::history`], in words.
    pub async fn history(&self, name: &FileName) -> Result<HistoryReport, Failure> {
        let command = ClientRequest::History { name: name.clone() };
        let found = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::History(report) => Some(report),
            _ => None,
        });
        found.await
    }

    /// See [`crate::peer::Handle::remove`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::remove`], in words.
    pub async fn remove(&self, name: &FileName) -> Result<RemoveReport, Failure> {
        let command = ClientRequest::Remove { name: name.clone() };
        let removed = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Removed(report) => Some(report),
            _ => None,
        });
        removed.await
    }

    /// See [`crate::peer::Handle::restore`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::restore`], in words.
    pub async fn restore(&self, name: &FileName, version: &VersionChoice) -> Result<RestoreReport, Failure> {
        let command = ClientRequest::Restore { name: name.clone(), version: version.clone() };
        let restored = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Restored(report) => Some(report),
            _ => None,
        });
        restored.await
    }

    /// See [`crate::peer::Handle::ping`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::ping`], in words.
    pub async fn ping(&self, whom: &str) -> Result<PingReport, Failure> {
        let command = ClientRequest::Ping { peer: whom.to_owned() };
        let pinged = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Pinged(report) => Some(report),
            _ => None,
        });
        pinged.await
    }

    /// See [`crate::peer::Handle::forget`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::forget`], in words.
    pub async fn forget(&self, whom: &str, sure: bool) -> Result<ForgetReport, Failure> {
        let command = ClientRequest::Forget { peer: whom.to_owned(), sure };
        let forgotten = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Forgotten(report) => Some(report),
            _ => None,
        });
        forgotten.await
    }

    /// See [`crate::peer::Handle::safe_to_stop`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::safe_to_stop`], in words.
    pub async fn safe_to_stop(&self, peers: &[String], span: StopSpan) -> Result<StopReport, Failure> {
        let command = ClientRequest::SafeToStop { peers: peers.to_vec(), span };
        let answered = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::MayStop(report) => Some(*report),
            _ => None,
        });
        answered.await
    }

    /// See [`crate::peer::Handle::members`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::members`], in words.
    pub async fn members(&self) -> Result<Vec<MemberLine>, Failure> {
        let mut members = Vec::new();
        self.list(&ClientRequest::Members, |reply| {
            let ClientReply::Member(member) = reply else { return false };
            members.push(member);
            true
        })
        .await?;
        Ok(members)
    }

    /// See [`crate::peer::Handle::pin`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::pin`], in words.
    pub async fn pin(&self, wanted: &Wanted, progress: &Progress) -> Result<PinReport, Failure> {
        self.set_pin(wanted, true, progress).await
    }

    /// See [`crate::peer::Handle::unpin`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::unpin`], in words.
    pub async fn unpin(&self, wanted: &Wanted) -> Result<PinReport, Failure> {
        self.set_pin(wanted, false, &self.idle).await
    }

    async fn set_pin(
        &self,
        wanted: &Wanted,
        pinned: bool,
        progress: &Progress,
    ) -> Result<PinReport, Failure> {
        let command = ClientRequest::Pin { wanted: wanted.clone(), pinned };
        let set = self.ask(&command, progress, |reply| match reply {
            ClientReply::PinSet(report) => Some(report),
            _ => None,
        });
        set.await
    }

    /// See [`crate::peer::Handle::drop_copy`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::drop_copy`], in words.
    pub async fn drop_copy(&self, wanted: &Wanted) -> Result<DropReport, Failure> {
        let command = ClientRequest::Drop { wanted: wanted.clone() };
        let dropped = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Dropped(report) => Some(report),
            _ => None,
        });
        dropped.await
    }

    /// See [`crate::peer::Handle::evict`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::evict`], in words.
    pub async fn evict(&self, dry_run: bool) -> Result<EvictReport, Failure> {
        let command = ClientRequest::Evict { dry_run };
        let evicted = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Evicted(report) => Some(report),
            _ => None,
        });
        evicted.await
    }

    /// See [`crate::peer::Handle::scrub`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::scrub`], in words.
    pub async fn scrub(&self, rate: Option<NonZeroU64>, progress: &Progress) -> Result<ScrubReport, Failure> {
        let command = ClientRequest::Scrub { rate: rate.map_or(0, NonZeroU64::get) };
        let scrubbed = self.ask(&command, progress, |reply| match reply {
            ClientReply::Scrubbed(report) => Some(report),
            _ => None,
        });
        scrubbed.await
    }

    /// Tells the peer of revoked keys; returns the number of those that it did not know.
    ///
    /// # Errors
    /// When one of them is not by the ring CA, in words.
    pub async fn revoke(&self, revoked: Vec<SignedRevocation>) -> Result<u64, Failure> {
        let command = ClientRequest::Revoke { revoked };
        let taken = self.ask(&command, &self.idle, |reply| match reply {
            ClientReply::Revoked { new } => Some(new),
            _ => None,
        });
        taken.await
    }

    /// The data directory of the peer, if it is on this machine.
    pub(in crate::peer) fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// See [`crate::peer::Handle::plan_leave`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::plan_leave`], in words.
    pub async fn plan_leave(&self) -> Result<LeavePlan, Failure> {
        let plan = self.ask(&ClientRequest::PlanLeave, &self.idle, |reply| match reply {
            ClientReply::LeavePlan(plan) => Some(plan),
            _ => None,
        });
        plan.await
    }

    /// See [`crate::peer::Handle::leave`]. If the peer runs on this machine, this waits until its data directory is free
    /// again.
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::leave`], in words.
    pub async fn leave(&self) -> Result<LeaveReport, Failure> {
        self.leave_by(&ClientRequest::Leave).await
    }

    /// See [`crate::peer::Handle::leave_anyway`]; waits in the same way as [`Client::leave`].
    ///
    /// # Errors
    /// The errors of [`crate::peer::Handle::leave_anyway`], in words.
    pub async fn leave_anyway(&self) -> Result<LeaveReport, Failure> {
        self.leave_by(&ClientRequest::LeaveAnyway).await
    }

    async fn leave_by(&self, command: &ClientRequest) -> Result<LeaveReport, Failure> {
        let left = self.ask(command, &self.idle, |reply| match reply {
            ClientReply::Left(report) => Some(report),
            _ => None,
        });
        let report = left.await?;
        if let Some(dir) = self.data_dir.clone() {
            let freed = async {
                while spawn_blocking({
                    let dir = dir.clone();
                    move || is_in_use(&dir)
                })
                .await
                {
                    tokio::time::sleep(END_LOOK).await;
                }
            };
            // A peer that takes longer than this has already reported the result.
            let _ = tokio::time::timeout(END_MAX, freed).await;
        }
        Ok(report)
    }

    /// Offers a file to the peer. The first offer begins to listen to what the peer asks for.
    fn offer(&self, source: Source, object: ObjectInfo) -> Offer {
        let giving = || {
            let mut giving = JoinSet::new();
            giving.spawn(self.gifts.clone().give(self.link.clone()));
            giving
        };
        self.giving.get_or_init(giving);
        self.gifts.offer(source, object)
    }

    async fn command(&self, command: &ClientRequest) -> Result<CommandReplies, Failure> {
        self.link.command(command).await.map_err(|error| self.lost(&error))
    }

    /// The next reply that is neither a failure nor a protocol error.
    async fn next(&self, replies: &mut CommandReplies) -> Result<ClientReply, Failure> {
        match replies.next().await.map_err(|error| self.lost(&error))? {
            ClientReply::Failed(failure) => Err(failure),
            ClientReply::ProtocolError(why) => Err(Failure::new(format!(
                "{} does not understand the command: {why}; is it of another version?",
                self.described
            ))),
            reply => Ok(reply),
        }
    }

    /// Sends a command, and reads replies until the expected one comes.
    async fn ask<T>(
        &self,
        command: &ClientRequest,
        progress: &Progress,
        mut take: impl FnMut(ClientReply) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut replies = self.command(command).await?;
        loop {
            match self.next(&mut replies).await? {
                ClientReply::Progress { done, total } => progress.begin(done, total),
                ClientReply::ScrubProgress { objects, objects_total, bytes, bytes_total } => {
                    progress.set_objects(objects, objects_total);
                    progress.begin(bytes, bytes_total);
                }
                ClientReply::End => return Err(self.broke_the_protocol()),
                reply => {
                    if let Some(result) = take(reply) {
                        return Ok(result);
                    }
                }
            }
        }
    }

    /// Sends a command, and reads entries until the list ends or a reply is not an entry.
    async fn list(
        &self,
        command: &ClientRequest,
        mut take: impl FnMut(ClientReply) -> bool,
    ) -> Result<(), Failure> {
        let mut replies = self.command(command).await?;
        let mut entries = 0;
        loop {
            match self.next(&mut replies).await? {
                ClientReply::Progress { .. } => {}
                ClientReply::End => return Ok(()),
                reply => {
                    entries += 1;
                    if entries > ENTRIES_MAX || !take(reply) {
                        return Err(self.broke_the_protocol());
                    }
                }
            }
        }
    }

    fn lost(&self, error: &StreamError) -> Failure {
        Failure::new(format!("{} did not answer the command: {error}", self.described))
    }

    fn broke_the_protocol(&self) -> Failure {
        Failure::new(format!("{} broke the protocol; is it of another version?", self.described))
    }
}

/// Connects, and tries again while many simultaneous commands take all places for a moment.
async fn connect_in_turn(chosen: &Chosen) -> Result<ClientConnection, DialError> {
    let (begin, mut backoff) = (Instant::now(), TURN_BACKOFF);
    loop {
        let tried = ClientConnection::connect(&chosen.credentials, &chosen.address, chosen.position).await;
        match tried {
            Err(DialError::Refused { refusal: Refusal::Full, .. }) if begin.elapsed() < TURN_MAX => {
                tokio::time::sleep(backoff.next()).await;
            }
            tried => return tried,
        }
    }
}

fn unreached(chosen: Chosen, error: DialError) -> ConnectError {
    let Chosen { described: peer, address, data_dir, .. } = chosen;
    match error {
        DialError::Timeout { .. } | DialError::Broken { .. } => {
            ConnectError::NoAnswer { peer, address, data_dir }
        }
        DialError::Refused { refusal: Refusal::NotYours | Refusal::OursNoPeer, .. } => {
            ConnectError::NotAllowed { peer }
        }
        DialError::Refused { refusal: Refusal::OursRevoked, .. } => ConnectError::Revoked { peer },
        error => ConnectError::Unreached { peer, source: Box::new(error) },
    }
}

/// How often, and how long at most, this checks whether a peer that left has ended.
const END_LOOK: Duration = Duration::from_millis(20);
const END_MAX: Duration = Duration::from_secs(15);
/// How long a peer without a free place is asked again, and the pauses between the tries.
const TURN_MAX: Duration = Duration::from_secs(15);
const TURN_BACKOFF: Backoff = Backoff::steady(Duration::from_millis(100));
/// The most entries of one list.
const ENTRIES_MAX: u32 = 10_000_000;
