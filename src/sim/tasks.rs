//! Tasks in virtual time: futures that are polled one at a time, in the order in which they were woken.
//!
//! A lookup, or a peer's work with files, waits for answers, for bytes and for time; here the world decides when they come.
//! There is no other runtime beneath.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use super::network::Slot;

/// A task of one process.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The id of a task: the slot of its process, and a number.
pub(super) type TaskId = (Slot, u64);

/// The tasks of all processes.
#[derive(Default)]
pub(super) struct Tasks {
    tasks: BTreeMap<TaskId, (Task, Waker)>,
    woken: Arc<Woken>,
    next: u64,
}

/// The tasks that can go on, in the order in which they were woken, each once.
#[derive(Default)]
struct Woken(Mutex<(VecDeque<TaskId>, BTreeSet<TaskId>)>);

impl Woken {
    fn put(&self, task: TaskId) {
        let mut woken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.1.insert(task) {
            woken.0.push_back(task);
        }
    }

    fn take(&self) -> Option<TaskId> {
        let mut woken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let task = woken.0.pop_front()?;
        woken.1.remove(&task);
        Some(task)
    }
}

struct Alarm {
    task: TaskId,
    woken: Arc<Woken>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.woken.put(self.task);
    }
}

impl Tasks {
    /// Adds a task of a process; it begins when it is polled next.
    pub(super) fn spawn(&mut self, slot: Slot, task: Task) {
        let id = (slot, self.next);
        self.next += 1;
        let waker = Waker::from(Arc::new(Alarm { task: id, woken: self.woken.clone() }));
        self.tasks.insert(id, (task, waker));
        self.woken.put(id);
    }

    /// The next woken task.
    pub(super) fn next_woken(&mut self) -> Option<TaskId> {
        loop {
            let id = self.woken.take()?;
            if self.tasks.contains_key(&id) {
                return Some(id);
            }
        }
    }

    /// Lets a task go on as far as it can.
    pub(super) fn poll(&mut self, id: TaskId) {
        let Some((mut task, waker)) = self.tasks.remove(&id) else { return };
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.insert(id, (task, waker));
        }
    }

    /// Ends all tasks of a process in their present state.
    pub(super) fn end(&mut self, slot: Slot) {
        let of_others_after = self.tasks.split_off(&(slot + 1, 0));
        drop(self.tasks.split_off(&(slot, 0)));
        self.tasks.extend(of_others_after);
    }
}
