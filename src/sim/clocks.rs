//! The clocks of the peers, which drift a little.

use super::drift::local_time;
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
