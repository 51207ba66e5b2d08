//! Congestion control that leaves the path free for pings: Cubic (RFC 9438) below a bound of delay.
//!
//! Cubic fills the queue of a slow path until it overflows, and a ping waits behind all of it: 300 KB are 2.4 s at 1
//! Mbit/s. Here the bytes under way are bounded by what the path drains within [`QUEUE_TARGET`], once packets wait
//! longer than that, after LEDBAT (RFC 6817). On a path whose queue stays shorter there is no bound, so fast paths lose
//! nothing. The shortest round trip of the last [`BASE_EPOCH`] to twice that counts as the one without a queue: a path
//! that really has become longer, or that others keep full, is slow for that long and no longer.
//!
//! *Non-goal:* fairness to other programs; Cubic's answer to loss gives that.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};

use crate::wire::limits::QUEUE_TARGET;

/// Builds the congestion control of each connection.
#[derive(Debug, Clone)]
pub(super) struct PaceConfig(pub(super) Arc<CubicConfig>);

impl ControllerFactory for PaceConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(self.0.clone(), now, current_mtu);
        Box::new(Paced { cubic, bound: Bound::begin(now, current_mtu.into()) })
    }
}

/// Whether the bytes under way of a connection are bounded by what its path drains.
pub(super) fn is_bound(state: Box<dyn Controller>) -> bool {
    state.into_any().downcast::<Paced>().is_ok_and(|paced| paced.bound.window.is_some())
}

/// Cubic below a bound.
#[derive(Debug, Clone)]
struct Paced {
    cubic: Cubic,
    bound: Bound,
}

impl Controller for Paced {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        let in_use = self.window();
        self.bound.acked(now, now.saturating_duration_since(sent), bytes, in_use);
        // Bytes that the bound holds back are no reason to send more.
        if self.bound.window.is_none_or(|bound| bound > self.cubic.window()) {
            self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
        self.bound.mtu = new_mtu.into();
    }

    fn window(&self) -> u64 {
        self.bound.window.map_or(self.cubic.window(), |bound| bound.min(self.cubic.window()))
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The bound on the bytes under way, measured from acknowledgements.
#[derive(Debug, Clone)]
struct Bound {
    mtu: u64,
    /// The bound in bytes; `None` while packets do not wait.
    window: Option<u64>,
    /// The beginning of the present epoch, the bytes that were acknowledged in it, and its shortest round trip.
    epoch: Instant,
    acked_bytes: u64,
    round_trip: Option<Duration>,
    /// The shortest round trip of the present base epoch and of the one before.
    base_epoch: Instant,
    base: [Duration; 2],
}

impl Bound {
    fn begin(now: Instant, mtu: u64) -> Bound {
        Bound {
            mtu,
            window: None,
            epoch: now,
            acked_bytes: 0,
            round_trip: None,
            base_epoch: now,
            base: [Duration::MAX; 2],
        }
    }

    /// Notes that bytes were acknowledged after this round trip, while `in_use` bytes were allowed under way.
    fn acked(&mut self, now: Instant, round_trip: Duration, bytes: u64, in_use: u64) {
        if now.saturating_duration_since(self.base_epoch) >= BASE_EPOCH {
            self.base = [Duration::MAX, self.base[0]];
            self.base_epoch = now;
        }
        self.base[0] = self.base[0].min(round_trip);
        self.acked_bytes += bytes;
        let shortest = self.round_trip.map_or(round_trip, |shortest| shortest.min(round_trip));
        self.round_trip = Some(shortest);
        let lasted = now.saturating_duration_since(self.epoch);
        if lasted < EPOCH {
            return;
        }
        let allowed = self.base[0].min(self.base[1]) + QUEUE_TARGET;
        if shortest > allowed {
            let rate = self.acked_bytes as f64 / lasted.as_secs_f64();
            let drained = (rate * allowed.as_secs_f64()) as u64;
            // The bound at most halves in one step: a moment with few acknowledgements does not mean a slow path.
            self.window = Some(drained.max(in_use / 2).max(WINDOW_PACKETS_MIN * self.mtu).min(in_use));
        } else if let Some(window) = self.window {
            let more = window + (window / 4).max(self.mtu);
            // A bound far above what any queue of that length needs is of no use.
            self.window = Some(more).filter(|more| *more < UNBOUND_BYTES);
        }
        (self.epoch, self.acked_bytes, self.round_trip) = (now, 0, None);
    }
}

/// How long acknowledgements are gathered before the bound is updated.
const EPOCH: Duration = Duration::from_millis(100);
/// The least time for which a round trip without a queue is believed.
const BASE_EPOCH: Duration = Duration::from_secs(30);
/// The number of packets that are under way on any path, however slow (RFC 9002, section 7.2).
const WINDOW_PACKETS_MIN: u64 = 2;
/// A bound above this is lifted.
const UNBOUND_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1_452;

    /// Simulates a line with an endless queue, in which each packet waits for all packets before it. Returns the bound
    /// and the bytes under way after `acks` acknowledgements.
    fn under_way(bytes_per_second: f64, way: Duration, begin_with: u64, acks: usize) -> (Bound, u64) {
        let mut now = Instant::now();
        let mut bound = Bound::begin(now, MTU);
        let mut window = begin_with;
        for _ in 0..acks {
            let drain = Duration::from_secs_f64(MTU as f64 / bytes_per_second);
            let wait = Duration::from_secs_f64(window as f64 / bytes_per_second);
            now += drain;
            bound.acked(now, way.max(wait), MTU, window);
            window = bound.window.unwrap_or(window);
        }
        (bound, window)
    }

    #[test]
    fn a_slow_line_has_so_much_under_way_as_it_drains_within_a_ping() {
        // A line of 1 Mbit/s with 300 KB in its queue. The first packets gave the delay of the empty line.
        let now = Instant::now();
        let mut bound = Bound::begin(now, MTU);
        bound.acked(now, Duration::from_millis(2), MTU, 32_768);
        let (mut at, mut window) = (now, 300_000u64);
        for _ in 0..600 {
            at += Duration::from_secs_f64(MTU as f64 / 125_000.0);
            let wait = Duration::from_secs_f64(window as f64 / 125_000.0);
            bound.acked(at, wait, MTU, window);
            window = bound.window.unwrap_or(window);
        }
        assert!(window <= 16_000, "{window} bytes under way");
        assert!(window >= 2 * MTU, "{window}: it goes on");
    }

    #[test]
    fn a_line_without_a_queue_has_no_bound() {
        for way in [1, 30, 300, 600].map(Duration::from_millis) {
            let (bound, _) = under_way(1e8, way, 1 << 20, 10_000);
            assert_eq!(bound.window, None, "{way:?}");
        }
    }

    #[test]
    fn a_way_that_has_become_longer_is_not_slow_for_ever() {
        let now = Instant::now();
        let mut bound = Bound::begin(now, MTU);
        bound.acked(now, Duration::from_millis(2), MTU, 1 << 20);
        let (mut at, way) = (now, Duration::from_millis(600));
        let mut window = 1u64 << 20;
        let mut least = window;
        // Each window of bytes takes one round trip.
        while at < now + Duration::from_secs(150) {
            at += way;
            for _ in 0..window.div_ceil(MTU) {
                bound.acked(at, way, MTU, window);
            }
            window = bound.window.unwrap_or(1 << 20);
            least = least.min(window);
        }
        assert!(least < 1 << 20, "it was taken for a queue first");
        assert_eq!(window, 1 << 20, "and is no more");
    }
}
