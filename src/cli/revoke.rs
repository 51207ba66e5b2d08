//! `quoit revoke`: takes back the certificate of a peer or client, on the machine with the ring CA's key.

use std::io;
use std::path::PathBuf;

use serde_json::json;

use super::output::Output;
use super::shell::TargetArgs;
use super::{DONE, FAILED, NOT_FOUND, remedy};
use crate::peer::{AdmitError, AdmittedPeer, PeerChoice, ToldPeer, find_admitted, revoke, tell_revocations};

/// Take back the certificate of a peer or client, for good
///
/// The peer or client was admitted here, and may be away. Every peer refuses its key within a minute, and after a restart from
/// the first moment on. The running peers of this machine are told, and tell the ring. Nothing gives a revoked key
/// back; `quoit admit` can give its number or name to a new key. The ring CA's key has to be here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: quoit revoke nas    asks for the name once more; --yes does not")]
pub(super) struct Args {
    /// Its number, its name, or the beginning of its position or of the SHA-256 of its key
    #[arg(value_name = "PEER|CLIENT")]
    whom: String,
    /// Do not ask for its name once more
    #[arg(long)]
    yes: bool,
    /// Say what was done as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    told: TargetArgs,
}

/// The checked settings of a revocation.
#[derive(Debug)]
pub(super) struct Plan {
    whom: String,
    yes: bool,
    json: bool,
    certs_dir: Option<PathBuf>,
    told: PeerChoice,
}

impl Args {
    pub(super) fn plan(self) -> Plan {
        // Here the folder of certificates is the CA's; the running peers know theirs.
        let told = self.told.choice();
        let certs_dir = told.certs_dir.clone();
        let told = PeerChoice { certs_dir: None, ..told };
        Plan { whom: self.whom, yes: self.yes, json: self.json, certs_dir, told }
    }
}

/// Revokes, and tells the peers that run here.
///
/// # Errors
/// When a task of this process fails.
pub(super) async fn run(plan: Plan) -> anyhow::Result<u8> {
    let out = Output::new();
    let (certs_dir, whom) = (plan.certs_dir.clone(), plan.whom.clone());
    let found = tokio::task::spawn_blocking(move || find_admitted(certs_dir.as_deref(), &whom)).await?;
    let peer = match found {
        Ok(peer) => peer,
        Err(error) => return Ok(fail(&out, &error)),
    };
    if peer.revoked.is_none() && !plan.yes && !is_confirmed(&out, &peer).await? {
        out.error(&format!(
            "{} was not revoked: its name was not said back. --yes does it without asking",
            in_short(&peer)
        ));
        return Ok(FAILED);
    }
    let certs_dir = plan.certs_dir.clone();
    let before = peer.revoked.clone();
    let revoked = tokio::task::spawn_blocking(move || revoke(certs_dir.as_deref(), &peer)).await?;
    let peer = match revoked {
        Ok(peer) => peer,
        Err(error) => return Ok(fail(&out, &error)),
    };
    let told = tell_revocations(plan.certs_dir, &plan.told).await;
    let (told, failure) = match told {
        Ok(told) => (told, None),
        Err(error) => (Vec::new(), Some(remedy::admit(&error))),
    };
    if plan.json {
        out.json(&as_json(&peer, &told));
    } else {
        out.result(&in_words(&peer, before.is_some()));
    }
    Ok(tell_spread(&out, &told, failure))
}

/// Whether the name of the peer is typed on the next line of standard input.
async fn is_confirmed(out: &Output, peer: &AdmittedPeer) -> anyhow::Result<bool> {
    out.note(&format!(
        "This takes back the certificate of {} of ring {}, {}, for good. Type {} to go on",
        in_short(peer),
        peer.ring,
        match peer.is_client {
            true => format!("key {}", peer.key),
            false => format!("position {}", peer.peer.position),
        },
        peer.peer.label()
    ));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    Ok(read.await?.is_ok_and(|said| said.trim() == peer.peer.label()))
}

/// Says how the ring learns of it; returns the exit code.
fn tell_spread(out: &Output, told: &[ToldPeer], failure: Option<String>) -> u8 {
    if let Some(failure) = failure {
        out.note(&format!("warning: no peer was told: {failure}"));
        return FAILED;
    }
    if told.is_empty() {
        out.note("No peer of this ring runs here: the ring learns of it when one starts, or when `quoit revoke` names one that runs with --peer or --data-dir");
    }
    let mut code = DONE;
    for ToldPeer { peer, failure } in told {
        match failure {
            None => out.note(&format!("Told {peer}, which tells the ring")),
            Some(failure) => {
                out.note(&format!("warning: {peer} was not told: {failure}"));
                code = FAILED;
            }
        }
    }
    code
}

fn in_words(peer: &AdmittedPeer, is_old: bool) -> String {
    let at = peer.revoked.as_deref().unwrap_or_default();
    let (whom, ring, key) = (in_short(peer), &peer.ring, &peer.key);
    match is_old {
        true => format!(
            "The certificate of {whom} of ring {ring} is revoked since {at}\n  key         sha256:{key}"
        ),
        false => {
            format!("Revoked the certificate of {whom} of ring {ring} at {at}\n  key         sha256:{key}")
        }
    }
}

fn in_short(peer: &AdmittedPeer) -> String {
    let kind = if peer.is_client { "client" } else { "peer" };
    format!("{kind} {}", peer.peer)
}

fn as_json(peer: &AdmittedPeer, told: &[ToldPeer]) -> serde_json::Value {
    let told: Vec<_> =
        told.iter().map(|told| json!({ "peer": told.peer, "failure": told.failure })).collect();
    json!({
        "name": peer.peer.name,
        "client": peer.is_client,
        "number": peer.peer.position.number(),
        "position": (!peer.is_client).then(|| peer.peer.position.to_string()),
        "key": peer.key.to_string(),
        "ring": peer.ring,
        "revoked": peer.revoked,
        "told": told,
    })
}

fn fail(out: &Output, error: &AdmitError) -> u8 {
    out.error(&remedy::admit(error));
    if matches!(error, AdmitError::Unknown { .. }) { NOT_FOUND } else { FAILED }
}
