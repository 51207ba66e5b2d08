//! The requests that a helper forwards between two peers, and those that it refuses. A member that is a bare transport
//! here asks peers of a real ring.

use quoit::id::{KeyHash, Position};
use quoit::peer::{Entrance, Handle, StartOptions, start};
use quoit::transport::{Authority, OpenStream, Placement, Transport, TransportSettings};
use quoit::wire::limits::{FORWARDS_PER_PEER_MAX, PIECE_BYTES};
use quoit::wire::*;

use crate::eventually::{PATIENCE, eventually_async};

/// Two peers of a ring, and a member that is no peer of it.
struct Scene {
    dir: tempfile::TempDir,
    helper: Handle,
    target: Handle,
}

impl Scene {
    async fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let options = |number: u8, entrance| StartOptions {
            number: Some(number),
            data_dir: Some(dir.path().join(number.to_string())),
            certs_dir: Some(dir.path().join("certs")),
            listen: Some(([127, 0, 0, 1], 0).into()),
            ..StartOptions::new(entrance)
        };
        let helper = start(options(10, Entrance::Found)).await.unwrap();
        helper.wait_active().await.unwrap();
        let target = start(options(20, Entrance::Join { known: helper.address() })).await.unwrap();
        Scene { dir, helper, target }
    }

    /// A member of the same CA.
    fn member(&self, number: u8) -> Transport {
        let authority = Authority::open(&self.dir.path().join("certs")).unwrap().unwrap();
        let identity = authority.issue(Placement::Numbered(number), None).unwrap();
        let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
        let listen = ([127, 0, 0, 1], 0).into();
        let verifier = identity.verifier().unwrap();
        let settings = TransportSettings::default();
        let (transport, mut incoming) =
            Transport::bind(&identity, &verifier, listen, hello, &settings).unwrap();
        tokio::spawn(async move { while incoming.recv().await.is_some() {} });
        transport
    }

    fn target_of(&self, peer: &Handle) -> Target {
        Target { address: peer.address(), position: Some(peer.position()) }
    }

    fn entry_of(&self, peer: &Handle) -> Entry {
        Entry::from(Life {
            position: peer.position(),
            incarnation: 1,
            key: KeyHash([0; 32]),
            address: peer.address(),
        })
    }

    /// Sends one request to the helper, unchanged, and returns the stream of the reply.
    async fn ask(&self, member: &Transport, request: &Request) -> OpenStream {
        member.open(&self.target_of(&self.helper), request).await.unwrap()
    }
}

fn probe() -> Request {
    Request::Membership(MembershipRequest::Neighbour(NeighbourRequest::Probe))
}

/// Goal: a request through a helper reaches its target, and the answer comes back, with bytes both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_joins_two_streams() {
    let scene = Scene::new().await;
    let member = scene.member(200);
    let to = scene.target.position();
    let helper = scene.entry_of(&scene.helper);
    let (who, reply) = member.request_through(&helper, to, &probe(), PATIENCE).await.unwrap();
    assert_eq!(who.position, to);
    assert_eq!(reply, Reply::Membership(MembershipReply::Neighbour(NeighbourReply::Alive)));
    // The same through a detour, also for an object with its bytes. No process listens at the address.
    member.set_detour(to, Some(helper));
    let nowhere = Target { address: Address::new("127.0.0.1:9").unwrap(), position: Some(to) };
    let bytes: Vec<u8> = (0..3 * PIECE_BYTES as u32).map(|i| (i >> 8) as u8).collect();
    let path = scene.dir.path().join("file.bin");
    std::fs::write(&path, &bytes).unwrap();
    let stored = scene.target.store(&path, &Default::default(), &Default::default()).await.unwrap();
    let content = stored.content;
    let fetch = Request::Storage(StorageRequest::FetchObject { content, offset: 0 });
    let mut stream = member.open(&nowhere, &fetch).await.unwrap();
    assert_eq!(stream.peer().position, to);
    stream.finish_send();
    let reply = stream.read_reply(PATIENCE).await.unwrap();
    assert!(matches!(reply, Reply::Storage(StorageReply::Object(_))), "{reply:?}");
    let came = stream.gather(bytes.len() + 1, PATIENCE).await.unwrap().unwrap();
    assert!(came.parts().concat() == bytes);
    assert!(member.connection(&to).is_none(), "there was no direct way");
}

/// Goal: a helper forwards only to living members, over one hop, in the name of the asker alone, and within a bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_does_not_do_everything() {
    let scene = Scene::new().await;
    let member = scene.member(200);
    for nobody in [Position::of_number(77), Position::of_number(10), Position::of_number(200)] {
        let mut stream = scene.ask(&member, &Request::Forward { to: nobody }).await;
        stream.finish_send();
        let reply = stream.read_reply(PATIENCE).await.unwrap();
        assert_eq!(reply, Reply::Forwarding(Err(RelayFailure::Unanswered)));
    }
    // The helper forwards over one hop only, and refuses a name without its key.
    let to = scene.target.position();
    let me =
        Entry::from(Life { position: Position::of_number(200), ..(*scene.entry_of(&scene.helper)).clone() });
    for (from, request) in [
        (me.clone(), Request::Forward { to }),
        (me.clone(), Request::Forwarded { from: me.clone() }),
        (scene.entry_of(&scene.target), probe()),
        (scene.entry_of(&scene.helper), probe()),
    ] {
        let mut stream = scene.ask(&member, &Request::Forwarded { from }).await;
        stream.send_piece(codec::frame(&request).unwrap()).await.unwrap();
        stream.finish_send();
        let reply = stream.read_reply(PATIENCE).await.unwrap();
        assert!(matches!(reply, Reply::ProtocolError(_)), "{reply:?}");
    }
    // Streams that are opened and left take this member's places, and no other's.
    let mut left = Vec::new();
    for _ in 0..FORWARDS_PER_PEER_MAX {
        let mut stream = scene.ask(&member, &Request::Forward { to }).await;
        let reply = stream.read_reply(PATIENCE).await.unwrap();
        assert!(matches!(reply, Reply::Forwarding(Ok(_))), "{reply:?}");
        left.push(stream);
    }
    let mut one_more = scene.ask(&member, &Request::Forward { to }).await;
    let reply = one_more.read_reply(PATIENCE).await.unwrap();
    assert_eq!(reply, Reply::Forwarding(Err(RelayFailure::Refused)));
    let other = scene.member(201);
    let helper = scene.entry_of(&scene.helper);
    assert!(other.request_through(&helper, to, &probe(), PATIENCE).await.is_ok());
    drop(left);
    eventually_async("places are free again", async || {
        member.request_through(&helper, to, &probe(), PATIENCE).await.is_ok()
    })
    .await;
}
