//! Any message, for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use quoit::config::{KeepVersions, RingSettings};
use quoit::id::{ContentId, FileName, KeyHash, KeyRange, OutboardDigest, Position, RecordId, SetDigest};
use quoit::time::Timestamp;
use quoit::wire::*;

/// The most elements of a generated list: enough for lengths, few enough to try every prefix.
const FEW: usize = 3;

fn position() -> impl Strategy<Value = Position> {
    any::<[u8; 32]>().prop_map(Position)
}

fn content() -> impl Strategy<Value = ContentId> {
    any::<[u8; 32]>().prop_map(ContentId)
}

/// All lengths of integers on the wire.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 60_000..70_000u64, any::<u32>().prop_map(u64::from), any::<u64>()]
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn name() -> impl Strategy<Value = FileName> {
    any::<String>().prop_filter_map("no file name", |text| FileName::new(text).ok())
}

fn address() -> impl Strategy<Value = Address> {
    ("([a-z0-9.-]{1,30}|\\[[0-9a-f:]{2,20}\\])", 1..=u16::MAX)
        .prop_map(|(host, port)| Address::new(&format!("{host}:{port}")).unwrap())
}

fn entry() -> BoxedStrategy<Entry> {
    (position(), number(), any::<Option<[u8; 32]>>(), address())
        .prop_map(|(position, incarnation, key, address)| {
            // Without a key of its own it is self-placed.
            let key = KeyHash(key.unwrap_or(position.0));
            Entry::from(Life { position, incarnation, key, address })
        })
        .boxed()
}

pub fn member() -> BoxedStrategy<Member> {
    let states = prop::sample::select(vec![MemberState::Alive, MemberState::Left, MemberState::Dead]);
    (entry(), states).prop_map(|(entry, state)| Member { entry, state }).boxed()
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    vec(entry(), 0..FEW)
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    vec(member(), 0..FEW)
}

fn settings() -> impl Strategy<Value = RingSettings> {
    let versions = prop_oneof![
        Just(KeepVersions::DEFAULT),
        any::<(u8, u32)>().prop_map(|(count, seconds)| KeepVersions { count, seconds }),
    ];
    (any::<(u8, u8)>(), versions).prop_map(|((replicas, successors), versions)| RingSettings {
        replicas,
        successors,
        versions,
    })
}

fn object() -> impl Strategy<Value = ObjectInfo> {
    (content(), number(), any::<[u8; 32]>()).prop_map(|(content, length, outboard)| ObjectInfo {
        content,
        length,
        outboard: OutboardDigest(outboard),
    })
}

pub fn hello() -> impl Strategy<Value = Hello> {
    (number(), option::of(address()), number()).prop_map(|(incarnation, advertised, revocations)| Hello {
        incarnation,
        advertised,
        revocations,
    })
}

pub fn datagram() -> impl Strategy<Value = Datagram> {
    (0..4u8, number(), vec(member(), 0..=limits::NEWS_MAX)).prop_map(|(kind, sequence, news)| match kind {
        0 => Datagram::Ping { sequence, news },
        1 => Datagram::Pong { sequence, news },
        2 => Datagram::FullPong { sequence, news },
        _ => Datagram::Clock { unix_ms: sequence },
    })
}

pub fn name_record() -> BoxedStrategy<NameRecord> {
    let target = prop_oneof![
        Just(RecordTarget::Tombstone),
        object().prop_map(|ObjectInfo { content, length, outboard }| RecordTarget::Content {
            content,
            length,
            outboard
        }),
        object().prop_map(|ObjectInfo { content, length, outboard }| RecordTarget::Tree {
            content,
            length,
            outboard
        }),
    ];
    (name(), target, number(), position(), number(), vec(any::<[u8; 32]>(), 0..FEW))
        .prop_map(|(name, target, clock, writer, version, replaces)| NameRecord {
            name,
            target,
            clock: Timestamp(clock),
            writer,
            version,
            replaces: replaces.into_iter().map(RecordId).collect(),
        })
        .boxed()
}

pub fn signed_record() -> BoxedStrategy<SignedRecord> {
    (name_record(), vec(any::<u8>(), 64), vec(any::<u8>(), 0..300))
        .prop_map(|(record, signature, certificate)| SignedRecord {
            body: codec::encode(&record).unwrap(),
            signature,
            certificate,
        })
        .boxed()
}

fn neighbour_request() -> BoxedStrategy<NeighbourRequest> {
    prop_oneof![
        Just(NeighbourRequest::Probe),
        members().prop_map(|members| NeighbourRequest::State { members }),
        Just(NeighbourRequest::Notify),
        Just(NeighbourRequest::Changed),
    ]
    .boxed()
}

fn neighbour_reply() -> BoxedStrategy<NeighbourReply> {
    prop_oneof![
        Just(NeighbourReply::Alive),
        (option::of(entry()), entries(), members()).prop_map(|(predecessor, successors, members)| {
            NeighbourReply::State { predecessor, successors, members }
        }),
        Just(NeighbourReply::Busy),
        Just(NeighbourReply::Noted),
        Just(NeighbourReply::Inactive),
    ]
    .boxed()
}

fn membership_request() -> BoxedStrategy<MembershipRequest> {
    use MembershipRequest::*;
    prop_oneof![
        neighbour_request().prop_map(Neighbour),
        (entry(), neighbour_request()).prop_map(|(target, request)| Relay { target, request }),
        (option::of(settings()), option::of(members()))
            .prop_map(|(settings, forming)| Join { settings, forming }),
        position().prop_map(|key| FindOwner { key }),
        (option::of(entry()), entries())
            .prop_map(|(predecessor, successors)| Left { predecessor, successors }),
        Just(MayLeave),
        position().prop_map(|after| Contacts { after }),
    ]
    .boxed()
}

fn refusal() -> BoxedStrategy<Refusal> {
    prop_oneof![
        entry().prop_map(|by| Refusal::PositionTaken { by }),
        number().prop_map(|incarnation| Refusal::Stale { incarnation }),
        settings().prop_map(Refusal::SettingsDiffer),
        Just(Refusal::Leaving),
        address().prop_map(|address| Refusal::LoopbackRing { address }),
    ]
    .boxed()
}

fn membership_reply() -> BoxedStrategy<MembershipReply> {
    use MembershipReply::*;
    let failure = prop::sample::select(vec![RelayFailure::Unanswered, RelayFailure::Refused]);
    prop_oneof![
        neighbour_reply().prop_map(Neighbour),
        prop_oneof![neighbour_reply().prop_map(Ok), failure.prop_map(Err)].prop_map(Relayed),
        prop::sample::select(vec![Busy, Noted, Inactive, Proceed, Wait]),
        entries().prop_map(|peers| Near { peers }),
        members().prop_map(|members| Contacts { members }),
        (option::of(entry()), entries(), settings(), members()).prop_map(
            |(predecessor, successors, settings, members)| Welcome {
                predecessor,
                successors,
                settings,
                members
            }
        ),
        entries().prop_map(|peers| Closer { peers }),
        (settings(), members()).prop_map(|(settings, members)| Forming { settings, members }),
        refusal().prop_map(Refused),
        (entry(), option::of(entry()), entries()).prop_map(|(owner, predecessor, successors)| Owner {
            owner,
            predecessor,
            successors
        }),
        option::of(entry()).prop_map(|successor| Gone { successor }),
    ]
    .boxed()
}

fn storage_request() -> BoxedStrategy<StorageRequest> {
    use StorageRequest::*;
    let link = (name(), number()).prop_map(|(name, clock)| Link { name, clock: Timestamp(clock) });
    let role = prop_oneof![Just(StoreRole::Owner), entries().prop_map(|chain| StoreRole::Replica { chain })];
    let put_role = prop::sample::select(vec![PutRole::Owner, PutRole::Replica]);
    let offered =
        (position(), any::<[u8; 32]>()).prop_map(|(key, id)| OfferedRecord { key, id: RecordId(id) });
    prop_oneof![
        (object(), vec(link, 0..FEW), role).prop_map(|(object, links, role)| StoreObject {
            object,
            links,
            role
        }),
        (content(), number()).prop_map(|(content, offset)| FetchObject { content, offset }),
        (content(), any::<u32>()).prop_map(|(content, first)| FetchOutboard { content, first }),
        content().prop_map(|content| WhoHas { content }),
        content().prop_map(|content| Announce { content }),
        name().prop_map(|name| FetchRecord { name }),
        (signed_record(), put_role).prop_map(|(record, role)| PutRecord { record, role }),
        (vec(content(), 0..FEW), vec(offered, 0..FEW))
            .prop_map(|(objects, records)| Offer { objects, records }),
        Just(Sync),
        option::of(content()).prop_map(|after| ListFiles { after }),
        prop::sample::select(vec![Health, Unkept, CountCopies, Describe, HeardFull, DroppedTombstones]),
        vec(content(), 0..FEW).prop_map(|objects| Lacks { objects }),
        name().prop_map(|name| FetchHistory { name }),
        vec(reference(), 0..FEW).prop_map(|references| Renew { references }),
        (content(), any::<bool>()).prop_map(|(content, sure)| MayFree { content, sure }),
        content().prop_map(|content| Vouch { content }),
        content().prop_map(|content| Freed { content }),
        vec(content(), 0..FEW).prop_map(|objects| Verified { objects }),
        vec(range_digest(), 0..FEW).prop_map(|ranges| Compare { ranges }),
        (content(), number(), number()).prop_map(|(content, offset, length)| FetchRange {
            content,
            offset,
            length
        }),
        batch_request(),
    ]
    .boxed()
}

fn batch_request() -> BoxedStrategy<StorageRequest> {
    use StorageRequest::*;
    let batched = (object(), name(), number()).prop_map(|(object, name, clock)| BatchedObject {
        object,
        link: Link { name, clock: Timestamp(clock) },
    });
    let role = prop_oneof![Just(StoreRole::Owner), entries().prop_map(|chain| StoreRole::Replica { chain })];
    let put_role = prop::sample::select(vec![PutRole::Owner, PutRole::Replica]);
    prop_oneof![
        (vec(batched, 0..FEW), role.clone()).prop_map(|(objects, role)| StoreBatch { objects, role }),
        (vec(object(), 0..FEW), role).prop_map(|(objects, role)| PutBatch { objects, role }),
        vec(name(), 0..FEW).prop_map(|names| FetchRecords { names }),
        (vec(signed_record(), 0..FEW), put_role).prop_map(|(records, role)| PutRecords { records, role }),
        vec(content(), 0..FEW).prop_map(|contents| FetchBatch { contents }),
    ]
    .boxed()
}

fn range_digest() -> impl Strategy<Value = RangeDigest> {
    (position(), position(), number(), any::<u128>()).prop_map(|(first, last, count, sum)| RangeDigest {
        range: KeyRange { first, last },
        digest: SetDigest { count, sum },
    })
}

fn reference() -> impl Strategy<Value = Reference> {
    (content(), name(), number(), any::<bool>()).prop_map(|(content, name, clock, current)| Reference {
        content,
        link: Link { name, clock: Timestamp(clock) },
        current,
    })
}

fn missing_reason() -> impl Strategy<Value = MissingReason> {
    prop_oneof![
        Just(MissingReason::Unreachable),
        text().prop_map(MissingReason::Disk),
        text().prop_map(MissingReason::Refused),
        Just(MissingReason::NotYet),
        (number(), number()).prop_map(|(length, free)| MissingReason::NoRoom { length, free }),
        text().prop_map(MissingReason::Final),
        text().prop_map(MissingReason::NotGiven),
    ]
}

fn missing() -> impl Strategy<Value = Missing> {
    (position(), missing_reason()).prop_map(|(peer, reason)| Missing { peer, reason })
}

fn places() -> impl Strategy<Value = Vec<u16>> {
    vec(any::<u16>(), 0..FEW)
}

fn health() -> impl Strategy<Value = FileHealth> {
    let peers = || vec(position(), 0..FEW);
    (content(), vec(name(), 0..FEW), peers(), peers())
        .prop_map(|(content, names, holders, missing)| FileHealth { content, names, holders, missing })
}

fn copy_counts() -> impl Strategy<Value = CopyCounts> {
    let peers = || vec(position(), 0..FEW);
    let set = (peers(), peers(), number(), number()).prop_map(|(holders, lacking, files, bytes)| CopySet {
        holders,
        lacking,
        files,
        bytes,
    });
    let beyond = (any::<u8>(), number(), number()).prop_map(|(copies, files, bytes)| CopiesBeyond {
        copies,
        files,
        bytes,
    });
    let lost = (content(), peers()).prop_map(|(content, lacking)| LostFile { content, lacking });
    (vec(set, 0..FEW), vec(beyond, 0..FEW), vec(lost, 0..FEW), any::<bool>(), any::<bool>()).prop_map(
        |(sets, beyond, lost, more_lost, syncing)| CopyCounts { sets, beyond, lost, more_lost, syncing },
    )
}

fn self_report() -> impl Strategy<Value = SelfReport> {
    let figures = (number(), number(), number(), number(), number());
    (text(), figures, any::<bool>(), any::<bool>(), option::of(number())).prop_map(
        |(version, (free_bytes, disk_bytes, objects, bytes, unix_ms), full, syncing, verified_ms)| {
            SelfReport {
                version,
                free_bytes,
                disk_bytes,
                objects,
                bytes,
                full,
                syncing,
                unix_ms,
                verified_ms,
            }
        },
    )
}

fn storage_reply() -> BoxedStrategy<StorageReply> {
    use StorageReply::*;
    let file = (object(), vec(name(), 0..FEW)).prop_map(|(object, names)| FileEntry {
        object,
        names,
        pinned: false,
    });
    let written = prop_oneof![
        number().prop_map(|offset| Proceed { offset }),
        position().prop_map(|peer| Durable { peer }),
        missing().prop_map(Missing),
        option::of(entry()).prop_map(|owner| NotOwner { owner }),
        text().prop_map(Refused),
        prop::sample::select(vec![AlreadyHere, Finished, NotHere, Noted]),
    ];
    let read = prop_oneof![
        object().prop_map(Object),
        vec(position(), 0..FEW).prop_map(|peers| HeardFull { peers }),
        (object(), vec(any::<u8>(), 0..100)).prop_map(|(object, midstates)| Outboard { object, midstates }),
        (any::<bool>(), entries()).prop_map(|(here, others)| Holders { here, others }),
        (vec(file, 0..FEW), any::<bool>()).prop_map(|(files, more)| Files { files, more }),
    ];
    let records = prop_oneof![
        (option::of(signed_record()), any::<bool>()).prop_map(|(record, syncing)| Record { record, syncing }),
        (vec(position(), 0..FEW), vec(missing(), 0..FEW))
            .prop_map(|(durable, missing)| Put { durable, missing }),
        option::of(signed_record()).prop_map(|current| Conflict { current }),
        (places(), places(), places()).prop_map(|(objects, records, arriving)| Wanted {
            objects,
            records,
            arriving
        }),
        (number(), number(), number(), any::<bool>())
            .prop_map(|(objects, bytes, records, complete)| Synced { objects, bytes, records, complete }),
        (vec(health(), 0..FEW), number(), number()).prop_map(|(short, total, below_quorum)| Health {
            short,
            total,
            below_quorum
        }),
        entries().prop_map(|others| Syncing { others }),
        (places(), places(), places(), places()).prop_map(|(objects, records, arriving, unkept)| {
            WantedInPart { objects, records, arriving, unkept }
        }),
        number().prop_map(|bytes| Moving { bytes }),
        (vec(signed_record(), 0..FEW), any::<bool>())
            .prop_map(|(records, syncing)| History { records, syncing }),
        (vec(option::of(number()), 0..FEW), option::of(number()))
            .prop_map(|(objects, oldest)| Verified { objects, oldest }),
        vec((any::<u16>(), number()), 0..FEW).prop_map(|ranges| Differ {
            ranges: ranges.into_iter().map(|(range, count)| Difference { range, count }).collect()
        }),
        (number(), number(), option::of(missing_reason())).prop_map(|(files, bytes, reason)| Unkept {
            files,
            bytes,
            reason
        }),
    ];
    let members = prop_oneof![copy_counts().prop_map(Copies), self_report().prop_map(Described)];
    prop_oneof![written, read, records, members, freeing(), batch_reply()].boxed()
}

fn batch_reply() -> impl Strategy<Value = StorageReply> {
    let lacking = (any::<u16>(), missing_reason()).prop_map(|(index, reason)| BatchMissing { index, reason });
    let outcome = prop_oneof![
        (vec(position(), 0..FEW), vec(missing(), 0..FEW))
            .prop_map(|(durable, missing)| PutOutcome::Put { durable, missing }),
        Just(PutOutcome::Conflict),
        Just(PutOutcome::NotOwner),
        text().prop_map(PutOutcome::Refused),
    ];
    prop_oneof![
        vec(any::<u16>(), 0..FEW).prop_map(|objects| StorageReply::BatchWanted { objects }),
        (position(), vec(lacking, 0..FEW))
            .prop_map(|(peer, missing)| StorageReply::BatchKept { peer, missing }),
        (vec(option::of(signed_record()), 0..FEW), any::<bool>())
            .prop_map(|(records, syncing)| StorageReply::Records { records, syncing }),
        vec(outcome, 0..FEW).prop_map(|outcomes| StorageReply::PutAll { outcomes }),
        vec(option::of(number()), 0..FEW).prop_map(|lengths| StorageReply::Batch { lengths }),
    ]
}

fn freeing() -> impl Strategy<Value = StorageReply> {
    let peers = || vec(position(), 0..FEW);
    let why = prop_oneof![
        peers().prop_map(|keepers| WhyKept::Belongs { keepers }),
        (peers(), vec(missing(), 0..FEW)).prop_map(|(holders, missing)| WhyKept::TooFew { holders, missing }),
        position().prop_map(|peer| WhyKept::Another { peer }),
    ];
    prop_oneof![
        peers().prop_map(|holders| StorageReply::Granted { holders }),
        why.prop_map(StorageReply::Kept),
        Just(StorageReply::Vouched),
        Just(StorageReply::LetGo),
        number().prop_map(|up_to_ms| StorageReply::DroppedTombstones { up_to_ms }),
    ]
}

fn revoked() -> BoxedStrategy<Vec<SignedRevocation>> {
    let one = (vec(any::<u8>(), 0..90), vec(any::<u8>(), 0..70));
    vec(one.prop_map(|(body, signature)| SignedRevocation { body, signature }), 0..FEW).boxed()
}

pub fn enrol_request() -> BoxedStrategy<EnrolRequest> {
    let redeem = (any::<[u8; 8]>(), any::<[u8; 16]>(), vec(any::<u8>(), 0..300));
    let place = (any::<[u8; 8]>(), any::<[u8; 16]>(), vec(position(), 0..FEW));
    prop_oneof![
        Just(EnrolRequest::Authority),
        redeem.prop_map(|(ticket, secret, request)| EnrolRequest::Redeem { ticket, secret, request }),
        place.prop_map(|(ticket, secret, candidates)| EnrolRequest::Place { ticket, secret, candidates }),
    ]
    .boxed()
}

pub fn enrol_reply() -> BoxedStrategy<EnrolReply> {
    let refusal = prop_oneof![
        prop::sample::select(vec![
            TicketRefusal::NoAuthority,
            TicketRefusal::Unknown,
            TicketRefusal::Expired,
            TicketRefusal::Void
        ]),
        number().prop_map(|at_ms| TicketRefusal::Used { at_ms }),
        text().prop_map(TicketRefusal::Failed),
    ];
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(|certificate| EnrolReply::Authority { certificate }),
        vec(any::<u8>(), 0..300).prop_map(|certificate| EnrolReply::Admitted { certificate }),
        refusal.prop_map(EnrolReply::Refused),
        text().prop_map(EnrolReply::ProtocolError),
        any::<u16>().prop_map(EnrolReply::Placed),
    ]
    .boxed()
}

pub fn request() -> BoxedStrategy<Request> {
    prop_oneof![
        membership_request().prop_map(Request::Membership),
        storage_request().prop_map(Request::Storage),
        position().prop_map(|to| Request::Forward { to }),
        entry().prop_map(|from| Request::Forwarded { from }),
        (number(), revoked()).prop_map(|(digest, revoked)| Request::Revocations { digest, revoked }),
    ]
    .boxed()
}

pub fn reply() -> BoxedStrategy<Reply> {
    prop_oneof![
        3 => membership_reply().prop_map(Reply::Membership),
        3 => storage_reply().prop_map(Reply::Storage),
        1 => text().prop_map(Reply::ProtocolError),
        1 => prop_oneof![
            entry().prop_map(Ok),
            prop::sample::select(vec![RelayFailure::Unanswered, RelayFailure::Refused]).prop_map(Err)
        ]
        .prop_map(Reply::Forwarding),
        1 => (number(), revoked()).prop_map(|(digest, revoked)| Reply::Revocations { digest, revoked }),
    ]
    .boxed()
}
