//! Ways through a helper, to peers that cannot be reached directly.
//!
//! `A ->[Forward { to: B }, request, bytes] H`, `H ->[Forwarded { from: A }, request, bytes] B`, and back. The
//! helper joins two streams and reads nothing of what passes. One helper only: what was forwarded is not
//! forwarded again. The asked peer takes the helper's word for who asks. That is no more than it takes from
//! a member anyway, since members tell of each other; see docs/architecture.md.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::endpoint::{Shared, Transport};
use super::frame::StreamError;
use super::lock;
use super::request::RequestFailure;
use super::stream::OpenStream;
use crate::id::Position;
use crate::wire::{Entry, RelayFailure, Reply, Request, Target, codec, limits};

/// Through whom a peer is reached.
pub(super) type Detours = HashMap<Position, Entry>;

/// How the next request to a target goes.
pub(super) enum Way {
    Direct(Connection),
    Through { helper: Connection, to: Position },
}

impl Transport {
    /// From now on requests to this peer go through the helper while there is no connection with it;
    /// without a helper, directly. There is a limit to how many; more are not taken.
    pub fn set_detour(&self, target: Position, helper: Option<Entry>) {
        let mut detours = lock(&self.shared.detours);
        match helper {
            Some(helper) if detours.len() < DETOURS_MAX || detours.contains_key(&target) => {
                detours.insert(target, helper);
            }
            Some(_) => {}
            None => {
                detours.remove(&target);
            }
        }
    }

    /// Through whom requests to this peer go.
    pub fn detour(&self, target: &Position) -> Option<Entry> {
        lock(&self.shared.detours).get(target).cloned()
    }

    /// Opens a stream to a peer that this one is connected with, for a helper that forwards.
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
            let mut stream = open_through(&helper, to, frame, timeout).await?;
            stream.finish_send();
            let reply = stream.read_reply(timeout).await?;
            Ok((stream.peer().clone(), reply))
        };
        let late = RequestFailure::Timeout { waited_ms: timeout.as_millis() as u64 };
        timeout_at(Instant::now() + timeout, asked).await.unwrap_or(Err(late))
    }
}

impl Shared {
    /// The connection there is; else the detour there is; else a dial.
    pub(super) async fn way(self: &std::sync::Arc<Self>, target: &Target) -> Result<Way, RequestFailure> {
        if let Some(to) = target.position {
            let usable = lock(&self.pool).usable(&to);
            if let Some(connection) = usable {
                return Ok(Way::Direct(connection));
            }
            let detour = lock(&self.detours).get(&to).cloned();
            if let Some(helper) = detour.filter(|helper| helper.position != to) {
                match self.connect(&Target::from(&helper)).await {
                    Ok(helper) => return Ok(Way::Through { helper, to }),
                    Err(_) => self.forget_detour(&to),
                }
            }
        }
        Ok(Way::Direct(self.connect(target).await?))
    }

    /// The helper is of no use any more; whoever looks after detours finds another.
    pub(super) fn forget_detour(&self, to: &Position) {
        lock(&self.detours).remove(to);
    }
}

/// Opens a stream through a helper and waits for its word that the other side is there.
pub(super) async fn open_through(
    helper: &Connection,
    to: Position,
    request: Bytes,
    timeout: Duration,
) -> Result<OpenStream, StreamError> {
    let mut frames = codec::frame(&Request::Forward { to })?;
    frames.extend_from_slice(&request);
    let mut stream = OpenStream::open(helper, Bytes::from(frames)).await?;
    match stream.read_reply(timeout.min(limits::STREAM_SILENCE_MAX)).await? {
        Reply::Forwarding(Ok(peer)) if peer.position == to => {
            stream.reached(peer);
            Ok(stream)
        }
        Reply::Forwarding(Err(RelayFailure::Refused)) => Err(StreamError::HelperBusy),
        _ => Err(StreamError::NotForwarded),
    }
}

/// Peers that are reached through helpers at the same time.
const DETOURS_MAX: usize = 256;
