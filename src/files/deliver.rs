//! Delivering an object to its owner, which may be this peer itself: then a task of this process accepts what another one
//! pushes, by the rules that hold between two peers.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::copy::{Upstream, accept_object};
use super::env::Env;
use super::push::{Downstream, Feed, Given, PushFailure, exchange, push_exchange};
use crate::replica::ChainWords;
use crate::wire::{Entry, StorageReply, StoreRole};

/// One exchange with the owner of an object, as [`push_exchange`] with another peer.
///
/// # Errors
/// The errors of [`push_exchange`].
pub(super) async fn deliver<E: Env>(
    env: &Arc<E>,
    owner: &Entry,
    given: &Given,
    feed: &mut Option<Feed<E>>,
    word: &mpsc::Sender<StorageReply>,
    words: &mut ChainWords,
) -> Result<(), PushFailure<E::DiskError>> {
    if owner.position != env.view().me.position {
        return push_exchange(env, owner, given, StoreRole::Owner, feed, word, words).await;
    }
    let (pieces, theirs) = mpsc::channel(LOCAL_PIECES_MAX);
    let (their_words, replies) = mpsc::channel(LOCAL_PIECES_MAX);
    let upstream = Upstream::Local { pieces: theirs, replies: their_words };
    let (here, object, links) = (env.clone(), given.object, given.links.clone());
    env.spawn(async move { accept_object(&here, upstream, object, links, StoreRole::Owner).await });
    let downstream = Downstream::Local { pieces: Some(pieces), replies };
    exchange(env, owner, given, downstream, feed, word, words).await
}

/// The most pieces that wait between two tasks of this process.
const LOCAL_PIECES_MAX: usize = 8;
