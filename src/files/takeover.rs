//! The flow by which a peer takes over its ranges.

use std::sync::Arc;
use std::time::Duration;

use super::ask::ask_storage;
use super::env::Env;
use super::wait::{Either, Together, race};
use crate::replica::Sources;
use crate::wire::{Entry, MissingReason, StorageReply, StorageRequest};

/// Takes over the files of this peer's ranges, once in each incarnation, and reports it. Ends with the peer.
pub async fn take_over<E: Env>(env: Arc<E>) {
    let (mut asked, mut running) = (Together::new(), false);
    loop {
        let view = env.view();
        let sources = env.takeover().look(env.now(), &view);
        if let Some(Sources { anew, ask: sources }) = sources {
            if anew {
                asked = Together::new();
            }
            running = true;
            for (whom, after) in sources {
                asked.add(ask(env.clone(), whom, after));
            }
        }
        if running && env.takeover().is_over(&view) {
            running = false;
            let (objects, bytes, begun) = env.takeover().end();
            env.tell_synced(objects, bytes, env.now().since(begun));
        }
        let looks = race(env.view_changed(&view), env.takeover_wanted().notified());
        let (whom, answer) = match race(looks, asked.next_or_never()).await {
            Either::Left(Either::Left(true) | Either::Right(())) => continue,
            Either::Left(Either::Left(false)) => return,
            Either::Right(answered) => answered,
        };
        let pause = env.takeover().hear(env.now(), &whom.position, answer.as_ref().ok());
        if let Some(pause) = pause {
            asked.add(ask(env.clone(), whom, pause));
        }
    }
}

async fn ask<E: Env>(
    env: Arc<E>,
    whom: Entry,
    after: Duration,
) -> (Entry, Result<StorageReply, MissingReason>) {
    env.sleep_until(env.now() + after).await;
    let answer = ask_storage(&env, &whom, StorageRequest::Sync, SYNC_TIMEOUT).await;
    (whom, answer)
}

/// The timeout for a peer that hands its share over to a joiner.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);
