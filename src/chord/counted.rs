//! A value that counts how often it was lent out to be changed.

/// Read freely; changed only through [`Counted::change`], which counts. So nobody can change it unnoticed.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted<T> {
    value: T,
    changes: u64,
}

impl<T> Counted<T> {
    /// The value, to be changed.
    pub(super) fn change(&mut self) -> &mut T {
        self.changes += 1;
        &mut self.value
    }

    /// How often it was lent out so far.
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
