//! The work of the world for the tasks: it carries messages, lets time pass, and tells the tasks about their node.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;

use super::super::network::{Process, Slot};
use super::super::places::slot_of;
use super::super::traffic::{self, Purpose};
use super::super::world::{Delivery, World};
use super::effect::FilesEffect;
use super::frame::Frame;
use super::keeper::{BEGIN_UNIX_MS, Keeper};
use super::news::{News, Sender};
use super::outcome::{Acknowledged, Ended, Outcome, StoredFile};
use super::stream::Stream;
use crate::files::{
    Piece as _, RingWish, free_surplus, keep_leases, keep_names, repair, take_over, tell_room,
};
use crate::names::Absence;
use crate::replica::TakeOver;
use crate::time::Moment;
use crate::wire::{Entry, RecordTarget, StorageRequest, codec, limits};

/// The reports of the world about its peers.
impl World {
    /// Starts the files' side of a new process.
    pub(in crate::sim) fn start_keeper(&mut self, slot: Slot, founds: bool, settled: bool) {
        self.end_tasks(slot);
        let Some(process) = self.process(slot) else { return };
        let view = process.node.view();
        let Some(files) = &self.files else { return };
        let (settings, laws) = (files.settings, files.laws);
        let (interval, now) = (self.interval, self.now);
        let Some(mailbox) = self.mailbox(slot) else { return };
        let revoked = self.revocations_known(slot);
        let Some(files) = &mut self.files else { return };
        let returning = files.returning.clone();
        let home = files.home(slot);
        let keeper = Arc::new(Keeper::new(
            mailbox,
            home.disk.clone(),
            settings,
            self.network.lines(),
            interval,
            view,
            laws,
        ));
        keeper.clock_offset_ms.set(home.clock_offset_ms);
        keeper.revoked.set(revoked);
        keeper.returning.set(returning);
        let mut disk = home.disk.lock();
        disk.set_time(now, keeper.unix_ms());
        disk.open();
        *keeper.absence.lock() = Absence::since(disk.active_ms());
        drop(disk);
        home.keeper = Some(keeper.clone());
        home.seen = None;
        // Old peers do not all begin a round of repair at the same moment.
        let pause = if settled { REPAIR_PERIOD.mul_f64(files.rng.random()) } else { Duration::ZERO };
        self.tasks.spawn(slot, Box::pin(repair(keeper.clone(), pause)));
        if founds {
            *keeper.takeover.lock() = TakeOver::of_founder(&keeper.view().me);
        }
        if settings.surplus_wait.is_some() {
            self.tasks.spawn(slot, Box::pin(free_surplus(keeper.clone())));
        }
        self.tasks.spawn(slot, Box::pin(tell_room(keeper.clone())));
        self.tasks.spawn(slot, Box::pin(take_over(keeper.clone())));
        self.tasks.spawn(slot, Box::pin(keep_names(keeper.clone())));
        self.tasks.spawn(slot, Box::pin(keep_leases(keeper)));
        self.look_at_neighbours(slot);
    }

    /// Handles the death of a process without notice.
    pub(in crate::sim) fn crash_keeper(&mut self, slot: Slot) {
        let Some(files) = &mut self.files else { return };
        if let Some(home) = files.homes.get(&slot) {
            home.disk.lock().crash(&mut files.rng, files.laws);
        }
        self.end_tasks(slot);
    }

    /// Handles the end of a process, for whatever reason.
    pub(in crate::sim) fn end_keeper(&mut self, slot: Slot) {
        let Some(files) = &mut self.files else { return };
        let Some(home) = files.homes.get_mut(&slot) else { return };
        if home.keeper.take().is_some() {
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
        let now = (node.phase(), node.me().incarnation, node.room_changes());
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
        let is_it = |generation| generation == keeper.mailbox.process.1;
        match news {
            News::Frame { generation, stream, frame, .. } if is_it(generation) => {
                keeper.frame(stream, frame);
            }
            News::Open { stream, from, asker, helper, request } => {
                let stream = Stream::accepted(&keeper, stream, &from, asker, helper);
                self.tasks.spawn(slot, Box::pin(keeper.serve(stream, from, *request)));
            }
            // A later process answers packets for an earlier one's connections with a stateless reset.
            News::Frame { stream, sender: Some(Sender((to, generation), _)), .. } => {
                if let Some(delay) = self.network.stream(slot, to) {
                    self.lose_stream(to, generation, stream, delay);
                }
            }
            News::Frame { .. } => {}
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

    pub(super) fn slots_running(&self) -> Vec<Slot> {
        let peers = self.peers.iter().enumerate();
        let up = peers.filter(|(_, peer)| peer.as_ref().is_some_and(|peer| peer.up));
        up.map(|(slot, _)| slot as Slot).collect()
    }
}

/// The effects that the tasks want.
impl World {
    /// Brings what a process with files knows up to date, before one of its tasks goes on.
    pub(in crate::sim) fn before_step(&mut self, slot: Slot) {
        let Some(files) = &self.files else { return };
        let (real_stores, keeper) = (files.settings.real_stores, files.keeper(slot).cloned());
        let Some(keeper) = keeper else { return };
        self.bring_up_to_date(&keeper);
        if real_stores {
            keeper.disk.lock().set_time(self.now(), keeper.unix_ms());
        }
    }

    /// Whether the disk of a process lost its power in its last step.
    pub(in crate::sim) fn loses_power(&self, slot: Slot) -> bool {
        let files = self.files.as_ref().filter(|files| files.settings.real_stores);
        let keeper = files.and_then(|files| files.keeper(slot));
        keeper.is_some_and(|keeper| !keeper.disk.lock().has_power())
    }

    pub(in crate::sim) fn count_step(&mut self, slot: Slot) {
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
        let Some(process) = self.running(keeper.mailbox.process.0) else { return };
        let version = process.node.version();
        if keeper.seen_version.get() != Some(version) {
            keeper.seen_version.set(Some(version));
            keeper.set_view(process.node.view());
        }
    }

    pub(in crate::sim) fn carry_out_with_files(&mut self, slot: Slot, effect: FilesEffect) {
        let local = self.local_time(slot);
        let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)).cloned() else { return };
        match effect {
            FilesEffect::Open { stream, to, request } => self.open_stream(&keeper, stream, &to, request),
            FilesEffect::Frame { stream, to, frame } => self.send_frame(&keeper, stream, to, frame),
            FilesEffect::Close { stream } => drop(keeper.streams.lock().remove(&stream)),
            FilesEffect::Probe { stream, with } => {
                let helper = keeper.streams.lock().get(&stream).and_then(|end| end.helper);
                if !self.is_way(slot, helper, with.0) || self.generation_at(with.0) != Some(with.1) {
                    keeper.frame(stream, Frame::Lost);
                }
            }
            FilesEffect::Leaving(wish) => self.tell_node(slot, |node| match wish {
                RingWish::BeginLeaving => node.begin_leaving(local),
                RingWish::AskTurn => node.ask_turn(),
                RingWish::TakeTurn => node.take_turn(),
                RingWish::Stay => node.stay(local),
                RingWish::Depart => node.depart(local),
            }),
            FilesEffect::Full(full) => self.tell_node(slot, |node| node.set_full(full)),
            FilesEffect::Ended { id, outcome } => self.end_of(id, slot, outcome),
            FilesEffect::Unpins(content) => {
                if let Some(files) = &mut self.files {
                    files.promises.forget_pin(slot, &content);
                }
            }
            FilesEffect::Freed { content, lapsed } => self.judge_freed(slot, content, lapsed),
            FilesEffect::Moved { cause, bytes } => {
                if let Some(files) = &mut self.files {
                    files.moved.count(cause, bytes);
                }
            }
        }
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
            Outcome::Stored(Ok(StoredFile { record, .. }))
            | Outcome::Removed(Ok(record))
            | Outcome::Restored(Ok(record)) => {
                files.acknowledge_name(record);
                files.promises.note_record(record);
            }
            Outcome::Pinned(Ok(content)) => files.promises.note_pin(at, *content),
            _ => {}
        }
        files.ended.push(Ended { id, at, ended, outcome });
    }

    /// Tells a process which keys its peer knows to be revoked.
    pub(in crate::sim) fn tell_keeper_of_revocations(&mut self, slot: Slot) {
        let revoked = self.revocations_known(slot);
        if let Some(keeper) = self.files.as_ref().and_then(|files| files.keeper(slot)) {
            keeper.revoked.set(revoked);
        }
    }

    /// Lets a peer hear the clock of another one, as it goes with pings.
    pub(in crate::sim) fn hear_clock(&mut self, slot: Slot, from: &Entry) {
        let Some(files) = self.files.as_ref().filter(|files| files.settings.hear_clocks) else { return };
        let sender = files.keeper(slot_of(&from.address));
        if let (Some(keeper), Some(sender)) = (files.keeper(slot), sender) {
            let its_unix_ms =
                (BEGIN_UNIX_MS + self.now().0 / 1_000).saturating_add_signed(sender.clock_offset_ms.get());
            keeper.ring_clock.lock().hear(self.now(), from.position, its_unix_ms);
        }
    }

    fn put_news(&mut self, at: Moment, slot: Slot, news: News) {
        self.queue.put(at, Delivery::Files(slot, Box::new(news)));
    }

    fn generation_at(&self, slot: Slot) -> Option<u32> {
        self.process(slot).filter(|peer| peer.up).map(|peer| peer.generation)
    }

    fn open_stream(&mut self, keeper: &Keeper, stream: u64, to: &Entry, request: Box<StorageRequest>) {
        let ((slot, generation), whom) = (keeper.mailbox.process, slot_of(&to.address));
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
                    keeper.mailbox.asks_through_a_helper(to.position);
                }
                let asker = (slot, generation);
                self.put_news(arrives, whom, News::Open { stream, from, asker, helper, request });
            }
            _ => self.lose_stream(slot, generation, stream, limits::CONNECT_TIMEOUT),
        }
    }

    fn send_frame(&mut self, keeper: &Keeper, stream: u64, to: Process, frame: Frame) {
        let (slot, generation) = keeper.mailbox.process;
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
        let on_lines = match &frame {
            Frame::Piece(span) => self.network.line_time(slot, to.0, now, span.length()),
            _ => Duration::ZERO,
        };
        let mut streams = keeper.streams.lock();
        let end = streams.get_mut(&stream);
        match delay {
            Some(delay) => {
                let mut arrives = now + on_lines + delay;
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
