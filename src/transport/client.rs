//! `quoit-client/1`: commands to a peer, over the port that it also uses for other peers.
//!
//! The client dials, proves its identity, greets, and opens one stream for each command; the peer opens streams back
//! for the bytes that a store needs.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connection::{self, Connection};
use super::credentials::Credentials;
use super::dial;
use super::dial_error::{DialError, Refusal};
use super::rope::Rope;
use super::settings::{self, TransportSettings};
use super::stream::{OpenStream, RequestStream};
use super::stream_error::StreamError;
use crate::id::Position;
use crate::wire::{Address, ClientReply, ClientRequest, Entry, Hello, Target, codec, limits};

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

    /// Says goodbye, and waits a moment until that is sent.
    pub async fn close(&self) {
        dial::end(self.connection.quic()).await;
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

    /// Reads raw bytes, `max_bytes` at most, gathered for so long; `None` at the end. Waits as long as the connection
    /// lives.
    ///
    /// # Errors
    /// The errors of [`OpenStream::gather`].
    pub async fn gather(&mut self, max_bytes: usize, gather: Duration) -> Result<Option<Rope>, StreamError> {
        self.0.gather(max_bytes, gather).await
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
    let proven = dial::proven_as_expected(&quic, target, credentials.verifier.revoked())?;
    // A client has no incarnation of its own in the ring.
    let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
    let position = proven.position;
    let greeted = connection::greet(quic.clone(), proven, position, &hello, &settings).await;
    let connection = greeted.map_err(|error| match connection::closed_as_revoked(&quic) {
        Some(_) => DialError::Refused { address: target.address.clone(), refusal: Refusal::OursRevoked },
        None => dial::ungreeted(target, &quic, &error),
    })?;
    Ok(ClientConnection { _endpoint: endpoint, connection })
}
