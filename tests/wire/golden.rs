//! Golden bytes: the encoding of one value of each message, in tests/golden/wire.txt.
//!
//! A format that changes fails these tests: it needs a new ALPN, not a new golden file. A message that is
//! added appends lines: run the tests once with `QUOIT_BLESS=1` and read the difference.

use std::path::Path;

use data_encoding::HEXLOWER;
use quoit::config::{KeepVersions, RingSettings};
use quoit::id::{ContentId, FileName, KeyHash, KeyRange, OutboardDigest, Position, RecordId, SetDigest};
use quoit::time::Timestamp;
use quoit::wire::*;

/// One line of the table of golden bytes.
pub struct Golden {
    pub name: String,
    pub bytes: Vec<u8>,
}

pub fn golden<T>(message: T) -> Golden
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = codec::encode(&message).unwrap();
    assert_eq!(codec::decode::<T>(&bytes).as_ref(), Ok(&message));
    // The name is the path of variants at the beginning of the value.
    let text = format!("{message:?}");
    let end = text.find(|c: char| !c.is_alphanumeric() && !"_(".contains(c)).unwrap_or(text.len());
    let short = std::any::type_name::<T>().rsplit("::").next().unwrap();
    let variants = text[..end].trim_end_matches('(').replace('(', "::");
    let name = if variants.starts_with(short) { variants } else { format!("{short}::{variants}") };
    Golden { name, bytes }
}

fn entry(number: u8) -> Entry {
    Entry::from(Life {
        position: Position::of_number(number),
        incarnation: 1_000 + u64::from(number),
        key: KeyHash([number; 32]),
        address: Address::new(&format!("127.0.0.1:{}", 12_000 + u16::from(number))).unwrap(),
    })
}

fn self_placed() -> Entry {
    let entry = entry(40);
    Entry::from(Life { key: KeyHash(entry.position.0), ..(*entry).clone() })
}

fn members() -> Vec<Member> {
    [(10, MemberState::Alive), (20, MemberState::Left), (30, MemberState::Dead)]
        .map(|(number, state)| Member { entry: entry(number), state })
        .to_vec()
}

fn object() -> ObjectInfo {
    let (content, outboard) = (ContentId([0xc0; 32]), OutboardDigest([0x0b; 32]));
    ObjectInfo { content, length: 3 << 20, outboard }
}

fn name() -> FileName {
    FileName::new("a report.pdf").unwrap()
}

fn record() -> SignedRecord {
    SignedRecord { body: vec![1, 2, 3], signature: vec![4, 5], certificate: vec![6; 300] }
}

const FEWER_VERSIONS: KeepVersions = KeepVersions { count: 8, seconds: 7_776_000 };
const SETTINGS: RingSettings = RingSettings { replicas: 3, successors: 8, versions: KeepVersions::DEFAULT };

fn membership_requests() -> Vec<MembershipRequest> {
    use MembershipRequest::*;
    vec![
        Neighbour(NeighbourRequest::Probe),
        Neighbour(NeighbourRequest::State { members: members() }),
        Neighbour(NeighbourRequest::Notify),
        Neighbour(NeighbourRequest::Changed),
        Relay { target: entry(10), request: NeighbourRequest::Probe },
        Join { settings: Some(SETTINGS), forming: Some(members()) },
        Join { settings: None, forming: None },
        Join { settings: Some(RingSettings { versions: FEWER_VERSIONS, ..SETTINGS }), forming: None },
        FindOwner { key: Position([7; 32]) },
        Left { predecessor: Some(entry(10)), successors: vec![entry(20), entry(30)] },
        MayLeave,
        Contacts { after: Position([7; 32]) },
    ]
}

fn membership_replies() -> Vec<MembershipReply> {
    use MembershipReply::*;
    let state = NeighbourReply::State {
        predecessor: Some(entry(10)),
        successors: vec![entry(20)],
        members: members(),
    };
    vec![
        Neighbour(NeighbourReply::Alive),
        Neighbour(state),
        Neighbour(NeighbourReply::Busy),
        Neighbour(NeighbourReply::Noted),
        Neighbour(NeighbourReply::Inactive),
        Relayed(Ok(NeighbourReply::Alive)),
        Relayed(Err(RelayFailure::Unanswered)),
        Relayed(Err(RelayFailure::Refused)),
        Busy,
        Noted,
        Welcome { predecessor: None, successors: vec![entry(20)], settings: SETTINGS, members: members() },
        Closer { peers: vec![entry(10), entry(20)] },
        Forming { settings: SETTINGS, members: members() },
        Refused(Refusal::PositionTaken { by: entry(10) }),
        Refused(Refusal::Stale { incarnation: 70_000 }),
        Refused(Refusal::SettingsDiffer(SETTINGS)),
        Refused(Refusal::Leaving),
        Refused(Refusal::LoopbackRing { address: Address::new("quoit.example:12300").unwrap() }),
        Owner { owner: entry(10), predecessor: Some(entry(30)), successors: vec![entry(20)] },
        Inactive,
        Gone { successor: Some(entry(10)) },
        Proceed,
        Wait,
        Near { peers: vec![entry(10), entry(20)] },
        Contacts { members: members() },
    ]
}

fn storage_requests() -> Vec<StorageRequest> {
    use StorageRequest::*;
    let (content, links) = (object().content, vec![Link { name: name(), clock: Timestamp(1 << 40) }]);
    let role = StoreRole::Replica { chain: vec![entry(10)] };
    let offered = OfferedRecord { key: Position([8; 32]), id: RecordId([9; 32]) };
    let range = KeyRange { first: Position([1; 32]), last: Position([2; 32]) };
    vec![
        StoreObject { object: object(), links: links.clone(), role: StoreRole::Owner },
        StoreObject { object: object(), links, role },
        FetchObject { content, offset: 1 << 20 },
        FetchOutboard { content, first: 1_024 },
        WhoHas { content },
        Announce { content },
        FetchRecord { name: name() },
        PutRecord { record: record(), role: PutRole::Owner },
        PutRecord { record: record(), role: PutRole::Replica },
        Offer { objects: vec![content], records: vec![offered] },
        Sync,
        ListFiles { after: Some(content) },
        Health,
        Lacks { objects: vec![content] },
        Unkept,
        FetchHistory { name: name() },
        Renew { references: vec![reference(true), reference(false)] },
        CountCopies,
        Describe,
        MayFree { content, sure: true },
        Vouch { content },
        Freed { content },
        Verified { objects: vec![content] },
        Compare { ranges: vec![RangeDigest { range, digest: SetDigest { count: 300, sum: 7 << 100 } }] },
        HeardFull,
        DroppedTombstones,
        FetchRange { content, offset: 1 << 20, length: 3 << 20 },
        StoreBatch { objects: vec![batched()], role: StoreRole::Owner },
        StoreBatch { objects: vec![batched()], role: StoreRole::Replica { chain: vec![entry(10)] } },
        FetchRecords { names: vec![name()] },
        PutRecords { records: vec![record()], role: PutRole::Replica },
        FetchBatch { contents: vec![content] },
        PutBatch { objects: vec![object()], role: StoreRole::Owner },
    ]
}

fn storage_replies() -> Vec<StorageReply> {
    use StorageReply::*;
    let peer = Position::of_number(10);
    let missing = |reason| quoit::wire::Missing { peer, reason };
    vec![
        Proceed { offset: 1 << 20 },
        AlreadyHere,
        Durable { peer },
        Missing(missing(MissingReason::Unreachable)),
        Missing(missing(MissingReason::Disk("full".to_owned()))),
        Missing(missing(MissingReason::Refused("no".to_owned()))),
        Missing(missing(MissingReason::NoRoom { length: 3 << 20, free: 1 << 20 })),
        Missing(missing(MissingReason::Final("no".to_owned()))),
        Missing(missing(MissingReason::NotYet)),
        Missing(missing(MissingReason::NotGiven("rot".to_owned()))),
        Finished,
        NotOwner { owner: Some(entry(10)) },
        Refused("no".to_owned()),
        Object(object()),
        NotHere,
        Outboard { object: object(), midstates: vec![5; 64] },
        Holders { here: true, others: vec![entry(10)] },
        Noted,
        Record { record: Some(record()), syncing: false },
        Put { durable: vec![peer], missing: vec![missing(MissingReason::Unreachable)] },
        Conflict { current: Some(record()) },
        Wanted { objects: vec![0, 300], records: vec![1], arriving: vec![2] },
        Synced { objects: 1, bytes: 3 << 20, records: 2, complete: true },
        Files { files: vec![FileEntry { object: object(), names: vec![name()], pinned: false }], more: true },
        Health { short: vec![health()], total: 300, below_quorum: 1 },
        Syncing { others: vec![entry(10)] },
        WantedInPart { objects: vec![0, 300], records: vec![1], arriving: vec![2], unkept: vec![3] },
        Unkept {
            files: 12,
            bytes: 3 << 30,
            reason: Some(MissingReason::NoRoom { length: 1 << 30, free: 7 }),
        },
        Moving { bytes: 256 << 10 },
        History { records: vec![record(), record()], syncing: true },
        Copies(counts()),
        Described(self_report()),
        Granted { holders: vec![peer] },
        Kept(WhyKept::Belongs { keepers: vec![peer] }),
        Kept(WhyKept::TooFew { holders: vec![peer], missing: vec![missing(MissingReason::NotYet)] }),
        Kept(WhyKept::Another { peer }),
        Vouched,
        LetGo,
        Verified { objects: vec![Some(1_796_000_000_000), None, Some(0)], oldest: Some(0) },
        Differ { ranges: vec![Difference { range: 255, count: 300 }] },
        HeardFull { peers: vec![peer] },
        DroppedTombstones { up_to_ms: 1_796_000_000_000 },
        BatchWanted { objects: vec![0, 300] },
        BatchKept { peer, missing: vec![BatchMissing { index: 300, reason: MissingReason::NotYet }] },
        Records { records: vec![Some(record()), None], syncing: true },
        PutAll { outcomes: put_outcomes(peer) },
        Batch { lengths: vec![Some(300), None] },
    ]
}

fn batched() -> BatchedObject {
    BatchedObject { object: object(), link: Link { name: name(), clock: Timestamp(1 << 40) } }
}

fn put_outcomes(peer: Position) -> Vec<PutOutcome> {
    let missing = vec![quoit::wire::Missing { peer, reason: MissingReason::Unreachable }];
    vec![
        PutOutcome::Put { durable: vec![peer], missing },
        PutOutcome::Conflict,
        PutOutcome::NotOwner,
        PutOutcome::Refused("no".to_owned()),
    ]
}

fn reference(current: bool) -> Reference {
    let link = Link { name: name(), clock: Timestamp(1 << 40) };
    Reference { content: object().content, link, current }
}

fn counts() -> CopyCounts {
    let peer = Position::of_number;
    CopyCounts {
        sets: vec![CopySet { holders: vec![peer(10)], lacking: vec![peer(20)], files: 300, bytes: 3 << 30 }],
        beyond: vec![CopiesBeyond { copies: 3, files: 7, bytes: 70_000 }],
        lost: vec![LostFile { content: object().content, lacking: vec![peer(20)] }],
        more_lost: false,
        syncing: true,
    }
}

pub fn self_report() -> SelfReport {
    SelfReport {
        version: "0.1.0".to_owned(),
        free_bytes: 3 << 30,
        disk_bytes: 8 << 30,
        objects: 2,
        bytes: 3 << 20,
        full: false,
        syncing: true,
        unix_ms: 1_795_694_640_000,
        verified_ms: Some(1_795_694_000_000),
    }
}

fn health() -> FileHealth {
    let (content, peer) = (object().content, Position::of_number);
    FileHealth { content, names: vec![name()], holders: vec![peer(10)], missing: vec![peer(20), peer(30)] }
}

fn name_records() -> [NameRecord; 4] {
    let ObjectInfo { content, length, outboard } = object();
    let first = NameRecord {
        name: name(),
        target: RecordTarget::Content { content, length, outboard },
        clock: Timestamp::of_unix_ms(1_700_000_000_000),
        writer: Position::of_number(10),
        version: 1,
        replaces: Replaces::Nothing,
    };
    let removed = NameRecord {
        target: RecordTarget::Tombstone,
        version: 2,
        replaces: Replaces::Current(RecordId([9; 32])),
        ..first.clone()
    };
    let settling = NameRecord {
        version: 3,
        replaces: Replaces::Several(vec![RecordId([8; 32]), RecordId([7; 32])]),
        ..first.clone()
    };
    let tree = NameRecord { target: RecordTarget::Tree { content, length, outboard }, ..first.clone() };
    [first, removed, settling, tree]
}

/// One value of each message, and of each kind of value inside.
fn table() -> Vec<Golden> {
    let mut table: Vec<Golden> = Vec::new();
    table.extend(membership_requests().into_iter().map(|m| golden(Request::Membership(m))));
    table.extend(storage_requests().into_iter().map(|m| golden(Request::Storage(m))));
    table.extend(membership_replies().into_iter().map(|m| golden(Reply::Membership(m))));
    table.extend(storage_replies().into_iter().map(|m| golden(Reply::Storage(m))));
    table.push(golden(Reply::ProtocolError("no such request".to_owned())));
    table.push(golden(Request::Forward { to: Position::of_number(10) }));
    table.push(golden(Request::Forwarded { from: entry(10) }));
    table.push(golden(Reply::Forwarding(Ok(entry(10)))));
    table.push(golden(Reply::Forwarding(Err(RelayFailure::Unanswered))));
    table.push(golden(Datagram::Ping { sequence: 300, news: members() }));
    table.push(golden(Datagram::Pong { sequence: 300, news: Vec::new() }));
    table.push(golden(Datagram::Clock { unix_ms: 1_800_000_000_000 }));
    table.push(golden(self_placed()));
    table.push(golden(Hello { incarnation: 5, advertised: None, revocations: 0 }));
    table.push(golden(Hello {
        incarnation: u64::MAX,
        advertised: Some(entry(10).address.clone()),
        revocations: 0,
    }));
    table.push(golden(Hello { incarnation: 5, advertised: None, revocations: 9 }));
    table.push(golden(Hello {
        incarnation: 5,
        advertised: Some(entry(10).address.clone()),
        revocations: u64::MAX,
    }));
    table.extend(name_records().map(golden));
    table.push(golden(record()));
    table.push(golden(Request::Revocations { digest: 1 << 40, revoked: vec![revoked()] }));
    table.push(golden(Reply::Revocations { digest: 0, revoked: vec![revoked(), revoked()] }));
    table.push(golden(Revocation {
        key: KeyHash([7; 32]),
        position: Position::of_number(7),
        at_ms: 1 << 40,
    }));
    table.extend(enrolments());
    table
}

fn revoked() -> SignedRevocation {
    SignedRevocation { body: vec![1, 2, 3], signature: vec![4, 5] }
}

fn enrolments() -> Vec<Golden> {
    let request = vec![0x30; 3];
    let mut table = vec![
        golden(EnrolRequest::Authority),
        golden(EnrolRequest::Redeem { ticket: [1; 8], secret: [2; 16], request }),
        golden(EnrolReply::Authority { certificate: vec![0x30; 3] }),
        golden(EnrolReply::Admitted { certificate: vec![0x30; 3] }),
        golden(EnrolReply::ProtocolError("no such request".to_owned())),
    ];
    let refusals = [
        TicketRefusal::NoAuthority,
        TicketRefusal::Unknown,
        TicketRefusal::Expired,
        TicketRefusal::Used { at_ms: 1_800_000_000_000 },
        TicketRefusal::Void,
        TicketRefusal::Failed("no room".to_owned()),
    ];
    table.extend(refusals.map(|refusal| golden(EnrolReply::Refused(refusal))));
    let candidates = vec![Position::of_number(7), Position([0x40; 32])];
    table.push(golden(EnrolRequest::Place { ticket: [1; 8], secret: [2; 16], candidates }));
    table.push(golden(EnrolReply::Placed(1)));
    table.push(golden(Datagram::FullPong { sequence: 300, news: Vec::new() }));
    table
}

/// Goal: a self-placed peer's entry has one encoding.
#[test]
fn a_key_that_the_position_says_already_is_refused() {
    let Life { position, incarnation, key, address } = (*self_placed()).clone();
    let told = |key: Option<KeyHash>| codec::encode(&(position, incarnation, key, &address)).unwrap();
    assert_eq!(codec::decode::<Entry>(&told(None)), Ok(self_placed()));
    assert!(matches!(codec::decode::<Entry>(&told(Some(key))), Err(codec::CodecError::Malformed(_))));
}

/// Goal: the codec still reads messages of an older peer, and an older peer reads ours.
#[test]
fn the_formats_are_those_of_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire.txt");
    let mut now =
        String::from("# ALPN quoit/1: one value of each message, as tests/wire/golden.rs has it.\n");
    for Golden { name, bytes } in table() {
        now.push_str(&format!("{name} {}\n", HEXLOWER.encode(&bytes)));
    }
    if std::env::var_os("QUOIT_BLESS").is_some_and(|bless| bless == "1") {
        return std::fs::write(&path, now).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (golden, now) in golden.lines().zip(now.lines()) {
        assert_eq!(golden, now, "a format changed; see tests/wire/golden.rs");
    }
    assert_eq!(golden.lines().count(), now.lines().count(), "messages came or went");
}

/// Goal: each message has its bytes in the table.
#[test]
fn every_variant_is_in_the_golden_file() {
    let table = table();
    let variants = |prefix: &[u8], count: usize, of: &str| {
        for tag in 0..count {
            let beginning = [prefix, &[tag as u8]].concat();
            let of_type = |g: &&Golden| g.name.starts_with(of) && g.bytes.starts_with(&beginning);
            assert!(table.iter().any(|g| of_type(&g)), "{of}: nothing begins with {beginning:?}");
        }
    };
    variants(&[], count::<Request>(&[]), "Request");
    variants(&[0], count::<Request>(&[0]), "Request");
    variants(&[0, 0], count::<Request>(&[0, 0]), "Request");
    variants(&[1], count::<Request>(&[1]), "Request");
    variants(&[], count::<Reply>(&[]), "Reply");
    variants(&[0], count::<Reply>(&[0]), "Reply");
    variants(&[0, 0], count::<Reply>(&[0, 0]), "Reply");
    variants(&[0, 7], count::<Reply>(&[0, 7]), "Reply");
    variants(&[1], count::<Reply>(&[1]), "Reply");
    variants(&[], count::<Datagram>(&[]), "Datagram");
    assert_eq!((count::<Request>(&[1]), count::<Reply>(&[1])), (30, 39), "this test reads counts");
}

/// The number of variants of the enum after these bytes, from the words in which serde refuses a tag.
pub fn count<T: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug>(prefix: &[u8]) -> usize {
    let refused = codec::decode::<T>(&[prefix, &[250]].concat()).unwrap_err().to_string();
    let (_, count) = refused.rsplit_once("i < ").unwrap_or_else(|| panic!("{prefix:?}: {refused}"));
    count.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}
