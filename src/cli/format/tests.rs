//! Golden outputs, on which people and scripts rely.

use super::*;
use crate::config::RingSettings;
use crate::id::{ContentId, Position};
use crate::peer::{Fault, Misbehaviour, MissingCopy, Verdict};
use crate::wire::{Address, MissingReason};

fn peer(number: u8) -> PeerName {
    Position::of_number(number).into()
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn stored() -> StoreReport {
    StoreReport {
        name: name("report.pdf"),
        name_key: name("report.pdf").key(),
        name_owner: peer(64),
        length: 1_258_291,
        content: ContentId::of(b"abc"),
        holders: vec![peer(4), peer(5), peer(8)],
        copies: 3,
        missing: vec![],
        version: 1,
        replaces: None,
        took: Duration::from_millis(80),
    }
}

#[test]
fn a_store() {
    assert_eq!(
        store(&stored()),
        "Stored report.pdf (1.2 MiB) in 0.08 s\n  \
         name key    6466e450a16b77b865c5829d6b6c56d9f892956475642dbeb9ccc4340fe01b15, owner peer 64\n  \
         content     sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n  \
         on 4, 5 and 8: 3 of 3 copies"
    );
}

#[test]
fn a_store_that_replaces_and_misses_one() {
    let report = StoreReport {
        holders: vec![peer(4), peer(5)],
        missing: vec![MissingCopy { peer: peer(8), reason: MissingReason::Unreachable }],
        version: 2,
        replaces: Some(ContentId::of(b"")),
        ..stored()
    };
    let text = store(&report);
    let lines: Vec<_> = text.lines().skip(3).collect();
    assert_eq!(
        lines,
        [
            "  on 4 and 5: 2 of 3 copies",
            "  missing     peer 8 (does not answer)",
            "  version 2, replaces sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ]
    );
}

#[test]
fn a_request() {
    let mut report = RequestReport {
        name: Some(name("two\nlines")),
        content: ContentId::of(b"abc"),
        length: 64 << 20,
        version: Some(1),
        sources: vec![peer(4)],
        path: Some("/data/2/received/two\nlines".into()),
        took: Duration::from_millis(500),
        is_tree: false,
    };
    assert_eq!(
        request(&report, None),
        "Received two\\nlines (64.0 MiB) in 0.50 s\n  \
         from        peer 4, 128.0 MiB/s\n  \
         content     sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n  \
         kept as     /data/2/received/two\\nlines"
    );
    report.sources = vec![peer(4), peer(9)];
    assert!(request(&report, None).contains("  from        peers 4 and 9, "));
    report.sources.clear();
    report.name = None;
    assert!(request(&report, None).starts_with("Received sha256:ba7816bf… (64.0 MiB)"));
    assert!(request(&report, None).contains("  from        it was here already\n"));
}

#[test]
fn a_departure() {
    let mut report = LeaveReport {
        handed_over: 0,
        short: Listed::default(),
        short_names: Listed::default(),
        unreachable: Listed::default(),
        data_dir: "d".to_owned(),
    };
    assert_eq!(leave(&report), "Left the ring; nothing had to be handed over");
    report.handed_over = 12;
    assert_eq!(leave(&report), "Left the ring; handed over 12 files and records");
    report.handed_over = 0;
    report.unreachable = (0..25).map(|i| name(&format!("f{i}"))).collect();
    let text = leave(&report);
    assert!(text.contains(
        "\nThis was the last peer: 25 files cannot be reached until it runs again (quoit run --data-dir d):\n  f0\n"
    ));
    assert!(text.ends_with("  f19\n  … and 5 more"));
    report.short = [ContentId::of(b"")].into_iter().collect();
    assert_eq!(
        leave_short(&report),
        "1 file is without all its copies elsewhere; this peer still has it:\n  \
         sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    report.short = Listed::default();
    report.short_names = [name("f1")].into_iter().collect();
    assert_eq!(leave_short(&report), "Name records without all their copies elsewhere:\n  f1");
}

fn located() -> WhereisReport {
    WhereisReport {
        name: name("x"),
        name_key: name("x").key(),
        record_peers: vec![peer(64), peer(100)],
        version: 3,
        writer: peer(9),
        written: "2026-11-22T12:00:00Z".to_owned(),
        content: ContentId::of(b"abc"),
        length: 1,
        content_owner: peer(200),
        holders: vec![peer(200)],
        copies: 3,
        history: 2,
        verified: vec![Some(1_796_000_000_000)],
        full: Vec::new(),
    }
}

#[test]
fn a_whereis_names_the_peers_without_room() {
    let report = WhereisReport { full: vec![peer(64), peer(100)], ..located() };
    let line =
        "\n  on 200: 1 of 3 copies\n  no room     64 and 100; the next peers keep the copies\n  verified";
    assert!(whereis(&report).contains(line), "{}", whereis(&report));
}

#[test]
fn a_whereis() {
    let report = located();
    assert_eq!(
        whereis(&report),
        "x (1 byte), version 3\n  \
         written     2026-11-22T12:00:00Z by peer 9\n  \
         name key    2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, record on 64 and 100\n  \
         content     sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, owner peer 200\n  \
         on 200: 1 of 3 copies\n  \
         verified    200 2026-11-30 00:53\n  \
         history     2 earlier records"
    );
}

#[test]
fn when_copies_were_verified() {
    let copies = |verified: &[Option<u64>]| {
        let holders = vec![peer(36), peer(100), peer(200)];
        verified_copies(&WhereisReport { holders, verified: verified.to_vec(), ..located() })
    };
    assert_eq!(
        copies(&[Some(1_796_000_000_000), Some(0), None]).unwrap(),
        "  verified    36 2026-11-30 00:53, 100 not yet, 200 does not say"
    );
    let line = |here, ring, at: Option<u8>| verified(&Verifications { here, ring, at: at.map(peer) });
    assert_eq!(line(None, None, None), None);
    assert_eq!(
        line(Some(1_796_000_000_000), Some(1_795_000_000_000), Some(8)).unwrap(),
        "  verified     every copy here since 2026-11-30 00:53; every copy in the ring (peer 8) since 2026-11-18 11:06"
    );
    assert_eq!(
        line(Some(0), Some(0), Some(36)).unwrap(),
        "  verified     not every copy here was verified yet"
    );
    assert_eq!(
        line(None, Some(0), Some(8)).unwrap(),
        "  verified     not every copy in the ring (peer 8) was verified yet"
    );
}

#[test]
fn a_scrub() {
    let took = Duration::from_millis(80);
    let sound = ScrubReport { objects: 60, bytes: 3 << 20, sound: 60, took, ..ScrubReport::default() };
    assert_eq!(scrub(&sound), "Scrubbed 60 files (3.0 MiB) in 0.08 s: every copy is sound");
    let bad = ScrubReport {
        sound: 48,
        quarantined: 10,
        fetched_again: 9,
        not_fetched_again: 1,
        unreadable: 2,
        below_quorum: 1,
        not_healed: [ContentId::of(b"abc")].into_iter().collect(),
        ..sound
    };
    assert_eq!(
        scrub(&bad),
        "Scrubbed 60 files (3.0 MiB) in 0.08 s: 48 sound\n  \
         quarantined 10 bad copies, with the reason beside each in quarantine/\n  \
         fetched     9 again from other peers\n  \
         not healed  1: no other peer gave a good copy\n  \
         sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n  \
         at risk     1 file has fewer copies than acknowledge a store\n  \
         unreadable  2 files; the warnings of the peer say why"
    );
}

fn how_it_is() -> StatusReport {
    StatusReport {
        peer: peer(36),
        incarnation: 2,
        ring: "calm-otter".to_owned(),
        address: Address::new("127.0.0.1:12036").unwrap(),
        phase: "active".to_owned(),
        settings: Some(RingSettings::default()),
        interval: Duration::from_secs(1),
        small_ring: true,
        predecessor: Some(peer(255)),
        successors: vec![peer(73), peer(109)],
        alive: [peer(36), peer(73), peer(109)].into_iter().collect(),
        away: [peer(255)].into_iter().collect(),
        gone: Listed::default(),
        unreachable: Listed::default(),
        objects: 2,
        bytes: 3 << 20,
        records: 1,
        syncing: true,
        short: vec![],
        short_total: 0,
        below_quorum: 0,
        unheard: Listed::default(),
        trouble: None,
        notices: Listed::default(),
        certificate_until: 1_900_000_000,
        siblings: [name("twice")].into_iter().collect(),
        data_dir: "data/36".into(),
        misbehaving: [Misbehaviour { peer: peer(5), kind: Fault::CorruptBytes, count: 3 }]
            .into_iter()
            .collect(),
        refused: 1,
        malformed: 0,
        dropped: 20,
        unkept: Listed::default(),
        verdict: Verdict::default(),
        space: crate::peer::SpaceReport::default(),
        verified: Verifications::default(),
    }
}

const SENTENCE: &str = "All 1,204 files are on 3 machines; any 2 may fail.";

fn noon() -> LocalTime {
    LocalTime::at(1_800_000_000, jiff::tz::TimeZone::UTC)
}

fn named(number: u8, name: &str) -> PeerName {
    PeerName { name: Some(name.to_owned()), ..peer(number) }
}

fn short_one(name: &str, holders: &[PeerName], missing: &[PeerName]) -> ShortFile {
    ShortFile {
        content: ContentId::of(name.as_bytes()),
        names: vec![FileName::new(name).unwrap()],
        holders: holders.to_vec(),
        copies: 3,
        quorum: 2,
        missing: missing.to_vec(),
    }
}

/// The lines of a status that begin with this word.
fn said_of(report: &StatusReport, word: &str) -> Vec<String> {
    let text = status(report, SENTENCE, true, &noon());
    text.lines().filter(|line| line.trim_start().starts_with(word)).map(str::to_owned).collect()
}

#[test]
fn a_status_names_the_short_files() {
    let (nas, vps, laptop, desk) = (named(1, "nas"), named(2, "vps"), named(3, "laptop"), named(4, "desk"));
    let mut report = how_it_is();
    report.away = [laptop.clone()].into_iter().collect();
    report.gone = [desk.clone()].into_iter().collect();
    report.short = vec![short_one("report.pdf", &[nas.clone(), vps.clone()], std::slice::from_ref(&laptop))];
    report.short_total = 1;
    assert_eq!(
        said_of(&report, "short"),
        ["  short        1 file has 2 of 3 copies: laptop is away"],
        "desk is gone, and lacks nothing"
    );
    assert_eq!(said_of(&report, "report.pdf"), ["    report.pdf: 2 of 3 copies: nas, vps; laptop away"]);
    assert!(
        !status(&report, SENTENCE, false, &noon()).contains("report.pdf"),
        "names only where they are wanted"
    );
    assert!(!report.is_whole());
    assert_eq!(said_of(&report, "gone"), ["  gone         desk"]);
    assert!(said_of(&report, "copies").is_empty() && said_of(&report, "at risk").is_empty());
    assert!(!report.is_below_quorum());
    report.short.insert(
        0,
        ShortFile { names: vec![], ..short_one("abc", &[], &[desk, laptop.clone(), nas.clone()]) },
    );
    (report.short_total, report.below_quorum) = (30, 1);
    let text = status(&report, SENTENCE, true, &noon());
    assert!(text.contains(
        "  short        30 files have 0 to 2 of 3 copies: laptop is away, desk is gone\n  \
         at risk      1 file has fewer copies than acknowledge a store\n    \
         sha256:ba7816bf…: 0 of 3 copies; desk gone, laptop away, nas not yet\n    \
         report.pdf: 2 of 3 copies: nas, vps; laptop away\n    \
         … and 28 more\n"
    ));
    let text = status(&report, SENTENCE, false, &noon());
    assert_eq!(text.lines().filter(|line| line.contains("copies:")).count(), 1, "{text}");
    report.short = (0..20)
        .map(|i| {
            let missing = std::slice::from_ref(&laptop);
            short_one(&format!("IMG_{i:04}.jpg"), &[nas.clone(), vps.clone()], missing)
        })
        .collect();
    (report.short_total, report.below_quorum, report.gone) = (20, 0, Listed::default());
    assert_eq!(said_of(&report, "short"), ["  short        20 files have 2 of 3 copies: laptop is away"]);
    report.away = Listed::default();
    assert_eq!(said_of(&report, "short"), ["  short        20 files have 2 of 3 copies: not copied yet"]);
    (report.short_total, report.below_quorum) = (30, 1);
    assert!(report.is_below_quorum());
}

#[test]
fn a_status_names_whom_it_cannot_reach() {
    let mut report = how_it_is();
    let (laptop, vps) = (named(3, "laptop"), named(2, "vps"));
    let apart = |through| Unreachable { peer: laptop.clone(), through };
    report.unreachable = [apart(Some(vps)), apart(None)].into_iter().collect();
    assert_eq!(
        said_of(&report, "unreachable"),
        [
            "  unreachable  cannot reach laptop directly; reached through vps",
            "  unreachable  cannot reach laptop directly; and no way through another peer is known",
        ]
    );
}

#[test]
fn a_status_names_who_has_no_room() {
    let mut report = how_it_is();
    let unkept = |files, reason| UnkeptFiles { peer: named(3, "laptop"), files, bytes: 3 << 30, reason };
    let (full, failed) =
        (MissingReason::NoRoom { length: 1 << 30, free: 55 << 20 }, MissingReason::Disk("no\n".to_owned()));
    report.unkept = [unkept(12, full), unkept(1, failed)].into_iter().collect();
    let (nas, vps, laptop) = (named(1, "nas"), named(2, "vps"), named(3, "laptop"));
    report.short = vec![short_one("a film", &[nas, vps], &[laptop])];
    report.short_total = 1;
    assert_eq!(
        said_of(&report, "short"),
        ["  short        1 file has 2 of 3 copies: laptop cannot keep its copies"],
        "255 is away too, and lacks none of these copies"
    );
    assert_eq!(said_of(&report, "a film"), ["    a film: 2 of 3 copies: nas, vps; laptop cannot keep it"]);
    assert_eq!(
        said_of(&report, "not kept"),
        [
            "  not kept     12 files (3.0 GiB) have no copy on laptop: no room (55.0 MiB free)",
            "  not kept     1 file (3.0 GiB) has no copy on laptop: cannot write: no\\n",
        ]
    );
}

#[test]
fn a_certificate_is_spoken_of_when_it_ends() {
    let at = 1_796_083_200; // 2026-12-01, midnight
    let said = |left: i64| certificate(at, at.saturating_add_signed(-left));
    let renew = ": `quoit admit --renew` where the CA key is";
    assert_eq!(said(31 * 86_400), None);
    assert_eq!(said(9 * 86_400 + 5), Some(format!("  certificate  ends on 2026-12-01 (9 days){renew}")));
    assert_eq!(said(60), Some(format!("  certificate  ends on 2026-12-01 (today or tomorrow){renew}")));
    assert_eq!(said(-60), Some(format!("  certificate  ended on 2026-12-01{renew}")));
    assert!(certificate(u64::MAX, 0).is_none());
}

#[test]
fn a_status() {
    let report = how_it_is();
    let text = status(&report, SENTENCE, false, &noon());
    assert!(report.is_whole());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], SENTENCE);
    assert_eq!(lines[1], "Peer 36 of ring calm-otter: active");
    assert_eq!(
        lines[4..],
        [
            "  predecessor  255",
            "  successors   73 and 109",
            "  alive        3 peers: 36, 73 and 109",
            "  away         255",
            "  ring         3 copies of each file, 8 successors in a list, small ring, one map",
            "  versions     16 versions of a name, the bytes of an earlier one for 30d",
            "  pings        every 1.00 s",
            "  keeps        2 files (3.0 MiB), 1 name record",
            "  capacity     no limit; 0 bytes of the disk stay free",
            "  room         0 bytes for new files; replicas take 0, the cache 0",
            "  copies       all files of the ring have their copies",
            "  syncing      still taking over its part of the ring",
            "  siblings     names that were written in two places at once; both are kept:",
            "  twice",
            "  data         data/36",
            "  misbehaved   peer 5: corrupt bytes (3 times)",
            "  turned away  1 connection refused and 20 datagrams dropped",
        ]
    );
}

#[test]
fn sizes_and_spans() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
    for (ms, text) in [
        (0, "0.00 s"),
        (80, "0.08 s"),
        (9_999, "10.0 s"),
        (12_340, "12.3 s"),
        (59_990, "1 min 0 s"),
        (125_000, "2 min 5 s"),
        (3_599_400, "59 min 59 s"),
        (3_599_600, "1 h 0 min"),
        (90_000_000, "25 h 0 min"),
    ] {
        assert_eq!(seconds(Duration::from_millis(ms)), text);
    }
    assert_eq!(rate(1 << 20, Duration::ZERO), "1000.0 MiB/s");
}

#[test]
fn figures_have_as_many_decimals_as_they_need() {
    for (value, text) in [
        (0.0, "0"),
        (-0.001, "0"),
        (3.0, "3"),
        (2.5, "2.5"),
        (2.314, "2.31"),
        (100.0, "100"),
        (-1.1, "-1.1"),
        (f64::NAN, "-"),
        (f64::INFINITY, "-"),
    ] {
        assert_eq!(figure(value), text);
    }
}
