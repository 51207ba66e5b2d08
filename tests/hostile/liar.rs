//! A valid member that lies: the honest membership code over the honest transport, a small store in memory,
//! and a hook through which each of its answers goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quoit::chord::{Node, NodeConfig, Output, ReplyTo, Start, Token, Unanswered, View};
use quoit::id::{ContentId, Position};
use quoit::outboard::{ChunkHasher, Outboard};
use quoit::time::Moment;
use quoit::transport::{Authority, Identity, Incoming, Placement, RequestStream, StreamError, Transport};
use quoit::wire::limits::{self, MIDSTATES_PER_PAGE_MAX};
use quoit::wire::{
    Address, CopyCounts, Datagram, Entry, Hello, Life, Member, MembershipReply, MembershipRequest,
    ObjectInfo, RelayFailure, Reply, Request, SelfReport, SignedRecord, StorageReply, StorageRequest, Target,
    codec,
};
use tokio::sync::{mpsc, oneshot, watch};

/// The reply of the liar to one request.
pub enum Answer {
    /// These replies, one after the other.
    Say(Vec<Reply>),
    /// This reply, then these bytes.
    Send(Reply, Bytes),
    /// This reply, then these bytes over and over, until the asker takes no more.
    SendForEver(Reply, Bytes),
    /// Takes this number of bytes after the first reply, then sends the other replies.
    Take(u64, Vec<Reply>),
}

/// The hook that turns an honest answer into another one.
pub type Lie = dyn Fn(&Entry, &Request, Answer) -> Answer + Send + Sync;

/// A member of the ring that may lie.
pub struct Liar {
    pub identity: Identity,
    pub transport: Transport,
    pub view: watch::Receiver<Arc<View>>,
    store: Arc<Store>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// The objects that the liar holds, and its way to lie.
struct Store {
    me: Position,
    files: Mutex<HashMap<ContentId, (ObjectInfo, Bytes, Outboard)>>,
    records: Mutex<HashMap<Position, SignedRecord>>,
    lie: Mutex<Arc<Lie>>,
    /// Invented members that the liar reports beside the real ones.
    invented: Mutex<Vec<Member>>,
    told: Mutex<Told>,
}

/// Counts the lies that arrived: answers that were read to their end, and pings that were answered.
#[derive(Default)]
struct Told {
    by_peer: BTreeMap<Position, usize>,
    /// Numbers of pings with invented members.
    pings: BTreeSet<u64>,
}

enum Heard {
    Datagram(Entry, Bytes),
    Request(Entry, MembershipRequest, oneshot::Sender<MembershipReply>),
    Reply(Token, Result<(Entry, MembershipReply), Unanswered>),
    Persisted(u64),
}

impl Liar {
    /// Joins the ring of this CA through a known peer. The new member is honest until [`Liar::lie`].
    pub async fn join(certs_dir: &std::path::Path, number: u8, known: Address, interval: Duration) -> Liar {
        let authority = Authority::open(certs_dir).unwrap().unwrap();
        let identity = authority.issue(Placement::Numbered(number), None).unwrap();
        let verifier = identity.verifier().unwrap();
        let hello = Hello { incarnation: 1, advertised: None, revocations: 0 };
        let listen = "127.0.0.1:0".parse().unwrap();
        let (transport, incoming) =
            Transport::bind(&identity, &verifier, listen, hello, &Default::default()).unwrap();
        let me = Entry::from(Life {
            position: identity.position(),
            incarnation: 1,
            key: identity.key_hash(),
            address: transport.local_address().unwrap().into(),
        });
        let origin = Instant::now();
        let start = Start::Join { known: Target { address: known, position: None } };
        let config = NodeConfig {
            me: me.clone(),
            address_given: false,
            settings: None,
            interval,
            contacts_max: limits::MEMBERS_MAX,
            start,
            seed: 7,
        };
        let node = Node::new(now(origin), config);
        let (seen, view) = watch::channel(Arc::new(node.view()));
        let store = Arc::new(Store {
            me: me.position,
            files: Mutex::default(),
            records: Mutex::default(),
            lie: Mutex::new(Arc::new(|_, _, honest| honest)),
            invented: Mutex::default(),
            told: Mutex::default(),
        });
        let (tell, told) = mpsc::channel(1_024);
        let driver = Driver {
            node,
            transport: transport.clone(),
            told,
            tell: tell.clone(),
            seen,
            origin,
            store: store.clone(),
        };
        let tasks = vec![tokio::spawn(driver.run()), tokio::spawn(serve(store.clone(), incoming, tell))];
        let mut liar = Liar { identity, transport, view, store, tasks };
        liar.view.wait_for(|view| view.is_member()).await.unwrap();
        liar
    }

    pub fn position(&self) -> Position {
        self.identity.position()
    }

    /// From now on every answer goes through this hook.
    pub fn lie(&self, lie: impl Fn(&Entry, &Request, Answer) -> Answer + Send + Sync + 'static) {
        *self.store.lie.lock().unwrap() = Arc::new(lie);
    }

    /// From now on the liar reports these members in pings and exchanges, beside those it knows.
    pub fn invent(&self, members: Vec<Member>) {
        *self.store.invented.lock().unwrap() = members;
    }

    /// The number of lies that arrived at each peer.
    pub fn lies_told(&self) -> BTreeMap<Position, usize> {
        self.store.told.lock().unwrap().by_peer.clone()
    }

    /// Gives the liar a file, so that it is a holder.
    pub fn hold(&self, bytes: &[u8]) -> ObjectInfo {
        let (object, outboard) = describe(bytes);
        let held = (object, Bytes::copy_from_slice(bytes), outboard);
        self.store.files.lock().unwrap().insert(object.content, held);
        object
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Address, length and outboard of these bytes.
pub fn describe(bytes: &[u8]) -> (ObjectInfo, Outboard) {
    let mut hasher = ChunkHasher::default();
    hasher.update(bytes);
    let (content, outboard) = hasher.finish();
    (ObjectInfo { content, length: bytes.len() as u64, outboard: outboard.digest() }, outboard)
}

/// Its membership: it does the work of an honest peer's actor, without a disk.
struct Driver {
    node: Node,
    transport: Transport,
    told: mpsc::Receiver<Heard>,
    tell: mpsc::Sender<Heard>,
    seen: watch::Sender<Arc<View>>,
    origin: Instant,
    store: Arc<Store>,
}

impl Driver {
    async fn run(mut self) {
        let mut replies: HashMap<ReplyTo, oneshot::Sender<MembershipReply>> = HashMap::new();
        let mut next = 0;
        loop {
            while let Some(output) = self.node.poll_output() {
                self.carry_out(output, &mut replies);
            }
            self.seen.send_replace(Arc::new(self.node.view()));
            let wake = self.node.poll_timeout().map_or(Duration::from_secs(1), |at| {
                Duration::from_micros(at.0).saturating_sub(self.origin.elapsed())
            });
            let told = tokio::time::timeout(wake, self.told.recv()).await;
            let now = now(self.origin);
            match told {
                Err(_) => self.node.handle_timeout(now),
                Ok(None) => return,
                Ok(Some(Heard::Datagram(from, bytes))) => {
                    let datagram = codec::decode(&bytes).unwrap();
                    self.store.note_answered(&from, &datagram);
                    self.node.handle_datagram(now, &from, datagram);
                }
                Ok(Some(Heard::Request(from, request, reply))) => {
                    next += 1;
                    replies.insert(ReplyTo(next), reply);
                    self.node.handle_request(now, &from, ReplyTo(next), request);
                }
                Ok(Some(Heard::Reply(token, answer))) => self.node.handle_reply(now, token, answer),
                Ok(Some(Heard::Persisted(incarnation))) => {
                    self.transport.set_incarnation(incarnation);
                    self.node.handle_persisted(now, incarnation);
                }
            }
        }
    }

    fn carry_out(&self, output: Output, replies: &mut HashMap<ReplyTo, oneshot::Sender<MembershipReply>>) {
        match output {
            Output::Request { token, to, request, timeout } => {
                let (transport, tell) = (self.transport.clone(), self.tell.clone());
                tokio::spawn(async move {
                    let asked = transport.request(&to, &Request::Membership(request), timeout).await;
                    let answer = match asked {
                        Ok((from, Reply::Membership(reply))) => Ok((from, reply)),
                        other => Err(Unanswered::from(format!("{other:?}"))),
                    };
                    let _ = tell.send(Heard::Reply(token, answer)).await;
                });
            }
            Output::Reply { to, reply } => {
                if let Some(waiting) = replies.remove(&to) {
                    // The asker may have gone.
                    let _ = waiting.send(reply);
                }
            }
            Output::Datagram { to, mut datagram } => {
                self.store.invent_into(&mut datagram);
                let bytes = codec::encode(&datagram).unwrap();
                self.transport.send_datagram(&Target::from(&to), bytes.into());
            }
            Output::Persist { incarnation } => {
                let _ = self.tell.try_send(Heard::Persisted(incarnation));
            }
            Output::Forget { entry } => self.transport.drop_connection(&entry.position, entry.incarnation),
            Output::Event(_) => {}
        }
    }
}

async fn serve(store: Arc<Store>, mut incoming: mpsc::Receiver<Incoming>, tell: mpsc::Sender<Heard>) {
    while let Some(incoming) = incoming.recv().await {
        match incoming {
            Incoming::Stream { from, stream } => {
                tokio::spawn(serve_one(store.clone(), from, stream, tell.clone()));
            }
            Incoming::Datagram { from, bytes } => {
                let _ = tell.send(Heard::Datagram(from, bytes)).await;
            }
            _ => {}
        }
    }
}

async fn serve_one(
    store: Arc<Store>,
    from: Entry,
    mut stream: RequestStream,
    tell: mpsc::Sender<Heard>,
) -> Result<(), StreamError> {
    let request = stream.read_request().await?;
    let honest = match &request {
        Request::Membership(asked) => {
            let (reply, answer) = oneshot::channel();
            let _ = tell.send(Heard::Request(from.clone(), asked.clone(), reply)).await;
            let Ok(answer) = answer.await else { return Ok(()) };
            Answer::Say(vec![Reply::Membership(answer)])
        }
        Request::Storage(asked) => store.answer(asked),
        Request::Revocations { digest, .. } => {
            Answer::Say(vec![Reply::Revocations { digest: *digest, revoked: Vec::new() }])
        }
        Request::Forward { .. } | Request::Forwarded { .. } => {
            Answer::Say(vec![Reply::Forwarding(Err(RelayFailure::Refused))])
        }
    };
    let lie = store.lie.lock().unwrap().clone();
    let truth = if let Answer::Say(replies) = &honest { said(replies) } else { Vec::new() };
    match lie(&from, &request, honest) {
        Answer::Say(replies) => {
            for reply in &replies {
                stream.send_reply(reply).await?;
            }
            stream.finish().await?;
            if said(&replies) != truth {
                store.note_told(&from);
            }
            return Ok(());
        }
        Answer::Send(reply, bytes) => {
            stream.send_reply(&reply).await?;
            stream.send_piece(bytes).await?;
        }
        Answer::SendForEver(reply, bytes) => {
            stream.send_reply(&reply).await?;
            loop {
                stream.send_piece(bytes.clone()).await?;
            }
        }
        Answer::Take(mut left, replies) => {
            let mut replies = replies.into_iter();
            stream.send_reply(&replies.next().unwrap()).await?;
            while left > 0 {
                let Some(piece) = stream.read_piece(usize::MAX).await? else { break };
                left = left.saturating_sub(piece.len() as u64);
            }
            for reply in replies {
                stream.send_reply(&reply).await?;
            }
        }
    }
    stream.finish().await
}

fn said(replies: &[Reply]) -> Vec<Vec<u8>> {
    replies.iter().map(|reply| codec::encode(reply).unwrap()).collect()
}

impl Store {
    /// Puts the invented members before all other news.
    fn invent_into(&self, datagram: &mut Datagram) {
        let invented = self.invented.lock().unwrap().clone();
        if invented.is_empty() {
            return;
        }
        if let Datagram::Ping { sequence, .. } = datagram {
            self.told.lock().unwrap().pings.insert(*sequence);
        }
        if let Datagram::Ping { news, .. } | Datagram::Pong { news, .. } = datagram {
            news.splice(0..0, invented);
            news.truncate(limits::NEWS_MAX);
        }
    }

    /// A ping with invented members that is answered has arrived.
    fn note_answered(&self, from: &Entry, datagram: &Datagram) {
        if let Datagram::Pong { sequence, .. } = datagram {
            let was_a_lie = self.told.lock().unwrap().pings.remove(sequence);
            if was_a_lie {
                self.note_told(from);
            }
        }
    }

    fn note_told(&self, from: &Entry) {
        *self.told.lock().unwrap().by_peer.entry(from.position).or_default() += 1;
    }

    /// Answers like an honest peer, but keeps only the objects that the test gave it.
    fn answer(&self, request: &StorageRequest) -> Answer {
        let files = self.files.lock().unwrap();
        let say = |reply| Answer::Say(vec![Reply::Storage(reply)]);
        match request {
            StorageRequest::StoreObject { object, .. } => {
                let replies = [
                    StorageReply::Proceed { offset: 0 },
                    StorageReply::Durable { peer: self.me },
                    StorageReply::Finished,
                ];
                Answer::Take(object.length, replies.map(Reply::Storage).into())
            }
            StorageRequest::FetchObject { content, offset } => match files.get(content) {
                Some((object, bytes, _)) => Answer::Send(
                    Reply::Storage(StorageReply::Object(*object)),
                    bytes.slice(*offset as usize..),
                ),
                None => say(StorageReply::NotHere),
            },
            StorageRequest::FetchRange { content, offset, length } => match files.get(content) {
                Some((object, bytes, _)) => Answer::Send(
                    Reply::Storage(StorageReply::Object(*object)),
                    bytes.slice(*offset as usize..(*offset + *length).min(object.length) as usize),
                ),
                None => say(StorageReply::NotHere),
            },
            StorageRequest::FetchOutboard { content, first } => match files.get(content) {
                Some((object, _, outboard)) => {
                    let page = outboard.midstates().iter().skip(*first as usize).take(MIDSTATES_PER_PAGE_MAX);
                    let midstates = page.flat_map(|midstate| midstate.0).collect();
                    say(StorageReply::Outboard { object: *object, midstates })
                }
                None => say(StorageReply::NotHere),
            },
            StorageRequest::WhoHas { content } => {
                say(StorageReply::Holders { here: files.contains_key(content), others: Vec::new() })
            }
            StorageRequest::Announce { .. } | StorageRequest::Freed { .. } => say(StorageReply::Noted),
            StorageRequest::MayFree { .. } => say(StorageReply::NotOwner { owner: None }),
            StorageRequest::Vouch { content } => match files.contains_key(content) {
                true => say(StorageReply::Vouched),
                false => say(StorageReply::NotHere),
            },
            StorageRequest::FetchRecord { name } => {
                let record = self.records.lock().unwrap().get(&name.key()).cloned();
                say(StorageReply::Record { record, syncing: false })
            }
            // Files that are not stored together are stored one by one.
            StorageRequest::StoreBatch { .. }
            | StorageRequest::PutBatch { .. }
            | StorageRequest::PutRecords { .. }
            | StorageRequest::FetchBatch { .. } => say(StorageReply::Refused("not together".to_owned())),
            StorageRequest::FetchRecords { names } => {
                let known = self.records.lock().unwrap();
                let records = names.iter().map(|name| known.get(&name.key()).cloned()).collect();
                say(StorageReply::Records { records, syncing: false })
            }
            StorageRequest::FetchHistory { name } => {
                let records = self.records.lock().unwrap().get(&name.key()).cloned();
                say(StorageReply::History { records: records.into_iter().collect(), syncing: false })
            }
            StorageRequest::Renew { .. } => say(StorageReply::Noted),
            StorageRequest::PutRecord { record, .. } => {
                let key = record.decode().unwrap().name.key();
                self.records.lock().unwrap().insert(key, record.clone());
                say(StorageReply::Put { durable: vec![self.me], missing: Vec::new() })
            }
            StorageRequest::Offer { .. } => {
                say(StorageReply::Wanted { objects: Vec::new(), records: Vec::new(), arriving: Vec::new() })
            }
            StorageRequest::DroppedTombstones => say(StorageReply::DroppedTombstones { up_to_ms: 0 }),
            StorageRequest::Compare { .. } => say(StorageReply::Differ { ranges: Vec::new() }),
            StorageRequest::HeardFull => say(StorageReply::HeardFull { peers: Vec::new() }),
            StorageRequest::Sync => {
                say(StorageReply::Synced { objects: 0, bytes: 0, records: 0, complete: true })
            }
            StorageRequest::Health => {
                say(StorageReply::Health { short: Vec::new(), total: 0, below_quorum: 0 })
            }
            StorageRequest::Unkept => say(StorageReply::Unkept { files: 0, bytes: 0, reason: None }),
            StorageRequest::CountCopies => say(StorageReply::Copies(CopyCounts::default())),
            StorageRequest::Describe => say(StorageReply::Described(SelfReport::default())),
            StorageRequest::Verified { objects } => {
                say(StorageReply::Verified { objects: vec![None; objects.len()], oldest: None })
            }
            StorageRequest::Lacks { objects } => {
                let lacked = |(_, content): &(usize, &ContentId)| !files.contains_key(*content);
                let objects = objects.iter().enumerate().filter(lacked).map(|(i, _)| i as u16).collect();
                say(StorageReply::Wanted { objects, records: Vec::new(), arriving: Vec::new() })
            }
            StorageRequest::ListFiles { .. } => say(StorageReply::Files { files: Vec::new(), more: false }),
        }
    }
}

fn now(origin: Instant) -> Moment {
    Moment(origin.elapsed().as_micros() as u64)
}
