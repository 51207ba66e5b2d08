//! What other parts of a peer call of [`crate::files`] to find owners and replicas.

use std::sync::Arc;

use crate::files::{self, FindError};
use crate::id::Position;
use crate::peer::shared::Shared;
use crate::replica::Found;
use crate::wire::Entry;

impl Shared {
    /// As [`files::find`].
    ///
    /// # Errors
    /// As there.
    pub(in crate::peer) async fn find(
        self: &Arc<Self>,
        key: Position,
        wanted: usize,
    ) -> Result<Found, String> {
        files::find(self, key, wanted).await.map_err(|error| error.to_string())
    }

    /// As [`files::replicas_of`].
    ///
    /// # Errors
    /// As there.
    pub(in crate::peer) async fn replicas_of(self: &Arc<Self>, key: Position) -> Result<Vec<Entry>, String> {
        files::replicas_of(self, key).await.map_err(|error| error.to_string())
    }

    /// As [`files::member`].
    ///
    /// # Errors
    /// Says why it is no member.
    pub(in crate::peer) async fn until_member(self: &Arc<Self>) -> Result<(), String> {
        files::member(self).await.map_err(|error| error.to_string())
    }

    /// Why this peer does nothing for the ring at the moment.
    pub(in crate::peer) fn why_not_active(&self) -> String {
        FindError::not_active(&self.view()).to_string()
    }

    /// As [`files::list_after`].
    pub(in crate::peer) fn list_after(&self, whom: &Entry, list: Vec<Entry>) -> Option<Vec<Entry>> {
        files::list_after(self, whom, list)
    }
}
