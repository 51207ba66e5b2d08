//! Which of the corrections to Chord hold. All of them, in every running peer: the switches are there for the
//! simulator, whose oracle has to see what goes wrong without them.

/// The corrections of P. Zave, *Reasoning About Identifier Spaces: How to Make Chord Correct* (IEEE TSE 2017), to
/// Chord as published in 2001 (Stoica et al., SIGCOMM). Only `sim` and tests name this type; a test holds that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A list that is undefined, its peer awaiting an answer, is not told: `Busy`. Else it is told as it is.
    pub busy_while_asking: bool,
    /// JOIN is checked again by whoever is asked: the joiner's place must be between it and its first
    /// successor. Else whoever is asked takes the joiner in.
    pub join_checked_again: bool,
    /// `j.succ := m.succ ; j.pred := m` in one step. Else the joiner has one successor and no predecessor.
    pub join_in_one_step: bool,
    /// `succ := s :: L[..r-1]` in one step. Else only the first entry changes with a new successor, and the rest
    /// follows at the next period.
    pub list_in_one_step: bool,
    /// FROM_PRED: who may lie before the first successor is asked for its list first, and adopted if it
    /// answers. Else it is adopted on the successor's word.
    pub candidate_asked_first: bool,
    /// RECTIFY: the predecessor is replaced, never forgotten. Else a dead one is forgotten, and whoever notifies
    /// next is taken.
    pub predecessor_kept: bool,
    /// Only members tell a list and are neighbours. Else a peer that is still on its way in answers as one.
    pub only_members_answer: bool,
    /// Fewer than r + 2 members keep a map instead. Else they go by the rules of a large ring.
    pub small_ring_map: bool,
    /// A peer that learns of a later life of its own, or of the end of its present one, begins a life above that. Else
    /// it goes on in the life that its disk names, which an older copy of the disk may have taken back.
    pub stale_life_raised: bool,
}

impl Rules {
    /// Chord of 2001: none of the corrections. Lives of a peer it does not know.
    pub fn original() -> Rules {
        Rules {
            busy_while_asking: false,
            join_checked_again: false,
            join_in_one_step: false,
            list_in_one_step: false,
            candidate_asked_first: false,
            predecessor_kept: false,
            only_members_answer: false,
            small_ring_map: false,
            stale_life_raised: true,
        }
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            busy_while_asking: true,
            join_checked_again: true,
            join_in_one_step: true,
            list_in_one_step: true,
            candidate_asked_first: true,
            predecessor_kept: true,
            only_members_answer: true,
            small_ring_map: true,
            stale_life_raised: true,
        }
    }
}
