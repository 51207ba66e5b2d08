//! A loss of power before each call of the disk: every acknowledged object is there afterwards, and nothing else seems
//! to be there.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::blob::{BlobError, Kind, MemoryDisk, Store};
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
        let key = ContentId::of(&[round]).key();
        store.put_record(key, vec![round; 100])?;
        done.records.push((key, vec![round; 100]));
        if round == 1 {
            let (name, content) = done.links[0].clone();
            store.place_received(&content, &name)?;
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
