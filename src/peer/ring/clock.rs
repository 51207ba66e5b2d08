//! The clock by which a peer decides: time since it was made, sleep of the machine included, so that a peer that
//! was stopped notices how long that was.

use std::time::Duration;

use crate::time::Moment;

/// Moments since it was made.
#[derive(Debug, Clone, Copy)]
pub(in crate::peer) struct Clock {
    /// On the clock of the system.
    made_at: Duration,
    /// By how much it is ahead of that, in tests.
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

    /// As if so much time had passed at once.
    #[cfg(test)]
    pub(in crate::peer) fn skip(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Waits until then, or for ever. A machine that sleeps meanwhile makes it later.
    pub(in crate::peer) async fn sleep_until(self, wake: Option<Moment>) {
        match wake {
            Some(at) => tokio::time::sleep(at.since(self.now())).await,
            None => std::future::pending().await,
        }
    }
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
