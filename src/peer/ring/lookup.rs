//! The calls of [`crate::files`] by which other parts of a peer find owners and replicas.

use std::sync::Arc;

use crate::files::{self, FindError, NotActive};
use crate::id::Position;
use crate::peer::shared::Shared;
use crate::replica::Found;
use crate::wire::Entry;

impl Shared {
    /// Finds the owner of a key, as [`files::find`] does.
    ///
    /// # Errors
    /// The same as [`files::find`].
    pub(in crate::peer) async fn find(
        self: &Arc<Self>,
        key: Position,
        wanted: usize,
    ) -> Result<Found, FindError> {
        files::find(self, key, wanted).await
    }

    /// Finds the replicas of a key, as [`files::replicas_of`] does.
    ///
    /// # Errors
    /// The same as [`files::replicas_of`].
    pub(in crate::peer) async fn replicas_of(
        self: &Arc<Self>,
        key: Position,
    ) -> Result<Vec<Entry>, FindError> {
        files::replicas_of(self, key).await
    }

    /// Waits until this peer is a member, as [`files::member`] does.
    ///
    /// # Errors
    /// [`NotActive`] when it does not become one.
    pub(in crate::peer) async fn until_member(self: &Arc<Self>) -> Result<(), NotActive> {
        files::member(self).await
    }

    /// Why this peer does nothing for the ring at the moment.
    pub(in crate::peer) fn why_not_active(&self) -> NotActive {
        NotActive::of(&self.view())
    }

    /// Checks the successor list that a peer gave as its own, as [`files::list_after`] does.
    pub(in crate::peer) fn list_after(&self, whom: &Entry, list: Vec<Entry>) -> Option<Vec<Entry>> {
        files::list_after(self, whom, list)
    }
}
