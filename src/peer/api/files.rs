//! The arguments of `store` and `request`, and the reasons why commands about files fail.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::peer_list;
use crate::blob::BlobError;
use crate::files::{FindError, NotActive};
use crate::id::{ContentId, FileName, FileNameError};
use crate::wire::{Failure, MissingCopy, PeerName, Wait, word_list};

/// How a file is stored: its name, and which copies to wait for.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name in the ring; `None` for the file's own name.
    pub name: Option<FileName>,
    /// The number of copies to wait for.
    pub wait: Wait,
    /// The longest wait for these copies.
    pub timeout: Duration,
    /// Whether a file is read and hashed although its inode, length and times are as they were when it was hashed before.
    pub hash_again: bool,
}

impl StoreOptions {
    /// One day: the longest timeout of a store.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        let timeout = Duration::from_secs(30);
        StoreOptions { name: None, wait: Wait::Quorum, timeout, hash_again: false }
    }
}

/// One of many files to be stored, and how.
#[derive(Debug, Clone)]
pub struct StoreItem {
    /// The path of the file.
    pub path: PathBuf,
    /// Its name in the ring, the copies to wait for, and for how long.
    pub options: StoreOptions,
}

/// Why a file is not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The path of the file or folder.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// The path is not a regular file.
    #[error("{} is {kind}, not a file", .path.display())]
    NotAFile {
        /// The path of the file or folder.
        path: PathBuf,
        /// The kind of thing at the path: "a directory", "a FIFO", …
        kind: &'static str,
    },
    /// The file's name cannot be a name in the ring.
    #[error("{}: {source}", .path.display())]
    Name {
        /// The path of the file.
        path: PathBuf,
        /// The defect of the name.
        source: FileNameError,
    },
    /// The path is not a directory.
    #[error("{} is a file, not a directory", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds what a tree cannot, or what cannot be read.
    #[error("cannot store {}: {troubles}", .path.display())]
    NotStorable {
        /// The path of the directory.
        path: PathBuf,
        /// The first few entries and what is wrong with each.
        troubles: String,
    },
    /// A pattern that leaves files out is wrong.
    #[error("{pattern:?} is no pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The reason, in words.
        reason: String,
    },
    /// The bytes that were to be stored ended before the first one: their producer failed, as it seems.
    #[error("{} ended before its first byte; nothing was stored", .path.display())]
    NoBytes {
        /// The name of the input.
        path: PathBuf,
    },
    /// The input has no name of its own.
    #[error("{} has no name to be stored under", .path.display())]
    Nameless {
        /// The name of the input.
        path: PathBuf,
    },
    /// The file was written to while it was being stored.
    #[error("{} changed while it was stored; nothing was kept", .path.display())]
    Changed {
        /// The path of the file or folder.
        path: PathBuf,
    },
    /// Too few copies became durable in time.
    #[error("{name}: {}", too_few_copies(*.durable, *.needed, *.waited, .missing))]
    TooFewCopies {
        /// The name of the file.
        name: FileName,
        /// The number of copies that are durable.
        durable: usize,
        /// The number of copies that were needed.
        needed: usize,
        /// The time that was waited.
        waited: Duration,
        /// The peers whose copies are missing, with the reasons.
        missing: Vec<MissingCopy>,
    },
    /// [`StoreOptions::wait`] asks for fewer copies than W, or more than there can be.
    #[error("cannot wait for {}: a store in this ring waits for {least} to {most} copies", copies(*.asked))]
    Wait {
        /// The number of copies that were asked for.
        asked: u8,
        /// The least that may be asked for: W.
        least: usize,
        /// The most that may be asked for: min(R, members).
        most: usize,
    },
    /// This peer is not, or no longer, active.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// Another process's peer did not store the file; it says why in words.
    #[error(transparent)]
    Peer(#[from] Failure),
    /// Another failure, which waiting cannot mend.
    #[error("{name}: {reason}")]
    Failed {
        /// The name of the file.
        name: FileName,
        /// The reason, in words.
        reason: String,
    },
}

/// Why a request brings no file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Each peer that would hold the name record says that it has no record of this name.
    #[error("no file named {name} in ring {ring}{}", did_you_mean(.nearest.as_ref()))]
    UnknownName {
        /// The name that was asked for.
        name: FileName,
        /// The name of the ring.
        ring: String,
        /// The existing name that looks most like it, if any does.
        nearest: Option<FileName>,
    },
    /// The name was removed.
    #[error("{name} was removed at {at} by peer {by}, as version {version}")]
    Removed {
        /// The name that was asked for.
        name: FileName,
        /// The version that the removal is.
        version: u64,
        /// The peer that removed it.
        by: PeerName,
        /// The time of the removal, as RFC 3339.
        at: String,
    },
    /// The name has no such version.
    #[error("{name} has no version {version}; it has {}", version_list(.known))]
    UnknownVersion {
        /// The name that was asked for.
        name: FileName,
        /// The version that was asked for.
        version: String,
        /// The versions that there are.
        known: Vec<u64>,
    },
    /// The version removed the name, so it has no bytes.
    #[error("version {version} of {name} is its removal; an earlier one has bytes")]
    RemovedVersion {
        /// The name that was asked for.
        name: FileName,
        /// The version that was asked for.
        version: String,
    },
    /// Several versions that were written at the same time in different places have this number.
    #[error("version {version} of {name} was written in several places at once: say which; there are {}", first_words(.candidates))]
    AmbiguousVersion {
        /// The name that was asked for.
        name: FileName,
        /// The version that was asked for.
        version: String,
        /// The same versions, each by its content.
        candidates: Vec<String>,
    },
    /// All peers that would hold the object say that they do not.
    #[error("no peer of ring {ring} holds sha256:{content}")]
    UnknownContent {
        /// The content id that was asked for, or its beginning.
        content: String,
        /// The name of the ring.
        ring: String,
    },
    /// Several candidates begin with the given text.
    #[error("{beginning} is the beginning of {}: say which; they are {}", .candidates.len(), first_words(.candidates))]
    Ambiguous {
        /// The text that was given.
        beginning: String,
        /// The candidates that begin with it.
        candidates: Vec<String>,
    },
    /// Some peers that would know do not answer, or have not taken over their records yet.
    #[error("cannot tell whether there is {what}: {}", have_no_word(.silent, .taking_over))]
    CannotTell {
        /// The name or content id that was asked for.
        what: String,
        /// The peers that do not answer.
        silent: Vec<PeerName>,
        /// The peers that have not been given all of their ranges yet.
        taking_over: Vec<PeerName>,
    },
    /// No peer that answers holds the bytes of a version any more.
    #[error("no peer that answers holds sha256:{content} any more")]
    BytesGone {
        /// The content id of the version.
        content: ContentId,
    },
    /// The file exists, but no holder answers.
    #[error("none of the holders of {content} answers; they are {}", peer_list(.holders))]
    Unreachable {
        /// The content id of the object.
        content: ContentId,
        /// The peers that hold the object.
        holders: Vec<PeerName>,
    },
    /// Every holder sent bytes that do not match the content id.
    #[error("{content} arrived corrupt from peer {}; that copy was refused", .from)]
    Corrupt {
        /// The content id of the object.
        content: ContentId,
        /// The peer that sent the wrong bytes.
        from: PeerName,
    },
    /// The peer that was asked cannot keep the object.
    #[error("peer {peer} cannot keep sha256:{content}: {reason}")]
    Disk {
        /// The peer that was asked.
        peer: PeerName,
        /// The content id of the object.
        content: ContentId,
        /// The reason, in words.
        reason: String,
    },
    /// This peer is not, or no longer, active.
    #[error(transparent)]
    NotActive(#[from] FindError),
}

/// "peers 4 and 5 do not answer, and peer 6 was not given all of its part yet".
fn have_no_word(silent: &[PeerName], taking_over: &[PeerName]) -> String {
    let silent = match silent {
        [] => None,
        [one] => Some(format!("peer {one} does not answer")),
        several => Some(format!("peers {} do not answer", peer_list(several))),
    };
    let taking_over = match taking_over {
        [] => None,
        [one] => Some(format!("peer {one} was not given all of its part yet")),
        several => Some(format!("peers {} were not given all of their parts yet", peer_list(several))),
    };
    silent.into_iter().chain(taking_over).collect::<Vec<_>>().join(", and ")
}

fn did_you_mean(nearest: Option<&FileName>) -> String {
    nearest.map_or(String::new(), |name| format!("; did you mean {name}?"))
}

/// "versions 1, 2 and 3", or "version 1 alone".
fn version_list(known: &[u64]) -> String {
    match known {
        [one] => format!("version {one} alone"),
        several => format!("versions {}", word_list(several.iter().map(u64::to_string))),
    }
}

fn copies(count: u8) -> String {
    if count == 1 { "1 copy".to_owned() } else { format!("{count} copies") }
}

/// The first few words, and the number of those left out.
fn first_words(words: &[String]) -> String {
    let more = words.len().saturating_sub(CANDIDATES_TOLD_MAX);
    let first = words.iter().take(CANDIDATES_TOLD_MAX).cloned();
    word_list(first.chain((more > 0).then(|| format!("{more} more"))))
}

/// A list of missing copies as people read it: "peer 4 (does not answer)".
pub fn missing_list(missing: &[MissingCopy]) -> String {
    word_list(missing.iter().map(|m| format!("peer {} ({})", m.peer, m.reason)))
}

/// Why a store is not acknowledged. If enough copies are durable, the text says that the owner did not confirm one.
fn too_few_copies(durable: usize, needed: usize, waited: Duration, missing: &[MissingCopy]) -> String {
    let who = match missing {
        [] => String::new(),
        missing => format!("; missing: {}", missing_list(missing)),
    };
    if durable >= needed {
        let copies = if durable == 1 { "1 copy is" } else { &format!("{durable} copies are") };
        return format!(
            "{copies} there, but none at its owner, which did not confirm one within {waited:?}{who}; try again"
        );
    }
    match missing {
        [] => format!("{durable} of {needed} copies after {waited:?}; no peer said why there are not more"),
        _ => format!("{durable} of {needed} copies after {waited:?}{who}"),
    }
}

/// The most candidates that an error names.
const CANDIDATES_TOLD_MAX: usize = 8;
impl From<RingFilesError> for RequestError {
    fn from(error: RingFilesError) -> RequestError {
        let RingFilesError::NotActive(why) = error;
        RequestError::NotActive(why.into())
    }
}

impl From<NotActive> for RequestError {
    fn from(error: NotActive) -> RequestError {
        RequestError::NotActive(error.into())
    }
}

/// Why a peer does not list its own files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The index of the data directory cannot be read.
    #[error("cannot list this peer's files: {source}")]
    Unreadable {
        /// The underlying error.
        #[from]
        source: BlobError,
    },
}

/// Why a peer does not list the files of the ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingFilesError {
    /// This peer is in no ring.
    #[error(transparent)]
    NotActive(#[from] NotActive),
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<RingFilesError> for Failure {
    fn from(error: RingFilesError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::Peer(failure) => failure,
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        match error {
            RequestError::Removed { .. } => Failure::removed(error.to_string()),
            RequestError::UnknownName { .. }
            | RequestError::UnknownContent { .. }
            | RequestError::UnknownVersion { .. }
            | RequestError::RemovedVersion { .. } => Failure::not_found(error.to_string()),
            other => Failure::new(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_a_word_does_not_answer_or_takes_over() {
        let told = |silent: &[u8], taking_over: &[u8]| {
            let named =
                |number: &u8| PeerName { position: crate::id::Position::of_number(*number), name: None };
            let [silent, taking_over] = [silent, taking_over].map(|peers| peers.iter().map(named).collect());
            RequestError::CannotTell { what: "it".to_owned(), silent, taking_over }.to_string()
        };
        assert_eq!(told(&[4], &[]), "cannot tell whether there is it: peer 4 does not answer");
        assert_eq!(
            told(&[4, 5], &[6]),
            "cannot tell whether there is it: peers 4 and 5 do not answer, and peer 6 was not given all of its part yet"
        );
        let several = told(&[], &[6, 7]);
        assert!(several.ends_with("it: peers 6 and 7 were not given all of their parts yet"), "{several}");
    }

    #[test]
    fn a_failed_store_does_not_say_that_all_copies_are_there() {
        let failed = |durable, missing| {
            let waited = Duration::from_secs(30);
            let name = FileName::new("x").unwrap();
            StoreError::TooFewCopies { name, durable, needed: 2, waited, missing }.to_string()
        };
        let nas = PeerName { position: crate::id::Position::of_number(7), name: Some("nas".to_owned()) };
        let reason = crate::wire::MissingReason::Unreachable;
        let away = vec![MissingCopy { peer: nas, reason }];
        assert_eq!(
            failed(1, away.clone()),
            "x: 1 of 2 copies after 30s; missing: peer nas (does not answer)"
        );
        for text in [failed(1, vec![]), failed(2, vec![]), failed(3, away.clone())] {
            assert!(
                !text.contains("2 of 2") && !text.contains("3 of 2") && !text.contains("none;"),
                "{text}"
            );
            assert!(!text.contains("missing: none"), "{text}");
        }
        assert!(failed(2, away).contains("2 copies are there, but none at its owner"));
    }
}
