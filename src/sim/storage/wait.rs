//! What tasks of one process wait with, beside what [`crate::files`] has: for each other, and for a turn.

use super::lock::Lock;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// One end of a queue between two tasks.
pub(super) struct Sender<T>(Arc<Queue<T>>);

/// The other end.
pub(super) struct Receiver<T>(Arc<Queue<T>>);

struct Queue<T> {
    items: Lock<VecDeque<T>>,
    senders: Lock<usize>,
    waiting: Lock<Option<Waker>>,
}

/// A queue between two tasks.
pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Queue { items: Lock::default(), senders: Lock::new(1), waiting: Lock::default() };
    let queue = Arc::new(queue);
    (Sender(queue.clone()), Receiver(queue))
}

impl<T> Queue<T> {
    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Nobody may be left to take it.
    pub(super) fn send(&self, item: T) {
        self.0.items.lock().push_back(item);
        self.0.wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        self.0.wake();
    }
}

impl<T> Receiver<T> {
    /// The next item; nothing once all senders are gone.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| match self.0.items.lock().pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None if self.0.senders.get() == 0 => Poll::Ready(None),
            None => {
                self.0.waiting.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// So many may do something at the same time.
pub(super) struct Permits {
    free: Lock<usize>,
    waiting: Lock<Vec<Waker>>,
}

/// One of them, until this is dropped.
pub(super) struct Permit<'a>(&'a Permits);

impl Permits {
    pub(super) fn new(count: usize) -> Permits {
        Permits { free: Lock::new(count), waiting: Lock::default() }
    }

    pub(super) async fn take(&self) -> Permit<'_> {
        poll_fn(|context| match self.free.get().checked_sub(1) {
            Some(left) => {
                self.free.set(left);
                Poll::Ready(Permit(self))
            }
            None => {
                watch(&mut self.waiting.lock(), context.waker());
                Poll::Pending
            }
        })
        .await
    }
}

/// One more that waits, once however often it looks.
pub(super) fn watch(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        let waiting = self.0.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Somebody, and nobody else, is to look at something: once rung, until it is heard.
#[derive(Default)]
pub(super) struct Bell {
    rung: Lock<bool>,
    waiting: Lock<Option<Waker>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    pub(super) async fn heard(&self) {
        poll_fn(|context| {
            if self.rung.take() {
                return Poll::Ready(());
            }
            self.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}
