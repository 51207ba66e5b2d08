//! The crash matrix: one workload of everything that a store does, cut before each change of its disk and before each
//! sync. The part that a loss of power leaves of the unsynced changes (all, none, the first few and a torn one, any, chance) is
//! opened again and compared with a model of what was acknowledged.
//!
//! The gate tries one cut in three with one kind of loss, and a second loss of power during some recoveries;
//! `QUOIT_DEATHS=1` tries all cuts with all kinds, and more recoveries.

mod model;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::model::{Fact, Model, NONE, ROOT, invariants, kind, read, record_in_words, resume_all};
use crate::blob::{BlobError, Kind, Limits, Loss, MemoryDisk, Notice, PeerFile, SmallObject, Store};
use crate::id::{ContentId, FileName, Position};
use crate::outboard::{CHUNK_BYTES, Chain, ChunkHasher};
use crate::time::{Moment, Timestamp};
use crate::wire::Link;

type Done<T = ()> = Result<T, BlobError>;

/// The store that works, and the model that follows it.
struct Worker {
    disk: MemoryDisk,
    store: Store,
    model: Arc<Mutex<Model>>,
    files: Vec<Vec<u8>>,
}

impl Worker {
    fn new(disk: MemoryDisk, model: Arc<Mutex<Model>>) -> Done<Worker> {
        // A, B, …: of one chunk and of several, which have outboards.
        let files: Vec<Vec<u8>> = [
            700,
            (1 << 20) + 70_000,
            (1 << 20) + 5,
            400,
            2 << 20,
            0,
            900,
            30_000,
            1_200,
            9_000,
            64 << 10,
            1,
            350,
            80,
        ]
        .into_iter()
        .zip(1..)
        .map(|(length, seed)| random_bytes(seed, length))
        .collect();
        model.lock().unwrap().bytes = files.iter().map(|file| (ContentId::of(file), file.clone())).collect();
        step(&model, vec![(Fact::Life, "1".to_owned())], || save_life(&disk, 1))?;
        let store = Store::open(Path::new(ROOT), Arc::new(disk.clone()))?;
        model.lock().unwrap().opened = true;
        Ok(Worker { disk, store, model, files })
    }

    fn content(&self, file: usize) -> ContentId {
        ContentId::of(&self.files[file])
    }

    fn step<T>(&self, facts: Vec<(Fact, String)>, work: impl FnOnce(&Store) -> Done<T>) -> Done<T> {
        step(&self.model, facts, || work(&self.store))
    }

    /// Receives a file to its end, linked under a name, and checks that the store takes it.
    fn receive(&self, file: usize, why: Kind, link: Option<(&str, u64)>) -> Done {
        let content = self.content(file);
        let none = [Fact::Freed(content), Fact::Lease(content)].map(|fact| (fact, NONE.to_owned()));
        let mut facts = vec![(Fact::Object(content), kind(why))];
        facts.extend(none);
        let link = link.map(|(link, clock)| Link { name: name(link), clock: Timestamp(clock) });
        facts.extend(link.iter().map(|link| (Fact::Link(link.name.clone()), content.to_string())));
        if why == Kind::Requested {
            // A file that reached its place, and not the index, is taken in as a replica.
            self.model.lock().unwrap().begin(&[(Fact::Object(content), kind(Kind::Replica))]);
        }
        self.step(facts, |store| {
            let mut receiver = store.receive(content, self.files[file].len() as u64)?;
            let offset = receiver.offset() as usize;
            for piece in self.files[file][offset..].chunks(256 << 10) {
                receiver.write(piece)?;
            }
            receiver.finish_linked(why, link.as_slice()).map(drop)
        })
    }

    /// Keeps small files together, each linked under its name.
    fn keep(&self, files: &[(usize, &str)], why: Kind, clock: u64) -> Done {
        let link = |of: &str| Link { name: name(of), clock: Timestamp(clock) };
        let mut facts = Vec::new();
        for (file, named) in files {
            let content = self.content(*file);
            facts.extend([Fact::Freed(content), Fact::Lease(content)].map(|fact| (fact, NONE.to_owned())));
            facts.push((Fact::Object(content), kind(why)));
            facts.push((Fact::Link(name(named)), content.to_string()));
            // A file that reached its place, and not the index, is taken in as a replica.
            self.model.lock().unwrap().begin(&[(Fact::Object(content), kind(Kind::Replica))]);
        }
        let small = |(file, named): &(usize, &str)| SmallObject {
            content: self.content(*file),
            links: vec![link(named)],
            bytes: self.files[*file].clone().into(),
        };
        self.step(facts, |store| {
            store
                .keep_small(files.iter().map(small).collect(), why)
                .into_iter()
                .try_for_each(|kept| kept.map(drop))
        })
    }

    /// Makes the files of the journal durable, and removes the journal.
    fn settle(&self) -> Done {
        self.step(Vec::new(), Store::settle_journal)
    }

    fn record(&self, of: &str, value: &str) -> Done {
        let key = key(of);
        self.step(vec![(Fact::Record(key), record_in_words(value.as_bytes()))], |store| {
            store.update_records(&[key], |_, _, _| Some(value.as_bytes().to_vec().into()))
        })
    }

    fn life(&self, life: u64) -> Done {
        self.step(vec![(Fact::Life, life.to_string())], |_| save_life(&self.disk, life))
    }

    fn place(&self, file: usize, link: &str) -> Done {
        let facts = vec![(Fact::Received(name(link)), self.content(file).to_string())];
        self.step(facts, |store| store.place_received(&self.content(file), &name(link)).map(drop))
    }

    /// The values after an object and its links have gone.
    fn gone(&self, file: usize, links: &[&str]) -> Vec<(Fact, String)> {
        let content = self.content(file);
        let of_object = [Fact::Object(content), Fact::Lease(content), Fact::Surplus(content)];
        let links = links.iter().map(|link| Fact::Link(name(link)));
        of_object.into_iter().chain(links).map(|fact| (fact, NONE.to_owned())).collect()
    }

    /// Closes the store in good order and opens it again.
    fn open_again(self) -> Done<Worker> {
        let Worker { disk, store, model, files } = self;
        drop(store);
        let store = Store::open(Path::new(ROOT), Arc::new(disk.clone()))?;
        Ok(Worker { disk, store, model, files })
    }
}

/// Stores one by one and together, requests, new versions, removals, copies that are handed over, freed, evicted and pinned,
/// partial transfers, damage, and the notes of a peer: all on one store.
fn work(disk: MemoryDisk, model: Arc<Mutex<Model>>) -> Done {
    disk.set_time(Moment::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let worker = Worker::new(disk, model)?;
    let worker = first_life(worker)?.open_again()?;
    second_life(&worker)
}

fn first_life(worker: Worker) -> Done<Worker> {
    let at = |ms: u64| ms.to_string();
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|file| worker.content(file));
    // Stores: bytes, name, record, lease.
    worker.receive(0, Kind::Replica, Some(("a", 1)))?;
    worker.record("a", "a, version 1")?;
    worker.receive(1, Kind::Replica, Some(("b", 1)))?;
    worker.record("b", "b, version 1")?;
    worker.step(vec![(Fact::Lease(a), at(5_000)), (Fact::Lease(b), at(5_000))], |store| {
        store.renew_leases(vec![a, b], 5_000)
    })?;
    // Small files together: three in one write of the journal, and one more in the same segment. Two are needed for
    // something else before they are settled.
    let [j, k] = [9, 10].map(|file| worker.content(file));
    worker.keep(&[(9, "j"), (10, "k"), (11, "l")], Kind::Replica, 1)?;
    worker.keep(&[(12, "m")], Kind::Requested, 1)?;
    worker.step(vec![(Fact::Lease(j), at(5_500))], |store| store.renew_leases(vec![j], 5_500))?;
    worker.place(12, "m")?;
    worker.step(worker.gone(11, &["l"]), |store| {
        store.discard(&worker.content(11), |_| true).map(|gone| assert!(gone))
    })?;
    worker.settle()?;
    // Requests: copies of the cache, and for people. One of them is then needed as a replica.
    worker.receive(2, Kind::Requested, Some(("c", 1)))?;
    worker.place(2, "c")?;
    worker.receive(3, Kind::Requested, None)?;
    worker.place(3, "d")?;
    worker.step(vec![(Fact::Object(c), kind(Kind::Replica))], |store| store.promote(&c).map(drop))?;
    worker.step(vec![(Fact::Pin(d), "pinned".to_owned())], |store| store.pin(&d).map(drop))?;
    worker.life(2)?;
    // A transfer that breaks off in its second chunk, and is taken up again against its outboard.
    let mut receiver = worker.store.receive(e, worker.files[4].len() as u64)?;
    receiver.write(&worker.files[4][..(3 << 19) + 11])?;
    drop(receiver);
    worker.step(vec![(Fact::Object(e), kind(Kind::Replica))], |store| {
        let chain = Chain::new(e, outboard_of(&worker.files[4]));
        let receiver = store.receive_chunks(chain, worker.files[4].len() as u64)?;
        for (index, chunk) in (0..).zip(worker.files[4].chunks(CHUNK_BYTES as usize)) {
            if !receiver.here().contains(index) {
                receiver.place(index, &[Bytes::copy_from_slice(chunk)])?;
            }
        }
        receiver.finish(Kind::Replica, &[]).map(drop)
    })?;
    // An empty file. A new version: other bytes under the name, while the old ones stay.
    worker.receive(5, Kind::Replica, Some(("empty", 1)))?;
    worker.receive(6, Kind::Replica, Some(("a", 2)))?;
    worker.record("a", "a, version 2")?;
    worker.place(6, "c")?;
    // A copy that is one too many: handed over, and freed here.
    worker.step(vec![(Fact::Surplus(c), at(6_000))], |store| store.mark_surplus(vec![(c, Some(6_000))]))?;
    let mut facts = worker.gone(2, &["c"]);
    facts.push((Fact::Received(name("c")), worker.content(6).to_string()));
    worker.step(facts, |store| {
        let freeing = store.begin_freeing(&c).expect("nobody else frees it");
        assert!(freeing.free()?);
        Ok(())
    })?;
    // The notes of a peer, and the log of records begins anew.
    worker.step(vec![(Fact::Members, "four".to_owned())], |store| store.remember(b"four".to_vec()))?;
    worker.step(vec![(Fact::Known, "nas is away".to_owned())], |store| {
        store.remember_known(b"nas is away".to_vec())
    })?;
    worker.store.tidy_records()?;
    worker.record("late", "a record behind the base")?;
    worker.store.write_uses()?;
    // A removal: the name, and in time its bytes.
    worker.record("b", "b is removed")?;
    worker.step(vec![(Fact::Link(name("b")), NONE.to_owned())], |store| {
        store.unlink(&name("b"), Timestamp(3))
    })?;
    let leased =
        [d, e, f, k, worker.content(6), worker.content(12)].map(|content| (Fact::Lease(content), at(7_000)));
    worker.step(leased.into(), |store| {
        store.lapsed(7_000, 5_000, 10).map(|lapsed| assert_eq!(lapsed.len(), 2))
    })?;
    let mut facts = worker.gone(1, &[]);
    facts.push((Fact::Freed(b), "freed".to_owned()));
    worker.step(facts, |store| store.free_lapsed(&b, 5_000).map(|freed| assert!(freed)))?;
    assert!(worker.store.info(&f)?.is_some());
    // The next life finds these in the journal: a name moves on before they are settled.
    worker.keep(&[(11, "l"), (13, "n")], Kind::Replica, 6)?;
    worker.step(vec![(Fact::Link(name("n")), NONE.to_owned())], |store| {
        store.unlink(&name("n"), Timestamp(7))
    })?;
    worker.step(vec![(Fact::Pin(k), "pinned".to_owned())], |store| store.pin(&k).map(drop))?;
    Ok(worker)
}

fn second_life(worker: &Worker) -> Done {
    let [b, d, h, i] = [1, 3, 7, 8].map(|file| worker.content(file));
    worker.life(3)?;
    // Removed bytes come back with a new store of them; then an object of more than one chunk is discarded.
    worker.receive(1, Kind::Replica, Some(("b", 4)))?;
    worker.record("b", "b, version 3")?;
    worker.step(vec![(Fact::Lease(b), "8000".to_owned())], |store| store.renew_leases(vec![b], 8_000))?;
    // The cache makes room: the pinned copy stays, the other ones go.
    worker.receive(7, Kind::Requested, Some(("h", 1)))?;
    let evicted = [worker.gone(7, &["h"]), worker.gone(12, &["m"])].concat();
    worker.step(evicted, |store| store.set_limits(Limits { capacity: Some(1_000), reserve: Some(0) }))?;
    worker.store.set_limits(Limits::default())?;
    assert!(worker.store.info(&h)?.is_none() && worker.store.info(&d)?.is_some());
    worker.step(vec![(Fact::Pin(d), NONE.to_owned())], |store| store.unpin(&d).map(drop))?;
    // Damage that a scrub finds; the bytes come again.
    damage(worker, 6, &["a"])?;
    worker.receive(6, Kind::Replica, Some(("a", 5)))?;
    damage(worker, 1, &["b"])?;
    worker.receive(1, Kind::Replica, Some(("b", 5)))?;
    // A lost outboard is written again, a part that nobody wants any more goes, a record goes.
    worker.store.layout().remove_quietly(&worker.store.layout().outboard(&b));
    assert!(worker.store.scrub(&b)?);
    worker.store.write_verified()?;
    let mut receiver = worker.store.receive(i, 1_200)?;
    receiver.write(&worker.files[8][..600])?;
    drop(receiver);
    assert_eq!(worker.store.expire_parts(Duration::ZERO, 0)?, 1);
    let late = key("late");
    worker.step(vec![(Fact::Record(late), NONE.to_owned())], |store| store.remove_record(late))?;
    worker.step(worker.gone(1, &["b"]), |store| store.discard(&b, |_| true).map(|gone| assert!(gone)))?;
    // Small files again: one is here already, one comes anew, one is damaged once it is settled.
    let here = SmallObject {
        content: worker.content(13),
        links: Vec::new(),
        bytes: worker.files[13].clone().into(),
    };
    assert!(matches!(
        worker.store.keep_small(vec![here], Kind::Replica)[0],
        Err(BlobError::AlreadyHere { .. })
    ));
    worker.keep(&[(12, "m")], Kind::Replica, 8)?;
    worker.settle()?;
    damage(worker, 11, &["l"])?;
    worker.keep(&[(11, "l")], Kind::Replica, 9)?;
    worker.receive(8, Kind::Replica, Some(("i", 1)))?;
    worker.settle()
}

/// A bit of an object flips, and a scrub finds it.
fn damage(worker: &Worker, file: usize, links: &[&str]) -> Done {
    let content = worker.content(file);
    let mut facts = worker.gone(file, links);
    // The lease of the object ends when its next copy comes.
    facts.retain(|(fact, _)| !matches!(fact, Fact::Lease(_)));
    {
        let mut model = worker.model.lock().unwrap();
        model.begin(&facts);
        model.damaged.insert(content);
    }
    let path = worker.store.layout().object(&content);
    assert!(worker.disk.flip_bit(&path, &mut ChaCha8Rng::seed_from_u64(1)));
    assert!(!worker.store.scrub(&content)?);
    worker.model.lock().unwrap().end(facts);
    Ok(())
}

fn step<T>(model: &Mutex<Model>, facts: Vec<(Fact, String)>, work: impl FnOnce() -> Done<T>) -> Done<T> {
    model.lock().unwrap().begin(&facts);
    let done = work()?;
    model.lock().unwrap().end(facts);
    Ok(done)
}

fn save_life(disk: &MemoryDisk, incarnation: u64) -> Done {
    let peer = PeerFile {
        position: Position::of_number(4),
        number: Some(4),
        name: None,
        ring: "0123abcd".to_owned(),
        listen: "127.0.0.1:12004".parse().unwrap(),
        advertise: None,
        certificate: "4".to_owned(),
        certs_dir: None,
        incarnation,
        process_id: 0,
        interval_ms: None,
        scrub_every_ms: None,
        replicas: Some(3),
        successors: None,
        keep_versions: None,
        capacity_bytes: None,
        reserve_bytes: None,
        left: false,
        contacts: Vec::new(),
    };
    peer.save(Path::new(ROOT), disk)
}

fn outboard_of(bytes: &[u8]) -> crate::outboard::Outboard {
    let mut hasher = ChunkHasher::default();
    hasher.update(bytes);
    hasher.finish().1
}

fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn name(of: &str) -> FileName {
    FileName::new(of).unwrap()
}

fn key(of: &str) -> Position {
    ContentId::of(of.as_bytes()).key()
}

/// Opens what a loss of power has left, and compares it with the model.
fn check(disk: &MemoryDisk, model: &Model, n: u64) -> Result<(), String> {
    let open = || {
        let store = Store::open(Path::new(ROOT), Arc::new(disk.clone()));
        store.map_err(|error| format!("it does not open: {error}"))
    };
    let store = open()?;
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = notices.clone();
    store.on_notice(move |notice| heard.lock().unwrap().push(notice));
    let is_bad = |notice: &Notice| match notice {
        Notice::Quarantined { object, .. } => !model.damaged.contains(&object.content),
        // The last write was broken off; what was acknowledged is compared below.
        Notice::JournalDamaged { .. } => false,
        // Before the first opening has ended, there is nothing in it.
        Notice::IndexRebuilt { .. } => model.opened,
        _ => true,
    };
    if let Some(notice) = notices.lock().unwrap().iter().find(|notice| is_bad(notice)) {
        return Err(format!("a notice: {notice}"));
    }
    model.check(&store, disk)?;
    invariants(&store, disk, model)?;
    resume_all(&store, disk, model)?;
    // It serves on: what is stored now is there after another start.
    let bytes = random_bytes(1_000 + n, 100);
    let (content, now) = (ContentId::of(&bytes), key("afterwards"));
    let stores_on = || -> Done {
        let mut receiver = store.receive(content, 100)?;
        receiver.write(&bytes)?;
        receiver.finish(Kind::Replica)?;
        store.put_record(now, b"afterwards".to_vec())
    };
    stores_on().map_err(|error| format!("it stores nothing more: {error}"))?;
    drop(store);
    let store = open()?;
    let (found, record) = (read(&store, &content), store.record(&now));
    if found.ok() != Some(bytes) || record.ok().flatten().as_deref() != Some(b"afterwards") {
        return Err("what was stored afterwards is gone".to_owned());
    }
    Ok(())
}

/// The outcome of the cuts so far.
#[derive(Default)]
struct Tally {
    /// The moments at which the power was cut.
    points: u64,
    /// The losses of power: a point has several, of different kinds.
    losses: u64,
    /// The losses of power during a recovery from one.
    again: u64,
    /// The losses of the index after one.
    indexes: u64,
    wrong: Vec<String>,
}

const LOSSES: [Loss; 5] = [Loss::Nothing, Loss::Everything, Loss::Torn, Loss::Reordered, Loss::Chance];

/// Cuts the power of a fork of the disk in the ways of this point.
fn cut(fork: &MemoryDisk, model: &Model, tally: &mut Tally, all: bool) {
    tally.points += 1;
    let n = tally.points;
    if !all && !n.is_multiple_of(GATE_ONE_IN) {
        return;
    }
    let one = [LOSSES[(n / GATE_ONE_IN) as usize % LOSSES.len()]];
    for (at, loss) in (0..).zip(if all { &LOSSES[..] } else { &one }) {
        let rng = || ChaCha8Rng::seed_from_u64(n * 8 + at);
        let lose = |disk: MemoryDisk| {
            disk.set_loss(*loss);
            disk.power_on(&mut rng())
        };
        tally.losses += 1;
        let mut note = |what: &str, checked: Result<(), String>| {
            if let Err(why) = checked {
                tally.wrong.push(format!("cut {n}, {loss:?}{what}: {why}; under way: {}", model.under_way()));
            }
        };
        note("", check(&lose(fork.fork()), model, n));
        if n.is_multiple_of(if all { 5 } else { 31 * GATE_ONE_IN }) {
            // The power goes once more while the store opens.
            for call in (1 + n % 7..).step_by(if all { 7 } else { 41 }) {
                let disk = lose(fork.fork());
                disk.die_before_call(call);
                drop(Store::open(Path::new(ROOT), Arc::new(disk.clone())));
                if disk.has_power() {
                    break;
                }
                tally.again += 1;
                note(&format!(", and again at call {call} of the opening"), check(&lose(disk), model, n));
            }
        }
        if model.opened && model.damaged.is_empty() && n.is_multiple_of(if all { 3 } else { 7 * GATE_ONE_IN })
        {
            tally.indexes += 1;
            note(" and of the index", check_without_index(&lose(fork.fork()), model));
        }
    }
}

/// The index is lost as well: objects and records come back from the folders.
fn check_without_index(disk: &MemoryDisk, model: &Model) -> Result<(), String> {
    use crate::blob::Disk as _;
    disk.remove(&Path::new(ROOT).join("index.redb")).map_err(|error| error.to_string())?;
    let store = Store::open(Path::new(ROOT), Arc::new(disk.clone())).map_err(|error| error.to_string())?;
    model.check_without_index(&store, disk)
}

/// Goal: after a loss of power at any moment of the workload, whatever it leaves of the unsynced changes, everything
/// that was acknowledged is there and whole, nothing else is visible, partial transfers go on or are cleaned, and the
/// store serves on.
#[test]
fn no_loss_of_power_loses_what_was_acknowledged() {
    let all = std::env::var_os("QUOIT_DEATHS").is_some();
    let (disk, model) = (MemoryDisk::default(), Arc::new(Mutex::new(Model::default())));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (watched, counted) = (model.clone(), tally.clone());
    disk.watch(move |fork| {
        let mut tally = counted.lock().unwrap();
        if tally.wrong.len() < WRONG_MAX {
            cut(&fork, &watched.lock().unwrap().clone(), &mut tally, all);
        }
    });
    work(disk.clone(), model.clone()).unwrap();
    let mut tally = tally.lock().unwrap();
    cut(&disk, &model.lock().unwrap(), &mut tally, all);
    let Tally { points, losses, again, indexes, wrong } = &*tally;
    println!(
        "{points} cuts, {losses} losses of power, {again} more during recoveries, {indexes} of the index as well"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(*points > 600, "{points}");
}

/// The gate tries one in so many cuts.
const GATE_ONE_IN: u64 = 3;
/// The number of wrong outcomes after which no further cut is tried.
const WRONG_MAX: usize = 5;
