//! Waits of tests: a condition is looked at again and again until it holds, within a bound far beyond the expected
//! time.
//!
//! The library's own tests and the test binaries that wait include this file, so that there is one wait for threads and
//! one for tasks. A wait in vain names its condition, its length, and the last look.
#![allow(dead_code, reason = "each crate that includes this file uses a part of it")]

use std::time::{Duration, Instant};

/// Far longer than any condition here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The result of one look at a condition: `bool`, `Option`, or a `Result` whose error says what was seen instead.
pub trait Look {
    /// The value that is there once the condition holds.
    type Found;

    /// The value that was found, or a text that says what was seen instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl Look for bool {
    type Found = ();

    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<T> Look for Option<T> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.ok_or_else(String::new)
    }
}

impl<T> Look for Result<T, String> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self
    }
}

/// Waits for a condition, or the test fails.
#[track_caller]
pub fn eventually<L: Look>(what: &str, look: impl FnMut() -> L) -> L::Found {
    eventually_within(PATIENCE, what, look)
}

/// Like [`eventually`], with a bound of its own.
#[track_caller]
pub fn eventually_within<L: Look>(bound: Duration, what: &str, look: impl FnMut() -> L) -> L::Found {
    match within(bound, look) {
        Ok(found) => found,
        Err(seen) => in_vain(what, bound, &seen),
    }
}

/// Like [`eventually_within`], for a test that has to clean up before it fails.
///
/// # Errors The text of the last look.
pub fn within<L: Look>(bound: Duration, mut look: impl FnMut() -> L) -> Result<L::Found, String> {
    let begun = Instant::now();
    loop {
        match look().found() {
            Err(_) if begun.elapsed() < bound => std::thread::sleep(LOOK_EVERY),
            found => return found,
        }
    }
}

/// Like [`eventually`], in a task.
pub async fn eventually_async<L: Look>(what: &str, mut look: impl AsyncFnMut() -> L) -> L::Found {
    let mut seen = String::new();
    let looks = async {
        loop {
            match look().await.found() {
                Ok(found) => return found,
                Err(instead) => seen = instead,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(PATIENCE, looks).await {
        Ok(found) => found,
        Err(_) => in_vain(what, PATIENCE, &seen),
    }
}

#[track_caller]
fn in_vain(what: &str, bound: Duration, seen: &str) -> ! {
    panic!("not within {bound:?}: {what}\n{seen}")
}

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_gives_what_was_found() {
        let mut looks = 0;
        let third = eventually("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third, 3);
        assert_eq!(within(Duration::ZERO, || false), Err(String::new()));
    }

    #[test]
    #[should_panic(expected = "not within 0ns: rain\nsun")]
    fn a_wait_in_vain_says_what_was_waited_for_and_seen() {
        eventually_within(Duration::ZERO, "rain", || Err::<(), _>("sun".to_owned()));
    }
}
