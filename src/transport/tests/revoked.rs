//! Revoked keys on the network: refused by both sides, with a proof that the revoked peer checks.

use super::*;
use crate::wire::{SignedRevocation, codec};

const SINCE_MS: u64 = 1_700_000_000_000;

/// The ring CA's statement that this peer is revoked.
fn statement(ring: &Ring, identity: &Identity) -> SignedRevocation {
    ring.authority.revoke(identity.key_hash(), identity.position(), SINCE_MS).unwrap();
    let verifier = ring.authority.verifier().unwrap();
    verifier.load_revocations(ring.folder.path()).unwrap();
    verifier.revoked().statement(&identity.key_hash()).unwrap()
}

/// A peer with a verifier that the test can teach.
fn peer_with(identity: &Identity) -> (Peer, Verifier) {
    let verifier = identity.verifier().unwrap();
    let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
    let listen = "127.0.0.1:0".parse().unwrap();
    let settings = TransportSettings::default();
    let (transport, incoming) = Transport::bind(identity, &verifier, listen, hello, &settings).unwrap();
    let address = transport.local_address().unwrap().into();
    let (outbox, inbox) = mpsc::channel(64);
    tokio::spawn(answer(incoming, outbox));
    let target = Target { address, position: Some(identity.position()) };
    (Peer { transport, target, inbox }, verifier)
}

async fn told_of_its_revocation(peer: &mut Peer) -> SignedRevocation {
    loop {
        if let Incoming::Revoked(signed) = soon(peer.inbox.recv()).await.unwrap() {
            return signed;
        }
    }
}

/// Goal: a peer that knows of a revocation closes the connections of that key and takes no new one, dialled by either side; and
/// the revoked peer is given the proof.
#[tokio::test]
async fn a_revoked_key_is_refused_by_both_sides() {
    let ring = Ring::new();
    let thief = ring.identity(3);
    let ((knowing, verifier), (mut revoked, _)) = (peer_with(&ring.identity(2)), peer_with(&thief));
    let unknowing = ring.peer(4);
    revoked.probe(&knowing.target).await.unwrap();
    revoked.probe(&unknowing.target).await.unwrap();
    let signed = statement(&ring, &thief);
    assert_eq!(verifier.learn_revocations(vec![signed.clone()]).unwrap().len(), 1);
    knowing.transport.drop_revoked();
    assert_eq!(told_of_its_revocation(&mut revoked).await, signed);
    eventually_async("its connection is gone", async || {
        knowing.transport.connection(&thief.position()).is_none()
    })
    .await;

    let refusal = |dialled: Result<Connection, DialError>| match dialled {
        Err(DialError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    };
    let dialled = soon(revoked.transport.connect(&knowing.target)).await;
    assert_eq!(refusal(dialled), Refusal::OursRevoked);
    assert_eq!(told_of_its_revocation(&mut revoked).await, signed);
    let dialled = soon(knowing.transport.connect(&revoked.target)).await;
    assert_eq!(refusal(dialled), Refusal::Revoked);
    assert_eq!(told_of_its_revocation(&mut revoked).await, signed);
    // The others are as they were.
    knowing.probe(&unknowing.target).await.unwrap();
    revoked.probe(&unknowing.target).await.unwrap();
    eventually_async("all refusals are counted", async || {
        knowing.transport.counters().refused_handshakes() == 1
    })
    .await;
}

/// Goal: nobody but the ring CA makes a peer believe that it was revoked, nor with a statement about another key.
#[tokio::test]
async fn a_false_revocation_is_not_believed() {
    let (ring, other) = (Ring::new(), Ring::new());
    let honest = ring.identity(3);
    let liar = ring.peer(2);
    let (mut peer, _) = peer_with(&honest);
    for (signed, what) in [
        (statement(&other, &honest), "by another CA"),
        (statement(&ring, &ring.identity(9)), "of another key"),
    ] {
        let connection = soon(liar.transport.connect(&peer.target)).await.unwrap();
        let reason = codec::encode(&signed).unwrap();
        connection.quic().close(stream_error::close_code::REVOKED, &reason);
        eventually_async(what, async || peer.open_connections() == 0).await;
        while let Ok(event) = peer.inbox.try_recv() {
            assert!(!matches!(event, Incoming::Revoked(_)), "{what}: {event:?}");
        }
        eventually_async("the liar's end is over", async || liar.open_connections() == 0).await;
    }
    peer.probe(&liar.target).await.unwrap();
}

/// Goal: two peers see at the hello that they know different revocations.
#[tokio::test]
async fn a_hello_tells_what_is_known() {
    let ring = Ring::new();
    let ((mut a, verifier), (mut b, _)) = (peer_with(&ring.identity(2)), peer_with(&ring.identity(3)));
    a.probe(&b.target).await.unwrap();
    a.transport.drop_connection(&b.target.position.unwrap(), u64::MAX);
    eventually_async("the first connection is over", async || b.open_connections() == 0).await;
    for inbox in [&mut a.inbox, &mut b.inbox] {
        while let Ok(event) = inbox.try_recv() {
            assert!(!matches!(event, Incoming::OtherRevocations { .. }), "both know nothing: {event:?}");
        }
    }
    verifier.learn_revocations(vec![statement(&ring, &ring.identity(9))]).unwrap();
    b.probe(&a.target).await.unwrap();
    loop {
        if let Incoming::OtherRevocations { peer } = soon(b.inbox.recv()).await.unwrap() {
            assert_eq!(Some(peer.position), a.target.position);
            break;
        }
    }
}

/// Goal: records that a revoked peer signed stay valid, and its certificate is known as revoked.
#[test]
fn what_was_signed_stays_signed() {
    let ring = Ring::new();
    let identity = ring.identity(3);
    let verifier = identity.verifier().unwrap();
    verifier.learn_revocations(vec![statement(&ring, &identity)]).unwrap();
    let (certificate, signature) = (identity.certificate_der(), identity.sign(b"record"));
    let now = certificates::now_ms();
    assert_eq!(
        verifier.verify_record_signature(certificate, now, b"record", &signature).unwrap(),
        identity.position()
    );
    assert_eq!(verifier.revocation_of(certificate).unwrap().at_ms, SINCE_MS);
    assert!(verifier.revocation_of(ring.identity(3).certificate_der()).is_none(), "another key");
}

/// Goal: a revoked number is free for a new key; the revoked key gets no certificate any more.
#[test]
fn a_revoked_number_goes_to_a_new_key() {
    let ring = Ring::new();
    let first = ring.authority.admit(Placement::Numbered(8), Some("nas")).unwrap();
    assert!(matches!(
        ring.authority.admit(Placement::Numbered(8), None),
        Err(IdentityError::GivenOut { .. })
    ));
    let issued = ring.authority.issued().unwrap();
    assert_eq!(issued.len(), 1);
    ring.authority.revoke(issued[0].key, issued[0].position.unwrap(), SINCE_MS).unwrap();
    assert!(matches!(ring.authority.renew("8"), Err(IdentityError::Revoked { .. })));
    let second = ring.authority.admit(Placement::Numbered(8), Some("nas")).unwrap();
    assert_ne!(second.certificate_der(), first.certificate_der());
    let peers = ring.folder.path().join("peers");
    assert!(peers.join("8.revoked").exists() && peers.join("8.pem").exists());
    assert!(matches!(
        ring.authority.admit(Placement::SelfPlaced(Weight::ONE), Some("nas")),
        Err(IdentityError::GivenOut { .. })
    ));
}
