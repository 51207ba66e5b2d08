//! The peer's side of `quoit-enrol/1`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::frame::{self, within};
use super::stream_error::StreamError;
use crate::wire::{EnrolReply, EnrolRequest, limits};

/// One exchange with a stranger, which has shown no certificate.
#[derive(Debug)]
pub struct Stranger {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    from: SocketAddr,
    knew_secret: Arc<AtomicBool>,
}

impl Stranger {
    pub(super) fn new(
        (send, recv): (quinn::SendStream, quinn::RecvStream),
        mut from: SocketAddr,
        knew_secret: Arc<AtomicBool>,
    ) -> Stranger {
        from.set_ip(from.ip().to_canonical());
        Stranger { send, recv, from, knew_secret }
    }

    /// The address of the stranger.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// Reads the request. Bytes that are not a request are answered with [`EnrolReply::ProtocolError`].
    ///
    /// # Errors
    /// [`StreamError`] when no request comes in time, or the bytes are not a request.
    pub async fn read_request(&mut self) -> Result<EnrolRequest, StreamError> {
        let request = within(limits::CONNECT_TIMEOUT, frame::read(&mut self.recv)).await;
        if let Err(StreamError::Malformed(error)) = &request {
            let _ = self.answer(&EnrolReply::ProtocolError(error.to_string())).await;
        }
        request
    }

    /// Sends the one reply, and ends the exchange.
    ///
    /// # Errors
    /// [`StreamError`] when the stranger takes nothing or is gone.
    pub async fn answer(&mut self, reply: &EnrolReply) -> Result<(), StreamError> {
        if matches!(reply, EnrolReply::Admitted { .. } | EnrolReply::Placed(_)) {
            self.knew_secret.store(true, Ordering::Release);
        }
        frame::write(&mut self.send, reply).await?;
        // An error means that the stranger has stopped reading, which it may do.
        let _ = self.send.finish();
        Ok(())
    }
}
