//! Reports on how safe the files of a ring are: the verdict, and the answer to "may these peers
//! stop?".
//!
//! Plain values, as in [`super::report`]: whoever shows them words them.

use serde::{Deserialize, Serialize};

use super::{Listed, PeerName};

/// How safe the files of the ring are, as its members that answer report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The number of members that are believed to answer, the asked peer among them; 0 while it is in no ring.
    pub members: u64,
    /// The number of these members that reported.
    pub heard: u64,
    /// The number of members that do not answer.
    pub away: u64,
    /// R, the number of copies that the ring keeps of each file where it has so many members.
    pub replicas: u64,
    /// The number of copies that each file should have: min(R, members), away members among them.
    pub copies: u64,
    /// W, the number of copies that acknowledge a store.
    pub quorum: u64,
    /// The number of files, those without a copy among them.
    pub files: u64,
    /// The number of bytes of one copy of each file that has a copy.
    pub bytes: u64,
    /// The number of files that have a copy, but fewer than they should.
    pub short: u64,
    /// The fewest copies of any file that has one, at most [`Verdict::copies`]; 0 without such a file.
    pub copies_least: u64,
    /// The number of files without a copy at a member that answers.
    pub unreadable: u64,
    /// Whether there are more of these than are counted.
    pub more_unreadable: bool,
    /// The members that should have copies of these files and do not answer, at most
    /// [`super::limits::VERDICT_PEERS_MAX`].
    pub unreadable_on: Vec<Lack>,
    /// The members that have the only copy of some file, those with the most such files first; at most
    /// [`super::limits::VERDICT_PEERS_MAX`] of them.
    pub at_risk: Listed<AtRisk>,
    /// Why files have fewer copies than they should, at most [`super::limits::VERDICT_PEERS_MAX`] members.
    pub lacks: Vec<Lack>,
    /// The members that are still taking over their part of the ring, at most [`super::limits::VERDICT_PEERS_MAX`] of
    /// them: some files may not be counted yet.
    pub syncing: Listed<PeerName>,
}

impl Verdict {
    /// The number of further failures that every file survives; `None` if some file cannot be read now, or there is
    /// none.
    pub fn survives(&self) -> Option<u64> {
        (self.unreadable == 0).then(|| self.copies_least.checked_sub(1)).flatten()
    }

    /// Whether the files are all there with all their copies, as all members that answer report.
    pub fn is_whole(&self) -> bool {
        self.members > 0 && self.heard == self.members && self.short == 0 && self.unreadable == 0
    }
}

/// A member that has the only copy of some files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// The member.
    pub peer: PeerName,
    /// The number of files that would be lost with it.
    pub files: u64,
    /// Why there are no other copies, at most [`super::limits::VERDICT_PEERS_MAX`] members.
    pub reasons: Vec<Lack>,
}

/// A member that lacks copies which it should have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lack {
    /// The member.
    pub peer: PeerName,
    /// Why it lacks them.
    pub reason: LackReason,
}

/// Why a member lacks copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LackReason {
    /// The member does not answer, and is waited for.
    Away {
        /// Since when, in milliseconds since the Unix epoch, if that is known.
        since_ms: Option<u64>,
    },
    /// The member has not answered for so long that it is not waited for.
    Gone {
        /// Since when, in milliseconds since the Unix epoch, if that is known.
        since_ms: Option<u64>,
    },
    /// The member did not answer now; the ring does not count it as away yet.
    Silent,
    /// The member has no room.
    Full,
    /// The member is still taking over its part of the ring.
    Syncing,
    /// The copies are not made yet.
    NotYet,
}

/// How long peers are to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSpan {
    /// For a while.
    #[default]
    AWhile,
    /// For a known time.
    For {
        /// The time in milliseconds.
        ms: u64,
    },
    /// For good: they leave the ring.
    ForGood,
}

/// The answer to "may these peers stop?", and the figures behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// The peers that are to stop, all at once; at most [`super::limits::STOPPING_MAX`].
    pub peers: Vec<PeerName>,
    /// For how long.
    pub span: StopSpan,
    /// The answer.
    pub answer: StopAnswer,
    /// The peers to stop that do not answer now.
    pub absent: Vec<PeerName>,
    /// The number of files in the ring.
    pub files: u64,
    /// The number of files that cannot be read even now.
    pub unreadable: u64,
    /// The number of files that no other member which answers has.
    pub only_there: u64,
    /// Why other members lack copies of these, at most [`super::limits::VERDICT_PEERS_MAX`] members.
    pub lacks: Vec<Lack>,
    /// The fewest copies that any other file would have; 0 without such a file.
    pub copies_least: u64,
    /// The number of files that would have one copy.
    pub alone: u64,
    /// The number of members that would still answer.
    pub answering: u64,
    /// W, the number of members on which a store needs copies.
    pub quorum: u64,
    /// R, the number of copies that the ring keeps of each file.
    pub replicas: u64,
    /// The number of bytes that would be copied to other members; 0 if the peers are waited for.
    pub to_copy_bytes: u64,
    /// The number of these bytes for which the other members have room.
    pub room_bytes: u64,
    /// How long a member that does not answer is waited for before copies are made elsewhere, in milliseconds.
    pub away_limit_ms: u64,
    /// The members that did not report on their files.
    pub unheard: Listed<PeerName>,
    /// The members that are still taking over their part of the ring.
    pub syncing: Listed<PeerName>,
}

/// Whether peers may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopAnswer {
    /// Every file stays readable, and stores are still acknowledged; for good also: all copies can be made elsewhere.
    Yes,
    /// Something would be missing.
    No(Hindrance),
    /// The reports do not tell.
    CannotTell(Doubt),
}

/// Why peers may not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hindrance {
    /// Files could not be read: no other member that answers has them.
    Unreadable,
    /// Stores would not be acknowledged: fewer members than the write quorum would answer.
    NoStores,
    /// Fewer members would be left than copies are kept.
    TooFewMembers,
    /// The members that are left have no room for the copies.
    NoRoom,
}

/// Why it cannot be told whether peers may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// A member did not report on its files.
    Unheard,
    /// A member is still taking over its part of the ring, so that some files may not be counted.
    Syncing,
    /// The holders of some files are only known by number.
    Uncounted,
}
