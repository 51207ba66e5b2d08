//! `quoit-client/1`: commands to a peer, over the port that it also uses for other peers.
//!
//! The client dials, proves its identity, greets, and opens one stream for each command; the peer opens streams back
//! for the bytes that a store needs.

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

/// The key by which a client proves that it may command, and the verifier by which it checks the peer.
#[derive(Debug)]
pub struct Credentials {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) verifier: Verifier,
}

impl Credentials {
    /// The credentials of the peer's own key.
    ///
    /// # Errors
    /// The errors of [`Identity::verifier`].
    pub fn of_peer(identity: &Identity) -> Result<Credentials, IdentityError> {
        let (chain, key) = identity.for_tls();
        Ok(Credentials { chain, key, verifier: identity.verifier()? })
    }

    /// The credentials of a bundle that was made for clients, or for the peer itself.
    ///
    /// # Errors
    /// [`BundleError`] when the bundle is unusable or has no key.
    pub fn of_bundle(path: &Path) -> Result<Credentials, BundleError> {
        Bundle::read(path)?.credentials()
    }
}

/// A client's connection to the peer that it commands. The connection ends when this value is dropped.
#[derive(Debug)]
pub struct ClientConnection {
    /// The endpoint that carries the connection while this value lives.
    _endpoint: quinn::Endpoint,
    connection: Connection,
}

impl ClientConnection {
    /// Dials a peer. `expected` is the peer's position, if it is known: then no other peer is accepted. Must be called
    /// within a tokio runtime.
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

    /// The peer at the other end.
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
        // A chunk is checked before any of its bytes is passed on, and over a slow connection one chunk takes minutes.
        // The peer notices when its bytes stand still, and ends the stream then.
        stream.waits_for_bytes();
        Ok(CommandReplies(stream))
    }

    /// The next request of the peer to this client; `None` when the connection has ended.
    pub async fn asked(&self) -> Option<RequestStream> {
        let halves = self.connection.quic().accept_bi().await.ok()?;
        Some(RequestStream::of_client(&self.connection, halves))
    }

    /// Says goodbye, and waits a moment until that is sent. (quinn's own wait is for packets of this connection that
    /// may still arrive, which do not matter to a process that ends.)
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

/// The replies to one command.
#[derive(Debug)]
pub struct CommandReplies(OpenStream);

impl CommandReplies {
    /// The next reply. A working peer reports progress now and then, so that silence means failure.
    ///
    /// # Errors
    /// [`StreamError`] when no reply comes in time, or the bytes are not a reply.
    pub async fn next(&mut self) -> Result<ClientReply, StreamError> {
        self.0.read_frame(limits::COMMAND_SILENCE_MAX).await
    }

    /// Reads raw bytes as they come, `max_bytes` at most; `None` at the end. Waits as long as the connection lives.
    ///
    /// # Errors
    /// The errors of [`OpenStream::read_piece`].
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
    /// Reads the command. Bytes that are not a command are answered with [`ClientReply::ProtocolError`], which ends the
    /// stream.
    ///
    /// # Errors
    /// [`StreamError`] when no command comes in time, or the bytes are not a command.
    pub async fn read_command(&mut self) -> Result<ClientRequest, StreamError> {
        self.stream.read_frame(ClientReply::ProtocolError).await
    }

    /// Sends one reply.
    ///
    /// # Errors
    /// [`StreamError`] when the reply is too large, or the client takes nothing or is gone.
    pub async fn reply(&mut self, reply: &ClientReply) -> Result<(), StreamError> {
        self.stream.send_frame(reply).await
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// The errors of [`RequestStream::send_piece`].
    pub async fn send_piece(&mut self, piece: bytes::Bytes) -> Result<(), StreamError> {
        self.stream.send_piece(piece).await
    }

    /// Waits until the client no longer wants an answer, or is gone.
    pub async fn given_up(&self) {
        self.stream.given_up().await;
    }

    /// The connection on which the client can be asked for bytes.
    pub fn client(&self) -> &Connection {
        &self.client
    }

    /// Ends the answer. Does not wait.
    pub fn finish_send(&mut self) {
        self.stream.finish_send();
    }

    /// Waits, after [`CommandStream::finish_send`], until the client has the whole answer, or is gone.
    pub async fn delivered(&self) {
        self.stream.given_up().await;
    }
}

impl Shared {
    /// Passes on the commands of a client until its connection ends.
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
    // A client has no incarnation of its own in the ring.
    let hello = Hello { incarnation: 1, advertised: None };
    let position = proven.position;
    let greeted = connection::greet(quic.clone(), proven, position, &hello, &settings).await;
    let connection = greeted.map_err(|error| dial::ungreeted(target, &quic, &error))?;
    Ok(ClientConnection { _endpoint: endpoint, connection })
}

/// How often, and how many times, a close checks whether the goodbye was sent.
const CLOSE_LOOK: Duration = Duration::from_micros(500);
const CLOSE_LOOKS_MAX: u32 = 100;
