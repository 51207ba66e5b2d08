//! Outboards: a .mid file, pages off the wire, and the hashing of pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::id::{ContentId, OutboardDigest};
use quoit::outboard::{CHUNK_BYTES, ChunkHasher, Outboard, OutboardPages, chunk_count, verify_chunk};
use quoit::wire::ObjectInfo;
use quoit_fuzz::{byte, choice, piece};

fuzz_target!(|data: &[u8]| {
    let Some((which, mut rest)) = choice(data) else { return };
    match which % 3 {
        0 => {
            let Ok(outboard) = Outboard::from_bytes(rest) else { return };
            assert_eq!(outboard.to_bytes(), rest);
            assert_eq!(outboard.midstates().len() as u64 + 1, chunk_count(outboard.length()));
            asked(&outboard);
        }
        1 => pages(&mut rest),
        _ => {
            // The address of the bytes is their SHA-256, however they are cut into pieces.
            let (mut hasher, mut all) = (ChunkHasher::default(), Vec::new());
            while let Some(piece) = piece(&mut rest) {
                hasher.update(piece);
                all.extend_from_slice(piece);
            }
            let (content, outboard) = hasher.finish();
            assert_eq!(content, ContentId::of(&all));
            assert_eq!(outboard.length(), all.len() as u64);
            let before = outboard.before(0).expect("the first chunk");
            if all.len() as u64 <= CHUNK_BYTES {
                assert!(verify_chunk(before, &all, 0, &outboard, &content));
            }
        }
    }
});

/// No index and no length of a hostile outboard leads out of bounds.
fn asked(outboard: &Outboard) {
    let content = ContentId([0; 32]);
    for index in [0, 1, chunk_count(outboard.length()) - 1, chunk_count(outboard.length()), u64::MAX - 1] {
        let length = outboard.chunk_length(index);
        assert!(length.is_none_or(|length| length <= CHUNK_BYTES));
        if let Some(before) = outboard.before(index) {
            let _ = verify_chunk(before, b"other bytes", index, outboard, &content);
        }
    }
}

fn pages(rest: &mut &[u8]) {
    let content = ContentId([1; 32]);
    let mut pages = OutboardPages::new(content);
    let mut before = 0;
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        *rest = after;
        let other = byte(rest).unwrap_or(0);
        let page = piece(rest).unwrap_or_default();
        let length = u64::from_be_bytes(*length);
        let digest = match Outboard::new(
            length,
            page.as_chunks::<32>().0.iter().copied().map(quoit::outboard::Midstate).collect(),
        ) {
            Ok(outboard) if other & 2 == 0 => outboard.digest(),
            _ => OutboardDigest([other; 32]),
        };
        let content = if other & 1 == 0 { content } else { ContentId([2; 32]) };
        match pages.add(ObjectInfo { content, length, outboard: digest }, page) {
            Ok(Some((object, outboard))) => {
                assert_eq!(outboard.digest(), object.outboard);
                return;
            }
            Ok(None) => {
                assert!(pages.next() > before, "a page that brings nothing is taken again and again");
                before = pages.next();
            }
            Err(_) => return,
        }
    }
}
