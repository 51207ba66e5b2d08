//! The requests of other peers: every stream is read here, and every kind of request has its one handler.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::blob::Holder;
use crate::files::{self, Asker, Upstream};
use crate::id::ContentId;
use crate::peer::api::PeerEvent;
use crate::peer::ring::message::ActorMessage;
use crate::peer::shared::Shared;
use crate::transport::{Incoming, RequestStream, StreamError, background};
use crate::wire::limits::{FILES_PER_PAGE_MAX, FRAME_BYTES_MAX, OFFERS_PER_MESSAGE_MAX};
use crate::wire::{Entry, Reply, Request, StorageReply, StorageRequest, codec};

/// Takes incoming streams and datagrams until the transport closes.
pub(in crate::peer) async fn serve(shared: Arc<Shared>, mut incoming: mpsc::Receiver<Incoming>) {
    while let Some(incoming) = incoming.recv().await {
        match incoming {
            Incoming::Stream { from, stream } => {
                let shared = shared.clone();
                background(async move {
                    if let Err(error) = shared.serve_stream(&from, stream).await {
                        tracing::debug!(peer = %from.position.label(), %error, "an exchange broke off");
                    }
                });
            }
            Incoming::Command(stream) => {
                let shared = shared.clone();
                background(async move {
                    if let Err(error) = shared.serve_command(stream).await {
                        tracing::debug!(%error, "a command broke off");
                    }
                });
            }
            Incoming::Datagram { from, bytes } => {
                // A full inbox loses pings, as the network may.
                let _ = shared.ring.actor.try_send(ActorMessage::Datagram { from, bytes });
            }
            Incoming::Misbehaved { peer, fault } => shared.blame(&peer, fault),
            Incoming::Stranger(stranger) => {
                let shared = shared.clone();
                background(async move {
                    if let Err(error) = shared.serve_stranger(stranger).await {
                        tracing::debug!(%error, "an enrolment broke off");
                    }
                });
            }
            Incoming::OtherRevocations { peer } => {
                let shared = shared.clone();
                background(async move { shared.compare_revocations(&peer, Vec::new()).await });
            }
            Incoming::Revoked(signed) => {
                // Its signature was checked already.
                let _ = shared.learn_revocations(vec![signed]).await;
            }
            Incoming::Refused { from, reason, total } => {
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                let text = format!("refused a connection from {from}: {reason} ({total} so far)");
                shared.tell(PeerEvent::Warning(text));
            }
            _ => {}
        }
    }
}

impl Shared {
    async fn serve_stream(
        self: &Arc<Self>,
        from: &Entry,
        mut stream: RequestStream,
    ) -> Result<(), StreamError> {
        match stream.read_request().await? {
            Request::Forward { to } => self.forward(from, stream, to).await,
            Request::Forwarded { from: origin } => {
                stream.comes_through_a_helper();
                let request = stream.read_request().await?;
                match self.origin_of(origin, &request) {
                    Ok(origin) => {
                        let from = Asker { entry: origin, through_a_helper: true };
                        self.serve_request(&from, stream, request).await
                    }
                    Err(why) => {
                        stream.send_reply(&Reply::ProtocolError(why)).await?;
                        stream.finish().await
                    }
                }
            }
            request => {
                let from = Asker { entry: from.clone(), through_a_helper: false };
                self.serve_request(&from, stream, request).await
            }
        }
    }

    async fn serve_request(
        self: &Arc<Self>,
        from: &Asker,
        mut stream: RequestStream,
        request: Request,
    ) -> Result<(), StreamError> {
        match request {
            Request::Membership(request) => {
                let (reply, answer) = oneshot::channel();
                let Asker { entry, through_a_helper } = from.clone();
                let message = ActorMessage::Request { from: entry, through_a_helper, request, reply };
                if self.ring.actor.send(message).await.is_ok()
                    && let Ok(answer) = answer.await
                {
                    stream.send_reply(&Reply::Membership(answer)).await?;
                    stream.finish().await?;
                }
                Ok(())
            }
            Request::Revocations { digest, revoked } => {
                let reply = self.answer_revocations(from, digest, revoked).await;
                stream.send_reply(&reply).await?;
                stream.finish().await
            }
            Request::Storage(StorageRequest::StoreObject { object, links, role }) => {
                files::accept_object(self, Upstream::Remote(stream), object, links, role).await;
                Ok(())
            }
            Request::Storage(StorageRequest::StoreBatch { objects, role }) => {
                files::accept_batch(self, stream, objects, role).await;
                Ok(())
            }
            Request::Storage(StorageRequest::PutBatch { objects, role }) => {
                files::accept_batch(self, stream, objects, role).await;
                Ok(())
            }
            Request::Storage(StorageRequest::FetchBatch { contents }) => {
                if let Err(error) = files::serve_batch(self, stream, contents).await {
                    tracing::debug!(%error, "a batch did not go out whole");
                }
                Ok(())
            }
            Request::Storage(StorageRequest::FetchObject { content, offset }) => {
                self.serve_object(stream, content, offset, u64::MAX).await;
                Ok(())
            }
            Request::Storage(StorageRequest::FetchRange { content, offset, length }) => {
                self.serve_object(stream, content, offset, length).await;
                Ok(())
            }
            // These two are handled where the stream begins.
            Request::Forward { .. } | Request::Forwarded { .. } => Ok(()),
            Request::Storage(request @ StorageRequest::Sync) => {
                let reply = tokio::select! {
                    reply = self.answer_storage(from, request) => reply,
                    // The asking peer is gone and no longer waits for this transfer; repair continues it.
                    () = stream.given_up() => return Err(StreamError::Cancelled),
                };
                stream.send_reply(&Reply::Storage(reply)).await?;
                stream.finish().await
            }
            Request::Storage(request) => {
                let reply = self.answer_storage(from, request).await;
                stream.send_reply(&Reply::Storage(reply)).await?;
                stream.finish().await
            }
        }
    }

    async fn serve_object(
        self: &Arc<Self>,
        stream: RequestStream,
        content: ContentId,
        offset: u64,
        length: u64,
    ) {
        if let Err(error) = files::serve_object(self, stream, content, offset, length).await {
            tracing::debug!(%content, %error, "an object did not go out whole");
        }
    }

    /// Answers the requests that need no raw bytes.
    pub(in crate::peer) async fn answer_storage(
        self: &Arc<Self>,
        from: &Asker,
        request: StorageRequest,
    ) -> StorageReply {
        let answer = match request {
            StorageRequest::StoreObject { .. }
            | StorageRequest::StoreBatch { .. }
            | StorageRequest::PutBatch { .. }
            | StorageRequest::FetchBatch { .. }
            | StorageRequest::FetchObject { .. }
            | StorageRequest::FetchRange { .. } => Err("this request comes with bytes".to_owned()),
            StorageRequest::FetchRecords { names } => files::answer_records(self, names).await,
            StorageRequest::PutRecords { records, role } => {
                Ok(files::accept_records(self, from, records, role).await)
            }
            StorageRequest::FetchOutboard { content, first } => {
                files::answer_outboard(self, content, first).await
            }
            StorageRequest::WhoHas { content } => files::answer_who_has(self, content).await,
            StorageRequest::Announce { content } => {
                let holder = Holder { position: from.entry.position, incarnation: from.entry.incarnation };
                self.store.add_holder(content, holder);
                Ok(StorageReply::Noted)
            }
            StorageRequest::FetchRecord { name } => files::answer_record(self, &name).await,
            StorageRequest::Renew { references } => files::answer_renew(self, references).await,
            StorageRequest::FetchHistory { name } => files::answer_history(self, &name).await,
            StorageRequest::PutRecord { record, role } => {
                Ok(files::accept_record(self, from, record, role).await)
            }
            StorageRequest::Offer { objects, records } => {
                if objects.len() <= OFFERS_PER_MESSAGE_MAX {
                    self.flows.health.hear_offer(&from.entry, &objects);
                }
                files::answer_offer(self, &from.entry, objects, records).await
            }
            StorageRequest::Unkept => Ok(self.flows.hopeless.report()),
            StorageRequest::Health => Ok(self.answer_health().await),
            StorageRequest::CountCopies => Ok(self.answer_count_copies().await),
            StorageRequest::Describe => Ok(StorageReply::Described(self.describe().await)),
            StorageRequest::HeardFull => {
                Ok(StorageReply::HeardFull { peers: self.view().full.iter().copied().collect() })
            }
            StorageRequest::Verified { objects } if objects.len() > OFFERS_PER_MESSAGE_MAX => {
                Err(format!("at most {OFFERS_PER_MESSAGE_MAX} objects are asked for at a time"))
            }
            StorageRequest::Verified { objects } => self.answer_verified(objects).await,
            StorageRequest::Lacks { objects } if objects.len() > OFFERS_PER_MESSAGE_MAX => {
                Err(format!("at most {OFFERS_PER_MESSAGE_MAX} objects are asked for at a time"))
            }
            StorageRequest::Lacks { objects } => self.answer_lacks(objects).await,
            StorageRequest::MayFree { content, sure } => {
                files::answer_may_free(self, &from.entry, content, sure).await
            }
            StorageRequest::Vouch { content } => files::answer_vouch(self, content).await,
            StorageRequest::Freed { content } => Ok(files::hear_freed(self, &from.entry, content)),
            StorageRequest::DroppedTombstones => files::answer_dropped(self).await,
            StorageRequest::Compare { ranges } => files::answer_compare(self, &from.entry, ranges).await,
            StorageRequest::Sync => Ok(files::answer_sync(self, &from.entry).await),
            StorageRequest::ListFiles { after } => {
                let page =
                    self.blocking(move |store| store.objects_after(after, FILES_PER_PAGE_MAX + 1)).await;
                page.map(page_of_files).map_err(|error| error.to_string())
            }
        };
        answer.unwrap_or_else(StorageReply::refused)
    }
}

/// As many of these files as fit into one page and one frame.
fn page_of_files(mut files: Vec<crate::wire::FileEntry>) -> StorageReply {
    let mut bytes = 0;
    let fits = files
        .iter()
        .take(FILES_PER_PAGE_MAX)
        .take_while(|file| {
            bytes += codec::encode(file).map_or(FRAME_BYTES_MAX, |encoded| encoded.len());
            bytes < FRAME_BYTES_MAX - 64
        })
        .count();
    let more = fits < files.len();
    files.truncate(fits);
    StorageReply::Files { files, more }
}
