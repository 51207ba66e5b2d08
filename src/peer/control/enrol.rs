//! Strangers with tickets: a peer whose certificates directory has the ring CA's key makes their certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::peer::api::PeerEvent;
use crate::peer::ring::clock::unix_ms;
use crate::peer::shared::Shared;
use crate::transport::{Authority, Enrolled, Stranger, StreamError, TicketRefused, spawn_blocking};
use crate::wire::{EnrolReply, EnrolRequest, TicketRefusal};

impl Shared {
    /// Answers one request of a stranger.
    ///
    /// # Errors
    /// [`StreamError`] when the stranger is gone or broke the protocol.
    pub(in crate::peer) async fn serve_stranger(
        self: &Arc<Self>,
        mut stranger: Stranger,
    ) -> Result<(), StreamError> {
        let reply = match stranger.read_request().await? {
            EnrolRequest::Authority => EnrolReply::Authority { certificate: self.identity.ca_der().to_vec() },
            EnrolRequest::Redeem { ticket, secret, request } => {
                let (certs_dir, from) = (self.ring.certs_dir.clone(), stranger.from());
                let redeemed = spawn_blocking(move || {
                    with_authority(&certs_dir, ticket, |authority| {
                        authority.redeem(&ticket, &secret, &request, unix_ms(), &from.to_string())
                    })
                })
                .await;
                self.tell_redeemed(redeemed, from)
            }
            EnrolRequest::Place { ticket, secret, candidates } => {
                let (certs_dir, from) = (self.ring.certs_dir.clone(), stranger.from());
                let placed = spawn_blocking(move || {
                    with_authority(&certs_dir, ticket, |authority| {
                        authority.place(&ticket, &secret, &candidates, unix_ms())
                    })
                })
                .await;
                placed.map_or_else(|refused| self.tell_refused(refused, from), EnrolReply::Placed)
            }
        };
        stranger.answer(&reply).await
    }

    fn tell_redeemed(&self, redeemed: Result<Enrolled, TicketRefused>, from: SocketAddr) -> EnrolReply {
        match redeemed {
            Ok(Enrolled { certificate, position, holder }) => {
                let peer = holder.to_string();
                tracing::info!(%from, peer, "admitted by ticket");
                self.tell(PeerEvent::PeerEnrolled { peer, position, from });
                EnrolReply::Admitted { certificate }
            }
            Err(refused) => self.tell_refused(refused, from),
        }
    }

    fn tell_refused(&self, refused: TicketRefused, from: SocketAddr) -> EnrolReply {
        let TicketRefused { refusal, ticket, why } = refused;
        if let Some(total) = self.control.refused_tickets.count(Instant::now()) {
            let text = format!("refused ticket {ticket} from {from}: {why} ({total} so far)");
            tracing::warn!("{text}");
            self.tell(PeerEvent::Warning(text));
        }
        EnrolReply::Refused(refusal)
    }
}

fn with_authority<T>(
    certs_dir: &Path,
    ticket: [u8; 8],
    work: impl FnOnce(&Authority) -> Result<T, TicketRefused>,
) -> Result<T, TicketRefused> {
    match Authority::open(certs_dir) {
        Ok(Some(authority)) => work(&authority),
        Ok(None) => Err(TicketRefused::new(&ticket, TicketRefusal::NoAuthority)),
        Err(error) => Err(TicketRefused::new(&ticket, TicketRefusal::Failed(error.to_string()))),
    }
}
