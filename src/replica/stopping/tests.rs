//! Which peers of small rings may stop.

use proptest::prelude::*;

use super::super::sample::peer;
use super::super::tally::Tally;
use super::super::verdict::tests::{AWAY, HERE, counts, named, peers, ring, set};
use super::*;
use crate::wire::{CopiesBeyond, CopyCounts, LostFile};

const LIMIT: Duration = Duration::from_secs(900);
const TEN_MINUTES: StopSpan = StopSpan::For { ms: 600_000 };
const TWO_HOURS: StopSpan = StopSpan::For { ms: 7_200_000 };

fn asked(survey: &Survey, stop: &[u8], span: StopSpan) -> StopReport {
    let stop = stop.iter().map(|number| peer(*number)).collect();
    may_stop(survey, &stop, span, LIMIT, &named)
}

/// Four members with room for 1,000 bytes each, which all report; 10 files of 100 bytes in all on 10, 20 and 30.
fn four() -> Survey {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, HERE), (40, HERE)]);
    survey.hear(peer(10), counts(&[set(&[10, 20, 30], &[], 10)]));
    [20, 30, 40].into_iter().for_each(|number| survey.hear(peer(number), counts(&[])));
    survey
}

#[test]
fn one_of_four_may_stop_and_all_holders_may_not() {
    let report = asked(&four(), &[10], StopSpan::AWhile);
    assert_eq!(report.answer, StopAnswer::Yes);
    assert_eq!((report.files, report.copies_least, report.alone), (10, 2, 0));
    assert_eq!((report.answering, report.quorum, report.to_copy_bytes), (3, 2, 0));
    let report = asked(&four(), &[10, 20], TEN_MINUTES);
    assert_eq!((report.answer, report.copies_least, report.alone), (StopAnswer::Yes, 1, 10));
    let report = asked(&four(), &[10, 20, 30], TEN_MINUTES);
    assert_eq!((report.answer, report.only_there), (StopAnswer::No(Hindrance::Unreadable), 10));
    assert_eq!(asked(&four(), &[20, 30, 40], TEN_MINUTES).answer, StopAnswer::No(Hindrance::NoStores));
}

#[test]
fn what_is_away_already_counts() {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, AWAY)]);
    survey.hear(peer(10), counts(&[set(&[10], &[30], 3), set(&[10, 20], &[30], 4)]));
    survey.hear(peer(20), counts(&[]));
    let report = asked(&survey, &[10], StopSpan::AWhile);
    assert_eq!((report.answer, report.only_there), (StopAnswer::No(Hindrance::Unreadable), 3));
    assert_eq!(report.lacks.len(), 1, "30 is away");
    let report = asked(&survey, &[20], StopSpan::AWhile);
    assert_eq!(
        report.answer,
        StopAnswer::No(Hindrance::NoStores),
        "W is 2 of 3 members, and one would answer"
    );
    assert_eq!((report.answering, report.quorum), (1, 2));
    let report = asked(&survey, &[30], StopSpan::AWhile);
    assert_eq!((report.answer, report.absent.len(), report.answering), (StopAnswer::Yes, 1, 2));
}

#[test]
fn the_last_machine_may_stop_only_for_a_store_elsewhere() {
    let mut survey = ring(&[(10, HERE)]);
    survey.hear(peer(10), counts(&[]));
    assert_eq!(asked(&survey, &[10], StopSpan::AWhile).answer, StopAnswer::No(Hindrance::NoStores));
    survey.hear(peer(10), counts(&[set(&[10], &[], 3)]));
    assert_eq!(asked(&survey, &[10], StopSpan::AWhile).answer, StopAnswer::No(Hindrance::Unreadable));
    assert_eq!(asked(&survey, &[10], StopSpan::ForGood).answer, StopAnswer::No(Hindrance::TooFewMembers));
}

#[test]
fn a_member_that_does_not_report_leaves_it_open() {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, HERE), (40, Standing::Silent)]);
    [10, 20, 30]
        .into_iter()
        .for_each(|number| survey.hear(peer(number), counts(&[set(&[10, 20, 30], &[], 1)])));
    let report = asked(&survey, &[10], StopSpan::AWhile);
    assert_eq!((report.answer, report.unheard.total), (StopAnswer::CannotTell(Doubt::Unheard), 1));
    assert_eq!(
        asked(&survey, &[10, 20, 30], TEN_MINUTES).answer,
        StopAnswer::No(Hindrance::Unreadable),
        "sure"
    );
    let mut survey = four();
    survey.hear(peer(40), CopyCounts { syncing: true, ..CopyCounts::default() });
    assert_eq!(asked(&survey, &[10], StopSpan::ForGood).answer, StopAnswer::CannotTell(Doubt::Syncing));
    let beyond = |copies| CopiesBeyond { copies, files: 5, bytes: 50 };
    let mut survey = four();
    survey.hear(peer(20), CopyCounts { beyond: vec![beyond(2)], ..CopyCounts::default() });
    assert_eq!(asked(&survey, &[10], StopSpan::AWhile).copies_least, 1);
    let report = asked(&survey, &[10, 40], StopSpan::AWhile);
    assert_eq!(report.answer, StopAnswer::CannotTell(Doubt::Uncounted));
}

#[test]
fn for_longer_than_the_limit_copies_are_made() {
    let report = asked(&four(), &[10], TWO_HOURS);
    assert_eq!((report.answer, report.to_copy_bytes, report.room_bytes), (StopAnswer::Yes, 100, 100));
    assert_eq!(asked(&four(), &[40], TWO_HOURS).to_copy_bytes, 0, "40 has nothing");
    assert_eq!(
        asked(&four(), &[10], StopSpan::For { ms: 900_000 }).to_copy_bytes,
        0,
        "just within the limit"
    );
}

#[test]
fn for_good_there_must_be_members_and_room() {
    let report = asked(&four(), &[10], StopSpan::ForGood);
    assert_eq!((report.answer, report.to_copy_bytes, report.answering), (StopAnswer::Yes, 100, 3));
    let report = asked(&four(), &[10, 20], StopSpan::ForGood);
    assert_eq!((report.answer, report.answering), (StopAnswer::No(Hindrance::TooFewMembers), 2));
    // 40 would get the copies, and has room for 60 of 100 bytes; the others have copies of the same files already.
    let mut survey = four();
    survey.members.insert(peer(40), Standing::Answers { full: false, free_bytes: 60 });
    let report = asked(&survey, &[10], StopSpan::ForGood);
    assert_eq!((report.answer, report.room_bytes), (StopAnswer::No(Hindrance::NoRoom), 60));
    survey.members.insert(peer(40), Standing::Answers { full: true, free_bytes: 1_000 });
    assert_eq!(asked(&survey, &[10], StopSpan::ForGood).room_bytes, 0, "a full member takes nothing");
    assert_eq!(asked(&survey, &[10], TWO_HOURS).answer, StopAnswer::Yes, "for a while nothing is lost");
}

/// Goal: a member that does not answer cannot hand over what only it may have.
#[test]
fn an_absent_member_is_missed_for_good_only_if_it_may_have_the_last_copy() {
    let mut survey = ring(&[(10, HERE), (20, HERE), (30, HERE), (40, AWAY)]);
    [10, 20].into_iter().for_each(|number| survey.hear(peer(number), counts(&[set(&[10, 20, 30], &[], 1)])));
    survey.hear(peer(30), counts(&[]));
    assert_eq!(asked(&survey, &[40], StopSpan::ForGood).answer, StopAnswer::Yes);
    let lost = LostFile { content: crate::id::ContentId([1; 32]), lacking: vec![peer(40)] };
    survey.hear(peer(30), CopyCounts { lost: vec![lost], ..CopyCounts::default() });
    let report = asked(&survey, &[40], StopSpan::ForGood);
    assert_eq!((report.answer, report.only_there), (StopAnswer::No(Hindrance::Unreadable), 1));
    let report = asked(&survey, &[10], StopSpan::AWhile);
    assert_eq!(
        (report.answer, report.unreadable),
        (StopAnswer::Yes, 1),
        "that file cannot be read either way"
    );
}

/// Goal: copies of one file go to different members.
#[test]
fn one_member_with_much_room_does_not_take_two_copies() {
    let room = |free_bytes| Standing::Answers { full: false, free_bytes };
    let mut survey = ring(&[(10, HERE), (20, room(1_000)), (30, room(0)), (40, room(0))]);
    survey.hear(peer(10), counts(&[set(&[10], &[], 10)]));
    [20, 30, 40].into_iter().for_each(|number| survey.hear(peer(number), counts(&[])));
    let report = asked(&survey, &[10], StopSpan::ForGood);
    assert_eq!((report.to_copy_bytes, report.room_bytes), (300, 100));
    assert_eq!(report.answer, StopAnswer::No(Hindrance::NoRoom));
}

/// Up to 600 files of twelve members, each with its holders: more sets of holders than one report has.
fn files() -> impl Strategy<Value = Vec<BTreeSet<u8>>> {
    let holders = prop::collection::btree_set(1u8..=12, 1..=4);
    prop_oneof![prop::collection::vec(holders.clone(), 0..12), prop::collection::vec(holders, 300..600)]
}

proptest! {
    /// Goal: however files are counted on the way, the verdict and the answer agree with a look at each file. An answer
    /// may be "cannot tell"; a yes is never wrong.
    #[test]
    fn counts_agree_with_a_look_at_each_file(
        files in files(),
        stop in prop::collection::btree_set(1u8..=12, 0..5),
    ) {
        let members: Vec<(u8, Standing)> = (1..=12).map(|number| (number, HERE)).collect();
        let mut survey = ring(&members);
        for reporter in 1..=12 {
            let mut tally = Tally::default();
            for holders in files.iter().filter(|holders| holders.first() == Some(&reporter)) {
                let lacking = if holders.len() < 3 { peers(&[12]) } else { Vec::new() };
                tally.add(&holders.iter().map(|number| peer(*number)).collect::<Vec<_>>(), &lacking, 1);
            }
            let counts = tally.report(Vec::new(), false, false);
            prop_assert!(counts.is_within_bounds());
            survey.hear(peer(reporter), counts);
        }
        let verdict = survey.verdict(&named);
        prop_assert_eq!(verdict.files, files.len() as u64);
        prop_assert_eq!(verdict.short, files.iter().filter(|holders| holders.len() < 3).count() as u64);
        let least = files.iter().map(|holders| holders.len().min(3)).min().unwrap_or_default();
        prop_assert_eq!(verdict.copies_least, least as u64);
        let alone = files.iter().filter(|holders| holders.len() == 1).count() as u64;
        prop_assert!(verdict.at_risk.total > 8 || verdict.at_risk.first.iter().map(|risk| risk.files).sum::<u64>() == alone);

        let lost = files.iter().filter(|holders| holders.is_subset(&stop)).count() as u64;
        let report = asked(&survey, &stop.iter().copied().collect::<Vec<_>>(), StopSpan::AWhile);
        match report.answer {
            StopAnswer::Yes => prop_assert_eq!(lost, 0),
            StopAnswer::No(Hindrance::Unreadable) => prop_assert!(0 < lost && report.only_there <= lost),
            StopAnswer::CannotTell(doubt) => prop_assert_eq!(doubt, Doubt::Uncounted),
            StopAnswer::No(hindrance) => prop_assert!(false, "{:?}: eight members answer", hindrance),
        }
    }
}
