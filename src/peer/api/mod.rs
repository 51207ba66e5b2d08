//! The requests to a running peer and its answers: the values that commands, gateways and tests see. No I/O here.
//!
//! Every operation of [`crate::peer::Handle`] that can fail has an error type of its own. None of them names an option of
//! the command line: a front end adds what its users can do about it.

mod commands;
mod connect;
mod events;
mod files;
mod names;
mod space;
mod start;
mod trees;

pub use crate::chord::{EndReason, JoinFailure};
pub use crate::files::{FindError, NotActive, Progress, Remains, StayReason};
pub use crate::transport::{BundleError, EnrolError, IdentityError, Ticket, TicketError, TicketHolder};
pub use crate::tree::{PathError, TreePath};
pub use crate::wire::TicketRefusal;
pub use crate::wire::word_list;
pub use crate::wire::{
    Amount, AtRisk, ByteRange, Doubt, DropReport, EvictReport, Failure, FailureKind, Fault, ForgetReport,
    Hindrance, HistoryReport, Lack, LackReason, LeavePlan, LeaveReport, Listed, MemberLine, Misbehaviour,
    MissingCopy, PeerName, PinReport, PingReport, RangeProof, RangeReport, RemoveReport, RequestReport,
    RestoreReport, RingFile, RingFiles, RingLine, ScrubReport, SelfReport, ShortFile, SpaceReport,
    StatusReport, StopAnswer, StopReport, StopSpan, StoreReport, UnkeptFiles, Unreachable, Verdict,
    Verifications, VersionChoice, VersionFile, VersionLine, VersionState, Wait, Wanted, WhereisReport,
    versioned,
};
pub use commands::{
    ForgetError, LeaveError, MayStopError, PingError, PlanLeaveError, ReadError, RingError, ScrubError,
    WhomError,
};
pub use connect::ConnectError;
pub use events::PeerEvent;
pub use files::{
    FilesError, RequestError, RingFilesError, StoreError, StoreItem, StoreOptions, missing_list,
};
pub(in crate::peer) use names::EDIT_TIMEOUT;
pub use names::{RemoveError, RestoreError};
pub use space::{DropError, PinError};
pub use start::{Ended, Entrance, StartError, StartNotice, StartOptions};
pub use trees::{BringError, BroughtTree, ChangeKind, TreeChange, TreeOptions, TreePlan, TreeReport};

/// A list of peers as people read it: "4, 5 and 8".
pub fn peer_list(peers: &[PeerName]) -> String {
    word_list(peers.iter().map(PeerName::label))
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

/// The most words that one word is compared with.
const COMPARED_MAX: usize = 10_000;
