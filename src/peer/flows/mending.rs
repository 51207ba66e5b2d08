//! The searches for good copies that are under way.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::id::ContentId;

/// The objects whose copies here were bad, and of which a good copy is being looked for.
#[derive(Debug, Default)]
pub(in crate::peer) struct Mending {
    contents: Mutex<BTreeSet<ContentId>>,
    ended: Notify,
}

impl Mending {
    /// Notes that a good copy is looked for from now on.
    pub(super) fn begin(&self, content: ContentId) {
        self.lock().insert(content);
    }

    /// Notes that the search is over.
    pub(super) fn end(&self, content: &ContentId) {
        self.lock().remove(content);
        self.ended.notify_waiters();
    }

    /// Waits until nobody looks for a good copy of this object any more.
    pub(in crate::peer) async fn until_over(&self, content: &ContentId) {
        loop {
            let ended = self.ended.notified();
            if !self.lock().contains(content) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ContentId>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_wait_for_a_good_copy_is_for_that_one_only() {
        let mending = Arc::new(Mending::default());
        let [one, other] = [ContentId::of(b"1"), ContentId::of(b"2")];
        mending.begin(one);
        mending.until_over(&other).await;
        let waiting = tokio::spawn({
            let mending = mending.clone();
            async move { mending.until_over(&one).await }
        });
        tokio::task::yield_now().await;
        mending.begin(other);
        mending.end(&other);
        assert!(!waiting.is_finished());
        mending.end(&one);
        waiting.await.unwrap();
    }
}
