//! Requests: one request and its reply, or an exchange with raw bytes.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::detour::{Way, open_through};
use super::endpoint::{Shared, Transport};
use super::request_failure::RequestFailure;
use super::stream::OpenStream;
use super::stream_error::{LostReason, StreamError};
use crate::id::Position;
use crate::wire::{Entry, Reply, Request, Target, codec};

impl Transport {
    /// Asks a peer, and waits for the one reply; returns also the answering peer. The timeout includes a dial.
    ///
    /// If the connection turns out to be of the peer's earlier incarnation, or to be superseded, the request is sent
    /// once more: the peer may see it twice.
    ///
    /// # Errors
    /// [`RequestFailure`], after `timeout` at the latest.
    pub async fn request(
        &self,
        target: &Target,
        request: &Request,
        timeout: Duration,
    ) -> Result<(Entry, Reply), RequestFailure> {
        let deadline = Instant::now() + timeout;
        let late = |_| RequestFailure::Timeout { waited_ms: timeout.as_millis() as u64 };
        let frame = Bytes::from(codec::frame(request).map_err(RequestFailure::Unsendable)?);
        let mut again = true;
        loop {
            let way = timeout_at(deadline, self.shared.way(target)).await.map_err(late)??;
            let (connection, to) = match &way {
                Way::Direct(connection) => (connection, None),
                Way::Through { helper, to } => (helper, Some(*to)),
            };
            let heard = connection.heard();
            let asked = timeout_at(deadline, ask(&self.shared, connection, to, frame.clone(), timeout)).await;
            match asked {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) if to.is_some() && again && error != StreamError::HelperBusy => {
                    again = false;
                    to.iter().for_each(|to| self.shared.forget_detour(to));
                    tracing::debug!(%error, "a way through a helper is lost");
                }
                Ok(Err(error)) if again && is_stale(&error) => again = false,
                Ok(Err(StreamError::Silent { .. })) | Err(_) => {
                    connection.suspect_if_silent_since(heard);
                    return Err(RequestFailure::Timeout { waited_ms: timeout.as_millis() as u64 });
                }
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Opens an exchange with raw bytes and sends its request. If that cannot be sent, it is tried once more, as
    /// [`Transport::request`] does.
    ///
    /// # Errors
    /// [`RequestFailure`] when there is no connection or the request is not taken.
    pub async fn open(&self, target: &Target, request: &Request) -> Result<OpenStream, RequestFailure> {
        let frame = Bytes::from(codec::frame(request).map_err(RequestFailure::Unsendable)?);
        let mut again = true;
        loop {
            let (opened, to) = match self.shared.way(target).await? {
                Way::Direct(connection) => (OpenStream::open(&connection, frame.clone()).await, None),
                Way::Through { helper, to } => {
                    let silence = helper.stream_silence();
                    (open_through(&self.shared, &helper, to, frame.clone(), silence).await, Some(to))
                }
            };
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) if to.is_some() && again && error != StreamError::HelperBusy => {
                    again = false;
                    to.iter().for_each(|to| self.shared.forget_detour(to));
                }
                Err(error) if again && is_stale(&error) => again = false,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn ask(
    shared: &Shared,
    connection: &Connection,
    through_to: Option<Position>,
    frame: Bytes,
    timeout: Duration,
) -> Result<(Entry, Reply), StreamError> {
    let mut stream = match through_to {
        None => OpenStream::open(connection, frame).await?,
        Some(to) => open_through(shared, connection, to, frame, timeout).await?,
    };
    stream.finish_send();
    let reply = stream.read_reply(timeout).await?;
    Ok((stream.peer().clone(), reply))
}

/// Whether the connection, not the peer, was at fault.
fn is_stale(error: &StreamError) -> bool {
    matches!(error, StreamError::Lost { reason: LostReason::Restarted | LostReason::Superseded })
}
