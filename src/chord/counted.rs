//! A value that counts how often it was lent out for a change.

/// Read freely, change only through [`Counted::change`], which counts. So no change goes unnoticed.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted<T> {
    value: T,
    changes: u64,
}

impl<T> Counted<T> {
    /// Lends the value out for a change, and counts that.
    pub(super) fn change(&mut self) -> &mut T {
        self.changes += 1;
        &mut self.value
    }

    /// The number of times the value was lent out so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }
}

impl<T> std::ops::Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
