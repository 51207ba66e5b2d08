//! Objects that are on their way in, as all transfers of one peer know them (see [`crate::replica::Arrivals`]).

use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Clock;
use crate::id::ContentId;
use crate::replica;
use crate::time::Moment;

/// What is expected here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals {
    expected: Arc<Mutex<replica::Arrivals>>,
    clock: Clock,
}

/// A transfer is under way as long as this lives.
pub(super) struct Arrival {
    arrivals: Arrivals,
    content: ContentId,
}

impl Arrivals {
    /// A transfer begins.
    pub(super) fn begin(&self, content: ContentId) -> Arrival {
        self.with(|expected, _| expected.begin(content));
        Arrival { arrivals: self.clone(), content }
    }

    /// Asks or changes what is expected, at this moment.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut replica::Arrivals, Moment) -> T) -> T {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut expected, self.clock.now())
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.with(|expected, now| expected.end(now, &self.content));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_under_way_as_long_as_it_lives() {
        let (arrivals, content) = (Arrivals::default(), ContentId::of(b"a"));
        let is_wanted = || arrivals.with(|expected, now| expected.ask_for(now, content));
        let arrival = arrivals.begin(content);
        assert!(!is_wanted());
        drop(arrival);
        assert!(is_wanted());
    }
}
