//! "May these peers stop?": the answer, from the same reports as the verdict.
//!
//! For a while, no copy is made: the peers are waited for. Then every file must stay readable at the others, and enough
//! of them must answer for a store to be acknowledged. For good, the peers leave: they give their copies to the others
//! first, so that enough members with enough room must be left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::verdict::{Standing, Survey};
use crate::id::Position;
use crate::wire::{Doubt, Hindrance, PeerName, StopAnswer, StopReport, StopSpan};

/// The files after the stop.
#[derive(Debug, Default)]
struct After {
    /// The number of files that no other member which answers has.
    only_there: u64,
    /// The members that lack copies of these.
    lacking: BTreeSet<Position>,
    /// The fewest copies of any other file; `None` without such a file.
    least: Option<usize>,
    /// The number of files with one copy.
    alone: u64,
    /// The number of files whose holders are known only by number, and may all be among the peers that stop.
    uncounted: u64,
}

/// Answers whether these peers may stop, all at once. `away_limit` is the time for which a member that does not answer
/// is waited for; `named` gives the name of a peer for people.
pub fn may_stop(
    survey: &Survey,
    stop: &BTreeSet<Position>,
    span: StopSpan,
    away_limit: Duration,
    named: &dyn Fn(&Position) -> PeerName,
) -> StopReport {
    let stopping: BTreeSet<Position> =
        survey.answering().filter(|peer| stop.contains(*peer)).copied().collect();
    let answering = survey.answering().count() - stopping.len();
    let for_good = span == StopSpan::ForGood;
    let members = match for_good {
        true => survey.members.keys().filter(|peer| !stop.contains(*peer)).count().max(1),
        false => survey.members.len(),
    };
    let quorum = survey.settings.write_quorum(members);
    let mut after = after(survey, stop, stopping.len());
    if for_good {
        // Files that only the peers which stop can have, and which they cannot hand over, since they do not answer.
        after.only_there = survey.lost.values().filter(|lacking| !lacking.is_disjoint(stop)).count() as u64;
        after.lacking.clear();
    }
    let waited_for = match span {
        StopSpan::AWhile => true,
        StopSpan::For { ms } => u128::from(ms) <= away_limit.as_millis(),
        StopSpan::ForGood => false,
    };
    let (to_copy, room) = if waited_for { (0, 0) } else { room_for_copies(survey, stop, answering) };
    let hindrance = match () {
        () if after.only_there > 0 => Some(Hindrance::Unreadable),
        () if for_good && answering < usize::from(survey.settings.replicas) => Some(Hindrance::TooFewMembers),
        () if !for_good && answering < quorum => Some(Hindrance::NoStores),
        () => None,
    };
    let doubt = match () {
        () if survey.unheard().next().is_some() => Some(Doubt::Unheard),
        () if !survey.syncing.is_empty() => Some(Doubt::Syncing),
        () if !for_good && after.uncounted > 0 => Some(Doubt::Uncounted),
        () => None,
    };
    let answer = match (hindrance, doubt) {
        (Some(hindrance), _) => StopAnswer::No(hindrance),
        (None, Some(doubt)) => StopAnswer::CannotTell(doubt),
        (None, None) if for_good && room < to_copy => StopAnswer::No(Hindrance::NoRoom),
        (None, None) => StopAnswer::Yes,
    };
    StopReport {
        peers: stop.iter().map(named).collect(),
        span,
        answer,
        absent: stop.difference(&stopping).map(named).collect(),
        files: survey.files(),
        unreadable: survey.lost.len() as u64,
        only_there: after.only_there,
        lacks: survey.lacks(&after.lacking, named),
        copies_least: after.least.unwrap_or_default() as u64,
        alone: after.alone,
        answering: answering as u64,
        quorum: quorum as u64,
        replicas: survey.settings.replicas.into(),
        to_copy_bytes: to_copy,
        room_bytes: room,
        away_limit_ms: away_limit.as_millis() as u64,
        unheard: survey.unheard().map(named).collect(),
        syncing: survey.syncing.iter().map(named).collect(),
    }
}

/// The copies of the files once these peers have stopped; `stopping` of them answer now.
fn after(survey: &Survey, stop: &BTreeSet<Position>, stopping: usize) -> After {
    let mut after = After::default();
    for set in &survey.sets {
        let left = set.holders.iter().filter(|peer| !stop.contains(*peer)).count();
        match left {
            0 => {
                after.only_there = after.only_there.saturating_add(set.files);
                after.lacking.extend(set.lacking.iter().filter(|peer| !stop.contains(*peer)));
            }
            1 => after.alone = after.alone.saturating_add(set.files),
            _ => {}
        }
        if left > 0 {
            after.least = Some(after.least.map_or(left, |least| least.min(left)));
        }
    }
    for (copies, (files, _)) in &survey.beyond {
        match copies.saturating_sub(stopping) {
            0 => after.uncounted = after.uncounted.saturating_add(*files),
            left => after.least = Some(after.least.map_or(left, |least| least.min(left))),
        }
    }
    after
}

/// The bytes of the copies that would have to be made at the members that stay, and those of them for which these
/// members have room. A member has at most one copy of a file.
fn room_for_copies(survey: &Survey, stop: &BTreeSet<Position>, answering: usize) -> (u64, u64) {
    let wanted = answering.min(survey.settings.replicas.into());
    let mut free: BTreeMap<Position, u64> = BTreeMap::new();
    for (peer, standing) in &survey.members {
        if let Standing::Answers { full, free_bytes } = standing
            && !stop.contains(peer)
        {
            free.insert(*peer, if *full { 0 } else { *free_bytes });
        }
    }
    // The number of copies to be made, the bytes of one, and the members that have one already.
    let mut needed: Vec<(u64, u64, Vec<Position>)> = Vec::new();
    for set in &survey.sets {
        let left: Vec<Position> = set.holders.iter().filter(|peer| !stop.contains(*peer)).copied().collect();
        needed.push((wanted.saturating_sub(left.len()) as u64, set.bytes, left));
    }
    let stopping = survey.answering().filter(|peer| stop.contains(*peer)).count();
    for (copies, (_, bytes)) in &survey.beyond {
        needed.push((wanted.saturating_sub(copies.saturating_sub(stopping)) as u64, *bytes, Vec::new()));
    }
    // The largest first: they find places with the most difficulty.
    needed.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    let (mut to_copy, mut room) = (0u64, 0u64);
    for (copies, bytes, holders) in needed {
        let mut left = bytes.saturating_mul(copies);
        to_copy = to_copy.saturating_add(left);
        let mut places: Vec<&mut u64> =
            free.iter_mut().filter(|(peer, _)| !holders.contains(peer)).map(|(_, free)| free).collect();
        places.sort_by_key(|free| std::cmp::Reverse(**free));
        for place in places {
            let taken = left.min(bytes).min(*place);
            *place -= taken;
            left -= taken;
            room = room.saturating_add(taken);
        }
    }
    (to_copy, room)
}

#[cfg(test)]
mod tests;
