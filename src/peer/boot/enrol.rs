//! A start with a ticket: it becomes a bundle before anything else happens.

use super::bundle::certs_dir_of;
use super::folders::{default_certs_dir, peers_dir};
use crate::blob::PeerFile;
use crate::peer::api::{StartError, StartOptions};
use crate::transport::{Enrolment, TicketHolder, spawn_blocking};

/// The options with the bundle that the ticket brought, if there is a ticket. A peer that lives in the data directory
/// already comes back without it.
///
/// # Errors
/// [`StartError::Ticket`], and the errors of reading the data directory.
pub(in crate::peer) async fn enrolled(
    options: StartOptions,
) -> Result<(StartOptions, Option<Enrolment>), StartError> {
    let Some(ticket) = options.ticket.clone() else { return Ok((options, None)) };
    let data_dir = options.data_dir.clone().unwrap_or_else(|| peers_dir().join(ticket.holder().to_string()));
    let dir = data_dir.clone();
    let existing = spawn_blocking(move || PeerFile::load(&dir)).await;
    let existing = existing
        .map_err(|error| StartError::Data { data_dir: data_dir.clone(), reason: error.to_string() })?;
    if let Some(file) = existing {
        let is_holder = match ticket.holder() {
            TicketHolder::Number(number) => file.number == Some(*number),
            TicketHolder::Name(name) => file.name.as_ref() == Some(name),
        };
        if !is_holder || file.ring != ticket.ring_name() {
            return Err(StartError::OtherIdentity {
                data_dir,
                found: file.name.unwrap_or_else(|| file.position.label()),
                asked: format!("{} of ring {}", ticket.holder(), ticket.ring_name()),
            });
        }
        return Ok((StartOptions { data_dir: Some(data_dir), ..options }, None));
    }
    let certs_dir = certs_dir_of(&options, None, default_certs_dir());
    let enrolment = Enrolment::new(&certs_dir, &ticket);
    let brought = enrolment.bring(&ticket).await;
    let bundle = brought.map_err(|source| StartError::Ticket { source: Box::new(source) })?;
    Ok((StartOptions { bundle: Some(bundle), ..options }, Some(enrolment)))
}
