//! Lengths that a message claims but does not have take neither memory nor time.
//!
//! The test has a process of its own, since it counts the allocations of the whole process.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use quoit::wire::codec::{self, CodecError};
use quoit::wire::{Datagram, Hello, Member, NameRecord, Reply, Request, SignedRecord};
use serde::de::DeserializeOwned;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// serde takes up to 1 MiB for a sequence before it has seen an element.
const BYTES_MAX: usize = 4 << 20;
/// The bound for one message; a loop over the claimed length would take hours.
const TIME_MAX: Duration = Duration::from_secs(1);

/// A varint of eight bytes: the length that is claimed.
fn claim(length: u64) -> Vec<u8> {
    [&[253][..], &length.to_le_bytes()].concat()
}

fn refused<T: serde::Serialize + DeserializeOwned + Debug>(what: &str, bytes: &[u8]) {
    ALLOCATED.reset_peak_usage();
    let (before, begin) = (ALLOCATED.current_usage(), Instant::now());
    let decoded = codec::decode::<T>(bytes);
    let (took, peak) = (begin.elapsed(), ALLOCATED.peak_usage().saturating_sub(before));
    assert!(matches!(decoded, Err(CodecError::Malformed(_))), "{what}: {decoded:?}");
    assert!(peak < BYTES_MAX, "{what}: {peak} bytes");
    assert!(took < TIME_MAX, "{what}: {took:?}");
}

#[test]
fn claimed_lengths_cost_nothing() {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    drop(std::hint::black_box(vec![1u8; 2 * BYTES_MAX]));
    assert!(ALLOCATED.peak_usage() - before >= 2 * BYTES_MAX, "allocations are counted");

    let entry = [&[0xff; 32][..], &[1], &[0xff; 32], b"\x0b127.0.0.1:1"].concat();
    for length in [1 << 17, 1 << 32, 1 << 40, 1 << 63, u64::MAX] {
        let what = |kind: &str| format!("{kind} of {length}");
        let claimed = |prefix: &[u8], rest: &[u8]| [prefix, &claim(length), rest].concat();

        refused::<Hello>(&what("address"), &claimed(&[1, 1], b"127.0.0.1:1"));
        refused::<NameRecord>(&what("name"), &claimed(&[], b"x"));
        refused::<Request>(&what("name to fetch"), &claimed(&[1, 5], b"x"));
        refused::<Reply>(&what("reason"), &claimed(&[2], b"x"));
        refused::<SignedRecord>(&what("body"), &claimed(&[], &[1; 100]));
        refused::<SignedRecord>(&what("certificate"), &claimed(&[0, 0], &[1; 100]));
        refused::<Reply>(&what("midstates"), &claimed(&[&[1, 9][..], &[7; 65]].concat(), &[1; 100]));

        refused::<Vec<Member>>(&what("members"), &claimed(&[], &entry));
        refused::<Datagram>(&what("news"), &claimed(&[0, 1], &entry));
        refused::<Request>(&what("state"), &claimed(&[0, 0, 1], &entry));
        refused::<Request>(&what("objects"), &claimed(&[1, 7], &[1; 100]));
        refused::<Request>(&what("links"), &claimed(&[&[1, 0][..], &[7; 65]].concat(), b"\x01x\x01"));
        refused::<Reply>(&what("successors"), &claimed(&[0, 0, 1, 0], &entry));
        refused::<Reply>(&what("wanted"), &claimed(&[1, 15], &[1; 100]));
        refused::<Reply>(&what("files"), &claimed(&[1, 17], &[7; 65]));
    }
}
