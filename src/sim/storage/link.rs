//! The work of the world for the tasks: it carries messages, lets time pass, and tells the tasks about their node.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;

use super::super::network::Slot;
use super::super::places::slot_of;
use super::super::traffic::{self, Purpose};
use super::super::world::{Ask, Delivery, World};
use super::keeper::{Effect, Keeper, Process};
use super::outcome::{Acknowledged, Ended, Outcome, StoredFile};
use super::stream::{Frame, Stream};
use crate::chord::Node;
use crate::files::{Piece as _, RingWish, repair, take_over};
use crate::replica::TakeOver;
use crate::time::Moment;
use crate::wire::{Entry, MembershipReply, RecordTarget, StorageRequest, Target, codec, limits};

/// An event that comes to a process.
#[derive(Debug)]
pub(in crate::sim) enum News {
    Timer { generation: u32, timer: u64 },
    Open { stream: u64, from: Entry, asker: Process, helper: Option<Slot>, request: Box<StorageRequest> },
    Frame { generation: u32, stream: u64, frame: Frame, sender: Option<Sender> },
}

/// The sender of a frame, and the moment at which it was sent.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Sender(Process, Moment);

/// The reports of the world about its peers.
impl World {
    /// Starts the files' side of a new process.
    pub(in crate::sim) fn start_keeper(&mut self, slot: Slot, founds: bool, settled: bool) {
        self.end_keeper(slot);
        let Some(process) = self.process(slot) else { return };
        let (view, generation) = (process.node.view(), process.generation);
        let Some(files) = &self.files else { return };
        let (ways, interval, ids) = (self.ways(files.settings), self.interval, files.ids.clone());
        let (laws, now) = (files.laws, self.now);
        let Some(files) = &mut self.files else { return };
        let home = files.home(slot);
        let keeper =
            Arc::new(Keeper::new((slot, generation), home.disk.clone(), ways, interval, view, ids, laws));
        keeper.clock_offset_ms.set(home.clock_offset_ms);
        let mut disk = home.disk.lock();
        disk.set_time(now, keeper.unix_ms());
        disk.open();
        drop(disk);
        home.keeper = Some(keeper.clone());
        home.seen = None;
        // Old peers do not all begin a round of repair at the same moment.
        let pause = if settled { REPAIR_PERIOD.mul_f64(files.rng.random()) } else { Duration::ZERO };
        files.tasks.spawn(slot, Box::pin(repair(keeper.clone(), pause)));
        if founds {
            *keeper.takeover.lock() = TakeOver::of_founder(&keeper.view().me);
        }
        files.tasks.spawn(slot, Box::pin(take_over(keeper)));
        self.look_at_neighbours(slot);
    }

    /// Handles the death of a process without notice.
    pub(in crate::sim) fn crash_keeper(&mut self, slot: Slot) {
        let Some(files) = &mut self.files else { return };
        if let Some(home) = files.homes.get(&slot) {
            home.disk.lock().crash(&mut files.rng, files.laws);
        }
        self.end_keeper(slot);
    }

    /// Handles the end of a process, for whatever reason.
    pub(in crate::sim) fn end_keeper(&mut self, slot: Slot) {
        let Some(files) = &mut self.files else { return };
        let Some(home) = files.homes.get_mut(&slot) else { return };
        if home.keeper.take().is_some() {
            files.tasks.end(slot);
            files.under_way.retain(|_, (at, _)| *at != slot);
            // Its tasks have released the disk.
            files.home(slot).disk.lock().close();
        }
    }

    /// Moves a disk with its content to another place.
    pub(in crate::sim) fn move_files(&mut self, from: Slot, to: Slot) {
        if let Some(files) = &mut self.files
            && let Some(home) = files.homes.remove(&from)
        {
            files.homes.insert(to, home);
        }
    }

    /// Updates the files' side after a change of a node.
    pub(in crate::sim) fn look_at_neighbours(&mut self, slot: Slot) {
        let Some(files) = self.files.as_deref_mut() else { return };
        let Some(keeper) = files.keeper(slot).cloned() else { return };
        let peer = self.peers.get(slot as usize).and_then(Option::as_ref).filter(|peer| peer.up);
        let Some(node) = peer.map(|peer| &peer.node) else { return };
        let home = files.home(slot);
        let now = (node.phase(), node.me().incarnation);
        let same = home.seen.as_ref().is_some_and(|(seen, predecessor, successors)| {
            *seen == now && predecessor.as_ref() == node.predecessor() && successors == node.successors()
        });
        if !same {
            home.seen = Some((now, node.predecessor().cloned(), node.successors().to_vec()));
            keeper.neighbours_change();
        }
        if keeper.is_watched() {
            keeper.view_changed();
        }
    }

    /// Ends the connections with an incarnation that another peer believes to be over.
    pub(in crate::sim) fn forget_streams(&mut self, slot: Slot, entry: &Entry) {
        let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)) else { return };
        keeper.lose_all_with(slot_of(&entry.address));
    }

    pub(in crate::sim) fn deliver_news(&mut self, slot: Slot, news: News) {
        let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)).cloned() else { return };
        let is_it = |generation| generation == keeper.process.1;
        match news {
            News::Timer { generation, timer } if is_it(generation) => {
                keeper.set_now(self.now());
                keeper.timer(timer);
            }
            News::Frame { generation, stream, frame, .. } if is_it(generation) => {
                keeper.frame(stream, frame);
            }
            News::Open { stream, from, asker, helper, request } => {
                let stream = Stream::accepted(&keeper, stream, &from, asker, helper);
                if let Some(files) = &mut self.files {
                    files.tasks.spawn(slot, Box::pin(keeper.serve(stream, from, *request)));
                }
            }
            // A later process answers packets for an earlier one's connections with a stateless reset.
            News::Frame { stream, sender: Some(Sender((to, generation), _)), .. } => {
                if let Some(delay) = self.network.stream(slot, to) {
                    self.lose_stream(to, generation, stream, delay);
                }
            }
            News::Timer { .. } | News::Frame { .. } => {}
        }
    }

    /// Handles a delivery to a place without a process. A frame is sent again as long as its connection lasts.
    pub(in crate::sim) fn not_delivered(&mut self, delivery: Delivery) {
        if let Delivery::Files(slot, news) = delivery
            && let News::Frame { sender: Some(Sender(_, sent)), .. } = *news
            && self.now().since(sent) < super::stream::IDLE_TIMEOUT
        {
            self.put_news(self.now() + SENT_AGAIN_AFTER, slot, *news);
        }
    }

    fn lose_stream(&mut self, slot: Slot, generation: u32, stream: u64, after: Duration) {
        let lost = News::Frame { generation, stream, frame: Frame::Lost, sender: None };
        self.put_news(self.now() + after, slot, lost);
    }

    pub(in crate::sim) fn deliver_answer(&mut self, slot: Slot, token: u64, reply: MembershipReply) {
        if let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)) {
            keeper.answered(token, reply);
        }
    }

    pub(super) fn slots_running(&self) -> Vec<Slot> {
        let peers = self.peers.iter().enumerate();
        let up = peers.filter(|(_, peer)| peer.as_ref().is_some_and(|peer| peer.up));
        up.map(|(slot, _)| slot as Slot).collect()
    }
}

/// The effects that the tasks want.
impl World {
    /// Lets all tasks go on as far as they can.
    pub(in crate::sim) fn go_on_with_files(&mut self) {
        loop {
            let Some(files) = &mut self.files else { return };
            let Some(task) = files.tasks.next_woken() else { return };
            let real_stores = files.settings.real_stores;
            let Some(keeper) = files.keeper(task.0).cloned() else { continue };
            self.bring_up_to_date(&keeper);
            if real_stores {
                keeper.disk.lock().set_time(self.now(), keeper.unix_ms());
            }
            if let Some(files) = &mut self.files {
                files.tasks.poll(task);
            }
            if real_stores && !keeper.disk.lock().has_power() {
                // The effects that it wanted in this step are dropped.
                self.crash_slot(task.0);
                continue;
            }
            while let Some(effect) = keeper.take_effect() {
                self.carry_out(&keeper, effect);
            }
            self.count_step(task.0);
        }
    }

    fn count_step(&mut self, slot: Slot) {
        let Some(files) = &mut self.files else { return };
        files.home(slot).steps += 1;
        if let Some((whose, left)) = &mut files.dies
            && *whose == slot
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                files.dies = None;
                self.crash_slot(slot);
            }
        }
    }

    fn bring_up_to_date(&mut self, keeper: &Keeper) {
        keeper.set_now(self.now());
        let Some(process) = self.running(keeper.process.0) else { return };
        let version = process.node.version();
        if keeper.seen_version.get() != Some(version) {
            keeper.seen_version.set(Some(version));
            keeper.set_view(process.node.view());
        }
        debug_assert!(process.node.is_shown_in(&keeper.view()), "a view that is not the node's");
    }

    fn carry_out(&mut self, keeper: &Arc<Keeper>, effect: Effect) {
        let (slot, generation) = keeper.process;
        let local = self.local_time(slot);
        match effect {
            Effect::Spawn(task) => {
                if let Some(files) = &mut self.files {
                    files.tasks.spawn(slot, task);
                }
            }
            Effect::Timer { at: Moment(u64::MAX), .. } => {}
            Effect::Timer { at, timer } => self.put_news(at, slot, News::Timer { generation, timer }),
            Effect::Open { stream, to, request } => self.open_stream(keeper, stream, &to, request),
            Effect::Frame { stream, to, frame } => self.send_frame(keeper, stream, to, frame),
            Effect::Close { stream } => drop(keeper.streams.lock().remove(&stream)),
            Effect::Probe { stream, with } => {
                let helper = keeper.streams.lock().get(&stream).and_then(|end| end.helper);
                if !self.is_way(slot, helper, with.0) || self.generation_at(with.0) != Some(with.1) {
                    keeper.frame(stream, Frame::Lost);
                }
            }
            Effect::Ask { token, to, request } => {
                if self.helper_between(slot, slot_of(&to.address)).is_some() {
                    keeper.through_helpers.lock().insert(to.position, self.now());
                }
                self.send_request(slot, &Target::from(&to), Ask::Files(token), request, Purpose::Lookup);
            }
            Effect::Heard(whom, reply) => {
                self.tell_node(slot, |node| node.handle_lookup_answer(local, &whom, &reply));
            }
            Effect::Silence(whom) => self.tell_node(slot, |node| node.handle_lookup_silence(local, &whom)),
            Effect::Leaving(wish) => self.tell_node(slot, |node| match wish {
                RingWish::BeginLeaving => node.begin_leaving(local),
                RingWish::AskTurn => node.ask_turn(),
                RingWish::TakeTurn => node.take_turn(),
                RingWish::Stay => node.stay(local),
                RingWish::Depart => node.depart(local),
            }),
            Effect::Ended { id, outcome } => self.end_of(id, slot, outcome),
            Effect::Moved { cause, bytes } => {
                if let Some(files) = &mut self.files {
                    files.moved.count(cause, bytes);
                }
            }
        }
    }

    fn tell_node(&mut self, slot: Slot, what: impl FnOnce(&mut Node)) {
        if let Some(peer) = self.running(slot) {
            what(&mut peer.node);
        }
        self.drain(slot);
    }

    fn end_of(&mut self, id: u64, at: Slot, outcome: Outcome) {
        let ended = self.now();
        self.note(|| format!("ended {id}: {outcome:?}"));
        let Some(files) = &mut self.files else { return };
        files.under_way.remove(&id);
        if let Outcome::Stored(Ok(stored)) = &outcome
            && let RecordTarget::Content { content, length, .. } = stored.record.target
        {
            let name = stored.record.name.clone();
            files.acknowledged.push(Acknowledged { name, content, length });
        }
        match &outcome {
            Outcome::Stored(Ok(StoredFile { record, .. })) | Outcome::Removed(Ok(record)) => {
                files.acknowledge_name(record);
            }
            _ => {}
        }
        files.ended.push(Ended { id, at, ended, outcome });
    }

    fn put_news(&mut self, at: Moment, slot: Slot, news: News) {
        self.queue.put(at, Delivery::Files(slot, Box::new(news)));
    }

    fn generation_at(&self, slot: Slot) -> Option<u32> {
        self.process(slot).filter(|peer| peer.up).map(|peer| peer.generation)
    }

    fn open_stream(&mut self, keeper: &Keeper, stream: u64, to: &Entry, request: Box<StorageRequest>) {
        let ((slot, generation), whom) = (keeper.process, slot_of(&to.address));
        let bytes = traffic::stream_bytes(codec::encoded_length(&*request).unwrap_or(0));
        let dialled = self.connect(slot, whom, Purpose::Files);
        let Some(peer) = self.running(slot) else { return };
        // A separate packet acknowledges the last answer.
        peer.sent.count(Purpose::Files, bytes + traffic::ACK_BYTES);
        let from = peer.node.me().clone();
        let is_it = self.node(whom).is_some_and(|node| node.me().position == to.position);
        let there = self.generation_at(whom).filter(|_| is_it);
        let helper = self.helper_between(slot, whom);
        match (there, self.stream_delay(slot, helper, whom)) {
            (Some(there), Some(delay)) => {
                let arrives = self.now() + dialled + delay;
                keeper.opened(stream, (whom, there), helper, arrives);
                if helper.is_some() {
                    keeper.through_helpers.lock().insert(to.position, self.now());
                }
                let asker = (slot, generation);
                self.put_news(arrives, whom, News::Open { stream, from, asker, helper, request });
            }
            _ => self.lose_stream(slot, generation, stream, limits::CONNECT_TIMEOUT),
        }
    }

    fn send_frame(&mut self, keeper: &Keeper, stream: u64, to: Process, frame: Frame) {
        let (slot, generation) = keeper.process;
        let payload = match &frame {
            Frame::Reply(reply) => codec::encoded_length(reply).unwrap_or(0),
            Frame::Piece(span) => span.length() as usize,
            Frame::Taken(_) | Frame::End | Frame::Reset | Frame::Lost => 0,
        };
        if let Some(peer) = self.running(slot) {
            peer.sent.count(Purpose::Files, traffic::stream_bytes(payload));
        }
        let helper = keeper.streams.lock().get(&stream).and_then(|end| end.helper);
        let (now, delay) = (self.now(), self.stream_delay(slot, helper, to.0));
        let mut streams = keeper.streams.lock();
        let end = streams.get_mut(&stream);
        match delay {
            Some(delay) => {
                let mut arrives = now + delay;
                if let Some(end) = end {
                    // Frames arrive in order, whatever delay each has.
                    arrives = arrives.max(end.arrives_after);
                    end.arrives_after = arrives;
                }
                let sender = Some(Sender((slot, generation), now));
                self.put_news(arrives, to.0, News::Frame { generation: to.1, stream, frame, sender });
            }
            None => self.lose_stream(slot, generation, stream, super::stream::IDLE_TIMEOUT),
        }
    }
}

/// The time after which an unacknowledged packet is sent again.
const SENT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The time between two rounds of repair without any change.
const REPAIR_PERIOD: Duration = Duration::from_secs(30);
