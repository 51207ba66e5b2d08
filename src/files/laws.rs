//! Which laws of the store hold. All of them, in every running peer: the switches are there for the simulator, whose
//! oracle has to see what goes wrong without them.

/// The laws that a store, a read, a departure and a restart keep to. Only `sim` and tests name this type; a test holds
/// that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Laws {
    /// A store is acknowledged once W copies are durable. Else after W − 1.
    pub w_copies: bool,
    /// The owner of the key is looked up again before a store is acknowledged, and must have a copy. Else whoever
    /// owned it at the beginning does.
    pub owner_looked_up_again: bool,
    /// A copy is durable once it is synced. Else once all its bytes were written.
    pub synced_first: bool,
    /// The name is written once the bytes are durable. Else before.
    pub bytes_before_name: bool,
    /// The "no" of a peer that is taking over is no vote. Else it counts.
    pub no_vote_while_taking_over: bool,
    /// It takes the word of several that there is nothing. Else the owner's alone.
    pub several_noes: bool,
    /// W is a majority of the copies that all members would keep. Else of those that answer.
    pub w_of_all_members: bool,
    /// Bytes that come from another peer are checked. Else they are believed.
    pub bytes_checked: bool,
    /// A peer leaves once others have copies. Else at once.
    pub leaves_copies: bool,
    /// Of an object that a peer is just being sent it is not believed that it is there. Else it is.
    pub arriving_is_not_here: bool,
    /// After a crash a part of an object is worth what its bytes hash to. Else what was noted of it.
    pub parts_hashed_again: bool,
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
        }
    }
}
