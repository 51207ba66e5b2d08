//! A loss of power before each call of the disk: every acknowledged object is there afterwards, and nothing else seems
//! to be there.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::blob::{BlobError, Disk as _, Kind, MemoryDisk, SmallObject, Store};
use crate::id::{ContentId, FileName, Position};
use crate::time::Timestamp;
use crate::wire::Link;

const ROOT: &str = "/data/peer";

/// The objects, records and links that a store has acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    objects: Vec<Vec<u8>>,
    records: Vec<(Position, Vec<u8>)>,
    links: Vec<(FileName, ContentId)>,
    /// The objects whose removal has begun, and whether it was acknowledged.
    removals: Vec<(ContentId, bool)>,
}

impl Acknowledged {
    /// The removal of an object begins: from now on it is there or not, and nothing between.
    fn begin_removal(&mut self, content: ContentId) {
        self.objects.retain(|object| ContentId::of(object) != content);
        self.links.retain(|(_, linked)| *linked != content);
        self.removals.push((content, false));
    }
}

fn bytes(of: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| of.wrapping_mul(31).wrapping_add((at % 251) as u8)).collect()
}

/// Opens a store and works with it until the power goes.
fn work(disk: &MemoryDisk, done: &mut Acknowledged) -> Result<(), BlobError> {
    let store = Store::open(Path::new(ROOT), Arc::new(disk.clone()))?;
    for round in 0..2u8 {
        // An object of one chunk, and one of two chunks, which has an outboard.
        for (i, length) in [700, 1_100_000].into_iter().enumerate() {
            let object = bytes(round * 2 + i as u8, length);
            let content = ContentId::of(&object);
            let mut receiver = store.receive(content, length as u64)?;
            for piece in object.chunks(256 << 10) {
                receiver.write(piece)?;
            }
            let name = FileName::new(format!("{round}-{i}")).unwrap();
            let link = Link { name: name.clone(), clock: Timestamp(u64::from(round)) };
            receiver.finish_linked(Kind::Replica, &[link])?;
            done.objects.push(object);
            done.links.push((name, content));
        }
        let batch: Vec<Vec<u8>> = (0..3).map(|i| bytes(40 + round * 3 + i, 300 + usize::from(i))).collect();
        let link = Link { name: FileName::new(format!("batch-{round}")).unwrap(), clock: Timestamp(3) };
        let small = |bytes: &Vec<u8>| SmallObject {
            content: ContentId::of(bytes),
            links: vec![link.clone()],
            bytes: bytes.clone(),
        };
        for kept in store.keep_small(batch.iter().map(small).collect(), Kind::Replica) {
            kept?;
        }
        // All three have the name; the last one wins it.
        done.links.push((link.name.clone(), ContentId::of(&batch[2])));
        done.objects.extend(batch);
        let key = ContentId::of(&[round]).key();
        store.put_record(key, vec![round; 100])?;
        done.records.push((key, vec![round; 100]));
        if round == 0 {
            // The first small object leaves the journal, the second one is still in it at the end.
            store.settle_journal()?;
        } else {
            let (name, content) = done.links[0].clone();
            store.place_received(&content, &name)?;
        }
    }
    // An object without an outboard goes, then one with an outboard, and one of them comes back.
    for i in [0, 1] {
        let object = bytes(i, [700, 1_100_000][usize::from(i)]);
        let content = ContentId::of(&object);
        done.begin_removal(content);
        assert!(store.discard(&content, |_| true)?);
        done.removals.pop();
        done.removals.push((content, true));
        if i == 0 {
            let mut receiver = store.receive(content, object.len() as u64)?;
            receiver.write(&object)?;
            done.removals.pop();
            receiver.finish(Kind::Replica)?;
            done.objects.push(object);
        }
    }
    Ok(())
}

/// Opens the store after its disk lost power, and compares it with what it had acknowledged.
///
/// # Errors The first difference from the acknowledged state.
fn check(disk: &MemoryDisk, done: &Acknowledged) -> Result<(), Box<dyn Error>> {
    let store = Store::open(Path::new(ROOT), Arc::new(disk.clone()))?;
    for object in &done.objects {
        let content = ContentId::of(object);
        if store.info(&content)?.is_none() {
            return Err(format!("{content} of {} bytes was acknowledged and is gone", object.len()).into());
        }
        let mut reader = store.read(&content, 0)?;
        let mut found = Vec::new();
        loop {
            let piece = reader.read_piece()?;
            if piece.is_empty() {
                break;
            }
            found.extend_from_slice(&piece);
        }
        if found != *object {
            return Err(format!("{content} has other bytes").into());
        }
    }
    for (key, record) in &done.records {
        if store.record(key)?.as_ref() != Some(record) {
            return Err("a record that was acknowledged is gone".into());
        }
    }
    for (name, content) in &done.links {
        if store.linked(name)? != Some(*content) {
            return Err(format!("{name} is not linked any more").into());
        }
    }
    let names = Path::new(ROOT).join("names");
    for entry in disk.read_dir(&names)? {
        let target = disk.read_link(&names.join(&entry))?;
        if disk.stat(&Path::new(ROOT).join(target.strip_prefix("..")?)).is_err() {
            return Err(format!("names/{} leads to no object", entry.to_string_lossy()).into());
        }
    }
    for (content, is_acknowledged) in &done.removals {
        let known = store.info(content)?.is_some();
        let hex = content.to_string();
        let has = |folder: &str| {
            let files = disk.files_below(&Path::new(ROOT).join(folder));
            files.iter().any(|(path, _)| path.to_string_lossy().contains(&hex))
        };
        if known && *is_acknowledged {
            return Err(format!("{content} was removed and is back").into());
        }
        if !known && (has("objects") || has("outboards")) {
            return Err(format!("{content} is not in the index, and a file of it is left").into());
        }
    }
    let listed: u64 = store.objects_after(None, 100)?.iter().map(|file| file.object.length).sum();
    if store.totals()?.1 != listed {
        return Err("the counted bytes are not those of the objects".into());
    }
    // Every visible object has the SHA-256 that its name says.
    for (path, _) in disk.files_below(&Path::new(ROOT).join("objects")) {
        let content: ContentId = path.file_name().and_then(|name| name.to_str()).unwrap().parse().unwrap();
        let sound = ContentId::of(&disk.contents(&path).unwrap()) == content;
        let known = store.info(&content)?.is_some();
        if known && !sound {
            return Err(format!("{content} is not what its name says, and the store shows it").into());
        }
    }
    Ok(())
}

/// Cuts the power before the n-th call. Returns whether there was such a call, and what is wrong after it.
fn cut(n: u64, seed: u64) -> (bool, Result<(), String>) {
    let disk = MemoryDisk::default();
    disk.die_before_call(n);
    let mut done = Acknowledged::default();
    let worked = work(&disk, &mut done);
    let died = !disk.has_power();
    assert!(died || worked.is_ok(), "{worked:?}");
    let disk = disk.power_on(&mut ChaCha8Rng::seed_from_u64(seed));
    (died, check(&disk, &done).map_err(|error| error.to_string()))
}

/// Goal: after a loss of power at any call of the disk, with any part of the unsynced bytes and names kept, every
/// acknowledged object is there and whole, and the store shows nothing else.
#[test]
fn a_loss_of_power_before_every_call() {
    let mut cuts = 0;
    for n in 1.. {
        let mut died = false;
        for seed in 0..2 {
            let (dies, wrong) = cut(n, n * 1_000 + seed);
            died |= dies;
            cuts += 1;
            assert_eq!(wrong, Ok(()), "the power goes before call {n}, seed {seed}");
        }
        if !died {
            break;
        }
    }
    println!("{cuts} losses of power");
    assert!(cuts > 300, "{cuts}");
}
