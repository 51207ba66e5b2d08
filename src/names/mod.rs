//! Name records: the winner of two records, the place of the loser, and the sum of the votes of their keepers.
//!
//! | part | what it decides |
//! |---|---|
//! | `record` | the order of records; the record that replaces another; the record that an owner lacks |
//! | `choice` | the version of a name that a person means |
//! | `history` | the records that a peer keeps of one name, and the records that it takes |
//! | `references` | the objects that a name refers to |
//! | `ring_clock` | the ring's time, by which writers date records and owners bound the future |
//! | `votes` | the verdict of the peers around a name key on a name |
//!
//! Pure. The greatest (clock, writer) wins, everywhere and in whatever order records arrive; of two that a writer dates
//! alike, the one with the greater id. A record that loses although the winner did not replace it is a sibling: it
//! stays in the history with its bytes. The receiver of a record checks its signature before it comes here.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod choice;
mod history;
mod record;
mod references;
mod ring_clock;
mod votes;

pub use choice::{Chosen, Version};
pub use history::{Bygones, HISTORY_MAX, NameHistory, PastRecord, PutRefusal};
pub use record::{
    CLOCK_AHEAD_MAX_MS, CheckedRecord, Greatest, NameEdit, Rank, content_of, next_record, object_of, tree_of,
};
pub use ring_clock::{CLOCK_WRONG_MS, RingClock};
pub use votes::{Verdict, Vote, Votes};

#[cfg(test)]
mod sample;
