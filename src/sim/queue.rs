//! The future events, in the order of time; of two at the same time, the one that was put in first comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Moment;

/// A queue of items that are due at moments.
#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    next_sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), next_sequence: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn put(&mut self, at: Moment, what: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(what);
                slot
            }
            None => {
                self.slots.push(Some(what));
                self.slots.len() - 1
            }
        };
        self.heap.push(Reverse((at, self.next_sequence, slot)));
        self.next_sequence += 1;
    }

    /// The moment at which the next item is due.
    pub(super) fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Moment, T)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.slots[slot].take().map(|what| (at, what))
    }

    /// All items in the queue, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_time_and_then_of_coming() {
        let mut queue = Queue::default();
        for (at, what) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            queue.put(Moment(at), what);
        }
        assert_eq!(queue.next_at(), Some(Moment(1)));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        queue.put(Moment(9), "again");
        assert_eq!(queue.iter().count(), 1);
    }
}
