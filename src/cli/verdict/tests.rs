//! The exact words, on which people and scripts rely.

use jiff::tz::TimeZone;

use super::*;
use crate::id::Position;
use crate::peer::Verdict;

/// 2026-11-26, noon.
const NOON_MS: u64 = 1_795_694_400_000;
const MINUTE_MS: u64 = 60_000;

fn now() -> LocalTime {
    LocalTime::at(1_795_694_400 + 600, TimeZone::UTC)
}

fn peer(name: &str) -> PeerName {
    PeerName { position: Position([name.len() as u8; 32]), name: Some(name.to_owned()) }
}

fn lack(name: &str, reason: LackReason) -> Lack {
    Lack { peer: peer(name), reason }
}

fn away(name: &str) -> Lack {
    lack(name, LackReason::Away { since_ms: Some(NOON_MS + 4 * MINUTE_MS) })
}

/// Six members that all report, and 1,204 files with their three copies.
fn whole() -> Verdict {
    Verdict {
        members: 6,
        heard: 6,
        away: 0,
        replicas: 3,
        copies: 3,
        quorum: 2,
        files: 1_204,
        bytes: 5 << 30,
        copies_least: 3,
        ..Verdict::default()
    }
}

fn told(verdict: &Verdict) -> String {
    format!("{}{}.", said(verdict, &now()), as_far_as(verdict))
}

fn at_risk(of: &[(&str, u64)], reasons: &[Lack]) -> Listed<AtRisk> {
    let risk =
        |(name, files): &(&str, u64)| AtRisk { peer: peer(name), files: *files, reasons: reasons.to_vec() };
    of.iter().map(risk).collect()
}

#[test]
fn a_ring_with_all_copies() {
    assert_eq!(told(&whole()), "All 1,204 files are on 3 machines; any 2 may fail.");
    assert_eq!(told(&Verdict { files: 1, ..whole() }), "The only file is on 3 machines; any 2 may fail.");
    let two = Verdict { members: 2, heard: 2, copies: 2, copies_least: 2, files: 12, ..whole() };
    assert_eq!(told(&two), "All 12 files are on both machines of this ring; either may fail.");
    let two_of_many = Verdict { replicas: 2, copies: 2, copies_least: 2, files: 1_234_567, ..whole() };
    assert_eq!(told(&two_of_many), "All 1,234,567 files are on 2 machines; any 1 may fail.");
    assert_eq!(told(&Verdict { files: 0, copies_least: 0, ..whole() }), "No files are stored in this ring.");
}

#[test]
fn a_ring_of_one() {
    let one = Verdict { members: 1, heard: 1, copies: 1, copies_least: 1, files: 12, ..whole() };
    assert_eq!(told(&one), "All 12 files are on this machine alone; if it fails, they are lost.");
    let one_file = Verdict { files: 1, ..one };
    assert_eq!(told(&one_file), "The only file is on this machine alone; if it fails, the file is lost.");
}

#[test]
fn a_ring_that_keeps_one_copy() {
    let one = Verdict { replicas: 1, copies: 1, copies_least: 1, files: 1_200, ..whole() };
    assert_eq!(
        told(&one),
        "Each of the 1,200 files is on one machine alone, since this ring keeps 1 copy; the files of a machine that \
         fails are lost."
    );
    assert_eq!(
        told(&Verdict { files: 1, ..one }),
        "The only file is on one machine alone, since this ring keeps 1 copy; if that machine fails, the file is lost."
    );
}

#[test]
fn files_with_fewer_copies_while_repair_goes_on() {
    let short = Verdict { copies_least: 2, short: 304, lacks: vec![away("nas")], ..whole() };
    assert_eq!(
        told(&short),
        "All 1,204 files are on at least 2 machines; any 1 may fail, and 304 wait for another copy: nas is away since \
         12:04."
    );
    let all = Verdict { short: 1_204, lacks: vec![lack("nas", LackReason::NotYet)], ..short.clone() };
    assert_eq!(
        told(&all),
        "All 1,204 files are on at least 2 machines; any 1 may fail, and all wait for another copy: copies are being \
         made."
    );
    assert_eq!(
        told(&Verdict { short: 1, lacks: vec![lack("nas", LackReason::Full)], ..short.clone() }),
        "All 1,204 files are on at least 2 machines; any 1 may fail, and 1 waits for another copy: nas is full."
    );
    assert_eq!(
        told(&Verdict { files: 1, short: 1, lacks: vec![lack("nas", LackReason::Syncing)], ..short.clone() }),
        "The only file is on 2 machines; any 1 may fail, and it waits for another copy: nas is still taking over."
    );
    let more = Verdict { copies: 5, copies_least: 3, lacks: Vec::new(), ..short };
    assert_eq!(
        told(&more),
        "All 1,204 files are on at least 3 machines; any 2 may fail, and 304 wait for more copies: copies are being \
         made."
    );
}

#[test]
fn files_that_one_more_failure_would_lose() {
    let risk = |of: &[(&str, u64)], reasons: &[Lack]| Verdict {
        copies_least: 1,
        short: 400,
        at_risk: at_risk(of, reasons),
        ..whole()
    };
    assert_eq!(
        told(&risk(&[("desk", 304)], &[away("nas")])),
        "304 files would be lost if desk fails now: nas is away since 12:04."
    );
    let gone = lack("tv", LackReason::Gone { since_ms: Some(NOON_MS - 1_440 * MINUTE_MS) });
    assert_eq!(
        told(&risk(&[("desk", 1_304), ("vps", 12)], &[away("nas"), gone.clone()])),
        "1,304 files would be lost if desk fails now, and 12 if vps does: nas is away since 12:04 and tv is gone since \
         2026-11-25 12:00."
    );
    let silent = lack("vps", LackReason::Silent);
    let full = lack("box", LackReason::Full);
    assert_eq!(
        told(&risk(&[("a", 9), ("b", 1), ("c", 1)], &[away("nas"), gone, silent, full])),
        "9 files would be lost if a fails now, and more with 2 other machines: nas is away since 12:04, tv is gone \
         since 2026-11-25 12:00, vps does not answer and 1 more."
    );
    assert_eq!(
        told(&risk(&[("desk", 1)], &[lack("nas", LackReason::NotYet)])),
        "1 file would be lost if desk fails now: its other copies are not made yet."
    );
    assert_eq!(
        told(&risk(&[("desk", 2)], &[lack("nas", LackReason::Away { since_ms: None })])),
        "2 files would be lost if desk fails now: nas is away."
    );
    assert_eq!(
        told(&risk(&[], &[])),
        "Some files are on one machine alone: their other copies are not made yet."
    );
}

#[test]
fn files_that_cannot_be_read() {
    let lost = |unreadable, on: &[Lack]| Verdict { unreadable, unreadable_on: on.to_vec(), ..whole() };
    assert_eq!(
        told(&lost(3, &[away("nas")])),
        "3 files cannot be read now: their copies are on nas, away since 12:04."
    );
    assert_eq!(
        told(&lost(1, &[away("nas")])),
        "1 file cannot be read now: its copies are on nas, away since 12:04."
    );
    let desk = lack("desk", LackReason::Silent);
    assert_eq!(
        told(&lost(2, &[away("nas"), desk])),
        "2 files cannot be read now: their copies are on nas (away since 12:04) and desk (not answering)."
    );
    assert_eq!(told(&lost(2, &[])), "2 files cannot be read now: no member has a copy.");
    assert_eq!(
        told(&Verdict { more_unreadable: true, ..lost(64, &[]) }),
        "At least 64 files cannot be read now: no member has a copy."
    );
}

#[test]
fn what_not_all_members_report_is_said_to_be_so() {
    let five = Verdict { heard: 5, ..whole() };
    assert_eq!(
        told(&five),
        "All 1,204 files are on 3 machines; any 2 may fail, as far as the 5 of 6 members that answer know."
    );
    assert_eq!(
        told(&Verdict { heard: 1, files: 0, ..whole() }),
        "No files are stored in this ring, as far as the 1 of 6 members that answers knows."
    );
    let syncing: Listed<PeerName> = [peer("nas")].into_iter().collect();
    assert_eq!(
        told(&Verdict { syncing: syncing.clone(), ..whole() }),
        "All 1,204 files are on 3 machines; any 2 may fail, as far as is known while nas is still taking over its part \
         of the ring."
    );
    assert_eq!(
        told(&Verdict { syncing, ..five }),
        "All 1,204 files are on 3 machines; any 2 may fail, as far as the 5 of 6 members that answer know while nas is \
         still taking over its part of the ring."
    );
}

/// Four members are left of five, and 1,204 files stay on two of them.
fn stop() -> StopReport {
    StopReport {
        peers: vec![peer("desk")],
        span: StopSpan::AWhile,
        answer: StopAnswer::Yes,
        absent: Vec::new(),
        files: 1_204,
        unreadable: 0,
        only_there: 0,
        lacks: Vec::new(),
        copies_least: 2,
        alone: 0,
        answering: 4,
        quorum: 2,
        replicas: 3,
        to_copy_bytes: 0,
        room_bytes: 0,
        away_limit_ms: 15 * MINUTE_MS,
        unheard: Listed::default(),
        syncing: Listed::default(),
    }
}

fn answered(report: &StopReport) -> String {
    answer(report, &now())
}

#[test]
fn yes_for_a_while() {
    assert_eq!(
        answered(&stop()),
        "Yes: without desk all 1,204 files stay readable on at least 2 machines, and stores go on."
    );
    assert_eq!(
        answered(&StopReport {
            peers: vec![peer("desk"), peer("nas")],
            alone: 304,
            copies_least: 1,
            ..stop()
        }),
        "Yes: without desk and nas all 1,204 files stay readable, 304 of them on one machine alone, and stores go on."
    );
    assert_eq!(
        answered(&StopReport { alone: 1_204, copies_least: 1, ..stop() }),
        "Yes: without desk all 1,204 files stay readable, each on one machine alone, and stores go on."
    );
    assert_eq!(
        answered(&StopReport { files: 1, alone: 1, copies_least: 1, ..stop() }),
        "Yes: without desk the only file stays readable, on one machine alone, and stores go on."
    );
    assert_eq!(
        answered(&StopReport { files: 0, copies_least: 0, ..stop() }),
        "Yes: without desk nothing is missing, since no files are stored in this ring, and stores go on."
    );
    assert_eq!(
        answered(&StopReport { unreadable: 4, ..stop() }),
        "Yes: without desk the other 1,200 files stay readable on at least 2 machines, and stores go on; 4 files \
         cannot be read even now."
    );
    assert_eq!(
        answered(&StopReport { files: 1, unreadable: 1, ..stop() }),
        "Yes: without desk stores go on; 1 file cannot be read even now."
    );
}

#[test]
fn yes_for_a_known_time() {
    let stays = "Yes: without desk all 1,204 files stay readable on at least 2 machines, and stores go on";
    let ten_minutes = StopReport { span: StopSpan::For { ms: 10 * MINUTE_MS }, ..stop() };
    assert_eq!(
        answered(&ten_minutes),
        format!("{stays}; nothing is copied meanwhile, since a peer that is away is waited for 15 min.")
    );
    let two_hours = StopReport { span: StopSpan::For { ms: 120 * MINUTE_MS }, ..stop() };
    assert_eq!(
        answered(&two_hours),
        format!("{stays}; after 15 min the others wait no more, and have all copies already.")
    );
    let copies = StopReport { to_copy_bytes: 3 << 29, room_bytes: 3 << 29, ..two_hours };
    assert_eq!(answered(&copies), format!("{stays}; after 15 min the others make new copies of 1.5 GiB."));
    assert_eq!(
        answered(&StopReport { room_bytes: 1 << 20, ..copies }),
        format!("{stays}; after 15 min the others make new copies, and have room for 1.0 MiB of 1.5 GiB.")
    );
}

#[test]
fn yes_for_good() {
    let good = StopReport { span: StopSpan::ForGood, to_copy_bytes: 3 << 29, room_bytes: 3 << 29, ..stop() };
    assert_eq!(
        answered(&good),
        "Yes: the others get copies of 1.5 GiB first, and 4 machines are left; the way is `leave` at desk."
    );
    let absent = StopReport { to_copy_bytes: 0, absent: vec![peer("desk")], ..good.clone() };
    assert_eq!(
        answered(&absent),
        "Yes: the others have all copies already, and 4 machines are left; the way is `forget desk`."
    );
    let both = StopReport { peers: vec![peer("nas"), peer("desk")], ..absent };
    assert_eq!(
        answered(&StopReport { answering: 1, ..both }),
        "Yes: the others have all copies already, and 1 machine is left; the way is `leave` at nas and `forget desk`."
    );
}

#[test]
fn no_and_why() {
    let no = |hindrance| StopReport { answer: StopAnswer::No(hindrance), only_there: 304, ..stop() };
    let unreadable = no(Hindrance::Unreadable);
    assert_eq!(
        answered(&StopReport { lacks: vec![away("nas")], ..unreadable.clone() }),
        "No: without desk 304 files could not be read: nas is away since 12:04."
    );
    assert_eq!(
        answered(&StopReport { only_there: 1, ..unreadable.clone() }),
        "No: without desk 1 file could not be read: no other machine has it."
    );
    assert_eq!(
        answered(&StopReport { lacks: vec![lack("nas", LackReason::NotYet)], ..unreadable.clone() }),
        "No: without desk 304 files could not be read: their other copies are not made yet."
    );
    let absent = vec![peer("desk")];
    assert_eq!(
        answered(&StopReport { span: StopSpan::ForGood, absent, only_there: 3, ..unreadable }),
        "No: 3 files cannot be read without desk, which does not answer."
    );
    assert_eq!(
        answered(&StopReport { answering: 1, ..no(Hindrance::NoStores) }),
        "No: without desk, 1 machine would answer, and a store needs copies on 2."
    );
    assert_eq!(
        answered(&StopReport { answering: 0, quorum: 1, ..no(Hindrance::NoStores) }),
        "No: without desk, no machine would answer, and a store needs copies on 1."
    );
    assert_eq!(
        answered(&StopReport { answering: 2, ..no(Hindrance::TooFewMembers) }),
        "No: without desk 2 machines would be left, and each file belongs on 3."
    );
    assert_eq!(
        answered(&StopReport { to_copy_bytes: 12 << 30, room_bytes: 3 << 30, ..no(Hindrance::NoRoom) }),
        "No: the other machines have to take copies of 12.0 GiB, and have room for 3.0 GiB of them."
    );
}

#[test]
fn it_cannot_be_told() {
    let doubt = |doubt| StopReport {
        answer: StopAnswer::CannotTell(doubt),
        unheard: [peer("nas"), peer("tv")].into_iter().collect(),
        syncing: [peer("nas")].into_iter().collect(),
        ..stop()
    };
    assert_eq!(answered(&doubt(Doubt::Unheard)), "Cannot tell: nas and tv did not report in time.");
    assert_eq!(
        answered(&doubt(Doubt::Syncing)),
        "Cannot tell: nas is still taking over its part of the ring; ask again in a moment."
    );
    assert_eq!(
        answered(&doubt(Doubt::Uncounted)),
        "Cannot tell: there are too many sets of holders to know the holders of each file; ask about fewer peers at \
         once."
    );
}

#[test]
fn numbers_and_spans() {
    let shown = [0, 12, 999, 1_000, 1_204, 10_000, 100_000, 1_000_000].map(thousands);
    assert_eq!(shown, ["0", "12", "999", "1,000", "1,204", "10,000", "100,000", "1,000,000"]);
    assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    let spans = [1, 90, 60, 900, 5_400, 7_200, 86_400, 172_800].map(|seconds| span(1_000 * seconds));
    assert_eq!(spans, ["1 s", "90 s", "1 min", "15 min", "90 min", "2 h", "24 h", "2 days"]);
}
