//! How a peer is started, and why it does not start.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::chord::EndReason;
use crate::config::{ByteLimit, Interval, RateSettings, RepairSettings, RingSettings, SettingsError};
use crate::id::Weight;
use crate::transport::{BundleError, EnrolError, IdentityError, Ticket, TransportSettings};
use crate::wire::{Address, word_list};

/// How a peer comes into its ring.
#[derive(Debug, Clone)]
pub enum Entrance {
    /// Found a ring.
    Found,
    /// Form a ring with others that start as well.
    Form {
        /// The two contacts to start from.
        contacts: [Address; 2],
    },
    /// Join a ring through a known peer.
    Join {
        /// The known peer through which this one comes in.
        known: Address,
    },
    /// Come back, with the identity and the remembered peers of the data directory.
    Resume,
}

/// How to start a peer.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The way in. If the data directory already holds an identity, [`Entrance::Resume`] takes its place.
    pub entrance: Entrance,
    /// The peer's number; `None` for a self-placed peer.
    pub number: Option<u8>,
    /// The weight of a self-placed peer beside the others of its ring. Where its certificate is made now, `None` means 1;
    /// otherwise the weight is the one in its certificate, and `Some` must equal it.
    pub weight: Option<Weight>,
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
    /// The ring's settings, where this peer brings them since it founds the ring; `None` to learn them.
    pub settings: Option<RingSettings>,
    /// The time between pings; `None` for the remembered or the default interval.
    pub interval: Option<Interval>,
    /// How this peer makes missing copies again.
    pub repair: RepairSettings,
    /// How many bytes of objects this peer exchanges with others within a second.
    pub rates: RateSettings,
    /// The most bytes that files may take at this peer; `None` for the remembered limit, or none.
    pub capacity: Option<ByteLimit>,
    /// The bytes of the file system that files leave free; `None` for the remembered or the default reserve.
    pub reserve: Option<ByteLimit>,
    /// How long a copy that is one too many stays while there is room.
    pub surplus_wait: Duration,
    /// The period within which each object is read and hashed again; zero for never. `None` for the remembered or the
    /// default period, [`StartOptions::SCRUB_EVERY`].
    pub scrub_every: Option<Duration>,
    /// The bundle that [`admit`](crate::peer::admit) made for this peer: CA certificate, certificate, and perhaps its key. It is put
    /// into the certificates directory.
    pub bundle: Option<PathBuf>,
    /// The file of the peer's key, if the bundle does not contain it.
    pub key: Option<PathBuf>,
    /// The ticket with which this machine gets its certificate; then `entrance` leads to the ticket's address.
    pub ticket: Option<Ticket>,
    /// The settings of the transport.
    pub transport: TransportSettings,
}

impl StartOptions {
    /// The default period within which each object is read and hashed again: 30 days.
    pub const SCRUB_EVERY: Duration = Duration::from_secs(30 * 24 * 3_600);

    /// Options with this way in and defaults for everything else: a self-placed peer in the default places.
    pub fn new(entrance: Entrance) -> StartOptions {
        StartOptions {
            entrance,
            number: None,
            weight: None,
            data_dir: None,
            certs_dir: None,
            listen: None,
            base_port: 12_000,
            advertise: None,
            settings: None,
            interval: None,
            repair: RepairSettings::default(),
            rates: RateSettings::default(),
            capacity: None,
            reserve: None,
            surplus_wait: SURPLUS_WAIT,
            scrub_every: None,
            bundle: None,
            key: None,
            ticket: None,
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
    /// The kept list of revoked keys is damaged.
    Revocations {
        /// The defect, in words.
        reason: String,
    },
}

impl std::fmt::Display for StartNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartNotice::AddressNotThere { address } => write!(
                f,
                "this machine has no address {} at the moment, so that this peer cannot listen on {address} yet; it tries again until it can",
                address.ip()
            ),
            StartNotice::ClockNotSet { now, begin } => write!(
                f,
                "this machine's clock says {now}; the ring's certificates begin on {begin}: this peer waits until the clock is set"
            ),
            StartNotice::Revocations { reason } => write!(
                f,
                "warning: the list of revoked keys is damaged ({reason}); this peer asks the others for it"
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
    #[error("no certificate for this peer, and no ring CA's key in {} to make one", .certs_dir.display())]
    NoAuthority {
        /// The certificates directory that was searched.
        certs_dir: PathBuf,
    },
    /// A peer is to come back, but there is no identity.
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
    #[error("certificates in {}: {source}", .certs_dir.display())]
    Certificates {
        /// The certificates directory.
        certs_dir: PathBuf,
        /// The defect.
        source: IdentityError,
    },
    /// The bundle is damaged, or does not fit the certificates directory.
    #[error("bundle {}: {source}", .path.display())]
    Bundle {
        /// The path of the bundle.
        path: PathBuf,
        /// The defect.
        source: Box<BundleError>,
    },
    /// The ticket brought no certificate.
    #[error("the ticket brings no certificate: {source}")]
    Ticket {
        /// The reason.
        source: Box<EnrolError>,
    },
    /// The key that was given beside the bundle is not the key of its certificate, or cannot be read.
    #[error("bundle {}: with {}: {source}", .path.display(), .key.display())]
    BundleKey {
        /// The path of the bundle.
        path: PathBuf,
        /// The path of the key.
        key: PathBuf,
        /// The defect.
        source: Box<BundleError>,
    },
    /// The bundle is of another peer than the one that was to be started.
    #[error("bundle {}: it is the bundle of peer {found}, not of peer {asked}", .path.display())]
    BundleOfOther {
        /// The path of the bundle.
        path: PathBuf,
        /// The peer of the bundle.
        found: String,
        /// The number of the peer that was to be started.
        asked: u8,
    },
    /// The peer's certificate says another weight than the one that was asked for.
    #[error(
        "peer {peer} has weight {found}, not {asked}: a weight is given to a new peer without a number, and stands in its certificate"
    )]
    OtherWeight {
        /// The peer.
        peer: String,
        /// The weight in its certificate.
        found: Weight,
        /// The weight that was asked for.
        asked: Weight,
    },
    /// A peer is to come back, and several live in the default place.
    #[error("data directory {}: {} peers live there: {}; say which", .dir.display(), .peers.len(), shown(.peers))]
    SeveralPeers {
        /// The folder of the data directories.
        dir: PathBuf,
        /// The data directories.
        peers: Vec<PathBuf>,
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
        known: Address,
        /// Why the peer ended.
        reason: Ended,
    },
    /// The peer ended before it was active.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why a peer has ended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The ring is the reason: the peer left it or could not join it, or its identity runs elsewhere.
    #[error(transparent)]
    InRing(#[from] EndReason),
    /// The peer's own certificate was revoked.
    #[error("this peer's certificate was revoked at {at}, so the ring refuses it; its files stay in {}, and only a peer with a new key can join", .data_dir.display())]
    Revoked {
        /// The time of the revocation, as RFC 3339.
        at: String,
        /// The peer's data directory.
        data_dir: PathBuf,
    },
    /// The peer was shut down.
    #[error("shut down")]
    ShutDown,
    /// The peer's tasks ended, and none of them said why.
    #[error("the peer has ended")]
    Unknown,
}

impl Ended {
    /// The settings of the ring, if they are the reason: this peer brought others.
    pub fn other_settings(&self) -> Option<RingSettings> {
        match self {
            Ended::InRing(EndReason::JoinFailed(failure)) => failure.other_settings(),
            _ => None,
        }
    }
}

fn shown(paths: &[PathBuf]) -> String {
    word_list(paths.iter().map(|path| path.display().to_string()))
}

/// How long a copy that is one too many stays while there is room: a week.
const SURPLUS_WAIT: Duration = Duration::from_secs(7 * 24 * 3_600);
