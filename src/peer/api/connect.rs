//! Why a client does not reach the peer that is meant.

use std::path::PathBuf;

use crate::blob::BlobError;
use crate::transport::{BundleError, DialError, IdentityError};
use crate::wire::{Address, Failure, word_list};

/// Why [`Client::connect`](crate::peer::Client::connect) reaches no peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No peer of this name lives in the folder of data directories.
    #[error("no peer {wanted:?} lives here; {}", did_you_mean(.nearest.as_deref()))]
    UnknownPeer {
        /// The word by which the peer was asked for.
        wanted: String,
        /// The name of the peer here that looks most like it, if any does.
        nearest: Option<String>,
    },
    /// No peer lives in the folder of data directories, and none was named.
    #[error("no peer lives in {}; `quoit init` founds a ring, `quoit join` joins one", .dir.display())]
    NoPeer {
        /// The folder that was searched.
        dir: PathBuf,
    },
    /// Several peers live in the folder, and none of them runs.
    #[error("none of the {} peers in {} is running", .data_dirs.len(), .dir.display())]
    NoneRuns {
        /// The folder that was searched.
        dir: PathBuf,
        /// The data directories of these peers.
        data_dirs: Vec<PathBuf>,
    },
    /// Several peers run here, and none was named.
    #[error("{} peers run here: {}; say which", .peers.len(), word_list(.peers.iter().cloned()))]
    SeveralRun {
        /// The names of these peers.
        peers: Vec<String>,
    },
    /// The peer is not running.
    #[error("peer {peer} is not running")]
    NotRunning {
        /// The name of the peer.
        peer: String,
        /// The data directory of the peer.
        data_dir: PathBuf,
    },
    /// The peer runs, but does not listen yet.
    #[error("peer {peer} is starting and takes no commands yet; what it waits for is in its own output")]
    Starting {
        /// The name of the peer.
        peer: String,
    },
    /// The port of a numbered peer would be beyond 65535.
    #[error("peer {number} would have UDP port {port}, beyond 65535")]
    PortTooHigh {
        /// The number of the peer.
        number: u8,
        /// The port that it would have.
        port: u32,
    },
    /// The data directory of a peer cannot be read.
    #[error(transparent)]
    Data(#[from] BlobError),
    /// The bundle to command with is unusable.
    #[error("{}: {source}", .path.display())]
    Bundle {
        /// The path of the bundle.
        path: PathBuf,
        /// The defect.
        source: BundleError,
    },
    /// A peer elsewhere is meant, and there is no certificate to command it with.
    #[error(
        "a peer elsewhere takes commands only with its own key, or with a certificate for client.quoit from \
         where the ring's CA key is"
    )]
    NoCertificate,
    /// The key of the peer cannot be read here.
    #[error("no key to command peer {peer} with: {source}")]
    NoKey {
        /// The name of the peer.
        peer: String,
        /// The defect.
        source: IdentityError,
    },
    /// The peer does not answer at its address.
    #[error("{peer} does not answer at {address}")]
    NoAnswer {
        /// The peer in words.
        peer: String,
        /// The address that was dialled.
        address: Address,
        /// The data directory of the peer, if it is on this machine.
        data_dir: Option<PathBuf>,
    },
    /// The peer takes no commands with this certificate.
    #[error("{peer} takes commands only with its own key, or with a certificate for client.quoit")]
    NotAllowed {
        /// The peer in words.
        peer: String,
    },
    /// The certificate to command with was revoked.
    #[error("{peer} takes no commands with this certificate, since it was revoked")]
    Revoked {
        /// The peer in words.
        peer: String,
    },
    /// The peer is not reached for another reason.
    #[error("cannot reach {peer}: {source}")]
    Unreached {
        /// The peer in words.
        peer: String,
        /// The underlying error.
        source: Box<DialError>,
    },
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::new(error.to_string())
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    match nearest {
        Some(label) => format!("did you mean {label}?"),
        None => "a peer is a number from 0 to 255, a display name, or HOST:PORT".to_owned(),
    }
}
