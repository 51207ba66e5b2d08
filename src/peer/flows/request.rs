//! `Request NAME | sha256:HEX`: from a name to its content, to its holders, to a file in received/.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::blob::{BlobError, Store};
use crate::files::{self, Env as _, FetchError, Wish};
use crate::id::{ContentId, FileName, Position};
use crate::names::{Verdict, content_of, object_of, tree_of};
use crate::peer::api::{Progress, RequestError, RequestReport, Wanted, WhereisReport, nearest};
use crate::peer::shared::{LATE_WORD, STORAGE_TIMEOUT, Shared};
use crate::replica::Holders;
use crate::transport::background;
use crate::wire::{Entry, Link, NameRecord, StorageReply, StorageRequest};

impl Shared {
    /// Brings a file to this peer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(in crate::peer) async fn request(
        self: &Arc<Self>,
        wanted: &Wanted,
        keep: bool,
        progress: Arc<Progress>,
    ) -> Result<RequestReport, RequestError> {
        let begin = Instant::now();
        self.until_member().await?;
        let (content, record) = self.content_of(wanted).await?;
        let name = match &record {
            Some(record) => Some(record.name.clone()),
            None => self.some_name_of(content).await,
        };
        let wish = Wish {
            content,
            known: record.as_ref().and_then(object_of),
            // An earlier version is not what the name stands for.
            links: record
                .iter()
                .filter(|_| !matches!(wanted, Wanted::Version { .. }))
                .map(|record| Link { name: record.name.clone(), clock: record.clock })
                .collect(),
        };
        let kept_as = match (wanted, &name) {
            // Not of a name that is spelt like a version.
            (Wanted::Version { name: asked, version }, Some(name)) if asked == name => {
                FileName::new(format!("{}@{version}", name.as_str())).ok()
            }
            _ => name.clone(),
        };
        // A tree in received/ would be no directory: who asked for it asks for its files.
        let is_tree = record.as_ref().is_some_and(|record| tree_of(record).is_some());
        let delivered = self.deliver(&wish, kept_as.as_ref(), keep && !is_tree, progress).await?;
        self.link_soon(wish);
        Ok(RequestReport {
            name,
            content,
            length: delivered.length,
            version: record.map(|record| record.version),
            sources: self.all_named(&delivered.sources),
            path: delivered.path.map(|path| path.to_string_lossy().into_owned()),
            took: begin.elapsed(),
            is_tree,
        })
    }

    /// The content id of a wanted file, and the record of its name, if a name was given.
    ///
    /// # Errors
    /// The same as for [`Shared::request`].
    pub(in crate::peer) async fn content_of(
        self: &Arc<Self>,
        wanted: &Wanted,
    ) -> Result<(ContentId, Option<NameRecord>), RequestError> {
        Ok(match wanted {
            Wanted::Name(name) | Wanted::NameOrBeginning(name) => {
                let a_beginning_will_do = matches!(wanted, Wanted::NameOrBeginning(_));
                let (content, record) = self.named_content(name, a_beginning_will_do).await?;
                (content, Some(record))
            }
            Wanted::Version { name, version } => {
                let (content, record) = self.version_content(name, version).await?;
                (content, Some(record))
            }
            Wanted::Content(content) => (*content, None),
            Wanted::ContentPrefix(digits) => (self.content_beginning_with(digits).await?, None),
        })
    }

    /// The peers that have a name's record and its bytes.
    ///
    /// # Errors
    /// The same as for [`Shared::request`].
    pub(in crate::peer) async fn whereis(
        self: &Arc<Self>,
        name: &FileName,
        a_beginning_will_do: bool,
    ) -> Result<WhereisReport, RequestError> {
        let (content, record) = self.named_content(name, a_beginning_will_do).await?;
        let name = &record.name;
        let length = object_of(&record).map_or(0, |object| object.length);
        let record_peers = self.record_peers(name).await?;
        let holders = self.holders_of(content, LATE_WORD).await?;
        let history = self.history(name.key()).await.map_or(0, |history| history.past.len());
        let times = self.verified_at(content, &holders.entries).await;
        let verified = holders.entries.iter().map(|entry| times.get(&entry.position).copied()).collect();
        let full = self.without_room(&holders).await;
        let content_owner = holders.replicas.first().map_or_else(|| self.position(), |entry| entry.position);
        Ok(WhereisReport {
            name_key: name.key(),
            name: record.name.clone(),
            record_peers: self.all_named(&record_peers),
            version: record.version,
            writer: self.named(&record.writer),
            written: record.clock.to_string(),
            content,
            length,
            content_owner: self.named(&content_owner),
            holders: self.all_named(holders.entries.iter().map(|entry| &entry.position)),
            copies: self.ring.settings().copies(self.view().members_count()),
            history: history as u64,
            verified,
            full: self.all_named(&full),
        })
    }

    /// The peers that should have a copy, have none, and say that they have no room.
    async fn without_room(self: &Arc<Self>, holders: &Holders) -> Vec<Position> {
        let has = |peer: &&Entry| holders.entries.iter().any(|holder| holder.position == peer.position);
        let lacking = holders.replicas.iter().take(self.copies()).filter(|peer| !has(peer));
        let ask = |peer: Entry| async move {
            let said = files::ask_storage(self, &peer, StorageRequest::Describe, LATE_WORD).await;
            matches!(said, Ok(StorageReply::Described(said)) if said.full).then_some(peer.position)
        };
        let said = futures_util::future::join_all(lacking.cloned().map(ask)).await;
        said.into_iter().flatten().collect()
    }

    /// The content of a name. If there is no such name and a person asks at a prompt, the content of the one name that
    /// begins with it. A program or script gets exactly what it named, or nothing.
    async fn named_content(
        self: &Arc<Self>,
        name: &FileName,
        a_beginning_will_do: bool,
    ) -> Result<(ContentId, NameRecord), RequestError> {
        let unknown = match self.content_record(name).await {
            Err(RequestError::UnknownName { .. }) => self.unknown(name),
            found => return found,
        };
        // A whole listing is costly, but a wrong name is typed rarely.
        let listed = tokio::time::timeout(LISTING_WAIT, self.files_of_ring()).await;
        let Ok(Ok(listed)) = listed else { return Err(unknown) };
        let names: BTreeSet<FileName> = listed.files.into_iter().flat_map(|file| file.file.names).collect();
        let longer: Vec<&FileName> =
            names.iter().filter(|other| other.as_str().starts_with(name.as_str())).collect();
        match longer.as_slice() {
            // Similar names are suggested in any case.
            [] | [_, ..] if longer.is_empty() || !a_beginning_will_do => Err(match unknown {
                RequestError::UnknownName { name, ring, .. } => {
                    let alike = || nearest(name.as_str(), names.iter().map(FileName::as_str));
                    let nearest = longer.first().map(|longer| longer.as_str()).or_else(alike);
                    RequestError::UnknownName {
                        nearest: nearest.and_then(|n| FileName::new(n).ok()),
                        name,
                        ring,
                    }
                }
                other => other,
            }),
            [one] => self.content_record(one).await,
            several => Err(RequestError::Ambiguous {
                beginning: name.to_string(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// The content that a name stands for, and its record.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(in crate::peer) async fn content_record(
        self: &Arc<Self>,
        name: &FileName,
    ) -> Result<(ContentId, NameRecord), RequestError> {
        let record = self.record_of(name).await?;
        match content_of(&record) {
            Some(content) => Ok((content, record)),
            None => Err(RequestError::Removed {
                name: record.name,
                version: record.version,
                by: self.named(&record.writer),
                at: record.clock.to_string(),
            }),
        }
    }

    /// The one object of the ring whose content id begins with these digits.
    async fn content_beginning_with(self: &Arc<Self>, digits: &str) -> Result<ContentId, RequestError> {
        let listed = self.files_of_ring().await?;
        let contents: Vec<ContentId> = listed
            .files
            .iter()
            .map(|file| file.file.object.content)
            .filter(|content| content.to_string().starts_with(digits))
            .collect();
        match contents.as_slice() {
            [one] => Ok(*one),
            [] if listed.complete => Err(RequestError::UnknownContent {
                content: digits.to_owned() + "…",
                ring: self.verifier.ring_name().to_owned(),
            }),
            [] => Err(RequestError::CannotTell {
                what: format!("a file with sha256:{digits}…"),
                silent: listed.silent,
                taking_over: Vec::new(),
            }),
            several => Err(RequestError::Ambiguous {
                beginning: format!("sha256:{digits}"),
                candidates: several.iter().map(|content| format!("sha256:{content}")).collect(),
            }),
        }
    }

    /// The record of a name. Fails if all peers that would know say no, or if that cannot be told.
    async fn record_of(self: &Arc<Self>, name: &FileName) -> Result<NameRecord, RequestError> {
        match files::resolve_soon(self, name).await? {
            Verdict::Found(record) => Ok(*record),
            Verdict::Unknown => Err(self.unknown(name)),
            Verdict::CannotTell { silent, taking_over, .. } => {
                Err(self.cannot_tell(format!("a file named {name}"), &silent, &taking_over))
            }
        }
    }

    /// Finds the holders of an object, as [`files::holders_of`] does.
    ///
    /// # Errors
    /// The same as [`files::holders_of`].
    pub(in crate::peer) async fn holders_of(
        self: &Arc<Self>,
        content: ContentId,
        late: Duration,
    ) -> Result<Holders, RequestError> {
        Ok(files::holders_of(self, content, late).await?)
    }

    /// Fetches an object, as [`files::bring`] does.
    ///
    /// # Errors
    /// The errors of a request.
    pub(in crate::peer) async fn bring(
        self: &Arc<Self>,
        wish: Wish,
        progress: Arc<Progress>,
    ) -> Result<Vec<Position>, RequestError> {
        let brought = files::bring(self, wish.clone(), progress).await;
        brought.map_err(|error| self.fetch_error(&wish, error))
    }

    /// Why an object cannot be fetched, in words for people.
    pub(in crate::peer) fn fetch_error(&self, wish: &Wish, error: FetchError<BlobError>) -> RequestError {
        let content = wish.content;
        match error {
            FetchError::NotActive(why) => RequestError::NotActive(why),
            FetchError::NoHolder(holders) => self.no_holder(wish, &holders),
            FetchError::Unreachable(holders) => {
                RequestError::Unreachable { content, holders: self.all_named(&holders) }
            }
            FetchError::Corrupt(from) => RequestError::Corrupt { content, from: self.named(&from) },
            FetchError::Disk(error) => self.disk_failure(content, error),
        }
    }

    /// Makes sure that the right bytes are here, fetches them if they are not, and puts them into received/ if they are
    /// to be kept. Bytes that only pass through to a person need no room here.
    async fn deliver(
        self: &Arc<Self>,
        wish: &Wish,
        name: Option<&FileName>,
        keep: bool,
        progress: Arc<Progress>,
    ) -> Result<Delivered, RequestError> {
        let content = wish.content;
        let file = match name {
            Some(name) => name.clone(),
            None => FileName::new(content.to_string()).map_err(|error| self.disk_failure(content, error))?,
        };
        let mut sources = Vec::new();
        let _copy = keep.then(|| self.store.wish_copy(content));
        for last in [false, false, true] {
            let file = file.clone();
            let placed = self.blocking(move |store| hand_over(store, &content, &file, keep)).await;
            match placed {
                Ok((path, length)) => return Ok(Delivered { path, length, sources }),
                // The copy here was bad and is gone, or there was none.
                Err(BlobError::Rotten { .. } | BlobError::NotHere { .. }) if !last => {}
                // A copy that cannot be read now counts as no copy for this reader.
                Err(error) if last || keep => return Err(self.disk_failure(content, error)),
                Err(_) => {}
            }
            match self.bring(wish.clone(), progress.clone()).await {
                Ok(came) => sources = came,
                Err(RequestError::Disk { .. }) if !keep => {
                    let relay = self.relay(wish.clone()).await?;
                    return Ok(Delivered { path: None, length: relay.object().length, sources });
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.disk_failure(content, "its bytes are bad again and again"))
    }

    /// Links a name to an object that is already here, after its bytes were passed on; no task waits for it.
    fn link_soon(self: &Arc<Self>, wish: Wish) {
        let shared = self.clone();
        background(async move {
            let content = wish.content;
            let linked = shared.blocking(move |store| -> Result<(), BlobError> {
                for link in &wish.links {
                    if store.linked(&link.name)? != Some(content) {
                        store.link(link, content)?;
                    }
                }
                Ok(())
            });
            if let Err(error) = linked.await {
                tracing::debug!(%content, %error, "no name was linked");
            }
        });
    }

    async fn some_name_of(&self, content: ContentId) -> Option<FileName> {
        let links = self.blocking(move |store| store.names_of(&content)).await.ok()?;
        links.into_iter().max_by_key(|link| link.clock).map(|link| link.name)
    }

    /// The peers that keep the record of a name, owner first.
    async fn record_peers(self: &Arc<Self>, name: &FileName) -> Result<Vec<Position>, RequestError> {
        let replicas = self.replicas_of(name.key()).await?;
        let mut asked = JoinSet::new();
        for (rank, whom) in replicas.into_iter().enumerate() {
            let (shared, request) = (self.clone(), StorageRequest::FetchRecord { name: name.clone() });
            asked.spawn(async move {
                let reply = shared.ask_storage(&whom, request, STORAGE_TIMEOUT).await;
                let has_it = matches!(reply, Ok(StorageReply::Record { record: Some(_), .. }));
                has_it.then_some((rank, whom.position))
            });
        }
        let mut peers = BTreeMap::new();
        loop {
            // A silent peer is left out, and costs no more than this wait.
            let patience = if peers.is_empty() { STORAGE_TIMEOUT } else { LATE_WORD };
            match timeout(patience, asked.join_next()).await {
                Ok(Some(Ok(found))) => peers.extend(found),
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => return Ok(peers.into_values().collect()),
            }
        }
    }

    /// The error of a request that fails because of this peer's disk.
    pub(in crate::peer) fn disk_failure(
        &self,
        content: ContentId,
        reason: impl std::fmt::Display,
    ) -> RequestError {
        RequestError::Disk { peer: self.named(&self.position()), content, reason: reason.to_string() }
    }

    /// The error for a name without a record.
    pub(in crate::peer) fn unknown(&self, name: &FileName) -> RequestError {
        let ring = self.verifier.ring_name().to_owned();
        RequestError::UnknownName { name: name.clone(), ring, nearest: None }
    }

    /// The error for peers whose answer is missing; those of `taking_over` answered but are still taking over.
    pub(in crate::peer) fn cannot_tell(
        &self,
        what: String,
        missing: &[Position],
        taking_over: &[Position],
    ) -> RequestError {
        let silent = missing.iter().filter(|peer| !taking_over.contains(peer));
        RequestError::CannotTell {
            what,
            silent: self.all_named(silent),
            taking_over: self.all_named(taking_over),
        }
    }

    fn no_holder(&self, wish: &Wish, holders: &Holders) -> RequestError {
        let (content, name) = (wish.content, wish.links.first().map(|link| &link.name));
        if !holders.silent.is_empty() {
            let what = match name {
                Some(name) => format!("a copy of {name} (sha256:{content})"),
                None => format!("a file with sha256:{content}"),
            };
            return self.cannot_tell(what, &holders.silent, &holders.taking_over);
        }
        match name {
            Some(_) => RequestError::Unreachable {
                content,
                holders: self.all_named(holders.replicas.iter().map(|entry| &entry.position)),
            },
            None => RequestError::UnknownContent {
                content: content.to_string(),
                ring: self.verifier.ring_name().to_owned(),
            },
        }
    }
}

/// The result of a request.
struct Delivered {
    path: Option<PathBuf>,
    length: u64,
    /// The peers that the bytes came from; empty if the bytes were already here.
    sources: Vec<Position>,
}

/// Puts a file where a person finds it, or makes sure that its bytes are right.
fn hand_over(
    store: &Store,
    content: &ContentId,
    file: &FileName,
    keep: bool,
) -> Result<(Option<PathBuf>, u64), BlobError> {
    let length = store.info(content)?.ok_or(BlobError::NotHere { content: *content })?.length;
    if keep {
        return Ok((Some(store.place_received(content, file)?), length));
    }
    if store.check(content)? { Ok((None, length)) } else { Err(BlobError::NotHere { content: *content }) }
}

/// How long a listing of the ring's names may take after the given name was not found.
const LISTING_WAIT: Duration = Duration::from_secs(3);
