//! `quoit-client/1`: commands to a peer, over the port that it has for other peers.
//!
//! The client dials, proves who it is, greets, and opens one stream for each command; the peer opens
//! streams back for the bytes that a store needs.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{Instant, timeout_at};

use super::bundle::{Bundle, BundleError};
use super::connection::{self, Connection};
use super::dial::{self, DialError};
use super::endpoint::{Incoming, Shared};
use super::frame::{StreamError, close_code};
use super::identity::{Identity, IdentityError};
use super::settings::{self, TransportSettings};
use super::stream::{OpenStream, RequestStream};
use super::verifier::Verifier;
use crate::id::Position;
use crate::wire::{Address, ClientReply, ClientRequest, Entry, Hello, Target, codec, limits};

/// With what a client proves that it may command, and checks whom it commands.
#[derive(Debug)]
pub struct Credentials {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) verifier: Verifier,
}

impl Credentials {
    /// The peer's own key.
    ///
    /// # Errors
    /// As [`Identity::verifier`].
    pub fn of_peer(identity: &Identity) -> Result<Credentials, IdentityError> {
        let (chain, key) = identity.for_tls();
        Ok(Credentials { chain, key, verifier: identity.verifier()? })
    }

    /// A bundle that was made for clients, or for the peer itself.
    ///
    /// # Errors
    /// [`BundleError`] when it cannot be used, or has no key.
    pub fn of_bundle(path: &Path) -> Result<Credentials, BundleError> {
        Bundle::read(path)?.credentials()
    }
}

/// A client's connection to the peer that it commands. It ends when this is dropped.
#[derive(Debug)]
pub struct ClientConnection {
    /// Carries the connection as long as this lives.
    _endpoint: quinn::Endpoint,
    connection: Connection,
}

impl ClientConnection {
    /// Dials a peer. `expected` is where it stands, if that is known: no other peer is taken for it. To be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// [`DialError`], after [`limits::CONNECT_TIMEOUT`] at the latest.
    pub async fn connect(
        credentials: &Credentials,
        address: &Address,
        expected: Option<Position>,
    ) -> Result<ClientConnection, DialError> {
        let deadline = Instant::now() + limits::CONNECT_TIMEOUT;
        let late = |_| dial::timed_out(address);
        let found = timeout_at(deadline, dial::resolve(address, None)).await.map_err(late)??;
        let target = Target { address: address.clone(), position: expected };
        let mut left = found.len() as u32;
        let mut last = Err(dial::timed_out(address));
        for found in found {
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            left -= 1;
            let tried = timeout_at(Instant::now() + share, dial_one(credentials, &target, found)).await;
            last = tried.unwrap_or_else(|_| Err(dial::timed_out(address)));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// The peer.
    pub fn peer(&self) -> &Entry {
        self.connection.peer()
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`StreamError`] when the connection has ended or the peer takes no command.
    pub async fn command(&self, command: &ClientRequest) -> Result<CommandReplies, StreamError> {
        let mut stream =
            OpenStream::open(&self.connection, bytes::Bytes::from(codec::frame(command)?)).await?;
        stream.finish_send();
        // A chunk is checked before a byte of it is given, and over a slow line one takes minutes. The peer knows
        // whether its bytes stand still, and ends the stream then.
        stream.waits_for_bytes();
        Ok(CommandReplies(stream))
    }

    /// The next request of the peer to this client; `None` when the connection has ended.
    pub async fn asked(&self) -> Option<RequestStream> {
        let halves = self.connection.quic().accept_bi().await.ok()?;
        Some(RequestStream::of_client(&self.connection, halves))
    }

    /// Says goodbye, and waits a moment until that is on its way. (quinn's own waiting is for the time in which
    /// packets of this connection may still come, which is no concern of a process that ends.)
    pub async fn close(&self) {
        let quic = self.connection.quic();
        let sent = quic.stats().udp_tx.datagrams;
        quic.close(close_code::ENDED, b"");
        for _ in 0..CLOSE_LOOKS_MAX {
            if quic.stats().udp_tx.datagrams > sent {
                break;
            }
            tokio::time::sleep(CLOSE_LOOK).await;
        }
    }
}

/// What comes back on a command.
#[derive(Debug)]
pub struct CommandReplies(OpenStream);

impl CommandReplies {
    /// The next reply. A peer that works says so now and then, so that silence is a failure.
    ///
    /// # Errors
    /// [`StreamError`] when none comes for long, or what comes is none.
    pub async fn next(&mut self) -> Result<ClientReply, StreamError> {
        self.0.read_frame(limits::COMMAND_SILENCE_MAX).await
    }

    /// Raw bytes as they come, at most so many; `None` at the end. Waits as long as the connection lives.
    ///
    /// # Errors
    /// As [`OpenStream::read_piece`].
    pub async fn read_piece(&mut self, max_bytes: usize) -> Result<Option<bytes::Bytes>, StreamError> {
        self.0.read_piece(max_bytes).await
    }
}

/// The peer's side of one command.
#[derive(Debug)]
pub struct CommandStream {
    stream: RequestStream,
    client: Connection,
}

impl CommandStream {
    /// Reads the command. What is none is answered with [`ClientReply::ProtocolError`], and ends the
    /// stream.
    ///
    /// # Errors
    /// [`StreamError`] when no command comes in time, or what comes is none.
    pub async fn read_command(&mut self) -> Result<ClientRequest, StreamError> {
        self.stream.read_frame(ClientReply::ProtocolError).await
    }

    /// Sends one reply.
    ///
    /// # Errors
    /// [`StreamError`] when it is too large, or the client takes nothing or is gone.
    pub async fn reply(&mut self, reply: &ClientReply) -> Result<(), StreamError> {
        self.stream.send_frame(reply).await
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// As [`RequestStream::send_piece`].
    pub async fn send_piece(&mut self, piece: bytes::Bytes) -> Result<(), StreamError> {
        self.stream.send_piece(piece).await
    }

    /// Waits until the client wants no answer any more, or is gone.
    pub async fn given_up(&self) {
        self.stream.given_up().await;
    }

    /// The way to ask the client for bytes.
    pub fn client(&self) -> &Connection {
        &self.client
    }

    /// Ends the answer. Does not wait.
    pub fn finish_send(&mut self) {
        self.stream.finish_send();
    }

    /// After [`CommandStream::finish_send`]: waits until the client has all of the answer, or is gone.
    pub async fn delivered(&self) {
        self.stream.given_up().await;
    }
}

impl Shared {
    /// Hands on the commands of a client until its connection ends.
    pub(super) async fn serve_client(&self, client: Connection) {
        while let Ok(halves) = client.quic().accept_bi().await {
            let stream = RequestStream::of_client(&client, halves);
            let command = CommandStream { stream, client: client.clone() };
            if self.incoming.send(Incoming::Command(command)).await.is_err() {
                break;
            }
        }
    }
}

async fn dial_one(
    credentials: &Credentials,
    target: &Target,
    address: SocketAddr,
) -> Result<ClientConnection, DialError> {
    let broken =
        |error: io::Error| DialError::Broken { address: target.address.clone(), reason: error.to_string() };
    let settings = TransportSettings::default();
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(broken)?;
    let config = settings::client(
        credentials.chain.clone(),
        credentials.key.clone_key(),
        &credentials.verifier,
        settings::ALPN_CLIENT,
        &settings,
    );
    let quic = dial::open(&endpoint, config.map_err(broken)?, target, address).await?;
    let proven = dial::proven_as_expected(&quic, target)?;
    // A client has no life of its own in the ring.
    let hello = Hello { incarnation: 1, advertised: None };
    let position = proven.position;
    let greeted = connection::greet(quic.clone(), proven, position, &hello, &settings).await;
    let connection = greeted.map_err(|error| dial::ungreeted(target, &quic, &error))?;
    Ok(ClientConnection { _endpoint: endpoint, connection })
}

/// How often, and how many times, it is looked whether the goodbye has gone.
const CLOSE_LOOK: Duration = Duration::from_micros(500);
const CLOSE_LOOKS_MAX: u32 = 100;
