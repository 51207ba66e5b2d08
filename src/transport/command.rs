//! The peer's side of `quoit-client/1`.

use super::connection::Connection;
use super::stream::RequestStream;
use super::stream_error::StreamError;
use crate::wire::{ClientReply, ClientRequest};

/// The peer's side of one command.
#[derive(Debug)]
pub struct CommandStream {
    stream: RequestStream,
    client: Connection,
}

impl CommandStream {
    pub(super) fn new(stream: RequestStream, client: Connection) -> CommandStream {
        CommandStream { stream, client }
    }

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
