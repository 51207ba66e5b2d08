//! Hashing at chunk boundaries, and the format of outboards.

use proptest::prelude::*;

use super::*;

const CHUNK: usize = CHUNK_BYTES as usize;

/// Bytes that differ from chunk to chunk.
fn sample(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn hash(bytes: &[u8]) -> (ContentId, Outboard) {
    let mut hasher = ChunkHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn the_address_is_plain_sha256_at_every_boundary() {
    for length in [0, 1, 55, 56, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
        let bytes = sample(length);
        let (content, outboard) = hash(&bytes);
        assert_eq!(content, ContentId::of(&bytes), "{length}");
        assert_eq!(outboard.length(), length as u64);
        assert_eq!(outboard.midstates().len(), length.div_ceil(CHUNK).max(1) - 1);
        assert_eq!(Outboard::from_bytes(&outboard.to_bytes()).as_ref(), Ok(&outboard));
    }
}

/// Goal: the format does not drift. The header of an empty file, to the byte.
#[test]
fn golden_header() {
    let (_, outboard) = hash(b"");
    assert_eq!(outboard.to_bytes(), *b"QUOITM1\n\0\0\0\0\0\0\0\0\0\x10\0\0");
}

#[test]
fn each_chunk_links_and_a_changed_one_does_not() {
    let bytes = sample(3 * CHUNK + 5);
    let (content, outboard) = hash(&bytes);
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let index = index as u64;
        let before = outboard.before(index).unwrap();
        assert!(verify_chunk(before, chunk, index, &outboard, &content));
        let mut bad = chunk.to_vec();
        bad[chunk.len() / 2] ^= 1;
        assert!(!verify_chunk(before, &bad, index, &outboard, &content));
        assert!(!verify_chunk(before, &chunk[1..], index, &outboard, &content));
        assert!(!verify_chunk(before, chunk, index + 1, &outboard, &content));
    }
    assert!(!verify_chunk(Midstate::INITIAL, b"", 4, &outboard, &content));
}

#[test]
fn bytes_that_are_no_outboard_are_refused() {
    let good = hash(&sample(2 * CHUNK + 1)).1.to_bytes();
    for cut in [0, 7, 19, 20, 51, 52, good.len() - 1] {
        assert!(Outboard::from_bytes(&good[..cut]).is_err(), "{cut}");
    }
    assert!(Outboard::from_bytes(&[&good[..], &[0]].concat()).is_err());
    // All bytes except the two that give another length with the same number of chunks.
    for at in (0..14).chain(16..20) {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        assert!(Outboard::from_bytes(&bad).is_err(), "{at}");
    }
    assert_eq!(Outboard::new(u64::MAX, vec![]), Err(OutboardError::TooLong { length: u64::MAX }));
}

#[test]
fn a_rewound_hasher_goes_on_from_the_boundary() {
    let bytes = sample(2 * CHUNK + 100);
    let mut hasher = ChunkHasher::default();
    hasher.update(&bytes[..CHUNK]);
    hasher.update(&[7; 1_000]);
    hasher.rewind(1);
    assert_eq!(hasher.offset(), CHUNK_BYTES);
    hasher.update(&bytes[CHUNK..]);
    assert_eq!(hasher.finish(), hash(&bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Goal: the result does not depend on how the bytes are cut into pieces.
    #[test]
    fn any_cut_gives_the_same(
        length in prop_oneof![0usize..300, CHUNK - 70..CHUNK + 70, 2 * CHUNK - 3..2 * CHUNK + 3],
        cuts in prop::collection::vec(0usize..2 * CHUNK + 3, 0..12),
    ) {
        let bytes = sample(length);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(length)).collect();
        cuts.extend([0, length]);
        cuts.sort_unstable();
        let mut hasher = ChunkHasher::default();
        cuts.windows(2).for_each(|ends| hasher.update(&bytes[ends[0]..ends[1]]));
        prop_assert_eq!(hasher.finish(), hash(&bytes));
    }
}
