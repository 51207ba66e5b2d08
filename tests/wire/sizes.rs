//! The largest messages that the bounds allow fit their frames and datagrams.

use quoit::chord::{Listener, Members};
use quoit::config::RingSettings;
use quoit::id::{ContentId, FileName, KeyHash, KeyRange, OutboardDigest, Position, RecordId, SetDigest};
use quoit::time::Timestamp;
use quoit::wire::limits::*;
use quoit::wire::*;

/// The longest address, of a peer with the largest numbers.
fn entry(i: usize) -> Entry {
    let mut position = [0xff; 32];
    position[..8].copy_from_slice(&(i as u64).to_be_bytes());
    let address = Address::new(&format!("{}:65535", "h".repeat(ADDRESS_BYTES_MAX - 6))).unwrap();
    assert_eq!(address.as_str().len(), ADDRESS_BYTES_MAX);
    Entry::from(Life {
        position: Position(position),
        incarnation: u64::MAX,
        key: KeyHash([0xff; 32]),
        address,
    })
}

fn entries(count: usize) -> Vec<Entry> {
    (0..count).map(entry).collect()
}

fn known(count: usize) -> Members {
    let mut members = Members::new(MEMBERS_MAX);
    for i in 0..count {
        members.merge(Member { entry: entry(i), state: MemberState::Dead }, true);
    }
    members
}

/// The members that a peer puts into a message: itself, and as many others as one message may hold.
fn members() -> Vec<Member> {
    let mut members = known(MEMBERS_MAX).for_message();
    assert!(members.len() > 100, "{}", members.len());
    members.push(Member { entry: entry(MEMBERS_MAX), state: MemberState::Alive });
    members
}

fn object() -> ObjectInfo {
    let (content, outboard) = (ContentId([0xff; 32]), OutboardDigest([0xff; 32]));
    ObjectInfo { content, length: FILE_BYTES_MAX, outboard }
}

fn name() -> FileName {
    FileName::new("x".repeat(FileName::BYTES_MAX)).unwrap()
}

fn record() -> SignedRecord {
    SignedRecord {
        body: vec![0xff; SignedRecord::BODY_BYTES_MAX],
        signature: vec![0xff; SignedRecord::SIGNATURE_BYTES],
        certificate: vec![0xff; CERTIFICATE_BYTES_MAX],
    }
}

fn fits(message: &impl serde::Serialize) -> usize {
    codec::encode(message).unwrap_or_else(|error| panic!("{error}")).len()
}

/// Goal: no news is lost because it is too large, and no news waits for ever.
#[test]
fn news_of_the_longest_addresses_fits_a_datagram() {
    let mut members = known(20);
    let belief = Member { entry: entry(99), state: MemberState::Dead };
    let mut passed_on = std::collections::BTreeSet::new();
    let mut counts = Vec::new();
    for turn in 0.. {
        let news = members.take_news(Listener::Random, (turn % 2 == 0).then(|| belief.clone()));
        if news.iter().all(|member| *member == belief) {
            break;
        }
        assert!(news.len() <= NEWS_MAX, "{}", news.len());
        counts.push(news.len());
        passed_on.extend(news.iter().map(|member| member.entry.position));
        for message in [
            Datagram::Ping { sequence: u64::MAX, news: news.clone() },
            Datagram::Pong { sequence: u64::MAX, news: news.clone() },
            Datagram::FullPong { sequence: u64::MAX, news },
            Datagram::Clock { unix_ms: u64::MAX },
        ] {
            let length = fits(&message);
            assert!(length <= DATAGRAM_BYTES_MAX, "{length}");
        }
    }
    // The last list may hold the rest.
    assert!(counts[..counts.len() - 2].iter().all(|count| *count >= 2), "{counts:?}");
    assert!((0..20).all(|i| passed_on.contains(&entry(i).position)));
}

#[test]
fn news_of_short_addresses_is_bounded_by_count_only() {
    let mut members = Members::new(MEMBERS_MAX);
    for number in 0..20 {
        let address = Address::new(&format!("203.0.113.{number}:12000")).unwrap();
        let entry =
            Entry::from(Life { position: Position::of_number(number), address, ..(*entry(0)).clone() });
        members.merge(Member { entry, state: MemberState::Alive }, true);
    }
    assert_eq!(members.take_news(Listener::Random, None).len(), NEWS_MAX);
}

#[test]
fn the_largest_membership_messages_fit_a_frame() {
    let r = usize::from(RingSettings::SUCCESSORS_MAX);
    let state =
        NeighbourReply::State { predecessor: Some(entry(r)), successors: entries(r), members: members() };
    fits(&Reply::Membership(MembershipReply::Neighbour(state.clone())));
    fits(&Reply::Membership(MembershipReply::Relayed(Ok(state))));
    fits(&Reply::Membership(MembershipReply::Welcome {
        predecessor: Some(entry(r)),
        successors: entries(r),
        settings: RingSettings::default(),
        members: members(),
    }));
    fits(&Reply::Membership(MembershipReply::Owner {
        owner: entry(0),
        predecessor: Some(entry(1)),
        successors: entries(r),
    }));
    fits(&Reply::Membership(MembershipReply::Closer { peers: entries(CLOSER_MAX) }));
    fits(&Reply::Membership(MembershipReply::Near { peers: entries(CLOSER_MAX) }));
    fits(&Reply::Membership(MembershipReply::Contacts { members: members() }));
    let request = NeighbourRequest::State { members: members() };
    fits(&Request::Membership(MembershipRequest::Relay { target: entry(0), request }));
    fits(&Request::Membership(MembershipRequest::Left {
        predecessor: Some(entry(r)),
        successors: entries(r),
    }));
    let forming = Some(members());
    fits(&Request::Membership(MembershipRequest::Join { settings: Some(RingSettings::default()), forming }));
}

/// Goal: a message holds as many members as its bound says, if their addresses have a usual length.
#[test]
fn as_many_members_as_a_message_may_have_fit_a_frame() {
    let r = usize::from(RingSettings::SUCCESSORS_MAX);
    let address = Address::new("[2001:db8:1111:2222:3333:4444:5555:6666]:65535").unwrap();
    let mut members = Members::new(MEMBERS_MAX);
    for i in 0..MEMBERS_MAX {
        let entry = entry(i).with_address(address.clone());
        members.merge(Member { entry, state: MemberState::Alive }, true);
    }
    let members = members.for_message();
    assert_eq!(members.len(), MEMBERS_PER_MESSAGE_MAX);
    let state = NeighbourReply::State { predecessor: Some(entry(r)), successors: entries(r), members };
    fits(&Reply::Membership(MembershipReply::Neighbour(state)));
}

/// Goal: all keys that a ring can revoke travel in one message.
#[test]
fn the_longest_list_of_revocations_fits_a_frame() {
    let longest = Revocation { key: KeyHash([0xff; 32]), position: Position::MAX, at_ms: u64::MAX };
    let body = codec::encode(&longest).unwrap();
    assert!(body.len() <= SignedRevocation::BODY_BYTES_MAX);
    let signed = SignedRevocation {
        body: vec![0xff; SignedRevocation::BODY_BYTES_MAX],
        signature: vec![0xff; SignedRevocation::SIGNATURE_BYTES],
    };
    let revoked = vec![signed; REVOKED_MAX];
    fits(&Request::Revocations { digest: u64::MAX, revoked: revoked.clone() });
    fits(&Reply::Revocations { digest: u64::MAX, revoked: revoked.clone() });
    fits(&ClientRequest::Revoke { revoked });
}

#[test]
fn the_largest_storage_requests_fit_a_frame() {
    let link = Link { name: name(), clock: Timestamp(u64::MAX) };
    fits(&Request::Storage(StorageRequest::StoreObject {
        object: object(),
        links: vec![link; LINKS_PER_OBJECT_MAX],
        role: StoreRole::Replica { chain: entries(usize::from(RingSettings::REPLICAS_MAX)) },
    }));
    let offered = OfferedRecord { key: Position::MAX, id: RecordId([0xff; 32]) };
    fits(&Request::Storage(StorageRequest::Offer {
        objects: vec![ContentId([0xff; 32]); OFFERS_PER_MESSAGE_MAX],
        records: vec![offered; OFFERS_PER_MESSAGE_MAX],
    }));
    fits(&Request::Storage(StorageRequest::PutRecord { record: record(), role: PutRole::Owner }));
    let link = Link { name: name(), clock: Timestamp(u64::MAX) };
    fits(&Request::Storage(StorageRequest::StoreBatch {
        objects: vec![BatchedObject { object: object(), link }; BATCH_OBJECTS_MAX],
        role: StoreRole::Replica { chain: entries(usize::from(RingSettings::REPLICAS_MAX)) },
    }));
    fits(&Request::Storage(StorageRequest::PutBatch {
        objects: vec![object(); BATCH_OBJECTS_MAX],
        role: StoreRole::Replica { chain: entries(usize::from(RingSettings::REPLICAS_MAX)) },
    }));
    fits(&Request::Storage(StorageRequest::FetchRecords { names: vec![name(); BATCH_OBJECTS_MAX] }));
    let digest = SetDigest { count: u64::MAX, sum: u128::MAX };
    fits(&Request::Storage(StorageRequest::Compare {
        ranges: vec![RangeDigest { range: KeyRange::WHOLE, digest }; RANGES_PER_MESSAGE_MAX],
    }));
}

#[test]
fn the_largest_storage_replies_fit_a_frame() {
    let reply = |reply| fits(&Reply::Storage(reply));
    reply(StorageReply::Outboard { object: object(), midstates: vec![0xff; 32 * MIDSTATES_PER_PAGE_MAX] });
    reply(StorageReply::Wanted {
        objects: vec![u16::MAX; OFFERS_PER_MESSAGE_MAX],
        records: vec![u16::MAX; OFFERS_PER_MESSAGE_MAX],
        arriving: vec![u16::MAX; OFFERS_PER_MESSAGE_MAX],
    });
    reply(StorageReply::HeardFull { peers: vec![Position::MAX; FULL_PEERS_MAX] });
    reply(StorageReply::Differ {
        ranges: vec![Difference { range: u16::MAX, count: u64::MAX }; RANGES_PER_MESSAGE_MAX],
    });
    reply(StorageReply::Holders { here: true, others: entries(HOLDERS_PER_OBJECT_MAX) });
    reply(StorageReply::Syncing { others: entries(HOLDERS_PER_OBJECT_MAX) });
    reply(StorageReply::Record { record: Some(record()), syncing: true });
    let reason = MissingReason::Refused("x".repeat(REASON_BYTES_MAX));
    let missing = Missing { peer: Position::MAX, reason };
    reply(StorageReply::Put {
        durable: vec![Position::MAX; usize::from(RingSettings::REPLICAS_MAX)],
        missing: vec![missing; usize::from(RingSettings::REPLICAS_MAX)],
    });
    let reason = MissingReason::Refused("x".repeat(BATCH_REASON_BYTES_MAX));
    let copies = usize::from(RingSettings::REPLICAS_MAX);
    let short = Missing { peer: Position::MAX, reason: reason.clone() };
    reply(StorageReply::BatchKept {
        peer: Position::MAX,
        missing: vec![BatchMissing { index: u16::MAX, reason }; BATCH_OBJECTS_MAX],
    });
    let outcome = PutOutcome::Put { durable: Vec::new(), missing: vec![short; copies] };
    reply(StorageReply::PutAll { outcomes: vec![outcome; RECORDS_PER_MESSAGE_MAX] });
    reply(StorageReply::Described(SelfReport {
        version: "x".repeat(VERSION_BYTES_MAX),
        unix_ms: u64::MAX,
        ..SelfReport::default()
    }));
    // Files with one name each, of half the longest length; a page of longer ones is cut by its bytes.
    let name = FileName::new("x".repeat(FileName::BYTES_MAX / 2)).unwrap();
    let file = FileEntry { object: object(), names: vec![name], pinned: false };
    reply(StorageReply::Files { files: vec![file; FILES_PER_PAGE_MAX], more: true });
}

/// Goal: a record of the longest name is not longer than a record may be.
#[test]
fn the_longest_name_record_is_within_its_bound() {
    let ObjectInfo { content, length, outboard } = object();
    let longest = NameRecord {
        name: name(),
        target: RecordTarget::Content { content, length, outboard },
        clock: Timestamp(u64::MAX),
        writer: Position::MAX,
        version: u64::MAX,
        replaces: Replaces::Several(vec![RecordId([0xff; 32]); quoit::names::VERSIONS_MAX]),
    };
    assert!(fits(&longest) <= SignedRecord::BODY_BYTES_MAX);
    // The history of one name is encoded as one value too.
    let past = quoit::names::PastRecord { record: record(), sibling: true };
    fits(&quoit::names::NameHistory {
        current: Some(record()),
        past: vec![past; quoit::names::VERSIONS_MAX - 1],
        grave: None,
    });
}
