//! What must hold in a [`World`].

use super::World;
use crate::chord::{PhaseKind, View};
use crate::id::{Position, between};

/// Liveness: all peers that run are active, and each has its true neighbours and its full list.
///
/// # Errors
/// The first peer for which that does not hold, and what it has instead.
pub fn one_ordered_ring(world: &World) -> Result<(), String> {
    let views: Vec<View> = world.views().into_iter().filter(|v| v.phase != PhaseKind::Ended).collect();
    if let Some(view) = views.iter().find(|view| view.phase != PhaseKind::Active) {
        return Err(format!("{:?} is {:?}", view.me, view.phase));
    }
    let count = views.len();
    for (i, view) in views.iter().enumerate() {
        let r = usize::from(view.settings.unwrap_or_default().successors);
        let expected: Vec<Position> =
            (1..count).take(r).map(|step| views[(i + step) % count].me.position).collect();
        let actual: Vec<Position> = view.successors.iter().map(|entry| entry.position).collect();
        if actual != expected {
            let lists: Vec<_> = views.iter().map(|v| (&v.me, &v.predecessor, &v.successors)).collect();
            return Err(format!(
                "successors of {:?} are {:?}; all lists: {lists:?}",
                view.me, view.successors
            ));
        }
        let before = (count > 1).then(|| views[(i + count - 1) % count].me.position);
        if view.predecessor.as_ref().map(|entry| entry.position) != before {
            return Err(format!("predecessor of {:?} is {:?}", view.me, view.predecessor));
        }
    }
    Ok(())
}

/// Safety: no self, no duplicate and no disorder in any list, at any time.
///
/// # Errors
/// The first peer whose list is wrong.
pub fn lists_are_ordered(world: &World) -> Result<(), String> {
    for view in world.views() {
        let mut last = view.me.position;
        for entry in &view.successors {
            if !between(&last, &entry.position, &view.me.position) {
                return Err(format!("successors of {:?} are {:?}", view.me, view.successors));
            }
            last = entry.position;
        }
    }
    Ok(())
}
