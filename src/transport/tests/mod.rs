//! Tests of the network over loopback. Waits are for conditions, with generous bounds.

mod admission;
mod certificates;
mod connections;
mod enrolment;
mod floods;
mod hostile;
mod lines;
mod placement;
mod revoked;
mod streams;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::*;
use crate::eventually::{PATIENCE, eventually_async};
use crate::id::Weight;
use crate::wire::{
    Hello, MembershipReply, MembershipRequest, NeighbourReply, NeighbourRequest, Reply, Request,
    StorageReply, StorageRequest, Target,
};

/// A ring CA in a folder of its own.
struct Ring {
    folder: TempDir,
    authority: Authority,
}

/// A peer that answers requests; all other input goes to `inbox`.
struct Peer {
    transport: Transport,
    target: Target,
    inbox: mpsc::Receiver<Incoming>,
}

impl Ring {
    fn new() -> Ring {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::found_or_open(folder.path()).unwrap();
        Ring { folder, authority }
    }

    fn identity(&self, number: u8) -> Identity {
        self.authority.issue(Placement::Numbered(number), None).unwrap()
    }

    fn peer(&self, number: u8) -> Peer {
        Peer::start(&self.identity(number), "127.0.0.1:0".parse().unwrap(), 1).unwrap()
    }
}

impl Peer {
    fn start(identity: &Identity, listen: SocketAddr, incarnation: u64) -> std::io::Result<Peer> {
        Peer::start_with(identity, listen, incarnation, &TransportSettings::default())
    }

    fn with(identity: &Identity, settings: &TransportSettings) -> std::io::Result<Peer> {
        Peer::start_with(identity, "127.0.0.1:0".parse().unwrap(), 1, settings)
    }

    fn start_with(
        identity: &Identity,
        listen: SocketAddr,
        incarnation: u64,
        settings: &TransportSettings,
    ) -> std::io::Result<Peer> {
        let hello = Hello { incarnation, advertised: None, revocations: 0 };
        let verifier = identity.verifier().unwrap();
        let (transport, incoming) = Transport::bind(identity, &verifier, listen, hello, settings)?;
        let address = transport.local_address()?.into();
        let (outbox, inbox) = mpsc::channel(64);
        tokio::spawn(answer(incoming, outbox));
        Ok(Peer { transport, target: Target { address, position: Some(identity.position()) }, inbox })
    }

    async fn probe(&self, target: &Target) -> Result<(crate::wire::Entry, Reply), RequestFailure> {
        self.transport.request(target, &probe(), PATIENCE).await
    }

    fn open_connections(&self) -> usize {
        self.transport.shared.endpoint.open_connections()
    }
}

async fn answer(mut incoming: mpsc::Receiver<Incoming>, outbox: mpsc::Sender<Incoming>) {
    while let Some(event) = incoming.recv().await {
        match event {
            Incoming::Stream { stream, .. } => {
                tokio::spawn(answer_one(stream));
            }
            other => {
                let _ = outbox.try_send(other);
            }
        }
    }
}

/// Answers a probe, never answers an announcement, answers a fetch with as many bytes as its offset says, and echoes
/// the bytes after any other storage request.
async fn answer_one(mut stream: RequestStream) -> Result<(), StreamError> {
    match stream.read_request().await? {
        Request::Membership(_) => stream.send_reply(&alive()).await?,
        Request::Revocations { digest, .. } => {
            stream.send_reply(&Reply::Revocations { digest, revoked: Vec::new() }).await?;
        }
        Request::Storage(StorageRequest::Announce { .. }) => std::future::pending().await,
        Request::Storage(StorageRequest::FetchObject { offset, .. }) => {
            stream.send_reply(&Reply::Storage(StorageReply::Noted)).await?;
            let piece = Bytes::from(vec![7; crate::wire::limits::PIECE_BYTES]);
            let mut left = offset as usize;
            while left > 0 {
                let size = left.min(piece.len());
                stream.send_piece(piece.slice(..size)).await?;
                left -= size;
            }
        }
        Request::Forward { .. } | Request::Forwarded { .. } => {
            stream.send_reply(&Reply::Forwarding(Err(crate::wire::RelayFailure::Refused))).await?;
        }
        Request::Storage(_) => {
            stream.send_reply(&Reply::Storage(StorageReply::Noted)).await?;
            while let Some(piece) = stream.read_piece(usize::MAX).await? {
                stream.send_piece(piece).await?;
            }
        }
    }
    stream.finish().await
}

fn probe() -> Request {
    Request::Membership(MembershipRequest::Neighbour(NeighbourRequest::Probe))
}

fn alive() -> Reply {
    Reply::Membership(MembershipReply::Neighbour(NeighbourReply::Alive))
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("in time")
}

/// Settings for a member's bare end of the network.
fn client_settings(identity: &Identity) -> quinn::ClientConfig {
    let (chain, key) = identity.for_tls();
    let verifier = identity.verifier().unwrap();
    settings::client(chain, key, &verifier, settings::ALPN_PEER, &TransportSettings::default()).unwrap()
}
