//! `quoit-client/1`: golden bytes, every variant, damage, and the largest reports.

use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use quoit::config::RingSettings;
use quoit::id::{ContentId, FileName, OutboardDigest, Position};
use quoit::wire::*;

use super::golden::{Golden, count, golden, self_report};

fn peer(number: u8) -> PeerName {
    Position::of_number(number).into()
}

fn nas() -> PeerName {
    PeerName { position: Position([0xea; 32]), name: Some("nas".to_owned()) }
}

fn name() -> FileName {
    FileName::new("report.pdf").unwrap()
}

fn content() -> ContentId {
    ContentId([0xc0; 32])
}

fn object() -> ObjectInfo {
    ObjectInfo { content: content(), length: 3 << 20, outboard: OutboardDigest([0x0b; 32]) }
}

fn address() -> Address {
    Address::new("nas.example:12300").unwrap()
}

fn file() -> FileEntry {
    FileEntry { object: object(), names: vec![name()], pinned: false }
}

fn requests() -> Vec<ClientRequest> {
    let wanted = [
        Wanted::Name(name()),
        Wanted::Content(content()),
        Wanted::ContentPrefix("c0c0".to_owned()),
        Wanted::NameOrBeginning(name()),
        Wanted::Version { name: name(), version: VersionChoice::Number(2) },
        Wanted::Version { name: name(), version: VersionChoice::Content("c0c0".to_owned()) },
    ];
    let waits = [Wait::Quorum, Wait::Copies(2), Wait::All];
    let mut requests: Vec<ClientRequest> = waits
        .into_iter()
        .map(|wait| ClientRequest::Store { name: name(), object: object(), wait, timeout_ms: 30_000 })
        .collect();
    requests.extend(wanted.into_iter().map(|wanted| ClientRequest::Request { wanted, keep: true }));
    requests.extend([
        ClientRequest::Read { content: content(), offset: 1 << 20 },
        ClientRequest::Files,
        ClientRequest::RingFiles,
        ClientRequest::Ring,
        ClientRequest::Status,
        ClientRequest::Whereis { name: name() },
        ClientRequest::Ping { peer: "nas".to_owned() },
        ClientRequest::PlanLeave,
        ClientRequest::Leave,
        ClientRequest::Forget { peer: "nas".to_owned(), sure: true },
        ClientRequest::LeaveAnyway,
        ClientRequest::History { name: name() },
        ClientRequest::Remove { name: name() },
        ClientRequest::Restore { name: name(), version: VersionChoice::Number(2) },
        ClientRequest::Members,
        ClientRequest::Pin { wanted: Wanted::Name(name()), pinned: true },
        ClientRequest::Drop { wanted: Wanted::Name(name()) },
        ClientRequest::Evict { dry_run: true },
        ClientRequest::Scrub { rate: 20 << 20 },
        ClientRequest::Revoke { revoked: vec![SignedRevocation { body: vec![1, 2], signature: vec![3] }] },
        ClientRequest::ReadRange {
            wanted: Wanted::Name(name()),
            range: ByteRange { first: 7, last: 1 << 20 },
        },
        ClientRequest::Put { object: object(), wait: Wait::Quorum, timeout_ms: 30_000 },
        ClientRequest::StoreTree { name: name(), object: object(), wait: Wait::All, timeout_ms: 30_000 },
        ClientRequest::Open { object: object() },
    ]);
    let spans = [StopSpan::AWhile, StopSpan::For { ms: 600_000 }, StopSpan::ForGood];
    let peers = vec!["nas".to_owned(), "8".to_owned()];
    requests.extend(spans.map(|span| ClientRequest::SafeToStop { peers: peers.clone(), span }));
    let files = vec![BatchedFile { name: name(), object: object() }];
    requests.push(ClientRequest::StoreBatch { files, wait: Wait::All, timeout_ms: 30_000 });
    requests.push(ClientRequest::PutBatch { objects: vec![object()], wait: Wait::All, timeout_ms: 30_000 });
    requests.push(ClientRequest::OpenBatch { objects: vec![object()] });
    requests
}

fn stored() -> StoreReport {
    StoreReport {
        name: name(),
        name_key: name().key(),
        name_owner: nas(),
        length: 3 << 20,
        content: content(),
        holders: vec![peer(4), nas()],
        copies: 3,
        missing: vec![MissingCopy { peer: peer(8), reason: MissingReason::Unreachable }],
        version: 2,
        replaces: Some(ContentId([1; 32])),
        took: Duration::from_millis(80),
    }
}

fn status() -> StatusReport {
    StatusReport {
        peer: nas(),
        incarnation: 3,
        ring: "16c55bd5".to_owned(),
        address: address(),
        phase: "active".to_owned(),
        settings: Some(RingSettings::default()),
        interval: Duration::from_secs(1),
        small_ring: true,
        predecessor: Some(peer(8)),
        successors: vec![peer(4)],
        alive: [nas(), peer(4)].into_iter().collect(),
        away: [peer(8)].into_iter().collect(),
        gone: Listed::default(),
        unreachable: [Unreachable { peer: peer(4), through: Some(peer(8)) }].into_iter().collect(),
        objects: 2,
        bytes: 3 << 20,
        records: 1,
        syncing: false,
        short: Vec::new(),
        short_total: 1,
        below_quorum: 0,
        unheard: Listed::default(),
        trouble: None,
        siblings: [name()].into_iter().collect(),
        certificate_until: 1_953_137_610,
        data_dir: "/data/nas".to_owned(),
        misbehaving: [Misbehaviour { peer: peer(5), kind: Fault::CorruptBytes, count: 3 }]
            .into_iter()
            .collect(),
        refused: 1,
        malformed: 2,
        dropped: 3,
        notices: ["a line".to_owned()].into_iter().collect(),
        unkept: [UnkeptFiles {
            peer: peer(73),
            files: 12,
            bytes: 3_100_000_000,
            reason: MissingReason::NoRoom { length: 1 << 30, free: 55_000_000 },
        }]
        .into_iter()
        .collect(),
        verdict: Verdict::default(),
        space: SpaceReport {
            capacity: Some(500_000_000_000),
            reserve: 10 << 30,
            replicas: amount(1, 3 << 20),
            cached: amount(1, 300),
            pinned: amount(0, 0),
            free: 1 << 33,
            excess: 0,
            going: amount(1, 7),
            going_from_ms: Some(1_796_000_000_000),
        },
        verified: Verifications { here: Some(1_796_000_000_000), ring: Some(0), at: Some(peer(8)) },
    }
}

fn lack() -> Lack {
    Lack { peer: peer(8), reason: LackReason::Away { since_ms: Some(1_795_694_640_000) } }
}

fn verdict() -> Verdict {
    Verdict {
        members: 2,
        heard: 2,
        away: 1,
        replicas: 3,
        copies: 3,
        quorum: 2,
        files: 1_204,
        bytes: 3 << 30,
        short: 304,
        copies_least: 1,
        unreadable: 3,
        more_unreadable: false,
        unreadable_on: vec![lack()],
        at_risk: [AtRisk { peer: nas(), files: 304, reasons: vec![lack()] }].into_iter().collect(),
        lacks: vec![
            lack(),
            Lack { peer: peer(8), reason: LackReason::Gone { since_ms: None } },
            Lack { peer: peer(8), reason: LackReason::Silent },
            Lack { peer: peer(8), reason: LackReason::Full },
            Lack { peer: peer(8), reason: LackReason::Syncing },
            Lack { peer: peer(8), reason: LackReason::NotYet },
        ],
        syncing: [peer(4)].into_iter().collect(),
    }
}

fn may_stop(span: StopSpan, answer: StopAnswer) -> ClientReply {
    ClientReply::MayStop(Box::new(StopReport {
        peers: vec![nas()],
        span,
        answer,
        absent: vec![peer(8)],
        files: 1_204,
        unreadable: 3,
        only_there: 304,
        lacks: vec![lack()],
        copies_least: 1,
        alone: 300,
        answering: 3,
        quorum: 2,
        replicas: 3,
        to_copy_bytes: 3 << 30,
        room_bytes: 1 << 30,
        away_limit_ms: 900_000,
        unheard: [peer(4)].into_iter().collect(),
        syncing: [peer(5)].into_iter().collect(),
    }))
}

fn ring_line() -> RingLine {
    RingLine {
        peer: nas(),
        address: address(),
        incarnation: 3,
        state: MemberState::Alive,
        gone: false,
        share: 0.25,
        me: true,
    }
}

fn member(said: Option<SelfReport>) -> ClientReply {
    let clock_ahead_ms = said.as_ref().map(|_| -1_500);
    ClientReply::Member(MemberLine { line: ring_line(), away_since_ms: Some(1), said, clock_ahead_ms })
}

fn range(proof: RangeProof, holders: Vec<PeerName>) -> ClientReply {
    let (name, range) = (Some(name()), ByteRange { first: 7, last: 1 << 20 });
    ClientReply::Range(RangeReport { name, content: content(), length: 3 << 20, range, proof, holders })
}

fn whereis() -> WhereisReport {
    WhereisReport {
        name: name(),
        name_key: name().key(),
        record_peers: vec![nas()],
        version: 2,
        writer: peer(4),
        written: "2026-11-22T18:29:04Z".to_owned(),
        content: content(),
        length: 3 << 20,
        content_owner: nas(),
        holders: vec![nas(), peer(4)],
        copies: 3,
        history: 1,
        verified: vec![Some(1_796_000_000_000), None],
        full: Vec::new(),
    }
}

fn replies() -> Vec<ClientReply> {
    vec![
        ClientReply::Progress { done: 1, total: 2 },
        ClientReply::Stored(stored()),
        ClientReply::Received(RequestReport {
            name: Some(name()),
            content: content(),
            length: 3 << 20,
            version: Some(2),
            sources: vec![peer(4)],
            path: Some("/data/nas/received/report.pdf".to_owned()),
            took: Duration::from_millis(5),
            is_tree: false,
        }),
        ClientReply::Object(object()),
        ClientReply::File(file()),
        ClientReply::RingFile(RingFile { file: file(), holders: vec![nas()] }),
        ClientReply::Silent(peer(8)),
        ClientReply::RingLine(ring_line()),
        ClientReply::ShortFile(short(2)),
        ClientReply::Status(Box::new(status())),
        ClientReply::Whereis(whereis()),
        ClientReply::Pinged(PingReport {
            peer: peer(4),
            address: address(),
            incarnation: 1,
            round_trips_us: vec![Some(150), None],
            trouble: Some("no reply within 1000 ms".to_owned()),
        }),
        ClientReply::LeavePlan(LeavePlan {
            objects: 1,
            bytes: 3 << 20,
            records: 1,
            stay: [peer(4)].into_iter().collect(),
            copies: 1,
            unreachable: Listed::default(),
        }),
        ClientReply::Left(LeaveReport {
            handed_over: 2,
            short: [content()].into_iter().collect(),
            short_names: [name()].into_iter().collect(),
            unreachable: Listed::default(),
            data_dir: "/data/nas".to_owned(),
        }),
        ClientReply::End,
        ClientReply::Failed(Failure::not_found("no file named x")),
        ClientReply::ProtocolError("malformed".to_owned()),
        ClientReply::Forgotten(ForgetReport { peer: nas(), address: address(), done: true, without_copy: 2 }),
        ClientReply::AllListed,
        ClientReply::Failed(Failure::new("no room")),
        ClientReply::Failed(Failure::stays("this peer stays")),
        ClientReply::Failed(Failure::removed("x was removed")),
        ClientReply::History(history()),
        ClientReply::Removed(RemoveReport {
            name: name(),
            version: 3,
            before: 2,
            content: content(),
            missing: Vec::new(),
        }),
        ClientReply::Restored(RestoreReport {
            name: name(),
            version: 4,
            from: 2,
            content: content(),
            length: 3 << 20,
            settled: 1,
            unchanged: false,
            missing: vec![MissingCopy { peer: peer(8), reason: MissingReason::Unreachable }],
        }),
        may_stop(StopSpan::AWhile, StopAnswer::Yes),
        may_stop(StopSpan::For { ms: 600_000 }, StopAnswer::No(Hindrance::Unreadable)),
        may_stop(StopSpan::ForGood, StopAnswer::No(Hindrance::NoStores)),
        may_stop(StopSpan::ForGood, StopAnswer::No(Hindrance::TooFewMembers)),
        may_stop(StopSpan::ForGood, StopAnswer::No(Hindrance::NoRoom)),
        may_stop(StopSpan::AWhile, StopAnswer::CannotTell(Doubt::Unheard)),
        may_stop(StopSpan::AWhile, StopAnswer::CannotTell(Doubt::Syncing)),
        may_stop(StopSpan::AWhile, StopAnswer::CannotTell(Doubt::Uncounted)),
        ClientReply::Verdict(Box::new(verdict())),
        member(None),
        member(Some(self_report())),
        ClientReply::PinSet(PinReport {
            name: Some(name()),
            content: content(),
            length: 3 << 20,
            pinned: true,
            changed: false,
        }),
        ClientReply::Dropped(DropReport {
            name: Some(name()),
            content: content(),
            length: 3 << 20,
            holders: vec![nas(), peer(4)],
        }),
        ClientReply::Evicted(EvictReport {
            freed: amount(2, 3 << 20),
            belonging: amount(300, 1 << 30),
            pinned: amount(1, 7),
            unsafe_elsewhere: amount(1, 9),
            reasons: ["no word".to_owned()].into_iter().collect(),
            dry_run: true,
        }),
        ClientReply::ScrubProgress { objects: 1, objects_total: 60, bytes: 1 << 20, bytes_total: 60 << 20 },
        ClientReply::Scrubbed(ScrubReport {
            objects: 60,
            bytes: 60 << 20,
            sound: 49,
            quarantined: 10,
            fetched_again: 9,
            not_fetched_again: 1,
            unreadable: 1,
            below_quorum: 1,
            not_healed: [content()].into_iter().collect(),
            took: Duration::from_millis(80),
        }),
        ClientReply::Revoked { new: 1 },
        ClientReply::PinnedFile(file()),
        ClientReply::WhereisFull { report: whereis(), full: vec![peer(8)] },
        range(RangeProof::Outboard, vec![nas()]),
        range(RangeProof::Whole, Vec::new()),
        ClientReply::NotStored(Failure::new("why")),
        ClientReply::Placed,
        ClientReply::ReceivedTree(RequestReport {
            name: Some(name()),
            content: content(),
            length: 3 << 20,
            version: Some(2),
            sources: vec![peer(4)],
            path: None,
            took: Duration::from_millis(5),
            is_tree: false,
        }),
        ClientReply::Batch { given: vec![true, false] },
    ]
}

fn history() -> HistoryReport {
    let line = |state, file| VersionLine {
        version: 2,
        written: "2026-11-22T18:29:04Z".to_owned(),
        writer: peer(4),
        state,
        file,
    };
    let file = VersionFile { content: content(), length: 3 << 20, holders: Some(3) };
    HistoryReport {
        name: name(),
        versions: vec![
            line(VersionState::Current, None),
            line(VersionState::Sibling, Some(file.clone())),
            line(VersionState::Past, Some(VersionFile { holders: None, ..file })),
        ],
    }
}

fn amount(files: u64, bytes: u64) -> Amount {
    Amount { files, bytes }
}

fn short(holders: usize) -> ShortFile {
    ShortFile {
        content: content(),
        names: vec![name(); limits::HEALTH_NAMES_MAX],
        holders: vec![nas(); holders],
        copies: 3,
        quorum: 2,
        missing: vec![peer(8)],
    }
}

fn table() -> Vec<Golden> {
    requests().into_iter().map(golden).chain(replies().into_iter().map(golden)).collect()
}

/// Goal: a client and a peer of different builds understand each other.
#[test]
fn the_formats_of_commands_are_those_of_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/client.txt");
    let mut now =
        String::from("# ALPN quoit-client/1: one value of each message, as tests/wire/client.rs has it.\n");
    for Golden { name, bytes } in table() {
        now.push_str(&format!("{name} {}\n", HEXLOWER.encode(&bytes)));
    }
    if std::env::var_os("QUOIT_BLESS").is_some_and(|bless| bless == "1") {
        return std::fs::write(&path, now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), now, "a format changed; see tests/wire/client.rs");
}

#[test]
fn every_command_and_answer_is_in_the_golden_file() {
    let table = table();
    for (kind, tags) in
        [("ClientRequest", count::<ClientRequest>(&[])), ("ClientReply", count::<ClientReply>(&[]))]
    {
        for tag in 0..tags {
            let is_there = |g: &&Golden| g.name.starts_with(kind) && g.bytes[0] == tag as u8;
            assert!(table.iter().any(|g| is_there(&g)), "{kind}: nothing has tag {tag}");
        }
    }
    assert_eq!((count::<ClientRequest>(&[]), count::<ClientReply>(&[])), (30, 38), "this test reads counts");
}

proptest! {
    /// Goal: bytes that are nearly a command or an answer are refused, or mean one thing.
    #[test]
    fn damaged_commands_are_refused_or_whole(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let table = table();
        let mut bytes = which.get(&table).bytes.clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(command) = codec::decode::<ClientRequest>(&bytes) {
            prop_assert_eq!(codec::encode(&command).unwrap(), bytes.clone());
        }
        if let Ok(reply) = codec::decode::<ClientReply>(&bytes) {
            prop_assert_eq!(codec::encode(&reply).unwrap(), bytes);
        }
    }
}

/// Goal: the report on a ring of any size, with names of any length, fits its message.
#[test]
fn the_largest_reports_fit_a_frame() {
    let long = PeerName { position: Position([0xff; 32]), name: Some("n".repeat(63)) };
    let many = || -> Listed<PeerName> { std::iter::repeat_n(long.clone(), 100_000).collect() };
    let longest = FileName::new("x".repeat(FileName::BYTES_MAX)).unwrap();
    let names = || -> Listed<FileName> { std::iter::repeat_n(longest.clone(), 100_000).collect() };
    let apart = Unreachable { peer: long.clone(), through: Some(long.clone()) };
    let fault = Misbehaviour { peer: long.clone(), kind: Fault::CorruptBytes, count: u64::MAX };
    let unkept = UnkeptFiles {
        peer: long.clone(),
        files: u64::MAX,
        bytes: u64::MAX,
        reason: MissingReason::Disk("d".repeat(200)),
    };
    let lacks: Vec<Lack> =
        std::iter::repeat_n(Lack { peer: long.clone(), ..lack() }, limits::VERDICT_PEERS_MAX).collect();
    let largest = StatusReport {
        successors: vec![long.clone(); RingSettings::SUCCESSORS_MAX.into()],
        alive: many(),
        away: many(),
        gone: many(),
        unheard: many(),
        trouble: Some("t".repeat(400)),
        unreachable: std::iter::repeat_n(apart, 100_000).collect(),
        siblings: names(),
        misbehaving: std::iter::repeat_n(fault, 100_000).collect(),
        data_dir: "d".repeat(4_096),
        unkept: Listed { first: vec![unkept; 8], total: u64::MAX },
        ..status()
    };
    let verdict = Verdict {
        unreadable_on: lacks.clone(),
        at_risk: Listed {
            first: vec![
                AtRisk { peer: long.clone(), files: u64::MAX, reasons: lacks.clone() };
                limits::VERDICT_PEERS_MAX
            ],
            total: u64::MAX,
        },
        lacks: lacks.clone(),
        syncing: Listed { first: vec![long.clone(); limits::VERDICT_PEERS_MAX], total: u64::MAX },
        ..verdict()
    };
    let ClientReply::MayStop(stop) = may_stop(StopSpan::AWhile, StopAnswer::Yes) else { panic!() };
    let stop = StopReport {
        peers: vec![long.clone(); limits::STOPPING_MAX],
        absent: vec![long.clone(); limits::STOPPING_MAX],
        lacks,
        unheard: many(),
        syncing: many(),
        ..*stop
    };
    let departure = LeaveReport {
        handed_over: u64::MAX,
        short: std::iter::repeat_n(content(), 100_000).collect(),
        short_names: names(),
        unreachable: names(),
        data_dir: "d".repeat(4_096),
    };
    let holders = usize::from(RingSettings::REPLICAS_MAX) + limits::HOLDERS_PER_OBJECT_MAX;
    let evicted = EvictReport {
        reasons: std::iter::repeat_n("r".repeat(limits::REASON_BYTES_MAX), 100_000).collect(),
        ..EvictReport::default()
    };
    let short = ShortFile {
        names: vec![longest.clone(); limits::HEALTH_NAMES_MAX],
        holders: vec![long.clone(); holders],
        missing: vec![long.clone(); holders],
        ..short(0)
    };
    let file =
        FileEntry { object: object(), names: vec![longest; limits::LINKS_PER_OBJECT_MAX], pinned: false };
    let ring_file = RingFile { file, holders: vec![long; limits::HOLDERS_PER_OBJECT_MAX] };
    for reply in [
        ClientReply::Status(Box::new(largest)),
        ClientReply::MayStop(Box::new(stop)),
        ClientReply::Verdict(Box::new(verdict)),
        ClientReply::Left(departure),
        ClientReply::ShortFile(short),
        ClientReply::RingFile(ring_file),
        ClientReply::Evicted(evicted),
        ClientReply::Failed(Failure::new("ä".repeat(1_000_000))),
    ] {
        let length = codec::encode(&reply).unwrap_or_else(|error| panic!("{error}")).len();
        assert!(length <= limits::FRAME_BYTES_MAX, "{length}");
    }
}

/// Goal: a time span has one encoding (a fuzzer found that serde's own form has several).
#[test]
fn a_time_span_is_one_number() {
    let report = RequestReport {
        name: None,
        content: content(),
        length: 0,
        version: None,
        sources: Vec::new(),
        path: None,
        took: Duration::from_micros(1_500_000),
        is_tree: false,
    };
    let bytes = codec::encode(&report).unwrap();
    assert!(bytes.ends_with(&[252, 0x60, 0xe3, 0x16, 0x00]), "{bytes:?}");
    assert_eq!(codec::decode::<RequestReport>(&bytes).unwrap(), report);
}
