//! The part of a view that is cheap to compare: a node finds out by it whether its view has changed.

use super::view::{PhaseKind, Turn};
use crate::config::RingSettings;
use crate::wire::Entry;

/// The view as it was last shown, and the number of its changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    face: Face,
    version: u64,
}

/// The content of a [`super::View`] without its large parts; of those, the number of changes. A field that a view gets
/// has its counterpart here; wherever debug assertions are on, each published view is compared with the node's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Face {
    pub me: Option<Entry>,
    pub phase: Option<PhaseKind>,
    pub settings: Option<RingSettings>,
    pub predecessor: Option<Entry>,
    pub successors: Vec<Entry>,
    /// The number of changes to members, acquaintances, members that came back, departed members, and peers without room.
    pub counts: [u64; 5],
    pub small: bool,
    pub waiting_for: Vec<String>,
    pub turn: Turn,
}

impl Shown {
    /// The view as it was last shown.
    pub(super) fn face(&self) -> &Face {
        &self.face
    }

    /// The number of changes so far.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Shows another view.
    pub(super) fn replace(&mut self, face: Face) {
        self.face = face;
        self.touch();
    }

    /// Counts a change, whether the view differs or not.
    pub(super) fn touch(&mut self) {
        self.version += 1;
    }

    /// Forgets the view.
    pub(super) fn shed(&mut self) {
        self.face = Face::default();
    }

    /// The memory that the view takes, in bytes, besides what all handles of one life share.
    pub(super) fn bytes(&self) -> usize {
        self.face.successors.capacity() * size_of::<Entry>()
    }
}
