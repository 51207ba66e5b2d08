//! Incoming connections: each is let in, asked for a proof of its address, heard in turn, or refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn::TransportErrorCode as Code;
use rustls::AlertDescription as Alert;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::background::background;
use super::command::CommandStream;
use super::connection::{self, Connection};
use super::dial;
use super::endpoint::Shared;
use super::guard::{self, Handshake, Knock};
use super::incoming::Incoming;
use super::line::{HEARD_IN_TURN_MAX, Line, TURN_MAX, Turn};
use super::settings;
use super::stranger::Stranger;
use super::stream::RequestStream;
use super::stream_error::close_code;
use crate::wire::{limits, shortened};

/// Why an incoming connection was not let in.
enum NotAccepted {
    /// This peer refused it.
    Refused(String),
    /// The other side gave it up: it has another connection by now, has ended, or no longer waits.
    GivenUp(String),
}

impl From<String> for NotAccepted {
    fn from(reason: String) -> NotAccepted {
        NotAccepted::Refused(reason)
    }
}

impl From<&str> for NotAccepted {
    fn from(reason: &str) -> NotAccepted {
        NotAccepted::Refused(reason.to_owned())
    }
}

/// An incoming connection after its hello.
enum Accepted {
    Peer(Connection),
    /// A client, with its place among the clients.
    Client(Connection, OwnedSemaphorePermit),
    /// A stranger with a ticket, with its place among those.
    Stranger(quinn::Connection, OwnedSemaphorePermit),
}

impl Shared {
    /// Accepts connections until the endpoint closes, or until no task takes incoming requests.
    pub(super) async fn accept(self: Arc<Self>) {
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                () = self.incoming.closed() => None,
            };
            let Some(incoming) = incoming else { break };
            self.let_in(incoming);
        }
        self.endpoint.close(close_code::ENDED, b"");
    }

    fn let_in(self: &Arc<Self>, incoming: quinn::Incoming) {
        let from = incoming.remote_address();
        let free = self.handshakes.available_permits();
        let proven = incoming.remote_address_validated() || !incoming.may_retry();
        let crowded = free < settings::HANDSHAKES_MAX / 2;
        match self.guard.knock(from, proven, free) {
            Knock::Closed(reason) => self.turn_away(incoming, reason),
            Knock::Prove | Knock::Open if !proven && crowded => prove(incoming),
            Knock::Prove => prove(incoming),
            Knock::Open => self.hear(incoming, None),
            Knock::InTurn => match self.guard.line_up(from) {
                Some(line) => {
                    background(self.clone().hear_in_turn(incoming, line));
                }
                None => self.turn_away(incoming, guard::CROWDED),
            },
        }
    }

    async fn hear_in_turn(self: Arc<Self>, incoming: quinn::Incoming, line: Line) {
        match line.turn().await {
            Some(turn) if guard::share_of(self.handshakes.available_permits()) > 0 => {
                self.hear(incoming, Some(turn));
            }
            Some(_) => self.turn_away(incoming, guard::CROWDED),
            None => self.turn_away(incoming, guard::FAILED),
        }
    }

    fn hear(self: &Arc<Self>, incoming: quinn::Incoming, turn: Option<Turn>) {
        let full = self.endpoint.open_connections() >= self.settings.connections_max + CONNECTIONS_SPARE;
        match self.handshakes.clone().try_acquire_owned() {
            Ok(permit) if !full => {
                let proven = incoming.remote_address_validated();
                let handshake = self.guard.begin(incoming.remote_address(), proven, turn.is_some());
                background(self.clone().accept_one(incoming, permit, handshake, turn));
            }
            _ => {
                let from = incoming.remote_address();
                incoming.refuse();
                self.refused(from, "too many connections");
            }
        }
    }

    fn turn_away(&self, incoming: quinn::Incoming, reason: &str) {
        let from = incoming.remote_address();
        self.counters.count_turned_away();
        incoming.refuse();
        self.refused(from, reason);
    }

    async fn accept_one(
        self: Arc<Self>,
        incoming: quinn::Incoming,
        _permit: OwnedSemaphorePermit,
        mut handshake: Handshake,
        turn: Option<Turn>,
    ) {
        let from = incoming.remote_address();
        let accepted = match self.within_time(incoming, &mut handshake, turn).await {
            Ok(Accepted::Peer(connection)) => {
                self.admit(connection, false).map(|_| handshake.succeeded()).map_err(NotAccepted::from)
            }
            Ok(Accepted::Client(client, place)) => {
                handshake.succeeded_as_client();
                let shared = self.clone();
                background(async move {
                    shared.serve_client(client).await;
                    drop(place);
                });
                Ok(())
            }
            Ok(Accepted::Stranger(quic, place)) => {
                background(async move {
                    // Its address pays as for a failed handshake, unless it knew the secret of a ticket.
                    if !self.serve_stranger(&quic).await {
                        handshake.failed();
                    }
                    drop(place);
                });
                return;
            }
            Err(reason) => Err(reason),
        };
        let Err(reason) = accepted else { return };
        handshake.failed();
        match reason {
            NotAccepted::Refused(reason) => self.refused(from, &reason),
            NotAccepted::GivenUp(reason) => tracing::debug!(%from, reason, "a connection was given up"),
        }
    }

    /// Runs the handshake within its time limit; the turn ends earlier if others wait too long.
    async fn within_time(
        &self,
        incoming: quinn::Incoming,
        handshake: &mut Handshake,
        turn: Option<Turn>,
    ) -> Result<Accepted, NotAccepted> {
        let limit = if turn.is_some() { HEARD_IN_TURN_MAX } else { limits::CONNECT_TIMEOUT };
        let work = timeout(limit, self.handshake(incoming, handshake));
        tokio::pin!(work);
        let mut ended = None;
        if let Some(turn) = turn {
            ended = timeout(TURN_MAX, &mut work).await.ok();
            drop(turn);
        }
        let ended = match ended {
            Some(ended) => ended,
            None => work.await,
        };
        ended.unwrap_or_else(|_| Err("it took too long".into()))
    }

    async fn handshake(
        &self,
        incoming: quinn::Incoming,
        handshake: &mut Handshake,
    ) -> Result<Accepted, NotAccepted> {
        let connecting = incoming.accept().map_err(|error| match error {
            quinn::ConnectionError::CidsExhausted => NotAccepted::Refused(error.to_string()),
            // The packet is too old or has no key: it is a late packet of a handshake that this side has given up, such
            // as that of a stopped peer.
            _ => NotAccepted::GivenUp(error.to_string()),
        })?;
        let quic = connecting.await.map_err(|error| {
            let (reason, answered) = why(&error);
            if answered {
                handshake.prove();
            }
            if is_given_up(&error) { NotAccepted::GivenUp(reason) } else { NotAccepted::Refused(reason) }
        })?;
        handshake.prove();
        let protocol = settings::protocol(&quic);
        if protocol == settings::ALPN_ENROL {
            return self.welcome_stranger(quic);
        }
        if quic.peer_identity().is_none() {
            quic.close(close_code::NO_PEER, b"");
            return Err("it shows no certificate".into());
        }
        if protocol == settings::ALPN_CLIENT {
            return self.welcome_client(quic).await;
        }
        let proven = connection::proven(&quic, self.verifier.revoked()).map_err(|error| {
            quic.close(close_code::NO_PEER, b"");
            error.to_string()
        })?;
        if proven.position == self.own {
            quic.close(close_code::SAME_POSITION, b"");
            return Err("it stands at this peer's own position".into());
        }
        let hello = self.own_hello();
        let welcomed =
            connection::welcome(quic.clone(), proven, &hello, &self.settings).await.map_err(|error| {
                let given_up = self.heed_revocation(&quic)
                    || quic.close_reason().is_some_and(|reason| is_given_up(&reason));
                quic.close(close_code::NO_HELLO, b"");
                let reason = error.to_string();
                if given_up { NotAccepted::GivenUp(reason) } else { NotAccepted::Refused(reason) }
            });
        welcomed.map(Accepted::Peer)
    }

    /// Welcomes a client. Only this peer's own key, or a certificate for `client.quoit`, commands it.
    async fn welcome_client(&self, quic: quinn::Connection) -> Result<Accepted, NotAccepted> {
        let revoked = self.verifier.revoked();
        let proven = connection::proven_client(&quic, self.own, self.own_key, revoked).map_err(|error| {
            quic.close(close_code::NO_CLIENT, b"");
            format!("it may not command this peer: {error}")
        })?;
        let Ok(place) = self.clients.clone().try_acquire_owned() else {
            quic.close(close_code::FULL, b"");
            return Err("too many clients".into());
        };
        let hello = self.own_hello();
        let client =
            connection::welcome(quic.clone(), proven, &hello, &self.settings).await.map_err(|error| {
                quic.close(close_code::NO_HELLO, b"");
                error.to_string()
            })?;
        Ok(Accepted::Client(client, place))
    }

    /// Lets in a stranger, who may only ask what `quoit-enrol/1` has.
    fn welcome_stranger(&self, quic: quinn::Connection) -> Result<Accepted, NotAccepted> {
        match self.strangers.clone().try_acquire_owned() {
            Ok(place) => Ok(Accepted::Stranger(quic, place)),
            Err(_) => {
                quic.close(close_code::FULL, b"");
                Err("too many enrolments are under way".into())
            }
        }
    }

    /// Passes on the requests of a stranger until its time is over. True if it knew the secret of a ticket.
    async fn serve_stranger(&self, quic: &quinn::Connection) -> bool {
        let knew_secret = Arc::new(AtomicBool::new(false));
        let exchanges = async {
            for _ in 0..limits::ENROLMENT_STREAMS_MAX {
                let Ok(halves) = quic.accept_bi().await else { return };
                let stranger = Stranger::new(halves, quic.remote_address(), knew_secret.clone());
                if self.incoming.send(Incoming::Stranger(stranger)).await.is_err() {
                    return;
                }
            }
            quic.closed().await;
        };
        let _ = timeout(limits::ENROLMENT_TIME_MAX, exchanges).await;
        quic.close(close_code::ENDED, b"");
        knew_secret.load(Ordering::Acquire)
    }

    fn refused(&self, from: SocketAddr, reason: &str) {
        let total = self.counters.count_refused();
        if self.log.open() {
            // The reason may hold words of the other side, which must not write control characters to a terminal.
            let reason = reason.chars().filter(|c| !c.is_control()).collect();
            let reason = shortened(reason, limits::REASON_BYTES_MAX);
            tracing::debug!(%from, reason, total, "refused a connection");
            // A full queue loses the report, but not the count.
            let _ = self.incoming.try_send(Incoming::Refused { from, reason, total });
        }
    }

    /// Passes on the commands of a client until its connection ends.
    async fn serve_client(&self, client: Connection) {
        while let Ok(halves) = client.quic().accept_bi().await {
            let stream = RequestStream::of_client(&client, halves);
            let command = CommandStream::new(stream, client.clone());
            if self.incoming.send(Incoming::Command(command)).await.is_err() {
                break;
            }
        }
    }
}

/// Whether the other side ended the connection without finding fault with this one. That happens with members that dial
/// each other at the same time, and with a member that ends.
fn is_given_up(error: &quinn::ConnectionError) -> bool {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => matches!(
            close.error_code,
            close_code::ENDED | close_code::SUPERSEDED | close_code::DROPPED | close_code::RELEASED
        ),
        quinn::ConnectionError::ConnectionClosed(close) => {
            matches!(close.error_code, Code::APPLICATION_ERROR | Code::NO_ERROR)
        }
        quinn::ConnectionError::Reset => true,
        // The other codes include connections that this side closed for a reason.
        _ => false,
    }
}

/// Asks the other side to prove its address: this costs a forger of addresses a round trip that it cannot make, and us
/// nothing.
fn prove(incoming: quinn::Incoming) {
    // This fails only for an address that has already proven itself.
    let _ = incoming.retry();
}

/// Why a handshake failed, and whether the other side had answered, so that its address is proven. The content of a
/// certificate comes after our answer; everything before it may be sent blindly.
fn why(error: &quinn::ConnectionError) -> (String, bool) {
    let alert = match error {
        quinn::ConnectionError::TransportError(here) => dial::alert(here.code),
        quinn::ConnectionError::ConnectionClosed(there) => {
            return match dial::alert(there.error_code) {
                Some(Alert::UnknownCA) => {
                    ("it says that this peer's certificate is of another ring".into(), false)
                }
                _ => (error.to_string(), false),
            };
        }
        _ => None,
    };
    match alert {
        Some(Alert::UnknownCA) => ("its certificate is of another ring".into(), true),
        Some(Alert::CertificateExpired) => ("its certificate has expired or is not valid yet".into(), true),
        Some(Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown) => {
            (format!("its certificate is no good: {error}"), true)
        }
        Some(Alert::DecryptError) => (error.to_string(), true),
        _ => (error.to_string(), false),
    }
}

/// The connections beside the pool: those being made, and those about to close.
const CONNECTIONS_SPARE: usize = 256;
