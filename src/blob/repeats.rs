//! The large objects that are read again and again. The first reader of one reads past the system's cache; from the
//! second one on, the cache serves.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::id::ContentId;
use crate::time::Moment;

/// The objects that were read last, each with the time of its last read; the latest is first.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<VecDeque<(ContentId, Moment)>>);

impl Repeats {
    /// Notes that an object is read now. Returns whether it was read lately.
    pub fn is_repeated(&self, content: &ContentId, now: Moment) -> bool {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = read.iter().position(|(other, _)| other == content).and_then(|at| read.remove(at));
        read.push_front((*content, now));
        read.truncate(READ_MAX);
        before.is_some_and(|(_, at)| now.since(at) < LATELY)
    }
}

/// The number of objects that are remembered.
const READ_MAX: usize = 64;
/// How long a read counts.
const LATELY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_read_within_ten_minutes_is_a_repetition() {
        let (repeats, begin) = (Repeats::default(), Moment::default());
        let content = ContentId::of(b"a");
        assert!(!repeats.is_repeated(&content, begin));
        assert!(repeats.is_repeated(&content, begin + LATELY / 2));
        assert!(repeats.is_repeated(&content, begin + LATELY));
        assert!(!repeats.is_repeated(&content, begin + 2 * LATELY), "that was long ago");
        for other in 0..READ_MAX as u32 {
            repeats.is_repeated(&ContentId::of(&other.to_be_bytes()), begin + 2 * LATELY);
        }
        assert!(!repeats.is_repeated(&content, begin + 2 * LATELY), "many others came since");
        assert_eq!(repeats.0.lock().unwrap().len(), READ_MAX);
    }
}
