//! The calls of [`crate::files`] by which other parts of a peer find owners and replicas.

use std::sync::Arc;

use crate::files::{self, FindError};
use crate::id::Position;
use crate::peer::shared::Shared;
use crate::replica::Found;
use crate::wire::Entry;

impl Shared {
    /// Finds the owner of a key, as [`files::find`] does.
    ///
    /// # Errors
    /// The same as [`files::find`], in words.
    pub(in crate::peer) async fn find(
        self: &Arc<Self>,
        key: Position,
        wanted: usize,
    ) -> Result<Found, String> {
        files::find(self, key, wanted).await.map_err(|error| error.to_string())
    }

    /// Finds the replicas of a key, as [`files::replicas_of`] does.
    ///
    /// # Errors
    /// The same as [`files::replicas_of`], in words.
    pub(in crate::peer) async fn replicas_of(self: &Arc<Self>, key: Position) -> Result<Vec<Entry>, String> {
        files::replicas_of(self, key).await.map_err(|error| error.to_string())
    }

    /// Waits until this peer is a member, as [`files::member`] does.
    ///
    /// # Errors
    /// The reason why it is not a member.
    pub(in crate::peer) async fn until_member(self: &Arc<Self>) -> Result<(), String> {
        files::member(self).await.map_err(|error| error.to_string())
    }

    /// Why this peer does nothing for the ring at the moment.
    pub(in crate::peer) fn why_not_active(&self) -> String {
        FindError::not_active(&self.view()).to_string()
    }

    /// Checks the successor list that a peer gave as its own, as [`files::list_after`] does.
    pub(in crate::peer) fn list_after(&self, whom: &Entry, list: Vec<Entry>) -> Option<Vec<Entry>> {
        files::list_after(self, whom, list)
    }
}
