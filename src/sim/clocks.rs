//! The clocks of the peers, which drift a little.

use super::network::{Slot, mixed};
use super::world::World;
use crate::time::Moment;

impl World {
    /// The present time by the clock of one peer.
    pub(super) fn local_time(&self, slot: Slot) -> Moment {
        let drift = self.process(slot).map_or_else(|| self.drift_of(slot), |peer| peer.drift_ppm);
        local_time(self.now, drift)
    }

    pub(super) fn drift_of(&self, slot: Slot) -> i64 {
        if self.drift_ppm_max == 0 {
            return 0;
        }
        let span = 2 * self.drift_ppm_max as u64 + 1;
        (mixed(self.seed ^ u64::from(slot)) % span) as i64 - self.drift_ppm_max
    }
}

fn local_time(world: Moment, drift_ppm: i64) -> Moment {
    Moment(world.0.saturating_add_signed(world.0 as i64 / 1_000 * drift_ppm / 1_000))
}

/// The first moment of the world at which a peer's clock shows this time.
pub(super) fn world_time(local: Moment, drift_ppm: i64) -> Moment {
    let mut world = Moment(local.0.saturating_add_signed(-(local.0 as i64 / 1_000 * drift_ppm / 1_000)));
    while local_time(world, drift_ppm) < local {
        world.0 += 1 + (local.0 - local_time(world, drift_ppm).0) / 2;
    }
    world
}
