//! Name records: the winner of two records, the place of the loser, and the sum of the votes of their keepers.
//!
//! | part | what it decides |
//! |---|---|
//! | `absence` | whether the names that a peer kept while it was away count; when it may drop tombstones |
//! | `record` | the order of records; the record that replaces another; the record that an owner lacks |
//! | `choice` | the version of a name that a person means |
//! | `grave` | the memory of a removal whose records are gone |
//! | `history` | the records that a peer keeps of one name, and the records that it takes |
//! | `references` | the objects that a name refers to |
//! | `retention` | how long the records of a name stay |
//! | `ring_clock` | the ring's time, by which writers date records and owners bound the future |
//! | `votes` | the verdict of the peers around a name key on a name |
//!
//! Pure. The greatest (clock, writer) wins, everywhere and in whatever order records arrive; of two that a writer dates
//! alike, the one with the greater id. A record that loses although the winner did not replace it is a sibling: it
//! stays in the history with its bytes. The receiver of a record checks its signature before it comes here.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod absence;
mod choice;
mod grave;
mod history;
mod record;
mod references;
mod retention;
mod ring_clock;
mod votes;

pub use absence::{Absence, Margins, Returned, Walks};
pub use choice::{Chosen, Version};
pub use grave::Grave;
pub use history::{Bygones, NameHistory, PastRecord, PutRefusal, VERSIONS_MAX};
pub use record::{
    CLOCK_AHEAD_MAX_MS, CheckedRecord, Greatest, NameEdit, Rank, content_of, next_record, object_of, tree_of,
};
pub use retention::NameTerms;
pub use ring_clock::{CLOCK_WRONG_MS, RingClock};
pub use votes::{Verdict, Vote, Votes};

#[cfg(test)]
mod sample;
