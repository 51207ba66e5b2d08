//! How a node shows itself: its view, and a number that changes with it.

use super::{Node, Phase};
use crate::chord::face::Face;
use crate::chord::view::{PhaseKind, View};

impl Node {
    /// A number that changes whenever [`Node::view`] does. It is found by comparing what a view shows, so that no step
    /// of this node can forget to report a change.
    pub fn version(&mut self) -> u64 {
        if !self.is_shown_by(self.shown.face()) {
            let face = self.face();
            self.shown.replace(face);
        }
        self.shown.version()
    }

    /// Whether a view shows this node as it is, compared in full if the ring is small enough. For checks of
    /// [`Node::version`].
    pub fn is_shown_in(&self, view: &View) -> bool {
        view.members.len().max(self.members.table().len()) > COMPARED_MAX || *view == self.view()
    }

    /// The beliefs of this peer at the moment.
    pub fn view(&self) -> View {
        View {
            me: self.me.clone(),
            phase: self.phase(),
            settings: self.settings,
            predecessor: self.ring.predecessor().cloned(),
            successors: self.ring.successors().to_vec(),
            members: self.members.table().clone(),
            acquaintances: self.acquaintances.iter().cloned().collect(),
            rejoined: self.rejoined.positions(),
            departed: self.departed.positions(),
            full: self.rooms.full(&self.me.position),
            small: self.is_small(),
            waiting_for: self.waiting_for(),
            turn: self.departure.turn(),
        }
    }

    /// The phase of this peer.
    pub fn phase(&self) -> PhaseKind {
        match self.phase {
            Phase::Entering(_) => PhaseKind::Entering,
            Phase::Active => PhaseKind::Active,
            Phase::Leaving => PhaseKind::Leaving,
            Phase::Checking(_) => PhaseKind::Checking,
            Phase::Gone { .. } | Phase::Ended => PhaseKind::Ended,
        }
    }

    fn face(&self) -> Face {
        Face {
            me: Some(self.me.clone()),
            phase: Some(self.phase()),
            settings: self.settings,
            predecessor: self.ring.predecessor().cloned(),
            successors: self.ring.successors().to_vec(),
            counts: self.change_counts(),
            small: self.is_small(),
            waiting_for: self.waiting_for(),
            turn: self.departure.turn(),
        }
    }

    fn is_shown_by(&self, face: &Face) -> bool {
        let waits = matches!(self.phase, Phase::Entering(_));
        face.counts == self.change_counts()
            && face.me.as_ref() == Some(&self.me)
            && face.phase == Some(self.phase())
            && face.settings == self.settings
            && face.predecessor.as_ref() == self.ring.predecessor()
            && face.successors == self.ring.successors()
            && (face.small, face.turn) == (self.is_small(), self.departure.turn())
            && (!waits || face.waiting_for == self.waiting_for())
    }

    /// The number of changes to the large parts of a view.
    fn change_counts(&self) -> [u64; 5] {
        [
            self.members.changes(),
            self.acquaintances.changes(),
            self.rejoined.changes(),
            self.departed.changes(),
            self.rooms.changes(),
        ]
    }

    fn waiting_for(&self) -> Vec<String> {
        match &self.phase {
            Phase::Entering(entering) => entering.waiting_for(),
            _ => Vec::new(),
        }
    }
}

/// The most members up to which a view is compared in full.
const COMPARED_MAX: usize = 64;
