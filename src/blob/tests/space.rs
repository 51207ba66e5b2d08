//! Limits for the objects of a store, the cache, and pins.

use super::*;
use crate::wire::Amount;

impl Fixture {
    fn put_cached(&self, bytes: &[u8]) -> ContentId {
        let mut receiver = self.store.receive(ContentId::of(bytes), bytes.len() as u64).unwrap();
        receiver.write(bytes).unwrap();
        receiver.finish(Kind::Requested).unwrap().content
    }

    fn limit(&self, capacity: u64) {
        self.store.set_limits(Limits { capacity: Some(capacity), reserve: Some(0) }).unwrap();
    }

    fn holds(&self, contents: &[ContentId]) -> Vec<bool> {
        contents.iter().map(|content| self.store.contains(content).unwrap()).collect()
    }
}

fn amount(files: u64, bytes: u64) -> Amount {
    Amount { files, bytes }
}

/// Bytes that differ by their first one.
fn file(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = sample(length);
    bytes[0] = first;
    bytes
}

/// A moment passes on the clock that stamps uses.
fn tick() {
    let before = std::time::SystemTime::now();
    while before.elapsed().is_ok_and(|since| since.as_millis() < 2) {
        std::thread::yield_now();
    }
}

#[test]
fn all_bytes_are_accounted_for() {
    let fixture = Fixture::new();
    fixture.put(&file(1, 1_000));
    fixture.put_cached(&file(2, 200));
    let pinned = fixture.put_cached(&file(3, 30));
    assert!(fixture.store.pin(&pinned).unwrap());
    fixture.limit(5_000);
    let space = fixture.store.space().unwrap();
    assert_eq!(
        (space.replicas, space.cached, space.pinned),
        (amount(1, 1_000), amount(1, 200), amount(1, 30))
    );
    assert_eq!((space.capacity, space.reserve, space.free, space.excess), (Some(5_000), 0, 3_770, 0));
    let fixture = fixture.reopen(|_| {});
    assert!(fixture.store.unpin(&pinned).unwrap() && !fixture.store.unpin(&pinned).unwrap());
    let space = fixture.store.space().unwrap();
    assert_eq!((space.cached, space.pinned), (amount(2, 230), amount(0, 0)));
    assert!(fixture.store.promote(&pinned).unwrap());
    let space = fixture.store.space().unwrap();
    assert_eq!((space.replicas, space.cached), (amount(2, 1_030), amount(1, 200)));
}

/// Goal: the object that was not used for the longest time goes first, as the order was before a restart; no replica and
/// no pinned object goes.
#[test]
fn the_cache_makes_room_in_the_order_of_use() {
    let fixture = Fixture::new();
    let replica = fixture.put(&file(0, 1_000)).content;
    let mut cached = Vec::new();
    for first in 1..=4 {
        cached.push(fixture.put_cached(&file(first, 1_000)));
        tick();
    }
    fixture.get(&cached[0], 0);
    fixture.store.pin(&cached[1]).unwrap();
    fixture.store.write_uses().unwrap();
    let fixture = fixture.reopen(|_| {});
    fixture.limit(5_000);
    assert_eq!(fixture.store.room_for(2_900, 0).map_err(|error| error.lacks_room()), Ok(()));
    assert_eq!(fixture.holds(&cached), [true; 4], "a question evicts nothing");
    let came = fixture.put(&file(9, 900)).content;
    assert_eq!(fixture.holds(&cached), [true, true, false, true]);
    let large = fixture.store.receive(ContentId::of(b"large"), 3_100).map(drop);
    assert!(matches!(large, Err(BlobError::NoRoom { length: 3_100, free: 100 })), "{large:?}");
    assert_eq!(fixture.holds(&cached), [true, true, false, true], "nothing goes in vain");
    drop(fixture.store.receive(ContentId::of(b"large"), 2_000).unwrap());
    assert_eq!(fixture.holds(&cached), [false, true, false, false]);
    assert_eq!(fixture.store.take_evicted().len(), 3);
    assert!(fixture.store.take_evicted().is_empty());
    assert_eq!(fixture.holds(&[replica, came]), [true, true]);
}

/// Goal: a capacity below what is held frees the cache, takes nothing new, and keeps the replicas.
#[test]
fn a_capacity_below_what_is_held() {
    let fixture = Fixture::new();
    let replica = fixture.put(&file(0, 1_000)).content;
    let cached = fixture.put_cached(&file(1, 700));
    let fixture = fixture.reopen(|_| {});
    fixture.limit(600);
    assert_eq!(fixture.holds(&[replica, cached]), [true, false]);
    let space = fixture.store.space().unwrap();
    assert_eq!((space.excess, space.free, space.replicas), (400, 0, amount(1, 1_000)));
    let refused = fixture.store.receive(ContentId::of(b"a"), 1).map(drop);
    assert!(matches!(refused, Err(BlobError::NoRoom { length: 1, free: 0 })), "{refused:?}");
    fixture.limit(1_001);
    fixture.store.receive(ContentId::of(b"a"), 1).unwrap();
}

/// Goal: the reserve keeps the disk free for others: the cache goes where it is short.
#[test]
fn the_cache_gives_way_to_the_reserve() {
    let fixture = Fixture::new();
    let cached = fixture.put_cached(&sample(3 * CHUNK));
    fixture.disk.0.free.store(10 << 20, SeqCst);
    let reserve = |bytes| Limits { capacity: None, reserve: Some(bytes) };
    fixture.store.set_limits(reserve(10 << 20)).unwrap();
    assert_eq!(fixture.holds(&[cached]), [true]);
    fixture.store.set_limits(reserve(11 << 20)).unwrap();
    assert_eq!(fixture.holds(&[cached]), [false]);
}

#[test]
fn transfers_at_the_same_time_share_the_capacity() {
    let fixture = Fixture::new();
    fixture.limit(1_000);
    let mut first = fixture.store.receive(ContentId::of(b"one"), 600).unwrap();
    first.write(&[7; 500]).unwrap();
    let second = fixture.store.receive(ContentId::of(b"two"), 500).map(drop);
    assert!(matches!(second, Err(BlobError::NoRoom { length: 500, free: 400 })), "{second:?}");
    drop(first);
    fixture.store.receive(ContentId::of(b"two"), 500).unwrap();
}

#[test]
fn a_pinned_object_is_not_discarded() {
    let fixture = Fixture::new();
    let info = fixture.put(&sample(10));
    assert!(!fixture.store.pin(&ContentId::of(b"elsewhere")).unwrap());
    fixture.store.pin(&info.content).unwrap();
    let fixture = fixture.reopen(|_| {});
    assert!(!fixture.store.discard(&info.content, |_| true).unwrap());
    assert!(fixture.store.objects_after(None, 1).unwrap()[0].pinned);
    fixture.store.unpin(&info.content).unwrap();
    assert!(fixture.store.discard(&info.content, |_| true).unwrap());
}

/// Goal: a copy that another peer was told of, or that came anew, is not freed by a permission that was asked for before.
#[test]
fn a_promise_of_a_copy_voids_the_intention_to_free_it() {
    let fixture = Fixture::new();
    let info = fixture.put(&sample(10));
    let freeing = fixture.store.begin_freeing(&info.content).unwrap();
    assert!(fixture.store.begin_freeing(&info.content).is_none());
    assert!(fixture.store.promote(&info.content).unwrap());
    assert!(!freeing.free().unwrap());
    drop(freeing);
    let freeing = fixture.store.begin_freeing(&info.content).unwrap();
    fixture.store.quarantine(&info.content, "a test").unwrap();
    fixture.put(&sample(10));
    assert!(!freeing.free().unwrap() && fixture.store.contains(&info.content).unwrap());
    drop(freeing);
    let freeing = fixture.store.begin_freeing(&info.content).unwrap();
    fixture.store.void_freeing();
    assert!(
        !freeing.free().unwrap() && !fixture.store.is_freeing(),
        "another peer was told of all that is here"
    );
    drop(freeing);
    assert!(fixture.store.begin_freeing(&info.content).unwrap().free().unwrap());
    assert!(!fixture.store.promote(&info.content).unwrap());
}

/// Goal: an index of an earlier program, which has no list of its cache, gets one.
#[test]
fn the_cache_of_an_earlier_index_is_listed() {
    let fixture = Fixture::new();
    let cached = fixture.put_cached(&sample(10));
    fixture.put(&sample(11));
    let fixture = fixture.reopen(|dir| {
        let database = redb::Database::open(dir.join("index.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.delete_table(redb::TableDefinition::<&str, u64>::new("cached in all")).unwrap();
        transaction.delete_table(redb::TableDefinition::<&[u8; 32], (u64, u64)>::new("cached")).unwrap();
        transaction.commit().unwrap();
    });
    let space = fixture.store.space().unwrap();
    assert_eq!((space.cached, space.replicas), (amount(1, 10), amount(1, 11)));
    fixture.limit(0);
    assert_eq!(fixture.holds(&[cached]), [false]);
}
