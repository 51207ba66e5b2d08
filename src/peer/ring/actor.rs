//! The actor that owns the membership. It turns incoming messages into calls of the pure node, and the node's outputs
//! into requests, datagrams and events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::clock::{Clock, unix_ms};
use super::message::ActorMessage;
use super::peer_file::{SharedFile, save_file};
use crate::backoff::Backoff;
use crate::blob::PeerFile;
use crate::chord::{Event, Node, Output, ReplyTo, Token, Unanswered, View};
use crate::config::RingSettings;
use crate::id::Position;
use crate::peer::api::{Ended, PeerEvent};
use crate::peer::shared::Shared;
use crate::shelf::value;
use crate::time::Moment;
use crate::transport::{RequestFailure, background};
use crate::wire::{
    Address, Datagram, Entry, Fault, Member, MemberState, MembershipReply, MembershipRequest, Reply, Request,
    Target, codec,
};

/// The node and its surroundings.
pub(in crate::peer) struct Actor {
    pub node: Node,
    pub shared: Arc<Shared>,
    pub inbox: mpsc::Receiver<ActorMessage>,
    pub view: watch::Sender<Arc<View>>,
    pub peer_file: SharedFile,
    /// The clock that the node is given.
    pub clock: Clock,
    /// When to check next whether this machine has moved; `None` if a person gave the address.
    pub move_check_at: Option<Moment>,
    /// The last known address of this peer that this machine really had.
    pub was_here: Option<IpAddr>,
    /// The peers to which this peer lately sent the time of its clock, with the moment.
    pub clock_told: BTreeMap<Position, Moment>,
    /// The number of frames taken from each peer when it was last pinged.
    pub taken: HashMap<Position, u64>,
}

impl Actor {
    /// Runs until the node has ended.
    pub(in crate::peer) async fn run(mut self) {
        let mut replies: HashMap<ReplyTo, oneshot::Sender<MembershipReply>> = HashMap::new();
        let mut next_reply = 0;
        let mut published = None;
        loop {
            let ended = self.carry_out(&mut replies).await;
            if published != Some(self.node.version()) {
                published = Some(self.node.version());
                let view = Arc::new(self.node.view());
                if view.is_member() {
                    self.shared.ring.was_member.store(true, Ordering::Relaxed);
                    self.keep_settings(view.settings).await;
                }
                self.view.send_replace(view);
            }
            debug_assert!(self.node.is_shown_in(&self.view.borrow()), "a view that is not the node's");
            if let Some(why) = ended {
                self.shared.ring.ended.send_replace(Some(why));
                return;
            }
            let wake = self.node.poll_timeout();
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(ActorMessage::End(why)) => {
                        self.shared.ring.ended.send_replace(Some(why));
                        return;
                    }
                    Some(message) => self.take(message, &mut replies, &mut next_reply),
                    None => return,
                },
                () = self.clock.sleep_until(wake) => {
                    let now = self.clock.now();
                    self.look_for_life(now);
                    self.node.handle_timeout(now);
                }
            }
        }
    }

    fn take(
        &mut self,
        message: ActorMessage,
        replies: &mut HashMap<ReplyTo, oneshot::Sender<MembershipReply>>,
        next_reply: &mut u64,
    ) {
        let now = self.clock.now();
        if self.node.me().address.is_unspecified() {
            self.find_own_address(&message);
        } else if self.move_check_at.is_some_and(|at| at <= now) {
            self.move_check_at = Some(now + MOVE_CHECK_EVERY);
            self.notice_move(now, &message);
        }
        match message {
            ActorMessage::Datagram { from, bytes } => match codec::decode::<Datagram>(&bytes) {
                Ok(Datagram::Clock { unix_ms }) => self.shared.ring.hear_clock(from.position, unix_ms),
                Ok(datagram) => self.node.handle_datagram(now, &from, datagram),
                Err(_) => self.shared.transport.malformed_datagram(&from.position),
            },
            ActorMessage::Request { from, through_a_helper, request, reply } => {
                let to = ReplyTo(*next_reply);
                *next_reply += 1;
                replies.retain(|_, waiting| !waiting.is_closed());
                replies.insert(to, reply);
                match through_a_helper {
                    false => self.node.handle_request(now, &from, to, request),
                    true => self.node.handle_forwarded_request(now, &from, to, request),
                }
            }
            ActorMessage::Reply { token, through_a_helper: false, answer } => {
                self.node.handle_reply(now, token, answer);
            }
            ActorMessage::Reply { token, through_a_helper: true, answer } => {
                self.node.handle_forwarded_reply(now, token, answer);
            }
            ActorMessage::LookupAnswer { from, reply } => self.node.handle_lookup_answer(now, &from, &reply),
            ActorMessage::LookupSilence { whom } => self.node.handle_lookup_silence(now, &whom),
            ActorMessage::Persisted(incarnation) => {
                self.shared.transport.set_incarnation(incarnation);
                self.node.handle_persisted(now, incarnation);
            }
            ActorMessage::Forget { whom, done } => {
                // The asking task may have gone.
                let _ = done.send(self.node.forget(now, &whom));
            }
            ActorMessage::Expel { whom, key } => {
                self.node.expel(now, &whom, &key);
            }
            // The loop takes this one itself.
            ActorMessage::End(_) => {}
            ActorMessage::SayFull(full) => self.node.set_full(full),
            ActorMessage::BeginLeaving => self.node.begin_leaving(now),
            ActorMessage::Stay => self.node.stay(now),
            ActorMessage::AskTurn => self.node.ask_turn(),
            ActorMessage::TakeTurn => self.node.take_turn(),
            ActorMessage::Depart => self.node.depart(now),
            #[cfg(test)]
            ActorMessage::Sleep(time) => self.clock.skip(time),
        }
    }

    /// Reports a sign of life of every peer that has sent anything since its ping, however late its answer is.
    fn look_for_life(&mut self, now: Moment) {
        let awaited: Vec<Entry> = self.node.awaited().cloned().collect();
        self.taken.retain(|position, _| awaited.iter().any(|entry| entry.position == *position));
        for entry in awaited {
            let Some(taken) = self.frames_taken(&entry) else { continue };
            // If there was no connection at the ping, the dial itself was the answer.
            let before = self.taken.insert(entry.position, taken).unwrap_or(0);
            if taken > before {
                self.node.handle_sign_of_life(now, &entry);
            }
        }
    }

    /// The number of frames that came on the connection with this incarnation of a peer.
    fn frames_taken(&self, entry: &Entry) -> Option<u64> {
        let connection = self.shared.transport.connection(&entry.position)?;
        let of_this_life = |peer: &Entry| (peer.key, peer.incarnation) == (entry.key, entry.incarnation);
        of_this_life(connection.peer()).then(|| connection.frames_taken())
    }

    /// A peer that listens on every address takes as its own the address by which the first peer it met can reach it.
    fn find_own_address(&mut self, message: &ActorMessage) {
        let Some(met) = sender(message) else { return };
        if let Some(address) = self.shared.transport.own_address_towards(&met.position) {
            self.node.set_address(address.into());
        }
    }

    /// Updates the address of a peer that listens on every address after its machine has moved. An address that this
    /// machine never had belongs to an address translator; only other peers see it change.
    fn notice_move(&mut self, now: Moment, message: &ActorMessage) {
        let Ok(known) = self.node.me().address.as_str().parse::<SocketAddr>() else { return };
        if self.shared.transport.has_address(known.ip()) {
            self.was_here = Some(known.ip());
            return;
        }
        let Some(met) = sender(message).filter(|_| self.was_here == Some(known.ip())) else { return };
        let found = self.shared.transport.own_address_towards(&met.position);
        if let Some(address) = found.filter(|found| !found.ip().is_loopback()) {
            self.node.moved(now, address.into());
        }
    }

    /// Carries out the node's outputs. Returns why the node ended, if it has.
    async fn carry_out(
        &mut self,
        replies: &mut HashMap<ReplyTo, oneshot::Sender<MembershipReply>>,
    ) -> Option<Ended> {
        let mut ended = None;
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Request { token, to, request, timeout } => self.ask(token, to, request, timeout),
                Output::Reply { to, reply } => {
                    if let Some(waiting) = replies.remove(&to) {
                        // The asking task may have gone.
                        let _ = waiting.send(reply);
                    }
                }
                Output::Datagram { to, datagram } => {
                    // The clock goes before the ping: of several datagrams that wait for a dial only the last is kept.
                    if matches!(datagram, Datagram::Ping { .. }) {
                        self.tell_clock(&to);
                        if let Some(taken) = self.frames_taken(&to) {
                            self.taken.insert(to.position, taken);
                        }
                    }
                    if let Ok(bytes) = codec::encode(&datagram) {
                        self.shared.transport.send_datagram(&Target::from(&to), Bytes::from(bytes));
                    }
                }
                Output::Persist { incarnation } => self.persist(incarnation),
                Output::Forget { entry } => {
                    self.shared.transport.drop_connection(&entry.position, entry.incarnation);
                }
                Output::Event(Event::Ended(reason)) => ended = Some(reason.into()),
                Output::Event(Event::Misbehaved { peer, fault }) => self.shared.blame(&peer, fault),
                Output::Event(event) => {
                    if let Some(event) = told(&self.shared, event) {
                        self.shared.tell(event);
                    }
                }
            }
        }
        ended
    }

    /// Sends the time of this machine's clock to a peer now and then.
    fn tell_clock(&mut self, to: &Entry) {
        let now = self.clock.now();
        self.clock_told.retain(|_, at| now.since(*at) < CLOCK_EVERY);
        if self.clock_told.contains_key(&to.position) || self.clock_told.len() >= CLOCK_TOLD_MAX {
            return;
        }
        self.clock_told.insert(to.position, now);
        if let Ok(bytes) = codec::encode(&Datagram::Clock { unix_ms: unix_ms() }) {
            self.shared.transport.send_datagram(&Target::from(to), Bytes::from(bytes));
        }
    }

    fn ask(&self, token: Token, to: Target, request: MembershipRequest, timeout: Duration) {
        let shared = self.shared.clone();
        background(async move {
            let joins = matches!(request, MembershipRequest::Join { .. });
            let request = Request::Membership(request);
            let asked = match joins {
                true => shared.ask_to_join(&to, &request, timeout).await,
                false => shared.transport.request(&to, &request, timeout).await,
            };
            let answer = match asked {
                Ok((from, Reply::Membership(reply))) => Ok((from, reply)),
                Ok((_, Reply::ProtocolError(why))) => Err(Unanswered::from(why)),
                Ok((from, Reply::Storage(_) | Reply::Forwarding(_) | Reply::Revocations { .. })) => {
                    shared.blame_answer(&from.position, Fault::WrongReply);
                    Err(Unanswered::from("it broke the protocol".to_owned()))
                }
                Err(failure) => Err(unanswered(&failure)),
            };
            // The actor is gone only when the peer is.
            let through_a_helper = match &answer {
                Ok((from, _)) => shared.transport.was_asked_through_a_helper(&from.position),
                Err(_) => false,
            };
            let message = ActorMessage::Reply { token, through_a_helper, answer };
            let _ = shared.ring.actor.send(message).await;
        });
    }

    fn persist(&self, incarnation: u64) {
        let (shared, file) = (self.shared.clone(), self.peer_file.clone());
        background(async move {
            let (mut told, mut backoff) = (false, PERSIST_BACKOFF);
            // The node asks once: a peer that was declared dead can come back only with a later incarnation on disk.
            loop {
                // If two saves overlap, the greater incarnation stays, whichever comes last.
                let raise = |file: &mut PeerFile| file.incarnation = file.incarnation.max(incarnation);
                match save_file(&shared.store, &file, raise).await {
                    Ok(()) => break,
                    Err(error) if !told => shared.tell(PeerEvent::Warning(error.to_string())),
                    Err(_) => {}
                }
                told = true;
                tokio::time::sleep(backoff.next()).await;
            }
            let _ = shared.ring.actor.send(ActorMessage::Persisted(incarnation)).await;
        });
    }

    /// Saves newly learned settings before any reader of the view sees this peer active, so that it comes back with
    /// them.
    async fn keep_settings(&self, settings: Option<RingSettings>) {
        if self.peer_file.lock().await.settings() == settings {
            return;
        }
        let saved = save_file(&self.shared.store, &self.peer_file, |file| file.set_settings(settings));
        if let Err(error) = saved.await {
            self.shared.tell(PeerEvent::Warning(error.to_string()));
        }
    }
}

/// The peer that a message came from.
fn sender(message: &ActorMessage) -> Option<&Entry> {
    match message {
        ActorMessage::Datagram { from, .. } | ActorMessage::Request { from, .. } => Some(from),
        ActorMessage::Reply { answer: Ok((from, _)), .. } => Some(from),
        _ => None,
    }
}

/// Keeps the known members on disk, for the next start.
pub(in crate::peer) async fn remember_members(shared: Arc<Shared>, file: SharedFile) {
    let mut view = shared.ring.views.clone();
    let mut last: Option<Vec<Member>> = None;
    loop {
        let now = view.borrow_and_update().clone();
        if now.is_member() {
            let members = worth_remembering(&now);
            // The status reports a full disk; the next change of the ring tries again.
            if last.as_ref() != Some(&members) && shared.full_with().await.is_none() {
                if let Err(error) = remember(&shared, &members).await {
                    shared.tell(PeerEvent::Warning(error));
                }
                keep_contacts(&shared, &file, &now).await;
                last = Some(members);
            }
        }
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps addresses in peer.toml for a start without the index; they are rewritten once too few of them belong to
/// members.
async fn keep_contacts(shared: &Shared, file: &SharedFile, view: &View) {
    let alive: Vec<Address> = view.alive().map(|entry| entry.address.clone()).collect();
    let wanted = alive.len().min(PeerFile::CONTACTS_MAX);
    let good = file.lock().await.contacts.iter().filter(|contact| alive.contains(contact)).count();
    if good >= wanted.min(CONTACTS_ENOUGH) || shared.full_with().await.is_some() {
        return;
    }
    let saved = save_file(&shared.store, file, |file| {
        file.contacts = alive.into_iter().take(PeerFile::CONTACTS_MAX).collect();
    });
    if let Err(error) = saved.await {
        shared.tell(PeerEvent::Warning(error.to_string()));
    }
}

async fn remember(shared: &Shared, members: &Vec<Member>) -> Result<(), String> {
    let bytes = value::encode(members).map_err(|error| error.to_string())?;
    shared.blocking(move |store| store.remember(bytes)).await.map_err(|error| error.to_string())
}

/// The members to remember, at most [`REMEMBERED_MAX`]: random partners of a large ring first, then the other living
/// members, then those that do not answer.
fn worth_remembering(view: &View) -> Vec<Member> {
    let as_known = |entry: &Entry| match view.members.at(&entry.position) {
        Some(known) => known.clone(),
        None => Member { entry: entry.clone(), state: MemberState::Alive },
    };
    let random: BTreeSet<Position> = view.acquaintances.iter().map(|entry| entry.position).collect();
    let others = view.alive().chain(view.away()).filter(|entry| !random.contains(&entry.position));
    view.acquaintances.iter().chain(others).map(as_known).take(REMEMBERED_MAX).collect()
}

fn unanswered(failure: &RequestFailure) -> Unanswered {
    match failure {
        RequestFailure::Timeout { .. } => Unanswered::from("it does not answer".to_owned()),
        RequestFailure::Dial(error) => Unanswered { why: error.to_string(), refused: error.is_final() },
        other => Unanswered::from(other.to_string()),
    }
}

fn told(shared: &Shared, event: Event) -> Option<PeerEvent> {
    let named = |peer| shared.named(&peer);
    Some(match event {
        Event::WaitingFor(peers) => PeerEvent::WaitingFor { peers },
        Event::Active => PeerEvent::Active,
        Event::PingsSent(to) => PeerEvent::PingsSent { to: shared.all_named(&to) },
        Event::PingReceived(from) => PeerEvent::PingReceived { from: named(from) },
        Event::PingAnswered(from) => PeerEvent::PingAnswered { from: named(from) },
        Event::Alive(peer) => PeerEvent::PeerAlive { peer: named(peer) },
        Event::Dead(peer) => PeerEvent::PeerDead { peer: named(peer) },
        Event::Left(peer) => PeerEvent::PeerLeft { peer: named(peer) },
        Event::Forgotten(peer) => PeerEvent::PeerForgotten { peer: named(peer) },
        Event::SuccessorChanged(rank, peer) => PeerEvent::SuccessorChanged { rank, peer: named(peer) },
        Event::PredecessorChanged(peer) => PeerEvent::PredecessorChanged { peer: named(peer) },
        Event::OrderDiffers { given, real } => {
            PeerEvent::OrderDiffers { given: shared.all_named(&given), real: shared.all_named(&real) }
        }
        Event::Clash(peer) => {
            PeerEvent::Warning(format!("two peers with different keys claim position {}", named(peer)))
        }
        Event::Misbehaved { .. } | Event::Ended(_) => return None,
    })
}

/// The pause between two tries to write an incarnation that the disk refused.
const PERSIST_BACKOFF: Backoff = Backoff::steady(Duration::from_secs(1));
/// The time between two reports of this machine's clock to a pinged peer, and the most peers that get one in that time.
const CLOCK_EVERY: Duration = Duration::from_secs(20);
const CLOCK_TOLD_MAX: usize = 256;
/// How often a peer that listens on every address checks whether its machine has moved.
const MOVE_CHECK_EVERY: Duration = Duration::from_secs(3);
/// The number of contacts in peer.toml that are enough if they are members.
const CONTACTS_ENOUGH: usize = PeerFile::CONTACTS_MAX / 2;
/// The most members that are kept on disk.
const REMEMBERED_MAX: usize = 128;

#[cfg(test)]
mod tests;
