//! What the shared parts of other tests need.

use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, or the test fails; `holds` says what it saw.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> Result<(), String>) {
    eventually_within(PATIENCE, what, holds);
}

/// As [`eventually`], with a bound of its own.
#[track_caller]
pub fn eventually_within(bound: Duration, what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let begun = Instant::now();
    loop {
        match holds() {
            Ok(()) => return,
            Err(saw) if begun.elapsed() > bound => panic!("not within {bound:?}: {what}\n{saw}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
