//! The uses of objects by this process: who reads one now, when a cached one was last used, and whether another peer was
//! promised a copy while this peer meant to free it. In memory only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::ContentId;

/// The uses of the objects of one store.
#[derive(Default)]
pub(super) struct Uses(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    /// The number of open readers of each object that has any.
    readers: HashMap<ContentId, usize>,
    /// Last uses that the index has not been told of yet, in milliseconds since the Unix epoch.
    last: HashMap<ContentId, u64>,
    /// The evicted objects that other peers have not been told of.
    evicted: Vec<ContentId>,
    /// The objects that this peer means to free, and whether it still may.
    freeing: HashMap<ContentId, Arc<AtomicBool>>,
}

impl Uses {
    /// Notes that an object is used now. Of more than [`LAST_USES_MAX`] objects since the last [`Uses::take_last`], the
    /// index keeps an earlier use.
    pub fn used(&self, content: &ContentId, at_ms: u64) {
        let last = &mut self.lock().last;
        if last.len() < LAST_USES_MAX || last.contains_key(content) {
            last.insert(*content, at_ms);
        }
    }

    /// The last use of an object, if the index may not know it.
    pub fn last(&self, content: &ContentId) -> Option<u64> {
        self.lock().last.get(content).copied()
    }

    /// Takes the last uses that the index has to be told of.
    pub fn take_last(&self) -> Vec<(ContentId, u64)> {
        self.lock().last.drain().collect()
    }

    /// Notes that a cached object was evicted. Of more than [`EVICTED_MAX`] the others are not told: they ask this peer in
    /// vain at most once.
    pub fn evicted(&self, content: &ContentId) {
        let evicted = &mut self.lock().evicted;
        if evicted.len() < EVICTED_MAX {
            evicted.push(*content);
        }
    }

    /// Takes the evicted objects that other peers are to be told of.
    pub fn take_evicted(&self) -> Vec<ContentId> {
        std::mem::take(&mut self.lock().evicted)
    }

    pub fn is_read(&self, content: &ContentId) -> bool {
        self.lock().readers.contains_key(content)
    }

    /// Notes that another peer is told of the copy here, or that it is here anew: the peer may not free it on a
    /// permission that it has asked for before.
    pub fn promised(&self, content: &ContentId) {
        if let Some(may) = self.lock().freeing.remove(content) {
            may.store(false, Ordering::SeqCst);
        }
    }

    /// Notes that this peer means to free an object. `None` while another thread means to.
    pub fn begin_freeing(&self, content: &ContentId) -> Option<Arc<AtomicBool>> {
        let freeing = &mut self.lock().freeing;
        if freeing.contains_key(content) {
            return None;
        }
        let may = Arc::new(AtomicBool::new(true));
        freeing.insert(*content, may.clone());
        Some(may)
    }

    /// Notes that this peer does not mean to free an object any more.
    pub fn end_freeing(&self, content: &ContentId, may: &Arc<AtomicBool>) {
        let freeing = &mut self.lock().freeing;
        if freeing.get(content).is_some_and(|current| Arc::ptr_eq(current, may)) {
            freeing.remove(content);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open reader of an object; dropping it ends the use.
pub(super) struct Reading {
    uses: Arc<Uses>,
    content: ContentId,
}

impl Reading {
    pub fn begin(uses: Arc<Uses>, content: ContentId) -> Reading {
        *uses.lock().readers.entry(content).or_default() += 1;
        Reading { uses, content }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let readers = &mut self.uses.lock().readers;
        match readers.get_mut(&self.content) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(readers.remove(&self.content)),
        }
    }
}

/// The most objects whose last use waits to be written to the index.
const LAST_USES_MAX: usize = 65_536;

/// The most evicted objects that other peers are told of at a time.
const EVICTED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_ends_the_permission_that_was_asked_for_before() {
        let (uses, content) = (Uses::default(), ContentId::of(b"a"));
        let first = uses.begin_freeing(&content).unwrap();
        assert!(uses.begin_freeing(&content).is_none(), "one at a time");
        uses.promised(&content);
        assert!(!first.load(Ordering::SeqCst));
        let second = uses.begin_freeing(&content).unwrap();
        uses.end_freeing(&content, &first);
        assert!(uses.begin_freeing(&content).is_none(), "the end of the first is not that of the second");
        uses.promised(&ContentId::of(b"b"));
        assert!(second.load(Ordering::SeqCst));
        uses.end_freeing(&content, &second);
        assert!(uses.begin_freeing(&content).is_some());
    }

    #[test]
    fn an_object_is_read_until_its_last_reader_has_gone() {
        let (uses, content) = (Arc::new(Uses::default()), ContentId::of(b"a"));
        let one = Reading::begin(uses.clone(), content);
        let other = Reading::begin(uses.clone(), content);
        drop(one);
        assert!(uses.is_read(&content));
        drop(other);
        assert!(!uses.is_read(&content));
    }
}
