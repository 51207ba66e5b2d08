//! Requests about files, to any peer.

use std::sync::Arc;
use std::time::Duration;

use super::env::Env;
use crate::wire::{Entry, MissingReason, StorageReply, StorageRequest};

/// Sends a request about files to another peer, or to this one itself.
///
/// # Errors
/// The reason when there is no answer, or when the asked peer, even this one itself, refuses.
pub async fn ask_storage<E: Env>(
    env: &Arc<E>,
    whom: &Entry,
    request: StorageRequest,
    within: Duration,
) -> Result<StorageReply, MissingReason> {
    if whom.position == env.view().me.position {
        return heard(env.answer_here(request).await);
    }
    heard(env.ask_other(whom, request, within).await?)
}

fn heard(reply: StorageReply) -> Result<StorageReply, MissingReason> {
    match reply {
        StorageReply::Refused(why) => Err(MissingReason::Refused(why)),
        reply => Ok(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reported: a leaving peer, or one with a failed disk, called its own refusal a breach of the protocol, or took it
    /// for success.
    #[test]
    fn a_refusal_is_no_answer_whoever_gives_it() {
        let refused = heard(StorageReply::Refused("it is leaving".to_owned()));
        assert_eq!(refused, Err(MissingReason::Refused("it is leaving".to_owned())));
        assert_eq!(heard(StorageReply::Noted), Ok(StorageReply::Noted));
    }
}
