//! The corrections to Chord that a node follows. Every running peer follows all of them. The switches exist for the
//! simulator, whose oracle has to see what goes wrong without them.

/// The corrections of P. Zave, *Reasoning About Identifier Spaces: How to Make Chord Correct* (IEEE TSE 2017), to
/// Chord as published in 2001 (Stoica et al., SIGCOMM). Only `sim` and tests name this type; a test holds that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// While a peer awaits an answer, its list is undefined, and it replies `Busy`. Without: it tells the list as it
    /// is.
    pub busy_while_asking: bool,
    /// The asked peer checks JOIN again: the joiner's place must lie between it and its first successor. Without: it
    /// takes the joiner in unchecked.
    pub join_checked_again: bool,
    /// `j.succ := m.succ ; j.pred := m` in one step. Without: the joiner has one successor and no predecessor.
    pub join_in_one_step: bool,
    /// `succ := s :: L[..r-1]` in one step. Without: only the first entry changes with a new successor, and the rest
    /// follows at the next period.
    pub list_in_one_step: bool,
    /// FROM_PRED: a peer that may lie before the first successor is first asked for its list, and adopted if it
    /// answers. Without: it is adopted on the successor's word.
    pub candidate_asked_first: bool,
    /// RECTIFY: the predecessor is replaced, never forgotten. Without: a dead predecessor is forgotten, and the next
    /// peer that notifies takes its place.
    pub predecessor_kept: bool,
    /// Only members tell a list and are neighbours. Without: a peer that is still entering answers like a member.
    pub only_members_answer: bool,
    /// Fewer than r + 2 members keep a map instead. Without: they follow the rules of a large ring.
    pub small_ring_map: bool,
    /// A peer that learns of a later life of its own, or of the end of its present one, begins a life above that.
    /// Without: it goes on in the life that its disk names, which an older copy of the disk may have taken back.
    pub stale_life_raised: bool,
}

impl Rules {
    /// Chord of 2001: none of the corrections. `stale_life_raised` holds, since that Chord knows no lives of a peer.
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
