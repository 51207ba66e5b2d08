//! `revoke`, on the machine with the ring CA's key: the peer or client is found among those that were admitted here, its
//! key is revoked on disk, and the running peers of this machine are told, which tell the ring.

use std::path::{Path, PathBuf};

use super::choice::{Chosen, PeerChoice};
use super::client::Client;
use crate::id::{KeyHash, Position, Weight};
use crate::peer::api::PeerName;
use crate::peer::boot::admit::{AdmitError, open_authority};
use crate::peer::ring::clock::unix_ms;
use crate::time::Timestamp;
use crate::transport::{Authority, Issued, Verifier, spawn_blocking};
use crate::wire::SignedRevocation;

/// A peer or client that was admitted, and whether it is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedPeer {
    /// The peer, as people know it. A client has the hash of its key in the place of a position.
    pub peer: PeerName,
    /// Whether it is a client.
    pub is_client: bool,
    /// The hash of its key.
    pub key: KeyHash,
    /// The name of its ring.
    pub ring: String,
    /// The time of its revocation, as RFC 3339, if it is revoked.
    pub revoked: Option<String>,
}

/// The answer of a running peer of this machine to the news of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldPeer {
    /// The peer in words: "peer 4".
    pub peer: String,
    /// Why it did not take the news; `None` if it did.
    pub failure: Option<String>,
}

/// The peer or client that is meant: by its number, its name, or the beginning of its position or of its key's hash, at
/// least four digits. All 64 digits of a key's hash need no certificate here. Blocking.
///
/// # Errors
/// [`AdmitError`]: there is no key of a ring CA, no such peer, or several.
pub fn find_admitted(certs_dir: Option<&Path>, whom: &str) -> Result<AdmittedPeer, AdmitError> {
    let (authority, certs_dir) = open_authority(certs_dir)?;
    let verifier = knowing(&authority, &certs_dir)?;
    let revoked = verifier.revoked();
    let whom = whom.to_ascii_lowercase();
    let mut found: Vec<Issued> =
        authority.issued()?.into_iter().filter(|issued| is_meant(issued, &whom)).collect();
    // A number that was given to a new key means the new one.
    if found.len() > 1 && found.iter().any(|issued| revoked.of(&issued.key).is_none()) {
        found.retain(|issued| revoked.of(&issued.key).is_none());
    }
    let issued = match (found.as_slice(), whom.parse::<KeyHash>()) {
        ([only], _) => only.clone(),
        ([], Ok(key)) => Issued { position: Some(Position(key.0)), key, name: None, weight: Weight::ONE },
        ([], Err(_)) => return Err(AdmitError::Unknown { whom, certs_dir }),
        (several, _) => {
            let found = several.iter().map(in_words).collect();
            return Err(AdmitError::Several { whom, found });
        }
    };
    let since = revoked.of(&issued.key).map(|since| Timestamp::of_unix_ms(since.at_ms).to_string());
    Ok(AdmittedPeer {
        peer: PeerName { position: issued.position.unwrap_or(Position(issued.key.0)), name: issued.name },
        is_client: issued.position.is_none(),
        key: issued.key,
        ring: authority.ring_name(),
        revoked: since,
    })
}

/// Revokes the certificate of a peer or client, for good. Durable on return; a peer that is revoked already stays so since then.
/// Blocking.
///
/// # Errors
/// [`AdmitError`].
pub fn revoke(certs_dir: Option<&Path>, peer: &AdmittedPeer) -> Result<AdmittedPeer, AdmitError> {
    let (authority, _) = open_authority(certs_dir)?;
    let revocation = authority.revoke(peer.key, peer.peer.position, unix_ms())?;
    let revoked = Some(Timestamp::of_unix_ms(revocation.at_ms).to_string());
    Ok(AdmittedPeer { revoked, ..peer.clone() })
}

/// Tells the running peers of this machine, or the chosen one, all revocations of the ring. Must be called within a
/// tokio runtime. An empty answer means that none runs here.
///
/// # Errors
/// [`AdmitError`] when the revocations cannot be read; [`AdmitError::Connect`] when the chosen peer is not found.
pub async fn tell_revocations(
    certs_dir: Option<PathBuf>,
    choice: &PeerChoice,
) -> Result<Vec<ToldPeer>, AdmitError> {
    let (ring, revoked) = spawn_blocking(move || {
        let (authority, certs_dir) = open_authority(certs_dir.as_deref())?;
        Ok::<_, AdmitError>((authority.ring_name(), knowing(&authority, &certs_dir)?.revoked().all()))
    })
    .await?;
    let for_choice = choice.clone();
    let chosen = spawn_blocking(move || for_choice.find_all(&ring)).await?;
    let mut told = Vec::new();
    for chosen in chosen {
        let peer = chosen.described.clone();
        let failure = tell(chosen, revoked.clone()).await.err();
        told.push(ToldPeer { peer, failure });
    }
    Ok(told)
}

async fn tell(chosen: Chosen, revoked: Vec<SignedRevocation>) -> Result<(), String> {
    let client = Client::connect_to(chosen).await.map_err(|error| error.to_string())?;
    let told = client.revoke(revoked).await.map(drop).map_err(|failure| failure.to_string());
    client.close().await;
    told
}

/// A verifier that knows the revocations of a certificates directory.
fn knowing(authority: &Authority, certs_dir: &Path) -> Result<Verifier, AdmitError> {
    let verifier = authority.verifier()?;
    verifier.load_revocations(certs_dir)?;
    Ok(verifier)
}

fn is_meant(issued: &Issued, whom: &str) -> bool {
    let begins = |text: &str| whom.len() >= BEGINNING_MIN && text.starts_with(whom);
    let is_at = |position: &Position| match position.number() {
        Some(number) => number.to_string() == whom,
        None => begins(&position.to_string()),
    };
    issued.name.as_deref() == Some(whom)
        || issued.position.as_ref().is_some_and(is_at)
        || begins(&issued.key.to_string())
}

fn in_words(issued: &Issued) -> String {
    let (key, name) = (issued.key, issued.name.as_deref());
    match (&issued.position, name) {
        (None, name) => format!("client {} with key {key}", name.unwrap_or_default()),
        (Some(position), None) => format!("peer {} with key {key}", position.label()),
        (Some(_), Some(name)) => format!("peer {name} with key {key}"),
    }
}

/// The fewest digits of a position or of a key's hash that name a peer.
const BEGINNING_MIN: usize = 4;
