//! Why a peer does not come into its ring.

use crate::config::{RingSettings, SettingsError};
use crate::id::Position;
use crate::wire::{Fault, Refusal};

/// Why a peer does not come into its ring. A position is that of the peer that answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinFailure {
    /// No asked peer answered within the time of a join.
    #[error("it does not answer")]
    Silent,
    /// A request got no answer; the text is the network's reason ([`super::Unanswered`]).
    #[error("{0}")]
    Unanswered(String),
    /// The asked peer waits for its own ring.
    #[error("peer {} is itself still waiting for its ring", .0.label())]
    Forming(Position),
    /// The asked peer's list was undefined each time.
    #[error("it is busy")]
    Busy,
    /// The asked peer is leaving, or was busy too often.
    #[error("it is busy, or leaving")]
    BusyOrLeaving,
    /// The asked peer is in no ring.
    #[error("peer {} is in no ring", .0.label())]
    InNoRing(Position),
    /// The asked peer refused this one.
    #[error("refused by peer {}: {refusal}", .by.label())]
    Refused {
        /// The asked peer.
        by: Position,
        /// Its reason.
        refusal: Refusal,
    },
    /// The asked peer names a later life of this peer than there can be.
    #[error("peer {} says that this peer has lived longer than it can have", .0.label())]
    ImpossibleLife(Position),
    /// The asked peer has other settings than this one brings. This peer does not mix with it.
    #[error("peer {} has other settings: {settings}", .of.label())]
    OtherSettings {
        /// The asked peer.
        of: Position,
        /// Its settings.
        settings: RingSettings,
    },
    /// The settings of the ring are out of bounds.
    #[error("the ring of peer {} has bad settings: {error}", .of.label())]
    BadSettings {
        /// The asked peer.
        of: Position,
        /// The defect of its settings.
        error: SettingsError,
    },
    /// The successors that the asked peer gave to this one are no list.
    #[error("as this peer's successors, peer {} names {fault}", .by.label())]
    BadSuccessors {
        /// The asked peer.
        by: Position,
        /// The fault in the list.
        fault: Fault,
    },
}

impl JoinFailure {
    /// The settings of the ring, if they are the reason: this peer brought others.
    pub fn other_settings(&self) -> Option<RingSettings> {
        match self {
            JoinFailure::OtherSettings { settings, .. }
            | JoinFailure::Refused { refusal: Refusal::SettingsDiffer(settings), .. } => Some(*settings),
            _ => None,
        }
    }
}
