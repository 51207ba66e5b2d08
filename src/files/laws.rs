//! The laws of the store that a peer keeps. Every running peer keeps all of them. The switches exist for the simulator,
//! whose oracle has to see what goes wrong without them.

/// The laws that a store, a read, a departure and a restart keep to. Only `sim` and tests name this type; a test holds
/// that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Laws {
    /// A store is acknowledged once W copies are durable. Without: once W − 1 are.
    pub w_copies: bool,
    /// The owner of the key is looked up again before a store is acknowledged, and must have a copy. Without: enough
    /// copies acknowledge it, whichever peer owns the key by then.
    pub owner_looked_up_again: bool,
    /// A copy is durable once it is synced. Without: once all its bytes were written.
    pub synced_first: bool,
    /// The name is written once the bytes are durable. Without: before.
    pub bytes_before_name: bool,
    /// The "no" of a peer that is taking over is no vote. Without: it counts.
    pub no_vote_while_taking_over: bool,
    /// A name has no record only by the votes of several peers. Without: by the owner's alone.
    pub several_noes: bool,
    /// W is a majority of the copies that all members would keep. Without: of those that answering members would keep.
    pub w_of_all_members: bool,
    /// Bytes from another peer are checked. Without: they are believed.
    pub bytes_checked: bool,
    /// A peer leaves once others have copies. Without: it leaves at once.
    pub leaves_copies: bool,
    /// An object that is just being sent to a peer does not count as being there. Without: it does.
    pub arriving_is_not_here: bool,
    /// After a crash, the hash of its bytes decides how much of a partial object counts. Without: the notes about it
    /// do.
    pub parts_hashed_again: bool,
    /// A copy that is one too many is freed once its owner has granted that. Without: as soon as its peer believes that
    /// it is one too many.
    pub drops_are_granted: bool,
    /// Two peers hold the same of a range if the digests are the same. Without: if they hold as many objects and records.
    pub digests_compared: bool,
    /// A peer whose names may be out of date after an absence drops them. Without: they count.
    pub stale_names_dropped: bool,
}

impl Default for Laws {
    fn default() -> Laws {
        Laws {
            w_copies: true,
            owner_looked_up_again: true,
            synced_first: true,
            bytes_before_name: true,
            no_vote_while_taking_over: true,
            several_noes: true,
            w_of_all_members: true,
            bytes_checked: true,
            leaves_copies: true,
            arriving_is_not_here: true,
            parts_hashed_again: true,
            drops_are_granted: true,
            digests_compared: true,
            stale_names_dropped: true,
        }
    }
}
