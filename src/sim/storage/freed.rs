//! Judges each copy that a peer frees by the promises that users were given.

use super::super::network::Slot;
use super::super::world::World;
use crate::chord::PhaseKind;
use crate::id::ContentId;
use crate::names::content_of;

impl World {
    /// Judges that a peer has just freed a copy; `lapsed`: because no name referred to the object, as it believed.
    pub(super) fn judge_freed(&mut self, slot: Slot, content: ContentId, lapsed: bool) {
        let Some(files) = &self.files else { return };
        let is_named = self.acknowledged_names().any(|(_, record)| content_of(record) == Some(content));
        let what = if files.promises.pins.contains(&(slot, content)) {
            Some("freed, although it is pinned there".to_owned())
        } else if lapsed && is_named {
            Some("freed as what no name refers to, and a name stands for it".to_owned())
        } else if !lapsed && is_named {
            let (copies, wanted) = (self.copies_not_gone(&content), usize::from(self.settings.replicas));
            (copies < wanted).then(|| format!("freed as one too many, and {copies} are left of {wanted}"))
        } else {
            None
        };
        let how = if lapsed { "lapsed" } else { "surplus" };
        self.note(|| format!("freed at {slot}, {how}: {content:?}"));
        if let Some(what) = what {
            let now = self.now();
            self.note(|| format!("VIOLATION {content:?} at {slot} was {what}"));
            self.oracle.found(now, format!("{content:?} at {slot} was {what}"));
        }
    }

    /// The number of sound copies of an object at peers that have not left, whether they run or not.
    fn copies_not_gone(&self, content: &ContentId) -> usize {
        let has_left = |slot: &Slot| self.node(*slot).is_some_and(|node| node.phase() == PhaseKind::Ended);
        let homes = self.files.iter().flat_map(|files| &files.homes);
        homes.filter(|(slot, home)| !has_left(slot) && home.disk.lock().holds(content)).count()
    }
}
