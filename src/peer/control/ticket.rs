//! `admit --ticket`, on the machine with the ring CA's key: a ticket that the running peer of this machine redeems.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choice::PeerChoice;
use super::client::Client;
use crate::blob::PeerFile;
use crate::id::Weight;
use crate::peer::boot::admit::{AdmitError, Admittee, open_authority};
use crate::peer::ring::clock::unix_ms;
use crate::transport::{Ticket, TicketHolder, spawn_blocking};
use crate::wire::Address;

/// How to make a ticket.
#[derive(Debug, Clone)]
pub struct TicketOptions {
    /// The peer that is to be admitted.
    pub whom: Admittee,
    /// The weight of a self-placed peer; `None` for 1.
    pub weight: Option<Weight>,
    /// The directory of the ring CA; `None` for the default place.
    pub certs_dir: Option<PathBuf>,
    /// How long the ticket can be used.
    pub lifetime: Duration,
    /// Where the other machine reaches the peer here; `None` for the address that the ring knows.
    pub address: Option<Address>,
    /// The running peer that redeems the ticket.
    pub server: PeerChoice,
}

impl TicketOptions {
    /// The lifetime of a ticket by default, and the bounds of others.
    pub const LIFETIME: Duration = Duration::from_secs(3_600);
    /// The shortest lifetime.
    pub const LIFETIME_MIN: Duration = Duration::from_secs(1);
    /// The longest lifetime.
    pub const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
}

/// Makes a ticket. Must be called within a tokio runtime.
///
/// # Errors
/// [`AdmitError`]: there is no key of a ring CA here, no peer of this machine runs with it, or the number or name was
/// given out already.
pub async fn issue_ticket(options: &TicketOptions) -> Result<Ticket, AdmitError> {
    let weight = options.whom.weight(options.weight)?;
    let certs_dir = options.certs_dir.clone();
    let (authority, certs_dir) = spawn_blocking(move || open_authority(certs_dir.as_deref())).await?;
    let client = Client::connect(&options.server).await?;
    let status = client.status().await;
    let data_dir = client.data_dir().map(Path::to_owned);
    client.close().await;
    let status = status.map_err(AdmitError::Server)?;
    let peer = status.peer.label();
    if status.ring != authority.ring_name() {
        return Err(AdmitError::OtherRing { peer, its: status.ring, ours: authority.ring_name() });
    }
    let holder = match &options.whom {
        Admittee::Number(number) => TicketHolder::Number(*number),
        Admittee::Name(name) => TicketHolder::Name(name.clone()),
    };
    let address = options.address.clone().unwrap_or(status.address);
    let (server, lifetime) = (status.peer.position, options.lifetime);
    spawn_blocking(move || {
        if let Some(file) = data_dir.and_then(|dir| PeerFile::load(&dir).ok().flatten())
            && let Some(its) = file.certs_dir.filter(|its| !is_same(its, &certs_dir))
        {
            return Err(AdmitError::OtherFolder { peer, its, ours: certs_dir });
        }
        Ok(authority.issue_ticket(holder, weight, server, address, lifetime, unix_ms())?)
    })
    .await
}

fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(a) == real(b)
}
