//! Lies about files, their bytes and their records.

use bytes::Bytes;
use quoit::id::Position;
use quoit::peer::Fault;
use quoit::wire::limits::{FILES_PER_PAGE_MAX, MIDSTATES_PER_PAGE_MAX};
use quoit::wire::{
    FileEntry, Link, MembershipReply, ObjectInfo, PutRole, Reply, Request, StorageReply, StorageRequest,
    StoreRole, Target,
};

use super::liar::{Answer, Liar, describe};
use super::ring::Ring;
use crate::eventually::PATIENCE;

/// The numbers of the liar, of the honest peers, and of the honest peer that requests: it is no replica of the liar's
/// keys.
const LIAR: u8 = 128;
const HONEST: [u8; 5] = [20, 70, 160, 200, 240];
const READER: u8 = 20;
/// More than one chunk, so that there is an outboard to lie about.
const LENGTH: usize = (2 << 20) + 12_345;

/// A ring with a file, stored before the liar joins, whose content will belong to the liar, and whose name will not.
async fn ring_with_file() -> (Ring, Liar, String, Vec<u8>) {
    let ring = Ring::of(8, &HONEST).await;
    let bytes = ring.owned_by(LIAR, &HONEST, LENGTH);
    let name = ring.name_owned_by(240, &[20, 70, LIAR, 160, 200, 240]);
    ring.store(70, &name, &bytes).await.unwrap();
    let liar = ring.liar(LIAR).await;
    liar.hold(&bytes);
    (ring, liar, name, bytes)
}

/// The requester asks the liar first, since the liar owns the content. The request still succeeds, and the liar is
/// named.
async fn a_request_survives(
    fault: Fault,
    lie: impl Fn(&ObjectInfo, &StorageRequest, Answer) -> Answer + Send + Sync + 'static,
) {
    let (ring, liar, name, bytes) = ring_with_file().await;
    let (object, _) = describe(&bytes);
    liar.lie(move |_, request, honest| match request {
        Request::Storage(request) => lie(&object, request, honest),
        _ => honest,
    });
    let report = ring.request(READER, &name).await.unwrap();
    assert_eq!(std::fs::read(report.path.as_ref().unwrap()).unwrap(), bytes, "byte for byte");
    ring.names(liar.position(), fault).await;
    ring.is_clean(liar.position()).await;
}

fn object(info: ObjectInfo) -> Reply {
    Reply::Storage(StorageReply::Object(info))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_bytes() {
    a_request_survives(Fault::CorruptBytes, |_, request, honest| match (request, honest) {
        (
            StorageRequest::FetchObject { .. } | StorageRequest::FetchRange { .. },
            Answer::Send(reply, bytes),
        ) => {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Answer::Send(reply, bytes.into())
        }
        (_, honest) => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_length_before_the_bytes() {
    a_request_survives(Fault::WrongLength, |info, request, honest| match (request, honest) {
        (StorageRequest::FetchObject { .. } | StorageRequest::FetchRange { .. }, Answer::Send(_, bytes)) => {
            Answer::Send(object(ObjectInfo { length: info.length + 1, ..*info }), bytes)
        }
        (_, honest) => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_bytes_than_said() {
    a_request_survives(Fault::WrongLength, |_, request, honest| match (request, honest) {
        (
            StorageRequest::FetchObject { .. } | StorageRequest::FetchRange { .. },
            Answer::Send(reply, bytes),
        ) => Answer::Send(reply, bytes.slice(..bytes.len() / 2)),
        (_, honest) => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_stream() {
    a_request_survives(Fault::Endless, |_, request, honest| match (request, honest) {
        (
            StorageRequest::FetchObject { .. } | StorageRequest::FetchRange { .. },
            Answer::Send(reply, bytes),
        ) => Answer::SendForEver(reply, bytes),
        (_, honest) => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_reply() {
    a_request_survives(Fault::WrongReply, |_, request, honest| match request {
        StorageRequest::FetchObject { .. } | StorageRequest::FetchRange { .. } => {
            Answer::Say(vec![Reply::Membership(MembershipReply::Noted)])
        }
        _ => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outboard_of_other_bytes() {
    a_request_survives(Fault::BadOutboard, |_, request, honest| match (request, honest) {
        (StorageRequest::FetchOutboard { .. }, Answer::Say(_)) => {
            let (other, outboard) = describe(&vec![1; LENGTH]);
            let midstates = outboard.midstates().iter().flat_map(|midstate| midstate.0).collect();
            Answer::Say(vec![Reply::Storage(StorageReply::Outboard { object: other, midstates })])
        }
        (_, honest) => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outboard_that_is_not_the_one_it_names() {
    a_request_survives(Fault::BadOutboard, |info, request, honest| match request {
        StorageRequest::FetchOutboard { .. } => {
            let midstates = vec![9; 64];
            Answer::Say(vec![Reply::Storage(StorageReply::Outboard { object: *info, midstates })])
        }
        _ => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_an_outboard_without_end() {
    a_request_survives(Fault::Endless, |info, request, honest| match request {
        StorageRequest::FetchOutboard { .. } => {
            let midstates = vec![9; 32 * (MIDSTATES_PER_PAGE_MAX + 1)];
            Answer::Say(vec![Reply::Storage(StorageReply::Outboard { object: *info, midstates })])
        }
        _ => honest,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_never_begins_is_left() {
    let (ring, liar, name, bytes) = ring_with_file().await;
    // The liar announces the object, sends one byte, and keeps the stream open.
    liar.lie(|_, request, honest| match (request, honest) {
        (
            Request::Storage(StorageRequest::FetchObject { .. } | StorageRequest::FetchRange { .. }),
            Answer::Send(reply, bytes),
        ) => Answer::Take(
            u64::MAX,
            vec![reply, Reply::ProtocolError(String::from_utf8_lossy(&bytes[..8]).into())],
        ),
        (_, honest) => honest,
    });
    let report = tokio::time::timeout(PATIENCE, ring.request(READER, &name)).await.unwrap().unwrap();
    assert_eq!(std::fs::read(report.path.as_ref().unwrap()).unwrap(), bytes);
    assert!(!report.sources.is_empty());
    ring.is_clean(liar.position()).await;
}

/// A record that the liar made, and that names another peer as its writer.
fn forged(liar: &Liar, name: &str) -> quoit::wire::SignedRecord {
    let record = quoit::wire::NameRecord {
        name: quoit::id::FileName::new(name).unwrap(),
        target: quoit::wire::RecordTarget::Tombstone,
        clock: quoit::time::Timestamp::of_unix_ms(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64,
        ),
        writer: Position::of_number(READER),
        version: 99,
        replaces: quoit::wire::Replaces::Nothing,
    };
    let body = quoit::wire::codec::encode(&record).unwrap();
    let signature = liar.identity.sign(&quoit::wire::SignedRecord::signed_bytes(&body)).to_vec();
    quoit::wire::SignedRecord { body, signature, certificate: liar.identity.certificate_der().to_vec() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_record_is_not_believed() {
    let ring = Ring::of(8, &HONEST).await;
    let bytes = ring.owned_by(240, &[20, 70, LIAR, 160, 200], 10_240);
    // The liar owns the name; its replicas have the true record.
    let name = ring.name_owned_by(LIAR, &HONEST);
    ring.store(70, &name, &bytes).await.unwrap();
    let liar = ring.liar(LIAR).await;
    let record = forged(&liar, &name);
    liar.lie(move |_, request, honest| match request {
        Request::Storage(StorageRequest::FetchRecord { .. }) => {
            let record = Some(record.clone());
            Answer::Say(vec![Reply::Storage(StorageReply::Record { record, syncing: false })])
        }
        _ => honest,
    });
    let report = ring.request(READER, &name).await.unwrap();
    assert_eq!(std::fs::read(report.path.as_ref().unwrap()).unwrap(), bytes);
    assert_eq!(report.version, Some(1));
    ring.names(liar.position(), Fault::BadRecord).await;
    ring.is_clean(liar.position()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_record_is_not_kept() {
    let (ring, liar, name, bytes) = ring_with_file().await;
    let target = Target { address: ring.peer(240).address(), position: Some(Position::of_number(240)) };
    for role in [PutRole::Owner, PutRole::Replica] {
        let record = forged(&liar, &name);
        let request = Request::Storage(StorageRequest::PutRecord { record, role });
        let (_, reply) = liar.transport.request(&target, &request, PATIENCE).await.unwrap();
        assert!(matches!(reply, Reply::Storage(StorageReply::Refused(_))), "{reply:?}");
    }
    ring.names(liar.position(), Fault::BadRecord).await;
    let report = ring.request(READER, &name).await.unwrap();
    assert_eq!(std::fs::read(report.path.as_ref().unwrap()).unwrap(), bytes);
    ring.is_clean(liar.position()).await;
}

/// Lets the liar push an object to its owner, and returns the replies.
async fn push(ring: &Ring, liar: &Liar, owner: u8, object: ObjectInfo, bytes: &[u8]) -> Vec<StorageReply> {
    let target = Target { address: ring.peer(owner).address(), position: Some(Position::of_number(owner)) };
    let name = quoit::id::FileName::new("pushed").unwrap();
    let links = vec![Link { name, clock: quoit::time::Timestamp::of_unix_ms(1) }];
    let request = StorageRequest::StoreObject { object, links, role: StoreRole::Owner };
    let mut stream = liar.transport.open(&target, &Request::Storage(request)).await.unwrap();
    let mut replies = Vec::new();
    while let Ok(Reply::Storage(reply)) = stream.read_reply(PATIENCE).await {
        if matches!(reply, StorageReply::Proceed { .. }) {
            stream.send_piece(Bytes::copy_from_slice(bytes)).await.unwrap();
            stream.finish_send();
        }
        replies.push(reply);
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_what_their_address_says_are_not_kept() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let bytes = ring.owned_by(200, &[20, 70, LIAR, 160, 240], 10_240);
    let (object, _) = describe(&bytes);
    let mut other = bytes.clone();
    other[5_000] ^= 1;
    let replies = push(&ring, &liar, 200, object, &other).await;
    assert!(!replies.iter().any(|reply| matches!(reply, StorageReply::Durable { .. })), "{replies:?}");
    ring.names(liar.position(), Fault::CorruptBytes).await;
    ring.is_clean(liar.position()).await;
    // The true bytes can be stored afterwards.
    ring.store(70, "true", &bytes).await.unwrap();
    assert_eq!(std::fs::read(ring.request(READER, "true").await.unwrap().path.unwrap()).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_another_outboard_is_refused_also_when_the_bytes_are_here() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    let bytes = ring.owned_by(200, &[20, 70, LIAR, 160, 240], LENGTH);
    ring.store(70, "here", &bytes).await.unwrap();
    let (object, _) = describe(&bytes);
    let (other, _) = describe(&vec![1; LENGTH]);
    for claimed in [
        ObjectInfo { outboard: other.outboard, ..object },
        ObjectInfo { length: object.length - 1, ..object },
    ] {
        let replies = push(&ring, &liar, 200, claimed, &bytes).await;
        let is_final = matches!(&replies[..], [StorageReply::Missing(copy)] if copy.reason.is_final());
        assert!(is_final, "{replies:?}");
    }
    ring.names(liar.position(), Fault::BadOutboard).await;
    assert_eq!(std::fs::read(ring.request(READER, "here").await.unwrap().path.unwrap()).unwrap(), bytes);
    ring.is_clean(liar.position()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn word_of_copies_at_peers_that_were_not_asked() {
    let ring = Ring::of(8, &HONEST).await;
    let liar = ring.liar(LIAR).await;
    // The liar is the owner's first replica: 70 passes the bytes on to it.
    let bytes = ring.owned_by(70, &[20, LIAR, 160, 200, 240], 10_240);
    liar.lie(|_, request, honest| match (request, honest) {
        (Request::Storage(StorageRequest::StoreObject { .. }), Answer::Take(length, mut replies)) => {
            let strangers = [240, 200, 99].map(|n| StorageReply::Durable { peer: Position::of_number(n) });
            replies.splice(2..2, strangers.map(Reply::Storage));
            Answer::Take(length, replies)
        }
        (_, honest) => honest,
    });
    let report = ring.store(240, "told", &bytes).await.unwrap();
    let strangers = [240, 200, 99].map(Position::of_number);
    assert!(
        !report.holders.iter().any(|holder| strangers.contains(&holder.position)),
        "{:?}",
        report.holders
    );
    ring.names(liar.position(), Fault::FalseCopies).await;
    assert_eq!(std::fs::read(ring.request(READER, "told").await.unwrap().path.unwrap()).unwrap(), bytes);
    ring.is_clean(liar.position()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_out_of_order_or_without_end() {
    let (ring, liar, name, _) = ring_with_file().await;
    let entry = |byte: u8| FileEntry {
        object: ObjectInfo {
            content: quoit::id::ContentId([byte; 32]),
            length: 1,
            outboard: quoit::id::OutboardDigest([0; 32]),
        },
        names: Vec::new(),
        pinned: false,
    };
    let pages: [(Vec<FileEntry>, bool); 4] = [
        (vec![entry(9), entry(3)], false),
        (vec![entry(9), entry(9)], false),
        (Vec::new(), true),
        ((0..=FILES_PER_PAGE_MAX as u8).map(entry).collect(), false),
    ];
    for (files, more) in pages {
        liar.lie(move |_, request, honest| match request {
            Request::Storage(StorageRequest::ListFiles { .. }) => {
                let files = files.clone();
                Answer::Say(vec![Reply::Storage(StorageReply::Files { files, more })])
            }
            _ => honest,
        });
        let listed = ring.peer(READER).files_of_ring().await.unwrap();
        assert!(listed.silent.contains(&liar.position().into()));
        assert!(listed.files.iter().any(|file| file.file.names.iter().any(|n| n.to_string() == name)));
        assert!(listed.files.iter().all(|file| !file.holders.contains(&liar.position().into())));
    }
    ring.names(liar.position(), Fault::BadList).await;
    ring.is_clean(liar.position()).await;
}
