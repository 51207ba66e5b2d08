//! The time of a clock that drifts, and back.

use crate::time::Moment;

/// The time that a clock with this drift, in millionths, shows at a moment of the world.
pub(super) fn local_time(world: Moment, drift_ppm: i64) -> Moment {
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
