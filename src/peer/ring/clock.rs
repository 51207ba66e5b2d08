//! The clock by which a peer decides: the time since the clock was made, including the time in which the machine slept.
//! So a peer that was stopped notices how long the stop lasted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Moment;

/// A clock whose moments count from its making.
#[derive(Debug, Clone, Copy)]
pub(in crate::peer) struct Clock {
    /// The system clock's reading when this clock was made.
    made_at: Duration,
    /// The offset that tests add.
    ahead: Duration,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { made_at: since_boot(), ahead: Duration::ZERO }
    }
}

impl Clock {
    pub(in crate::peer) fn now(self) -> Moment {
        Moment::default() + self.ahead + since_boot().saturating_sub(self.made_at)
    }

    /// Moves the clock forward, as if this much time had passed at once.
    #[cfg(test)]
    pub(in crate::peer) fn skip(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Waits until this moment; `None` waits for ever. If the machine sleeps meanwhile, the wait ends later.
    pub(in crate::peer) async fn sleep_until(self, wake: Option<Moment>) {
        match wake {
            Some(at) => tokio::time::sleep(at.since(self.now())).await,
            None => std::future::pending().await,
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(in crate::peer) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Time since the machine was started; it runs on while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Elsewhere a clock that stands still while the machine sleeps has to do: only stopped processes are noticed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}
