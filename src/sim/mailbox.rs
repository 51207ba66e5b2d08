//! The connection between the tasks of one process and the world.
//!
//! A task that wants something done puts an [`Effect`] into the mailbox of its process; the world carries it out after the
//! task has gone as far as it can, and wakes the tasks that wait for an answer or for a moment.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::lock::Lock;
use super::network::Process;
use super::searches::Found;
use super::storage::FilesEffect;
use super::tasks::Task;
use crate::files::{Clock, timeout};
use crate::id::Position;
use crate::time::Moment;
use crate::wire::limits::HEARSAY_MAX;
use crate::wire::{Entry, MembershipReply, MembershipRequest};

/// An effect that a task wants.
pub(super) enum Effect {
    Spawn(Task),
    Timer {
        at: Moment,
        timer: u64,
    },
    /// A question about the ring.
    Ask {
        token: u64,
        to: Entry,
        request: MembershipRequest,
    },
    /// The answer of a peer to a lookup.
    Heard(Entry, MembershipReply),
    /// A peer of a lookup does not answer.
    Silence(Entry),
    /// A lookup has ended.
    Found(Found),
    Files(Box<FilesEffect>),
}

/// The state that the tasks of one process share with the world.
pub(super) struct Mailbox {
    pub(super) process: Process,
    /// The time after which a lookup asks the next peer instead of a silent one.
    hop_timeout: Lock<Duration>,
    /// The peers that were asked through a helper, and when each was last.
    through_helpers: Lock<BTreeMap<Position, Moment>>,
    now: Lock<Moment>,
    outbox: Lock<VecDeque<Effect>>,
    timers: Lock<BTreeMap<u64, Waker>>,
    answers: Lock<BTreeMap<u64, Waiting>>,
    ids: Arc<Lock<u64>>,
}

/// An answer about the ring that a task waits for.
enum Waiting {
    For(Waker),
    Came(MembershipReply),
}

impl Mailbox {
    pub(super) fn new(process: Process, ids: Arc<Lock<u64>>) -> Mailbox {
        Mailbox {
            process,
            hop_timeout: Lock::default(),
            through_helpers: Lock::default(),
            now: Lock::default(),
            outbox: Lock::default(),
            timers: Lock::default(),
            answers: Lock::default(),
            ids,
        }
    }

    pub(super) fn hop_timeout(&self) -> Duration {
        self.hop_timeout.get()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    pub(super) fn want(&self, effect: Effect) {
        self.outbox.lock().push_back(effect);
    }

    /// A wait for a moment.
    pub(super) fn sleep(self: &Arc<Self>, until: Moment) -> Sleep {
        Sleep { mailbox: self.clone(), at: until, timer: None }
    }

    /// Asks another peer about the ring.
    pub(super) async fn ask_membership(
        self: &Arc<Self>,
        whom: &Entry,
        request: MembershipRequest,
        within: Duration,
    ) -> Option<MembershipReply> {
        let token = self.next_id();
        self.want(Effect::Ask { token, to: whom.clone(), request });
        let answer = poll_fn(|context| {
            let mut answers = self.answers.lock();
            match answers.remove(&token) {
                Some(Waiting::Came(reply)) => Poll::Ready(reply),
                _ => {
                    answers.insert(token, Waiting::For(context.waker().clone()));
                    Poll::Pending
                }
            }
        });
        let answer = timeout(self, within, answer).await;
        self.answers.lock().remove(&token);
        answer
    }

    /// Tells the node of an answer to a lookup, or of none.
    pub(super) fn tell_of_lookup(&self, whom: Entry, reply: Option<MembershipReply>) {
        self.want(match reply {
            // An answer that a helper passed on is no sign of life.
            Some(_) if self.was_asked_through_a_helper(&whom.position) => return,
            Some(reply) => Effect::Heard(whom, reply),
            None => Effect::Silence(whom),
        });
    }

    /// Whether a helper recently passed on an answer of this peer.
    pub(super) fn was_asked_through_a_helper(&self, peer: &Position) -> bool {
        let lately = |at: &Moment| self.now().since(*at) < HEARSAY_MAX;
        self.through_helpers.lock().get(peer).is_some_and(lately)
    }
}

/// The reports of the world.
impl Mailbox {
    /// Tells the tasks the present moment, and the time that a peer of a lookup has.
    pub(super) fn set_now(&self, now: Moment, hop_timeout: Duration) {
        self.now.set(now);
        self.hop_timeout.set(hop_timeout);
    }

    /// Notes that a peer is asked through a helper.
    pub(super) fn asks_through_a_helper(&self, peer: Position) {
        self.through_helpers.lock().insert(peer, self.now());
    }

    pub(super) fn timer(&self, timer: u64) {
        if let Some(waker) = self.timers.lock().remove(&timer) {
            waker.wake();
        }
    }

    pub(super) fn answered(&self, token: u64, reply: MembershipReply) {
        let mut answers = self.answers.lock();
        // The waiting task may have given up.
        if let Some(Waiting::For(waker)) = answers.remove(&token) {
            answers.insert(token, Waiting::Came(reply));
            waker.wake();
        }
    }

    pub(super) fn take_effect(&self) -> Option<Effect> {
        self.outbox.lock().pop_front()
    }
}

impl Clock for Mailbox {
    fn now(&self) -> Moment {
        self.now.get()
    }

    fn sleep_until(self: &Arc<Self>, at: Moment) -> impl Future<Output = ()> + Send {
        self.sleep(at)
    }
}

/// A wait for a moment.
pub(super) struct Sleep {
    mailbox: Arc<Mailbox>,
    at: Moment,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.mailbox.now() >= self.at {
            return Poll::Ready(());
        }
        let timer = self.timer.unwrap_or_else(|| {
            let timer = self.mailbox.next_id();
            self.mailbox.want(Effect::Timer { at: self.at, timer });
            timer
        });
        self.timer = Some(timer);
        self.mailbox.timers.lock().insert(timer, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.mailbox.timers.lock().remove(&timer);
        }
    }
}
