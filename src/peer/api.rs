//! The requests to a running peer and its answers: the values that commands, gateways and tests see. No I/O here.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Interval, RingSettings, SettingsError};
pub use crate::files::Progress;
use crate::id::{ContentId, FileName, FileNameError};
use crate::transport::TransportSettings;
use crate::wire::Address;
pub use crate::wire::word_list;

pub use crate::wire::{
    Failure, Fault, ForgetReport, LeavePlan, LeaveReport, Listed, Misbehaviour, MissingCopy, PeerName,
    PingReport, RequestReport, RingFile, RingFiles, RingLine, ShortFile, StatusReport, StoreReport,
    UnkeptFiles, Unreachable, Wait, Wanted, WhereisReport,
};

/// How a peer comes into its ring.
#[derive(Debug, Clone)]
pub enum Entrance {
    /// `init [PEER]`: found a ring.
    Found,
    /// `init PEER FIRST SECOND`: form a ring with others that start as well.
    Form {
        /// The two contacts to start from.
        contacts: [Address; 2],
    },
    /// `join`: through a known peer.
    Join {
        /// The known peer through which this one comes in.
        known: Address,
    },
    /// `run`: again, with the identity and the remembered peers of the data directory.
    Resume,
}

/// How to start a peer.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The way in. If the data directory already holds an identity, [`Entrance::Resume`] takes its place.
    pub entrance: Entrance,
    /// The peer's number; `None` for a self-placed peer.
    pub number: Option<u8>,
    /// The data directory; `None` for the default place, one folder per peer.
    pub data_dir: Option<PathBuf>,
    /// The directory of the ring CA and the peers' certificates; `None` for the default place.
    pub certs_dir: Option<PathBuf>,
    /// The UDP address to listen on. `None` for the previous address of a peer that has run before. Otherwise `None`
    /// means 127.0.0.1, or all addresses if there is a bundle, with the number's port; a self-placed peer takes port
    /// 12300 or the next free one.
    pub listen: Option<std::net::SocketAddr>,
    /// Number n stands for UDP port `base_port` + n.
    pub base_port: u16,
    /// The address at which other peers reach this one; `None` for the address it listens on.
    pub advertise: Option<Address>,
    /// The ring's settings, where this peer brings them (`init`); `None` to learn them.
    pub settings: Option<RingSettings>,
    /// The time between pings; `None` for the remembered or the default interval.
    pub interval: Option<Interval>,
    /// The bundle that `quoit admit` made for this peer: CA certificate, certificate, and perhaps its key. It is put
    /// into the certificates directory.
    pub bundle: Option<PathBuf>,
    /// The file of the peer's key, if the bundle does not contain it.
    pub key: Option<PathBuf>,
    /// The settings of the transport.
    pub transport: TransportSettings,
}

impl StartOptions {
    /// Options with this way in and defaults for everything else: a self-placed peer in the default places.
    pub fn new(entrance: Entrance) -> StartOptions {
        StartOptions {
            entrance,
            number: None,
            data_dir: None,
            certs_dir: None,
            listen: None,
            base_port: 12_000,
            advertise: None,
            settings: None,
            interval: None,
            bundle: None,
            key: None,
            transport: TransportSettings::default(),
        }
    }
}

/// An obstacle that a start waits for; reported once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartNotice {
    /// This machine does not have the address on which the peer is to listen.
    AddressNotThere {
        /// The address on which the peer is to listen.
        address: std::net::SocketAddr,
    },
    /// This machine's clock stands before the ring's certificates begin.
    ClockNotSet {
        /// The day that the clock shows.
        now: String,
        /// The first day of the certificates.
        begin: String,
    },
}

impl std::fmt::Display for StartNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartNotice::AddressNotThere { address } => write!(
                f,
                "this machine has no address {} at the moment, so that this peer cannot listen on {address} yet; it tries again until it can (--listen gives it another address)",
                address.ip()
            ),
            StartNotice::ClockNotSet { now, begin } => write!(
                f,
                "this machine's clock says {now}; the ring's certificates begin on {begin}: this peer waits until the clock is set"
            ),
        }
    }
}

/// Why a peer does not start, or ends before it is active.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings are out of bounds.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no CA to admit this peer.
    #[error("no certificate for this peer, and no ring CA's key in {} to make one; where that key is, `quoit admit` makes a bundle for `quoit join --bundle`", .certs_dir.display())]
    NoAuthority {
        /// The certificates directory that was searched.
        certs_dir: PathBuf,
    },
    /// `run` without an identity.
    #[error("no peer of a ring lives in {}; `quoit init` founds a ring, `quoit join` joins one", .data_dir.display())]
    NoIdentity {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The data directory belongs to another peer.
    #[error("{} belongs to peer {found}, not {asked}", .data_dir.display())]
    OtherIdentity {
        /// The data directory.
        data_dir: PathBuf,
        /// The peer to which the data directory belongs.
        found: String,
        /// The peer that was to be started.
        asked: String,
    },
    /// Another process uses the data directory.
    #[error("{} is in use by {}", .data_dir.display(), .process.map_or("another process".to_owned(), |id| format!("process {id}")))]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// The other process, where it is known.
        process: Option<u32>,
    },
    /// This machine's clock stands before the ring's certificates begin.
    #[error("this machine's clock says {now}; the ring's certificates begin on {begin}")]
    ClockNotSet {
        /// The day that the clock shows.
        now: String,
        /// The first day of the certificates.
        begin: String,
    },
    /// The port is taken, or the address is not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The UDP address to listen on.
        address: std::net::SocketAddr,
        /// The underlying error.
        source: io::Error,
    },
    /// A certificate or key cannot be read, made or used.
    #[error("certificates in {}: {reason}", .certs_dir.display())]
    Certificates {
        /// The certificates directory.
        certs_dir: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The bundle is damaged, or does not fit this peer.
    #[error("bundle {}: {reason}", .path.display())]
    Bundle {
        /// The path of the bundle.
        path: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The data directory cannot be made or read.
    #[error("data directory {}: {reason}", .data_dir.display())]
    Data {
        /// The data directory.
        data_dir: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The ring did not take this peer.
    #[error("cannot join through {known}: {reason}")]
    Join {
        /// The known peer, as the person named it.
        known: String,
        /// The reason, in words.
        reason: String,
    },
    /// This identity runs elsewhere with a later incarnation, or the peer could not go on.
    #[error("{0}")]
    Ended(String),
}

/// How a file is stored: its name, and which copies to wait for.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name in the ring; `None` for the file's own name.
    pub name: Option<FileName>,
    /// The number of copies to wait for.
    pub wait: Wait,
    /// The longest wait for these copies.
    pub timeout: Duration,
}

impl StoreOptions {
    /// One day: the longest timeout of a store.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { name: None, wait: Wait::Quorum, timeout: Duration::from_secs(30) }
    }
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
    /// `--wait` asks for fewer than W, or more than there can be.
    #[error("--wait {asked}: a store in this ring waits for {least} to {most} copies")]
    Wait {
        /// The number of copies that `--wait` asks for.
        asked: u8,
        /// The least that may be asked for: W.
        least: usize,
        /// The most that may be asked for: min(R, members).
        most: usize,
    },
    /// This peer is not, or no longer, active.
    #[error("{0}")]
    NotActive(String),
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
    #[error("no file named {name} in ring {ring}; {}", did_you_mean(.nearest.as_ref()))]
    UnknownName {
        /// The name that was asked for.
        name: FileName,
        /// The name of the ring.
        ring: String,
        /// The existing name that looks most like it, if any does.
        nearest: Option<FileName>,
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
    #[error("{0}")]
    NotActive(String),
}

/// An event in a peer's life, for people who watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The peer is not active yet and waits for others.
    WaitingFor {
        /// The peers it waits for: positions or addresses.
        peers: Vec<String>,
    },
    /// The peer is a member of the ring from now on.
    Active,
    /// The peer has taken over its ranges.
    Synced {
        /// The number of objects that came.
        objects: u64,
        /// The number of bytes of these objects.
        bytes: u64,
        /// The time since the peer became active, in milliseconds.
        ms: u64,
    },
    /// Pings went out.
    PingsSent {
        /// The peers that were pinged.
        to: Vec<PeerName>,
    },
    /// A ping came in.
    PingReceived {
        /// The peer that sent the ping.
        from: PeerName,
    },
    /// A ping was answered.
    PingAnswered {
        /// The peer that answered.
        from: PeerName,
    },
    /// A member does not answer any more.
    PeerDead {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A member left.
    PeerLeft {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A member that did not answer was forgotten; it is no longer a member.
    PeerForgotten {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A member is new, or back.
    PeerAlive {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// The first or second successor has changed.
    SuccessorChanged {
        /// The rank of the successor: 1 or 2.
        rank: u8,
        /// The new successor.
        peer: PeerName,
    },
    /// The predecessor has changed.
    PredecessorChanged {
        /// The new predecessor.
        peer: PeerName,
    },
    /// The FIRST and SECOND that were given are not the real successors.
    OrderDiffers {
        /// The successors that were given.
        given: Vec<PeerName>,
        /// The successors that the ring has.
        real: Vec<PeerName>,
    },
    /// A copy of an object arrived here, or was sent to another peer.
    Copied {
        /// The content id of the object.
        content: ContentId,
        /// The peer that received the copy; this peer itself if it was the receiver.
        to: PeerName,
    },
    /// A warning that the person should read.
    Warning(String),
    /// The peer ended, with the reason.
    Ended(String),
}

/// A list of peers as people read it: "4, 5 and 8".
pub fn peer_list(peers: &[PeerName]) -> String {
    word_list(peers.iter().map(PeerName::label))
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
    match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => "`Files --ring` lists what there is".to_owned(),
    }
}

/// The first few words, and the number of those left out.
fn first_words(words: &[String]) -> String {
    let more = words.len().saturating_sub(CANDIDATES_TOLD_MAX);
    let first = words.iter().take(CANDIDATES_TOLD_MAX).cloned();
    word_list(first.chain((more > 0).then(|| format!("{more} more"))))
}

/// The word that looks most like the given one: at most a third of its letters differ (Damerau–Levenshtein). `None` if
/// no word is that close.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word resembles no short one, and comparing costs the product of their lengths.
    let is_like = |other: &&str| other.len().abs_diff(word.len()) <= word.len() / 3 + 1;
    let compared = words.into_iter().filter(is_like).take(COMPARED_MAX);
    let lower = word.to_lowercase();
    compared
        .map(|other| (strsim::damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .min()
        .filter(|(distance, _)| *distance <= (word.chars().count() / 3).max(1))
        .map(|(_, other)| other)
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
/// The most words that one word is compared with.
const COMPARED_MAX: usize = 10_000;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        match error {
            RequestError::UnknownName { .. } | RequestError::UnknownContent { .. } => {
                Failure::not_found(error.to_string())
            }
            other => Failure::new(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_word_does_not_answer_or_takes_over() {
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
