//! Dials, hellos, and one connection for each pair.

use super::*;
use crate::id::Position;
use crate::wire::{Target, limits};

/// A value that both ends of one connection share, and no other connection has.
fn session(peer: &Peer, of: &Peer) -> Option<[u8; 16]> {
    let connection = peer.transport.connection(&of.target.position?)?;
    let mut out = [0; 16];
    connection.quic().export_keying_material(&mut out, b"test", b"").ok()?;
    Some(out)
}

fn agree(a: &Peer, b: &Peer) -> bool {
    session(a, b).is_some() && session(a, b) == session(b, a)
}

/// Goal: display names come from certificates, on both sides, and replace remembered names.
#[tokio::test]
async fn display_names_come_from_certificates() {
    let ring = Ring::new();
    let named = |name| ring.authority.issue(Placement::SelfPlaced(Weight::ONE), Some(name)).unwrap();
    let start = |identity| Peer::start(identity, "127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let (nas, laptop) = (start(&named("nas")), start(&named("laptop")));
    let (at_nas, at_laptop) = (nas.target.position.unwrap(), laptop.target.position.unwrap());
    assert_eq!(nas.transport.display_name(&at_nas).as_deref(), Some("nas"));
    nas.transport.learn_display_name(at_laptop, "desktop");
    assert_eq!(nas.transport.display_name(&at_laptop).as_deref(), Some("desktop"));
    let connection = soon(laptop.transport.connect(&nas.target)).await.unwrap();
    assert_eq!(connection.display_name(), Some("nas"));
    assert_eq!(laptop.transport.display_name(&at_nas).as_deref(), Some("nas"));
    eventually_async("the dialler's name", async || {
        nas.transport.display_name(&at_laptop).as_deref() == Some("laptop")
    })
    .await;
    let numbered = ring.peer(4);
    soon(numbered.transport.connect(&nas.target)).await.unwrap();
    assert_eq!(nas.transport.display_name(&Position::of_number(4)), None);
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let connection = soon(a.transport.connect(&b.target)).await.unwrap();
    assert_eq!(connection.peer().position, Position::of_number(2));
    assert_eq!(connection.peer().address, b.target.address);
    assert_eq!(connection.peer().incarnation, 1);
    eventually_async("b knows a", async || b.transport.connected().len() == 1).await;
    let seen = b.transport.connected().remove(0);
    assert_eq!((seen.position, seen.address.clone()), (Position::of_number(1), a.target.address.clone()));
    let (who, reply) = a.probe(&b.target).await.unwrap();
    assert_eq!((&who, reply), (connection.peer(), alive()));
    // b asks back on the same connection.
    assert_eq!(b.probe(&a.target).await.unwrap().1, alive());
    assert!(agree(&a, &b));
    assert_eq!((a.open_connections(), b.open_connections()), (1, 1));
}

#[tokio::test]
async fn an_advertised_address_goes_before_the_observed_one() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let identity = ring.identity(2);
    let advertised = crate::wire::Address::new("b.example:12002").unwrap();
    let hello = Hello { incarnation: 5, advertised: Some(advertised.clone()), revocations: 0 };
    let settings = TransportSettings::default();
    let listen = "127.0.0.1:0".parse().unwrap();
    let (b, _incoming) =
        Transport::bind(&identity, &identity.verifier().unwrap(), listen, hello, &settings).unwrap();
    let unknown = Target { address: b.local_address().unwrap().into(), position: None };
    let connection = soon(a.transport.connect(&unknown)).await.unwrap();
    assert_eq!(connection.peer().address, advertised);
    assert_eq!((connection.peer().incarnation, connection.peer().key), (5, identity.key_hash()));
}

#[tokio::test]
async fn a_name_is_resolved() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let port = b.transport.local_address().unwrap().port();
    let address = crate::wire::Address::new(&format!("localhost:{port}")).unwrap();
    soon(a.transport.connect(&address.into())).await.unwrap();
}

#[tokio::test]
async fn dials_to_the_same_target_are_one() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (transport, target) = (a.transport.clone(), b.target.clone());
        dials.spawn(async move { transport.connect(&target).await.map(drop) });
    }
    assert!(soon(dials.join_all()).await.into_iter().all(|dial| dial.is_ok()));
    assert_eq!(a.transport.shared.endpoint.stats().outgoing_handshakes, 1);
}

/// Goal: if two dials cross in any way, both sides keep the same one connection, and no exchange is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossed_dials_leave_one_connection() {
    let ring = Ring::new();
    for _ in 0..10 {
        let (a, b) = (ring.peer(1), ring.peer(2));
        let (from_a, from_b) = tokio::join!(a.probe(&b.target), b.probe(&a.target));
        assert_eq!((from_a.unwrap().1, from_b.unwrap().1), (alive(), alive()));
        eventually_async("both agree", async || agree(&a, &b)).await;
        eventually_async("the loser is closed", async || {
            a.open_connections() == 1 && b.open_connections() == 1
        })
        .await;
        assert!(agree(&a, &b));
        assert_eq!(a.probe(&b.target).await.unwrap().1, alive());
    }
}

#[tokio::test]
async fn a_raised_incarnation_reaches_the_others() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    a.probe(&b.target).await.unwrap();
    eventually_async("b knows a", async || agree(&a, &b)).await;
    for (raised, incarnation) in [(&a, 7), (&b, 9)] {
        let other = if raised.target == a.target { &b } else { &a };
        raised.transport.set_incarnation(incarnation);
        let position = raised.target.position.unwrap();
        eventually_async("the new incarnation is known", async || {
            other.transport.connection(&position).is_some_and(|c| c.peer().incarnation == incarnation)
        })
        .await;
        eventually_async("both agree", async || agree(&a, &b)).await;
    }
    assert_eq!(b.probe(&a.target).await.unwrap().0.incarnation, 7);
}

/// Goal: the other side soon knows a new incarnation, whether it comes before or after a greeting that is under way. A
/// peer that was stopped dials all that it knows, hears that it was declared dead, and takes another incarnation while
/// some of these dials are still greeting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incarnation_that_is_raised_during_a_greeting_reaches_the_other() {
    let ring = Ring::new();
    for round in 0..60 {
        let (a, b) = (ring.peer(1), ring.peer(2));
        let raise = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            a.transport.set_incarnation(7);
        };
        let (asked, ()) = tokio::join!(a.probe(&b.target), raise);
        asked.unwrap();
        let position = a.target.position.unwrap();
        eventually_async("the new incarnation is known", async || {
            b.transport.connection(&position).is_some_and(|c| c.peer().incarnation == 7)
        })
        .await;
    }
}

#[tokio::test]
async fn another_ring_is_refused_and_the_reason_is_readable() {
    let (ring, other) = (Ring::new(), Ring::new());
    let (a, stranger) = (ring.peer(1), other.peer(2));
    let error = soon(a.transport.connect(&stranger.target)).await.unwrap_err();
    assert!(matches!(&error, DialError::Refused { refusal: Refusal::OtherRing, .. }), "{error:?}");
    assert!(error.to_string().contains("its certificate is of another ring"));
    eventually_async("the refusal is counted", async || {
        stranger.transport.counters().refused_handshakes() == 1
    })
    .await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_both_ways() {
    let ring = Ring::new();
    let expired = certificates::forged(&ring, &certificates::names(2), (2001, 2002));
    let listen = "127.0.0.1:0".parse().unwrap();
    let (a, old) = (ring.peer(1), Peer::start(&expired, listen, 1).unwrap());
    let error = soon(a.transport.connect(&old.target)).await.unwrap_err();
    assert!(matches!(&error, DialError::Refused { refusal: Refusal::Expired, .. }), "{error:?}");
    let error = soon(old.transport.connect(&a.target)).await.unwrap_err();
    assert!(matches!(&error, DialError::Refused { refusal: Refusal::OursExpired, .. }), "{error:?}");
}

#[tokio::test]
async fn the_wrong_peer_and_myself_are_told_apart() {
    let ring = Ring::new();
    let (a, b) = (ring.peer(1), ring.peer(2));
    let third = Target { position: Some(Position::of_number(3)), ..b.target.clone() };
    let error = soon(a.transport.connect(&third)).await.unwrap_err();
    assert!(matches!(&error, DialError::WrongPeer { expected, .. } if *expected == Position::of_number(3)));
    let myself = Target { position: None, ..a.target.clone() };
    let error = soon(a.transport.connect(&myself)).await.unwrap_err();
    assert!(matches!(error, DialError::SamePosition { .. }));
}

#[tokio::test]
async fn silence_is_bounded() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = Target::from(crate::wire::Address::from(silent.local_addr().unwrap()));
    let begun = std::time::Instant::now();
    let short = Duration::from_millis(300);
    let failure = a.transport.request(&target, &probe(), short).await.unwrap_err();
    assert_eq!(failure, RequestFailure::Timeout { waited_ms: 300 });
    let error = a.transport.connect(&target).await.unwrap_err();
    assert!(matches!(error, DialError::Timeout { .. }));
    assert!(begun.elapsed() < limits::CONNECT_TIMEOUT + Duration::from_secs(2));
}

/// Goal: after a few failed dials, an address that never answers costs one packet for each dial, not several.
#[tokio::test]
async fn after_a_few_dials_in_vain_no_packet_is_repeated() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let address = crate::wire::Address::from(silent.local_addr().unwrap());
    let came = || std::iter::from_fn(|| silent.recv(&mut [0; 2_000]).ok()).count();
    let dial = |number| {
        let target = Target { position: Some(Position::of_number(number)), address: address.clone() };
        let transport = a.transport.clone();
        async move { assert!(matches!(transport.connect(&target).await, Err(DialError::Timeout { .. }))) }
    };
    tokio::join!(dial(2), dial(3), dial(4));
    let repeated = came();
    assert!(repeated >= 9, "three dials: {repeated} packets");
    dial(5).await;
    // The first packet, and the close when the dialler gives up.
    let once = came();
    assert!((1..=2).contains(&once), "one dial: {once} packets");
}

/// Goal: a peer that was killed without a word and started again on its port is reached at once, although the other
/// side still has the old connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_peer_is_reached_again_after_its_restart() {
    let ring = Ring::new();
    let identity = ring.identity(2);
    let a = ring.peer(1);
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let b = first.block_on_here(|| Peer::start(&identity, "127.0.0.1:0".parse().unwrap(), 1).unwrap());
    a.probe(&b.target).await.unwrap();
    let (target, listen) = (b.target.clone(), b.transport.local_address().unwrap());
    // The tasks of that peer end where they stand, and send nothing more.
    first.shutdown_background();
    drop(b);

    let second = runtime();
    let reborn = eventually_async("the port is free again", async || {
        second.block_on_here(|| Peer::start(&identity, listen, 2).ok())
    })
    .await;
    let begun = std::time::Instant::now();
    let (who, reply) = a.probe(&target).await.unwrap();
    assert_eq!((who.incarnation, reply), (2, alive()));
    assert!(begun.elapsed() < limits::CONNECT_TIMEOUT * 2);
    // The second connection has the place of the first, whether the end of the first was noticed before or after.
    assert_eq!(a.transport.connected().len(), 1);
    let connection = a.transport.connection(&target.position.unwrap()).unwrap();
    assert_eq!(connection.peer().incarnation, 2);
    drop(reborn);
    second.shutdown_background();
}

/// Goal: a peer that went silent is dialled anew after a request failed on its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_becomes_suspect() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let identity = ring.identity(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let b = runtime.block_on_here(|| Peer::start(&identity, "127.0.0.1:0".parse().unwrap(), 1).unwrap());
    a.probe(&b.target).await.unwrap();
    let target = b.target.clone();
    eventually_async("nothing is under way", async || a.transport.connected().len() == 1).await;
    runtime.shutdown_background();
    drop(b);
    sleep(Duration::from_millis(100)).await;
    let failure = a.transport.request(&target, &probe(), Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(failure, RequestFailure::Timeout { .. }));
    assert!(a.transport.connection(&target.position.unwrap()).is_none());
}

#[tokio::test]
async fn dropping_and_closing_end_connections() {
    let ring = Ring::new();
    let (a, mut b) = (ring.peer(1), ring.peer(2));
    a.probe(&b.target).await.unwrap();
    let position = b.target.position.unwrap();
    let incarnation = a.transport.connection(&position).unwrap().peer().incarnation;
    a.transport.drop_connection(&position, incarnation - 1);
    assert_eq!(a.transport.connected().len(), 1, "a later life is not meant");
    a.transport.drop_connection(&position, incarnation);
    assert!(a.transport.connected().is_empty());
    assert!(matches!(soon(b.inbox.recv()).await, Some(Incoming::Closed { .. })));
    a.probe(&b.target).await.unwrap();
    a.transport.close().await;
    assert!(matches!(soon(b.inbox.recv()).await, Some(Incoming::Closed { .. })));
    let failure = a.probe(&b.target).await.unwrap_err();
    assert!(matches!(failure, RequestFailure::Dial(DialError::Closed)), "{failure:?}");
}

#[tokio::test]
async fn a_clash_of_identities_does_not_drive_out_who_came_first() {
    let ring = Ring::new();
    let a = ring.peer(1);
    let (first, second) = (ring.peer(2), ring.peer(2));
    a.probe(&first.target).await.unwrap();
    let key = a.transport.connected()[0].key;
    // The peer answers the other one with that position, but sends no request to it.
    assert_eq!(second.probe(&a.target).await.unwrap().1, alive());
    assert_eq!(a.transport.connected().len(), 1);
    assert_eq!(a.transport.connected()[0].key, key);
}

#[tokio::test]
async fn a_full_pool_makes_place() {
    let ring = Ring::new();
    let identity = ring.identity(1);
    let settings = TransportSettings { connections_max: 2, ..TransportSettings::default() };
    let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
    let listen = "127.0.0.1:0".parse().unwrap();
    let (a, _incoming) =
        Transport::bind(&identity, &identity.verifier().unwrap(), listen, hello, &settings).unwrap();
    for number in 2..6 {
        let peer = ring.peer(number);
        soon(a.connect(&peer.target)).await.unwrap();
        assert!(a.connected().len() <= 2);
        assert!(a.connection(&Position::of_number(number)).is_some());
    }
}

trait BlockOnHere {
    /// Runs within this runtime's context, so that its tasks are spawned there.
    fn block_on_here<T>(&self, work: impl FnOnce() -> T) -> T;
}

impl BlockOnHere for tokio::runtime::Runtime {
    fn block_on_here<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inside = self.enter();
        work()
    }
}
