//! Detours: ways through a helper to peers that cannot be reached directly.
//!
//! `A ->[Forward { to: B }, request, bytes] H`, `H ->[Forwarded { from: A }, request, bytes] B`, and back. The helper
//! joins two streams and reads nothing of the content. A detour has one helper only: forwarded requests are not
//! forwarded again. The asked peer learns only from the helper who asks, and the asker only from the helper who
//! answers. So everything that comes through a helper is hearsay, like gossip, and is no evidence against a peer. See
//! docs/architecture.md.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::endpoint::{Shared, Transport};
use super::helpers::{DETOURS_MAX, Reached};
use super::lock;
use super::request_failure::RequestFailure;
use super::stream::OpenStream;
use super::stream_error::StreamError;
use crate::id::Position;
use crate::wire::limits;
use crate::wire::{Entry, RelayFailure, Reply, Request, Target, codec};

/// The way that the next request to a target takes.
pub(super) enum Way {
    Direct(Connection),
    Through { helper: Connection, to: Position },
}

impl Transport {
    /// Sends future requests to this peer through the helper while there is no connection with the peer; without a
    /// helper, directly. Beyond `DETOURS_MAX` (256) no more detours are taken.
    pub fn set_detour(&self, target: Position, helper: Option<Entry>) {
        let mut detours = lock(&self.shared.detours);
        match helper {
            Some(helper) if detours.helpers.len() < DETOURS_MAX || detours.helpers.contains_key(&target) => {
                detours.helpers.insert(target, helper);
            }
            Some(_) => {}
            None => {
                detours.helpers.remove(&target);
            }
        }
    }

    /// The helper through which requests to this peer go.
    pub fn detour(&self, target: &Position) -> Option<Entry> {
        lock(&self.shared.detours).helpers.get(target).cloned()
    }

    /// Whether something came from this peer through a helper within the last minutes. Its apparent words may then be
    /// the helper's lie.
    pub fn was_asked_through_a_helper(&self, peer: &Position) -> bool {
        let used = lock(&self.shared.detours).used.get(peer).copied();
        used.is_some_and(|at| at.elapsed() < limits::HEARSAY_MAX)
    }

    /// Opens a stream to a peer that this one is connected with, on behalf of an asking peer.
    ///
    /// # Errors
    /// [`RequestFailure`] when there is no connection or the request is not taken.
    pub async fn open_directly(
        &self,
        target: &Target,
        request: &Request,
    ) -> Result<OpenStream, RequestFailure> {
        let frame = Bytes::from(codec::frame(request).map_err(RequestFailure::Unsendable)?);
        let connection = self.connect(target).await?;
        Ok(OpenStream::open(&connection, frame).await?)
    }

    /// Asks through this helper, whether there is a direct way or not.
    ///
    /// # Errors
    /// [`RequestFailure`], after `timeout` at the latest.
    pub async fn request_through(
        &self,
        helper: &Entry,
        to: Position,
        request: &Request,
        timeout: Duration,
    ) -> Result<(Entry, Reply), RequestFailure> {
        let frame = Bytes::from(codec::frame(request).map_err(RequestFailure::Unsendable)?);
        let asked = async {
            let helper = self.connect(&Target::from(helper)).await?;
            let mut stream = open_through(&self.shared, &helper, to, frame, timeout).await?;
            stream.finish_send();
            let reply = stream.read_reply(timeout).await?;
            Ok((stream.peer().clone(), reply))
        };
        let late = RequestFailure::Timeout { waited_ms: timeout.as_millis() as u64 };
        timeout_at(Instant::now() + timeout, asked).await.unwrap_or(Err(late))
    }
}

impl Shared {
    /// The way to a target: the existing connection, else the existing detour, else a dial.
    pub(super) async fn way(self: &std::sync::Arc<Self>, target: &Target) -> Result<Way, RequestFailure> {
        if let Some(to) = target.position {
            let usable = lock(&self.pool).usable(&to);
            if let Some(connection) = usable {
                return Ok(Way::Direct(connection));
            }
            let detour = lock(&self.detours).helpers.get(&to).cloned();
            if let Some(helper) = detour.filter(|helper| helper.position != to) {
                match self.connect(&Target::from(&helper)).await {
                    Ok(helper) => return Ok(Way::Through { helper, to }),
                    Err(_) => self.forget_detour(&to),
                }
            }
        }
        Ok(Way::Direct(self.connect(target).await?))
    }

    /// Forgets a helper that no longer works; the task that keeps contact finds another.
    pub(super) fn forget_detour(&self, to: &Position) {
        lock(&self.detours).helpers.remove(to);
    }
}

/// Opens a stream through a helper and waits for its confirmation that the other side is there.
pub(super) async fn open_through(
    shared: &Shared,
    helper: &Connection,
    to: Position,
    request: Bytes,
    timeout: Duration,
) -> Result<OpenStream, StreamError> {
    let mut frames = codec::frame(&Request::Forward { to })?;
    frames.extend_from_slice(&request);
    let mut stream = OpenStream::open(helper, Bytes::from(frames)).await?;
    match stream.read_reply(timeout.min(helper.stream_silence())).await? {
        Reply::Forwarding(Ok(peer)) if peer.position == to && peer.has_lived() => {
            stream.reached(Reached::new(peer, &shared.detours));
            Ok(stream)
        }
        Reply::Forwarding(Err(RelayFailure::Refused)) => Err(StreamError::HelperBusy),
        _ => Err(StreamError::NotForwarded),
    }
}
