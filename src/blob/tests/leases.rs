//! The leases of objects in the index.

use super::*;

const DAY: u64 = 86_400_000;

fn lapsed(store: &Store, now: u64, before: u64) -> Vec<ContentId> {
    store.lapsed(now, before, usize::MAX).unwrap()
}

#[test]
fn an_object_without_a_lease_gets_one_when_it_is_looked_at() {
    let fixture = Fixture::new();
    let info = fixture.put(&sample(10));
    assert_eq!(lapsed(&fixture.store, 20 * DAY, 13 * DAY), []);
    let fixture = fixture.reopen(|_| {});
    assert_eq!(lapsed(&fixture.store, 27 * DAY, 20 * DAY), [info.content], "it was dated then");
    fixture.store.renew_leases(vec![info.content], 27 * DAY).unwrap();
    assert_eq!(lapsed(&fixture.store, 28 * DAY, 21 * DAY), []);
    // A clock that was a year ahead keeps nothing for a year.
    fixture.store.renew_leases(vec![info.content], 400 * DAY).unwrap();
    assert_eq!(lapsed(&fixture.store, 28 * DAY, 21 * DAY), []);
    assert_eq!(lapsed(&fixture.store, 35 * DAY, 28 * DAY), [info.content]);
}

/// Goal: the lease decides where the object would go, whatever was seen before; and a store remembers what it has freed
/// until a name refers to it, or it comes, again.
#[test]
fn an_object_is_freed_by_its_lease_alone() {
    let fixture = Fixture::new();
    let (info, kept) = (fixture.put(&sample(10)), fixture.put(&sample(11)));
    fixture.store.renew_leases(vec![info.content, kept.content], DAY).unwrap();
    fixture.store.renew_leases(vec![kept.content], 2 * DAY).unwrap();
    assert!(!fixture.store.free_lapsed(&kept.content, DAY).unwrap(), "it was renewed meanwhile");
    assert!(fixture.store.pin(&info.content).unwrap());
    assert!(!fixture.store.free_lapsed(&info.content, DAY).unwrap(), "it is pinned");
    assert_eq!(fixture.store.unreferenced(DAY).unwrap(), Unreferenced::default());
    fixture.store.unpin(&info.content).unwrap();
    let going = fixture.store.unreferenced(DAY).unwrap();
    assert_eq!((going.amount.files, going.amount.bytes, going.oldest_unix_ms), (1, 10, Some(DAY)));
    assert!(fixture.store.free_lapsed(&info.content, DAY).unwrap());
    assert!(
        !fixture.store.contains(&info.content).unwrap() && fixture.store.contains(&kept.content).unwrap()
    );
    let fixture = fixture.reopen(|_| {});
    assert!(
        fixture.store.was_freed(&info.content).unwrap() && !fixture.store.was_freed(&kept.content).unwrap()
    );
    fixture.store.renew_leases(vec![info.content], 3 * DAY).unwrap();
    assert!(!fixture.store.was_freed(&info.content).unwrap(), "a name refers to it again");
    fixture.store.discard(&kept.content, |_| true).unwrap();
    assert!(!fixture.store.was_freed(&kept.content).unwrap(), "it went for another reason");
    fixture.put(&sample(11));
    assert_eq!(lapsed(&fixture.store, 90 * DAY, 89 * DAY), [], "a new copy has a new lease");
}
