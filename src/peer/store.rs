//! `Store FILE`: the bytes to the content's replicas, the record to the name's, acknowledged when enough
//! copies of both are durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::api::{Progress, StoreError, StoreOptions, StoreReport, Wait, Wanted};
use super::push::{Feed, PushFailure};
use super::shared::{Shared, spawn_blocking};
use crate::blob::{BlobError, Source};
use crate::chord::PhaseKind;
use crate::id::{FileName, FileNameError, Position};
use crate::replica::{ChainWords, Copies, CopiesWanted, WaitError, replicas};
use crate::transport::{Connection, StreamError};
use crate::wire::{
    Link, Missing, MissingReason, ObjectInfo, RecordTarget, StorageReply, StorageRequest, StoreRole,
};

impl Shared {
    /// Stores a file.
    ///
    /// # Errors
    /// [`StoreError`]; what was copied by then stays where it is, unnamed.
    pub(super) async fn store(
        self: &Arc<Self>,
        path: &Path,
        options: &StoreOptions,
        progress: Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let name = name_of(path, options).await?;
        self.copies_wanted(options.wait).await?;
        let (source, object) = hash(path, &progress).await?;
        let origin = Origin::File(source, path.to_owned());
        self.store_object(Offered { name, object, origin }, options, progress).await
    }

    /// Stores an object whose bytes are to be had from its origin.
    ///
    /// # Errors
    /// As [`Shared::store`].
    pub(super) async fn store_object(
        self: &Arc<Self>,
        offered: Offered,
        options: &StoreOptions,
        progress: Arc<Progress>,
    ) -> Result<StoreReport, StoreError> {
        let begin = Instant::now();
        let wanted = self.copies_wanted(options.wait).await?;
        let Offered { name, object, origin } = offered;
        let mut patience = Patience::begin(options.timeout, progress.clone());
        let links = vec![Link { name: name.clone(), clock: self.next_clock() }];
        let store = Transfer { shared: self.clone(), name: &name, object, links, origin, wanted };
        let copies = store.copy_until(&mut patience).await?;
        let target = RecordTarget::Content {
            content: object.content,
            length: object.length,
            outboard: object.outboard,
        };
        let written = store.name_until(target, &mut patience).await?;
        let view = self.view();
        let mut missing = store.all_missing(&copies).await;
        let mut holders: Vec<Position> = copies.living(&view).into_iter().collect();
        missing.retain(|copy| !holders.contains(&copy.peer));
        let key = object.content.key();
        holders.sort_by_key(|peer| key.distance_to(peer));
        Ok(StoreReport {
            name_key: name.key(),
            name,
            name_owner: self.named(&written.owner),
            length: object.length,
            content: object.content,
            holders: self.all_named(&holders),
            copies: wanted.most,
            missing: self.missing_named(&missing),
            version: written.record.version,
            replaces: written.replaced,
            took: begin.elapsed(),
        })
    }

    async fn copies_wanted(self: &Arc<Self>, wait: Wait) -> Result<CopiesWanted, StoreError> {
        self.until_member().await.map_err(StoreError::NotActive)?;
        let view = self.view();
        if view.phase != PhaseKind::Active {
            return Err(StoreError::NotActive(self.why_not_active()));
        }
        let wanted = CopiesWanted::new(wait, &self.settings(), view.members_count());
        wanted.map_err(|WaitError { asked, least, most }| StoreError::Wait { asked, least, most })
    }
}

/// What is to be stored, under which name, and where its bytes are.
pub(super) struct Offered {
    pub name: FileName,
    pub object: ObjectInfo,
    pub origin: Origin,
}

/// Where the bytes of a store are.
pub(super) enum Origin {
    /// In a file of this process's user.
    File(Source, PathBuf),
    /// At a client, which gives them when it is asked.
    Client(Connection),
}

impl Origin {
    fn feed(&self, progress: Arc<Progress>) -> Feed {
        match self {
            Origin::File(source, _) => Feed::File { source: source.clone(), progress },
            Origin::Client(client) => Feed::Client { client: client.clone(), progress },
        }
    }
}

/// Reads a file once to its end.
///
/// # Errors
/// [`StoreError`] names the file and what is wrong with it.
pub(super) async fn hash(path: &Path, progress: &Arc<Progress>) -> Result<(Source, ObjectInfo), StoreError> {
    let (file, progress) = (path.to_owned(), progress.clone());
    let hashed = spawn_blocking(move || {
        let source = Source::open(&file)?;
        progress.begin(0, source.length());
        let (object, _) = source.hash(&mut |_| {})?;
        Ok((source, object))
    });
    hashed.await.map_err(|error| unreadable(path, error))
}

/// One store under way.
struct Transfer<'a> {
    shared: Arc<Shared>,
    name: &'a FileName,
    object: ObjectInfo,
    links: Vec<Link>,
    origin: Origin,
    wanted: CopiesWanted,
}

impl Transfer<'_> {
    /// Copies until enough are durable and the owner of the content is one of them.
    async fn copy_until(&self, patience: &mut Patience) -> Result<Copies, StoreError> {
        let mut copies = Copies::default();
        for _ in 0..COPY_TRIES_MAX {
            self.copy_once(patience, &mut copies).await?;
            let owner =
                self.shared.find(self.object.content.key(), 0).await.map(|found| found.owner.position);
            let acknowledge = |owner| copies.acknowledge(&self.shared.view(), self.wanted.needed, &owner);
            if owner.is_ok_and(acknowledge) {
                return Ok(copies);
            }
            // Too many will not take it, however often they are asked.
            let hopeless = copies.are_out_of_reach(&self.shared.view(), self.wanted.needed, self.wanted.most);
            if hopeless || Instant::now() + RETRY >= patience.deadline() {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        if let Some(silence) = patience.silence.take() {
            return Err(self.not_given(&silence));
        }
        Err(self.too_few(&copies, self.all_missing(&copies).await, patience))
    }

    /// The copies that are not there: of those that said why, and of those that have not said anything yet.
    async fn all_missing(&self, copies: &Copies) -> Vec<Missing> {
        let view = self.shared.view();
        let (mut missing, most) = (copies.missing_of(&view, self.wanted.most), self.wanted.most);
        let durable = copies.living(&view).len();
        if missing.len() + durable >= most {
            return missing;
        }
        let Ok(found) = self.shared.find(self.object.content.key(), most).await else { return missing };
        for replica in replicas(&found.owner, &found.successors, most) {
            let is_named = missing.iter().any(|copy| copy.peer == replica.position);
            if !is_named && !copies.has(&replica.position) && missing.len() + durable < most {
                missing.push(Missing { peer: replica.position, reason: MissingReason::NotYet });
            }
        }
        missing
    }

    /// Gives the object to the owner of its content id, once, and hears of all copies.
    async fn copy_once(&self, patience: &mut Patience, copies: &mut Copies) -> Result<(), StoreError> {
        let Ok(found) = self.shared.find(self.object.content.key(), 0).await else { return Ok(()) };
        let (word, mut words) = mpsc::channel(WORDS_MAX);
        let mut feed = Some(self.origin.feed(patience.progress.clone()));
        let request = StorageRequest::StoreObject {
            object: self.object,
            links: self.links.clone(),
            role: StoreRole::Owner,
        };
        let (shared, object, owner) = (self.shared.clone(), self.object, found.owner.clone());
        let pushing = tokio::spawn(async move {
            let mut heard = ChainWords::new(owner.position, &StoreRole::Owner);
            shared.push_exchange(&owner, object, request, &mut feed, &word, &mut heard).await
        });
        let mut enough_since: Option<Instant> = None;
        let mut ticked = Instant::now();
        loop {
            let word = tokio::time::timeout(TICK, words.recv()).await;
            if ticked.elapsed() > STOPPED_AFTER {
                patience.moved();
            }
            ticked = Instant::now();
            match word {
                Ok(Some(StorageReply::Moving { bytes })) => patience.joined(bytes, self.object.length),
                Ok(Some(word)) => {
                    if copies.hear(word) {
                        patience.moved();
                    }
                }
                Ok(None) => break,
                // Once enough are durable the rest is waited for a moment only; it is made all the same.
                Err(_) if enough_since.is_some_and(|since| since.elapsed() >= LINGER) => return Ok(()),
                Err(_) if Instant::now() >= patience.deadline() => {
                    pushing.abort();
                    let reason = MissingReason::Unreachable;
                    copies.hear(StorageReply::Missing(Missing { peer: found.owner.position, reason }));
                    return Ok(());
                }
                Err(_) => {}
            }
            if enough_since.is_none() && copies.are_enough(&self.shared.view(), self.wanted.needed) {
                enough_since = Some(Instant::now());
            }
        }
        match pushing.await {
            Ok(Err(PushFailure::Source(error))) => Err(match &self.origin {
                Origin::File(_, path) => unreadable(path, error),
                Origin::Client(_) => self.failed(error.to_string()),
            }),
            // It is asked again as long as it is connected: it may have been stopped, as this peer may have been.
            Ok(Err(PushFailure::Client(silence @ StreamError::Silent { .. }))) => {
                patience.silence = Some(silence);
                Ok(())
            }
            Ok(Err(PushFailure::Client(error))) => Err(self.not_given(&error)),
            Ok(Err(PushFailure::OtherBytes)) => {
                Err(self.failed("its bytes changed while it was stored; nothing was kept".to_owned()))
            }
            Ok(Err(PushFailure::Peer(reason))) => {
                copies.hear(StorageReply::Missing(Missing { peer: found.owner.position, reason }));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn not_given(&self, error: &StreamError) -> StoreError {
        self.failed(format!("whoever wanted it stored stopped giving its bytes: {error}"))
    }

    fn failed(&self, reason: String) -> StoreError {
        StoreError::Failed { name: self.name.clone(), reason }
    }

    /// Writes the name record until enough copies of it are durable.
    async fn name_until(
        &self,
        target: RecordTarget,
        patience: &mut Patience,
    ) -> Result<crate::files::Written, StoreError> {
        let written = self.shared.write_record(self.name, target, patience.deadline()).await;
        let mut written =
            written.map_err(|reason| self.failed(format!("its name cannot be written: {reason}")))?;
        loop {
            let owner = self.shared.find(self.name.key(), 0).await.map(|found| found.owner.position);
            let acknowledge =
                |owner| written.copies.acknowledge(&self.shared.view(), self.wanted.needed, &owner);
            if owner.is_ok_and(acknowledge) {
                return Ok(written);
            }
            if Instant::now() + RETRY >= patience.deadline() {
                return Err(self.too_few(&written.copies, written.copies.missing(), patience));
            }
            tokio::time::sleep(RETRY).await;
            // What goes wrong now shows in the copies that are missing at the deadline.
            if let Err(error) = self.shared.write_again(&mut written).await {
                tracing::debug!(%error, name = %self.name, "a record was not given again");
            }
        }
    }

    fn too_few(&self, copies: &Copies, missing: Vec<Missing>, patience: &Patience) -> StoreError {
        StoreError::TooFewCopies {
            name: self.name.clone(),
            durable: copies.living(&self.shared.view()).len(),
            needed: self.wanted.needed,
            waited: patience.waited(),
            missing: self.shared.missing_named(&missing),
        }
    }
}

/// How long to go on: as long as something moves, and so long after.
struct Patience {
    timeout: Duration,
    progress: Arc<Progress>,
    seen: u64,
    moved: Instant,
    begun: Instant,
    /// The client gave nothing when it was asked last.
    silence: Option<StreamError>,
}

impl Patience {
    fn begin(timeout: Duration, progress: Arc<Progress>) -> Patience {
        let now = Instant::now();
        Patience { timeout, progress, seen: 0, moved: now, begun: now, silence: None }
    }

    /// How long it took: the time-out itself, where that is why it ended.
    fn waited(&self) -> Duration {
        let elapsed = self.begun.elapsed();
        // No try begins that could not end before the time is up.
        match (elapsed + RETRY).checked_sub(self.timeout) {
            Some(more) if more < Duration::from_secs(1) => self.timeout,
            Some(_) => Duration::from_secs(elapsed.as_secs()),
            None => Duration::from_millis(elapsed.as_millis().max(1) as u64),
        }
    }

    fn deadline(&mut self) -> Instant {
        let done = self.progress.done.load(Ordering::Relaxed);
        if done != self.seen {
            self.seen = done;
            self.moved();
        }
        self.moved + self.timeout
    }

    fn moved(&mut self) {
        self.moved = Instant::now();
        self.silence = None;
    }

    /// Bytes move that somebody else gives, or further down the chain.
    fn joined(&mut self, bytes: u64, length: u64) {
        self.moved();
        let done = self.progress.done.load(Ordering::Relaxed);
        if self.progress.total.load(Ordering::Relaxed) == 0 {
            self.progress.begin(bytes.min(length), length);
        } else {
            self.progress.advance(bytes.min(length.saturating_sub(done)));
        }
    }
}

/// Under which name a file is to be stored. What is no file at all is told first, since that is why it has no name.
pub(super) async fn name_of(path: &Path, options: &StoreOptions) -> Result<FileName, StoreError> {
    let file = path.to_owned();
    spawn_blocking(move || Source::look(&file)).await.map_err(|error| unreadable(path, error))?;
    let refused = |source| StoreError::Name { path: path.to_owned(), source };
    let name = match (&options.name, path.file_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => {
            FileName::new(name.to_str().ok_or_else(|| refused(FileNameError::NotText))?).map_err(refused)?
        }
        (None, None) => return Err(refused(FileNameError::Empty)),
    };
    // Nobody could ask for it by this name.
    match name.as_str().parse() {
        Ok(Wanted::Name(_)) => Ok(name),
        _ => Err(refused(FileNameError::Address)),
    }
}

pub(super) fn unreadable(path: &Path, error: BlobError) -> StoreError {
    let path: PathBuf = path.to_owned();
    match error {
        BlobError::Io { source, .. } => StoreError::Read { path, source },
        BlobError::NotAFile { kind, .. } => StoreError::NotAFile { path, kind },
        BlobError::Changed { .. } => StoreError::Changed { path },
        other => StoreError::Read { path, source: std::io::Error::other(other.to_string()) },
    }
}

/// How often a store whose bytes moved is begun anew.
const COPY_TRIES_MAX: u32 = 200;
/// How often is looked whether bytes move.
const TICK: Duration = Duration::from_millis(200);
/// A tick that takes so long means that this process was stopped: nobody else stood still.
const STOPPED_AFTER: Duration = Duration::from_secs(3);
/// Between two tries to copy.
const RETRY: Duration = Duration::from_millis(250);
/// How long the other copies are waited for after enough are durable, to say so in one go.
const LINGER: Duration = Duration::from_secs(2);
/// Words on copies that wait to be heard.
const WORDS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: `--timeout` is for a store in which nothing moves, not for one that takes long.
    #[test]
    fn patience_lasts_as_long_as_something_moves() {
        let progress = Arc::new(Progress::default());
        let mut patience = Patience::begin(Duration::from_secs(30), progress.clone());
        let first = patience.deadline();
        assert_eq!(patience.deadline(), first, "nothing moved");
        progress.advance(1);
        let later = patience.deadline();
        assert!(later > first, "a byte went");
        assert_eq!(patience.deadline(), later, "and no other");
    }
}
