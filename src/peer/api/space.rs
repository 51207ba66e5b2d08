//! The errors of the commands about the room for files.

use super::{MissingCopy, PeerName, RequestError, missing_list, peer_list};
use crate::blob::BlobError;
use crate::files::NotActive;
use crate::id::ContentId;
use crate::wire::Failure;

/// Why a file is not pinned, or its pin does not end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The file cannot be found or brought here.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The bytes pass through this peer, which has no room to keep them.
    #[error("sha256:{content} cannot be pinned: this peer has no room to keep it")]
    NotKept {
        /// The content id of the file.
        content: ContentId,
    },
    /// The index cannot be read or written.
    #[error("cannot note the pin: {source}")]
    Disk {
        /// The underlying error.
        #[from]
        source: BlobError,
    },
}

/// Why a peer's copy of a file is not freed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropError {
    /// The file cannot be found.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// This peer is in no ring.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// There is no copy here.
    #[error("this peer has no copy of sha256:{content}")]
    NotHere {
        /// The content id of the file.
        content: ContentId,
    },
    /// The copy is pinned.
    #[error("sha256:{content} is pinned here; it stays until it is unpinned")]
    Pinned {
        /// The content id of the file.
        content: ContentId,
    },
    /// This peer is one of the peers that should keep the file.
    #[error(
        "sha256:{content} belongs here: peers {} keep it, and without this copy there would be one too few",
        peer_list(.keepers)
    )]
    Belongs {
        /// The content id of the file.
        content: ContentId,
        /// The peers that should keep the file, this one among them.
        keepers: Vec<PeerName>,
    },
    /// Not enough other peers have a copy.
    #[error("the copy of sha256:{content} here may be one of the last: {}", too_few(*.needed, .holders, .missing))]
    TooFew {
        /// The content id of the file.
        content: ContentId,
        /// R, the number of peers that have to have a copy.
        needed: usize,
        /// The peers that have one, by their own word.
        holders: Vec<PeerName>,
        /// The peers that should have one and did not say so, with reasons.
        missing: Vec<MissingCopy>,
    },
    /// Another peer is freeing its copy at the moment.
    #[error("peer {peer} is freeing its copy of sha256:{content} at the moment; try again in two minutes")]
    Another {
        /// The content id of the file.
        content: ContentId,
        /// That peer.
        peer: PeerName,
    },
    /// Nobody could say whether the file is safe elsewhere.
    #[error("cannot tell whether sha256:{content} is safe elsewhere: {why}")]
    NoWord {
        /// The content id of the file.
        content: ContentId,
        /// The reason, in words.
        why: String,
    },
    /// The copy is in use.
    #[error(
        "the copy of sha256:{content} is in use at the moment, or another peer counts on it since a moment; try again"
    )]
    InUse {
        /// The content id of the file.
        content: ContentId,
    },
    /// The copies here cannot be listed.
    #[error("cannot list this peer's copies: {why}")]
    Unreadable {
        /// The reason, in words.
        why: String,
    },
    /// The disk failed.
    #[error("cannot free the copy of sha256:{content}: {why}")]
    Disk {
        /// The content id of the file.
        content: ContentId,
        /// The reason, in words.
        why: String,
    },
}

fn too_few(needed: usize, holders: &[PeerName], missing: &[MissingCopy]) -> String {
    let have = match holders {
        [] => "no other peer vouches for a copy".to_owned(),
        holders => format!("of the {needed} that should keep it, {} vouched for a copy", peer_list(holders)),
    };
    if missing.is_empty() { have } else { format!("{have}; {}", missing_list(missing)) }
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Failure {
        match error {
            PinError::Request(error) => error.into(),
            error => Failure::new(error.to_string()),
        }
    }
}

impl From<DropError> for Failure {
    fn from(error: DropError) -> Failure {
        match error {
            DropError::Request(error) => error.into(),
            DropError::NotHere { .. } => Failure::not_found(error.to_string()),
            error => Failure::new(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Position;
    use crate::wire::MissingReason;

    #[test]
    fn a_refusal_names_the_others() {
        let peer = |number| PeerName { position: Position::of_number(number), name: None };
        let content = ContentId::of(b"a");
        let error = DropError::TooFew {
            content,
            needed: 3,
            holders: vec![peer(1), peer(2)],
            missing: vec![MissingCopy { peer: peer(3), reason: MissingReason::NotYet }],
        };
        let said = error.to_string();
        assert!(said.contains("of the 3 that should keep it, 1 and 2 vouched for a copy"), "{said}");
        assert!(said.contains('3') && said.contains("its copy is not complete yet"), "{said}");
        let error = DropError::Belongs { content, keepers: vec![peer(1), peer(2), peer(3)] };
        assert!(error.to_string().contains("peers 1, 2 and 3 keep it"), "{error}");
        assert!(Failure::from(DropError::NotHere { content }).is_not_found());
    }
}
