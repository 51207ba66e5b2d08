//! What a running peer can be asked, and what it answers: the values that commands,
//! gateways and tests see. No I/O here.

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
    /// The way in. Where the data directory holds an identity already, [`Entrance::Resume`] takes its place.
    pub entrance: Entrance,
    /// The number; `None` for a self-placed peer.
    pub number: Option<u8>,
    /// Its data directory; `None` for the default place, one folder per peer.
    pub data_dir: Option<PathBuf>,
    /// Where the ring CA and the peers' certificates are; `None` for the default place.
    pub certs_dir: Option<PathBuf>,
    /// The UDP address to listen on; `None` for the one before, where the peer has lived before. Else for 127.0.0.1,
    /// or all addresses where there is a bundle, and the number's port, or port 12300 or the next free one for a
    /// self-placed peer.
    pub listen: Option<std::net::SocketAddr>,
    /// Number n stands for UDP port `base_port` + n.
    pub base_port: u16,
    /// Where other peers reach this one; `None` for the address it listens on.
    pub advertise: Option<Address>,
    /// The ring's settings, where this peer brings them (`init`); `None` to learn them.
    pub settings: Option<RingSettings>,
    /// Between pings; `None` for the remembered or the default one.
    pub interval: Option<Interval>,
    /// What `quoit admit` made for this peer: CA certificate, certificate, and its key or not. It is put
    /// into the certificates directory.
    pub bundle: Option<PathBuf>,
    /// The file of the bundle's key, where that is not in the bundle.
    pub key: Option<PathBuf>,
    /// How it uses the network.
    pub transport: TransportSettings,
}

impl StartOptions {
    /// This way in, and the defaults of everything else: a self-placed peer in the default places.
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

/// What a start waits for, told once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartNotice {
    /// This machine has not the address on which the peer is to listen.
    AddressNotThere {
        /// The address.
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
        /// Where it was looked for.
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
        /// Whose it is.
        found: String,
        /// Who was asked for.
        asked: String,
    },
    /// Another process has the data directory.
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
        /// The UDP address.
        address: std::net::SocketAddr,
        /// The underlying error.
        source: io::Error,
    },
    /// A certificate or key cannot be read, made or used.
    #[error("certificates in {}: {reason}", .certs_dir.display())]
    Certificates {
        /// The folder.
        certs_dir: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The bundle is no good, or does not fit.
    #[error("bundle {}: {reason}", .path.display())]
    Bundle {
        /// Its file.
        path: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The data directory cannot be made or read.
    #[error("data directory {}: {reason}", .data_dir.display())]
    Data {
        /// The folder.
        data_dir: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The ring did not take this peer.
    #[error("cannot join through {known}: {reason}")]
    Join {
        /// The known peer.
        known: String,
        /// The reason, in words.
        reason: String,
    },
    /// This identity lives elsewhere, at a later incarnation, or the peer could not go on.
    #[error("{0}")]
    Ended(String),
}

/// How to store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name, if not the file's own.
    pub name: Option<FileName>,
    /// What to wait for.
    pub wait: Wait,
    /// How long to wait for it.
    pub timeout: Duration,
}

impl StoreOptions {
    /// A day: nobody waits longer for a copy.
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
    /// It is no regular file.
    #[error("{} is {kind}, not a file", .path.display())]
    NotAFile {
        /// The path of the file or folder.
        path: PathBuf,
        /// What it is: "a directory", "a FIFO", …
        kind: &'static str,
    },
    /// Its name cannot be a name in the ring.
    #[error("{}: {source}", .path.display())]
    Name {
        /// Which file.
        path: PathBuf,
        /// What is wrong with its name.
        source: FileNameError,
    },
    /// The file was written to in the meantime.
    #[error("{} changed while it was stored; nothing was kept", .path.display())]
    Changed {
        /// The path of the file or folder.
        path: PathBuf,
    },
    /// Too few copies in time.
    #[error("{name}: {}", too_few_copies(*.durable, *.needed, *.waited, .missing))]
    TooFewCopies {
        /// Of what.
        name: FileName,
        /// How many are durable.
        durable: usize,
        /// How many were needed.
        needed: usize,
        /// How long was waited.
        waited: Duration,
        /// Who is missing.
        missing: Vec<MissingCopy>,
    },
    /// `--wait` asks for fewer than W, or more than there can be.
    #[error("--wait {asked}: a store in this ring waits for {least} to {most} copies")]
    Wait {
        /// What was asked.
        asked: u8,
        /// W.
        least: usize,
        /// min(R, members).
        most: usize,
    },
    /// This peer is not, or no longer, active.
    #[error("{0}")]
    NotActive(String),
    /// Something else that cannot be mended by waiting.
    #[error("{name}: {reason}")]
    Failed {
        /// Of what.
        name: FileName,
        /// The reason, in words.
        reason: String,
    },
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// All who would know say no.
    #[error("no file named {name} in ring {ring}; {}", did_you_mean(.nearest.as_ref()))]
    UnknownName {
        /// The name.
        name: FileName,
        /// The ring.
        ring: String,
        /// A name that there is, and that looks like it.
        nearest: Option<FileName>,
    },
    /// All who would know say no.
    #[error("no peer of ring {ring} holds sha256:{content}")]
    UnknownContent {
        /// The address, or its beginning.
        content: String,
        /// The ring.
        ring: String,
    },
    /// Several begin so.
    #[error("{beginning} is the beginning of {}: say which; they are {}", .candidates.len(), first_words(.candidates))]
    Ambiguous {
        /// What was asked for.
        beginning: String,
        /// What there is.
        candidates: Vec<String>,
    },
    /// Some who would know do not answer, or do not know yet.
    #[error("cannot tell whether there is {what}: {}", have_no_word(.silent, .taking_over))]
    CannotTell {
        /// What was asked for.
        what: String,
        /// Who does not answer.
        silent: Vec<PeerName>,
        /// Who has not been given all that it should have.
        taking_over: Vec<PeerName>,
    },
    /// There is such a file, but no holder answers.
    #[error("none of the holders of {content} answers; they are {}", peer_list(.holders))]
    Unreachable {
        /// The address.
        content: ContentId,
        /// The holders.
        holders: Vec<PeerName>,
    },
    /// Every holder sent something else.
    #[error("{content} arrived corrupt from peer {}; that copy was refused", .from)]
    Corrupt {
        /// The address.
        content: ContentId,
        /// From whom.
        from: PeerName,
    },
    /// The peer that was asked cannot keep it.
    #[error("peer {peer} cannot keep sha256:{content}: {reason}")]
    Disk {
        /// The peer.
        peer: PeerName,
        /// The address.
        content: ContentId,
        /// The reason, in words.
        reason: String,
    },
    /// This peer is not, or no longer, active.
    #[error("{0}")]
    NotActive(String),
}

/// What happens in a peer, as people follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// Not active yet: for whom it waits.
    WaitingFor {
        /// Positions or addresses.
        peers: Vec<String>,
    },
    /// A member of the ring from now on.
    Active,
    /// Took over its ranges.
    Synced {
        /// How many objects came.
        objects: u64,
        /// Their bytes.
        bytes: u64,
        /// Since it became active, in milliseconds.
        ms: u64,
    },
    /// Pings went out.
    PingsSent {
        /// To whom.
        to: Vec<PeerName>,
    },
    /// A ping came in.
    PingReceived {
        /// From whom.
        from: PeerName,
    },
    /// A ping was answered.
    PingAnswered {
        /// By whom.
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
    /// A member that did not answer was forgotten, and is none any more.
    PeerForgotten {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// A member is new, or back.
    PeerAlive {
        /// The peer, as people know it.
        peer: PeerName,
    },
    /// The first or second successor is another one.
    SuccessorChanged {
        /// 1 or 2.
        rank: u8,
        /// Who it is now.
        peer: PeerName,
    },
    /// The predecessor is another one.
    PredecessorChanged {
        /// Who it is now.
        peer: PeerName,
    },
    /// FIRST or SECOND was not the real order.
    OrderDiffers {
        /// What was given.
        given: Vec<PeerName>,
        /// What holds.
        real: Vec<PeerName>,
    },
    /// A file came, or was copied on.
    Copied {
        /// The content id.
        content: ContentId,
        /// To whom; this peer, when it received it.
        to: PeerName,
    },
    /// Something is wrong that the person should know.
    Warning(String),
    /// The peer ended; why.
    Ended(String),
}

/// Peers as people read them: "4, 5 and 8".
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

/// The first of many words.
fn first_words(words: &[String]) -> String {
    let more = words.len().saturating_sub(CANDIDATES_TOLD_MAX);
    let first = words.iter().take(CANDIDATES_TOLD_MAX).cloned();
    word_list(first.chain((more > 0).then(|| format!("{more} more"))))
}

/// The word that looks most like this one, if any looks like it: at most a third of its letters differ
/// (Damerau–Levenshtein).
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is like no short one, and comparing takes the product of their lengths.
    let is_like = |other: &&str| other.len().abs_diff(word.len()) <= word.len() / 3 + 1;
    let compared = words.into_iter().filter(is_like).take(COMPARED_MAX);
    let lower = word.to_lowercase();
    compared
        .map(|other| (strsim::damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .min()
        .filter(|(distance, _)| *distance <= (word.chars().count() / 3).max(1))
        .map(|(_, other)| other)
}

/// Missing copies as people read them: "peer 4 (does not answer)".
pub fn missing_list(missing: &[MissingCopy]) -> String {
    word_list(missing.iter().map(|m| format!("peer {} ({})", m.peer, m.reason)))
}

/// Why a store is not acknowledged. Copies that are there are no reason, so where all are it says what else is missing.
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

/// Candidates that an error names.
const CANDIDATES_TOLD_MAX: usize = 8;
/// Words that one is compared with.
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
