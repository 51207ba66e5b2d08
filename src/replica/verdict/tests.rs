//! Verdicts on small rings.

use super::super::sample::peer;
use super::*;
use crate::wire::{CopiesBeyond, LostFile};

pub(in crate::replica) const HERE: Standing = Standing::Answers { full: false, free_bytes: 1_000 };
pub(in crate::replica) const AWAY: Standing = Standing::Away { since_ms: Some(12_000), gone: false };

pub(in crate::replica) fn peers(numbers: &[u8]) -> Vec<Position> {
    numbers.iter().map(|number| peer(*number)).collect()
}

pub(in crate::replica) fn ring(members: &[(u8, Standing)]) -> Survey {
    let members = members.iter().map(|(number, standing)| (peer(*number), *standing)).collect();
    Survey::new(RingSettings::default(), members)
}

pub(in crate::replica) fn set(holders: &[u8], lacking: &[u8], files: u64) -> CopySet {
    CopySet { holders: peers(holders), lacking: peers(lacking), files, bytes: 10 * files }
}

pub(in crate::replica) fn counts(sets: &[CopySet]) -> CopyCounts {
    CopyCounts { sets: sets.to_vec(), ..CopyCounts::default() }
}

pub(in crate::replica) fn named(peer: &Position) -> PeerName {
    PeerName::from(*peer)
}

fn lack(number: u8, reason: LackReason) -> Lack {
    Lack { peer: named(&peer(number)), reason }
}

const SINCE: LackReason = LackReason::Away { since_ms: Some(12_000) };

#[test]
fn a_whole_ring() {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, HERE), (40, HERE)]);
    survey.hear(peer(10), counts(&[set(&[10, 20, 30], &[], 4), set(&[10, 20, 30, 40], &[], 1)]));
    survey.hear(peer(20), counts(&[set(&[20, 30, 40], &[], 5)]));
    survey.hear(peer(30), counts(&[]));
    survey.hear(peer(40), counts(&[]));
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.members, verdict.heard, verdict.away), (4, 4, 0));
    assert_eq!((verdict.copies, verdict.quorum, verdict.replicas), (3, 2, 3));
    assert_eq!((verdict.files, verdict.bytes, verdict.short, verdict.copies_least), (10, 100, 0, 3));
    assert_eq!(verdict.survives(), Some(2));
    assert!(verdict.is_whole() && verdict.at_risk.is_empty() && verdict.lacks.is_empty());
}

#[test]
fn a_ring_of_one() {
    let mut survey = ring(&[(10, HERE)]);
    survey.hear(peer(10), counts(&[set(&[10], &[], 12)]));
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.copies, verdict.copies_least, verdict.short), (1, 1, 0));
    assert_eq!(verdict.survives(), Some(0));
    assert_eq!(verdict.at_risk.first, [AtRisk { peer: named(&peer(10)), files: 12, reasons: Vec::new() }]);
    let empty = ring(&[(10, HERE)]).verdict(&named);
    assert_eq!((empty.files, empty.copies_least, empty.survives()), (0, 0, None));
    assert!(!empty.is_whole(), "its one member has not reported");
}

#[test]
fn a_file_that_only_one_member_has_is_at_risk_and_says_why() {
    let full = Standing::Answers { full: true, free_bytes: 0 };
    let mut survey = ring(&[(10, HERE), (20, AWAY), (30, full), (40, HERE)]);
    survey.hear(peer(10), counts(&[set(&[10], &[20, 30, 40], 3), set(&[10, 40], &[20], 2)]));
    survey.hear(peer(30), counts(&[]));
    survey.hear(peer(40), counts(&[set(&[40], &[20], 7)]));
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.files, verdict.short, verdict.copies_least), (12, 12, 1));
    assert_eq!(verdict.at_risk.total, 2);
    assert_eq!(
        verdict.at_risk.first,
        [
            AtRisk { peer: named(&peer(40)), files: 7, reasons: vec![lack(20, SINCE)] },
            AtRisk {
                peer: named(&peer(10)),
                files: 3,
                reasons: vec![lack(20, SINCE), lack(30, LackReason::Full)],
            },
        ],
        "40 only needs more time, which is no reason beside others"
    );
    assert_eq!(verdict.lacks, [lack(20, SINCE), lack(30, LackReason::Full)]);
}

/// Goal: a copy at a member that did not answer just now is no copy, even if another member still counts it.
#[test]
fn only_members_that_answered_just_now_count() {
    let mut survey = ring(&[(10, HERE), (20, Standing::Silent), (30, AWAY)]);
    survey.hear(peer(10), counts(&[set(&[10, 20, 30], &[], 5)]));
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.members, verdict.heard, verdict.away), (2, 1, 1));
    assert_eq!((verdict.copies_least, verdict.short), (1, 5));
    assert_eq!(verdict.at_risk.first[0].reasons, [lack(30, SINCE), lack(20, LackReason::Silent)]);
    assert!(!verdict.is_whole());
    // In a large ring the asked peer does not know every member.
    let mut large = ring(&[(10, HERE)]);
    large.hear(peer(10), counts(&[set(&[10, 99], &[], 5)]));
    assert_eq!(large.sets[0].holders, peers(&[10, 99]));
}

#[test]
fn a_member_that_takes_over_is_named() {
    let mut survey = ring(&[(10, HERE), (20, HERE)]);
    survey.hear(peer(10), counts(&[set(&[10], &[20], 5)]));
    survey.hear(peer(20), CopyCounts { syncing: true, ..CopyCounts::default() });
    let verdict = survey.verdict(&named);
    assert_eq!(verdict.syncing.first, [named(&peer(20))]);
    assert_eq!(verdict.at_risk.first[0].reasons, [lack(20, LackReason::Syncing)]);
    let mut survey = ring(&[(10, HERE), (20, HERE)]);
    survey.hear(peer(10), counts(&[set(&[10], &[20], 5)]));
    assert_eq!(survey.verdict(&named).lacks, [lack(20, LackReason::NotYet)]);
}

/// Goal: a content that two members miss is one file, and the members that should have it are named if they are away.
#[test]
fn a_file_without_a_copy_counts_once() {
    let lost =
        |number: u8, lacking: &[u8]| LostFile { content: ContentId([number; 32]), lacking: peers(lacking) };
    let report = |lost: Vec<LostFile>, more_lost| CopyCounts { lost, more_lost, ..CopyCounts::default() };
    let gone = Standing::Away { since_ms: None, gone: true };
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, AWAY), (40, gone)]);
    survey.hear(peer(10), report(vec![lost(1, &[20, 30]), lost(2, &[30])], false));
    survey.hear(peer(20), report(vec![lost(1, &[30, 40])], true));
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.files, verdict.unreadable, verdict.more_unreadable), (2, 2, true));
    assert_eq!(verdict.unreadable_on, [lack(30, SINCE), lack(40, LackReason::Gone { since_ms: None })]);
    assert_eq!((verdict.copies_least, verdict.survives()), (0, None));
    assert!(!verdict.is_whole());
}

#[test]
fn files_beyond_the_sets_count_by_their_copies() {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, HERE)]);
    let beyond = |copies, files| CopiesBeyond { copies, files, bytes: 10 * files };
    let report = CopyCounts {
        sets: vec![set(&[10, 20, 30], &[], 1)],
        beyond: vec![beyond(2, 5), beyond(3, 7)],
        ..CopyCounts::default()
    };
    survey.hear(peer(10), report);
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.files, verdict.bytes, verdict.short, verdict.copies_least), (13, 130, 5, 2));
}

/// Goal: a member that lies about numbers cannot break the sum.
#[test]
fn sums_do_not_overflow() {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, HERE)]);
    let huge = |holders: &[u8]| CopySet { files: u64::MAX, bytes: u64::MAX, ..set(holders, &[], 1) };
    let beyond = CopiesBeyond { copies: 2, files: u64::MAX, bytes: u64::MAX };
    for from in [10, 20] {
        let report = CopyCounts {
            sets: vec![huge(&[from]), huge(&[from, 30])],
            beyond: vec![beyond],
            ..CopyCounts::default()
        };
        survey.hear(peer(from), report);
    }
    let verdict = survey.verdict(&named);
    assert_eq!((verdict.files, verdict.short, verdict.bytes), (u64::MAX, u64::MAX, u64::MAX));
}
