//! The seeds that a test runs, and the replay of a failed one event by event.

use super::world::{World, is_shown};

/// The seeds of a test: this range, as many seeds from its start as `QUOIT_SEEDS` gives, or the one that `QUOIT_SEED`
/// names.
pub fn seeds(range: std::ops::Range<u64>) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("QUOIT_SEED"), number("QUOIT_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (range.start..range.start.saturating_add(count)).collect(),
        (None, None) => range.collect(),
    }
}

impl World {
    /// Records every event from now on.
    pub fn record(&mut self) {
        self.log.get_or_insert_default();
    }

    /// The recorded events.
    pub fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{} {}", self.now.0, what()));
        }
    }
}

/// When a failed test drops a world, the world prints how to replay it; a world that is to be shown prints its log.
impl Drop for World {
    fn drop(&mut self) {
        if is_shown() {
            self.log().iter().for_each(|line| println!("{line}"));
        } else if std::thread::panicking()
            && let Some(test) = this_test()
        {
            let seed = self.seed;
            println!(
                "to see each event:\n  QUOIT_SEED={seed} QUOIT_LOG_EVENTS=1 cargo test {test} -- --nocapture"
            );
        }
    }
}

/// The test that runs in this thread, as cargo names it; `None` outside of tests.
fn this_test() -> Option<String> {
    let binary = std::env::current_exe().ok()?;
    let (name, _) = binary.file_stem()?.to_str()?.rsplit_once('-')?;
    let thread = std::thread::current();
    let test = thread.name()?;
    Some(if name == env!("CARGO_PKG_NAME") {
        format!("--lib {test}")
    } else {
        format!("--test {name} {test}")
    })
}
