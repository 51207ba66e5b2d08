//! Enrolment with a ticket over the network.

use std::sync::Arc;

use super::certificates::now_ms;
use super::*;
use crate::wire::{Address, EnrolReply, EnrolRequest, TicketRefusal};

const HOUR: Duration = Duration::from_secs(3_600);

/// A peer that redeems the tickets of its ring, as a running peer does.
struct Office {
    ring: Arc<Ring>,
    transport: Transport,
    target: Target,
}

impl Office {
    fn new() -> Office {
        let ring = Arc::new(Ring::new());
        let identity = ring.identity(1);
        let Peer { transport, target, inbox } = Peer::with(&identity, &TransportSettings::default()).unwrap();
        tokio::spawn(serve(ring.clone(), identity, inbox));
        Office { ring, transport, target }
    }

    fn ticket(&self, name: &str) -> Ticket {
        self.ticket_at(name, self.target.address.clone())
    }

    fn ticket_at(&self, name: &str, address: Address) -> Ticket {
        let (holder, server) = (TicketHolder::Name(name.to_owned()), self.target.position.unwrap());
        self.ring.authority.issue_ticket(holder, Weight::ONE, server, address, HOUR, now_ms()).unwrap()
    }
}

async fn serve(ring: Arc<Ring>, identity: Identity, mut inbox: mpsc::Receiver<Incoming>) {
    while let Some(event) = inbox.recv().await {
        let Incoming::Stranger(mut stranger) = event else { continue };
        let reply = match stranger.read_request().await {
            Ok(EnrolRequest::Authority) => EnrolReply::Authority { certificate: identity.ca_der().to_vec() },
            Ok(EnrolRequest::Redeem { ticket, secret, request }) => {
                let from = stranger.from().to_string();
                match ring.authority.redeem(&ticket, &secret, &request, now_ms(), &from) {
                    Ok(enrolled) => EnrolReply::Admitted { certificate: enrolled.certificate },
                    Err(refused) => EnrolReply::Refused(refused.refusal),
                }
            }
            Ok(EnrolRequest::Place { ticket, secret, candidates }) => {
                match ring.authority.place(&ticket, &secret, &candidates, now_ms()) {
                    Ok(place) => EnrolReply::Placed(place),
                    Err(refused) => EnrolReply::Refused(refused.refusal),
                }
            }
            Err(_) => continue,
        };
        let _ = stranger.answer(&reply).await;
    }
}

/// Goal: the key is made on the other machine, and its certificate comes over the network, once.
#[tokio::test]
async fn a_ticket_brings_a_bundle() {
    let (office, elsewhere) = (Office::new(), tempfile::tempdir().unwrap());
    let ticket = office.ticket("nas");
    let certs = elsewhere.path().join("certs");
    let enrolment = Enrolment::new(&certs, &ticket);
    let path = soon(enrolment.bring(&ticket)).await.unwrap();
    assert_eq!(certificates::mode(&path), 0o600);
    let bundle = Bundle::read(&path).unwrap();
    assert!(bundle.has_key() && bundle.display_name().as_deref() == Some("nas"));
    assert!(!office.ring.folder.path().join(format!("peers/{}-key.pem", bundle.label().unwrap())).exists());
    // A second try on this machine needs nobody; another machine gets nothing.
    assert_eq!(soon(enrolment.bring(&ticket)).await.unwrap(), path);
    let thief = tempfile::tempdir().unwrap();
    let stolen = Enrolment::new(&thief.path().join("certs"), &ticket);
    let refused = soon(stolen.bring(&ticket)).await;
    assert!(matches!(refused, Err(EnrolError::Refused(TicketRefusal::Used { .. }))), "{refused:?}");
    assert!(!thief.path().join("certs").exists(), "nothing is left of it");
    // A lost answer: the key is still there, and the same certificate comes again.
    std::fs::remove_file(&path).unwrap();
    soon(enrolment.bring(&ticket)).await.unwrap();
    assert_eq!(Bundle::read(&path).unwrap().position(), bundle.position());
    enrolment.forget();
    assert!(!certs.exists());
    assert!(office.transport.connected().is_empty(), "a stranger is no peer");
}

/// Goal: the secret goes to the peer that the ticket means, and to no other member of the ring, nor to another ring.
#[tokio::test]
async fn the_secret_goes_to_nobody_else() {
    let (office, elsewhere) = (Office::new(), tempfile::tempdir().unwrap());
    let (member, foreigner) = (office.ring.identity(7), Ring::new().identity(1));
    let as_if = [(member, "it is peer 7, not peer 1"), (foreigner, "it is of another ring")];
    for (identity, why) in as_if {
        let Peer { transport, target, mut inbox } =
            Peer::with(&identity, &TransportSettings::default()).unwrap();
        let ticket = office.ticket_at("nas", target.address);
        let certs = elsewhere.path().join("certs");
        let asked = tokio::spawn(async move {
            let Some(Incoming::Stranger(mut stranger)) = inbox.recv().await else { panic!("{why}") };
            assert_eq!(stranger.read_request().await.unwrap(), EnrolRequest::Authority);
            let certificate = identity.ca_der().to_vec();
            stranger.answer(&EnrolReply::Authority { certificate }).await.unwrap();
            inbox
        });
        let refused = soon(Enrolment::new(&certs, &ticket).bring(&ticket)).await;
        let mut inbox = soon(asked).await.unwrap();
        eventually_async("the stranger is gone", async || transport.shared.endpoint.open_connections() == 0)
            .await;
        assert!(inbox.try_recv().is_err(), "{why}: the secret was sent");
        let said = refused.unwrap_err();
        assert!(matches!(said, EnrolError::NotThatPeer { .. }), "{said:?}");
        assert!(said.to_string().contains(why), "{said}");
        assert!(!certs.exists());
    }
}

/// Goal: without a certificate a stranger can only ask what the enrolment has.
#[tokio::test]
async fn a_stranger_is_bounded() {
    let office = Office::new();
    let address = office.transport.local_address().unwrap();
    let client = hostile::bare_client(&office.ring, b"quoit-enrol/1");
    let quic = soon(client.connect(address, "peer.quoit").unwrap()).await.unwrap();
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    frame::write(&mut send, &probe()).await.unwrap();
    let reply: EnrolReply = soon(frame::read(&mut recv)).await.unwrap();
    assert!(matches!(reply, EnrolReply::Authority { .. } | EnrolReply::ProtocolError(_)), "{reply:?}");
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    frame::write(&mut send, &EnrolRequest::Redeem { ticket: [1; 8], secret: [2; 16], request: Vec::new() })
        .await
        .unwrap();
    let reply: EnrolReply = soon(frame::read(&mut recv)).await.unwrap();
    assert_eq!(reply, EnrolReply::Refused(TicketRefusal::Unknown));
    // A third stream is not served, and the connection ends by itself.
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    let _ = frame::write(&mut send, &EnrolRequest::Authority).await;
    soon(quic.closed()).await;
    assert_eq!(office.transport.counters().refused_handshakes(), 0);

    // Places are few; the others are told so.
    let mut held = Vec::new();
    for _ in 0..crate::wire::limits::ENROLMENTS_MAX {
        held.push(soon(client.connect(address, "peer.quoit").unwrap()).await.unwrap());
    }
    let one_more = soon(client.connect(address, "peer.quoit").unwrap()).await.unwrap();
    soon(one_more.closed()).await;
    assert!(held.iter().all(|quic| quic.close_reason().is_none()));
}
