//! Tests of the proofs of a link, an anchored end and a whole chain, with chunks and outboards that are forged.

use super::*;

const CHUNK: usize = CHUNK_BYTES as usize;

/// A file of four chunks, the last of them short, and its outboard.
fn file() -> (Vec<u8>, ContentId, Outboard) {
    let bytes: Vec<u8> =
        (0..3 * CHUNK as u32 + 700).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut hasher = ChunkHasher::default();
    hasher.update(&bytes);
    let (content, outboard) = hasher.finish();
    (bytes, content, outboard)
}

fn link(chain: &Chain, index: usize, chunk: &[u8]) -> Result<Linked, Unlinked> {
    // Pieces of odd lengths: a hash does not depend on them.
    chain.link(index as u64, chunk.chunks(77_777))
}

/// The state to which a chunk leads from another one.
fn led_to(before: Midstate, chunk: &[u8]) -> Midstate {
    let mut hasher = BlockHasher::new(before);
    hasher.update(chunk);
    hasher.midstate()
}

/// Goal: chunks of a file are linked in any order, the end is anchored from the last chunk on, and only all of them are
/// complete.
#[test]
fn chunks_are_linked_in_any_order_and_only_all_are_complete() {
    let (bytes, content, outboard) = file();
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK).collect();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let chain = Chain::new(content, outboard.clone());
        let mut assembly = chain.assembly();
        for (done, index) in order.into_iter().enumerate() {
            assert!(assembly.complete().is_none(), "{order:?} after {done}");
            let linked = link(&chain, index, chunks[index]).unwrap();
            assert!(assembly.add(&linked) && !assembly.add(&linked));
            let from = (0..4).rev().take_while(|i| order[..=done].contains(i)).last();
            assert_eq!(assembly.anchored().map(|end| end.from), from.map(|from| from as u64));
        }
        let complete = assembly.complete().unwrap();
        assert_eq!((complete.content(), complete.outboard()), (&content, &outboard));
    }
}

/// Goal: a changed byte, another place and another length are not linked, wherever they are.
#[test]
fn a_changed_chunk_is_not_linked_in_any_position() {
    let (bytes, content, outboard) = file();
    let chain = Chain::new(content, outboard);
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        for at in [0, 63, chunk.len() / 2, chunk.len() - 1] {
            let mut bad = chunk.to_vec();
            bad[at] ^= 1;
            let unlinked = link(&chain, index, &bad).unwrap_err();
            assert_eq!(
                link(&chain, index, &bad).unwrap_err(),
                unlinked,
                "the same bytes lead to the same state"
            );
            bad[at] ^= 3;
            assert_ne!(link(&chain, index, &bad).unwrap_err(), unlinked, "other bytes to another one");
        }
        assert!(
            link(&chain, index, &chunk[1..]).is_err()
                && link(&chain, index, &[chunk, &[0]].concat()).is_err()
        );
        for other in (0..6).filter(|other| *other != index) {
            assert!(link(&chain, other, chunk).is_err(), "chunk {index} as chunk {other}");
        }
    }
}

/// Goal: a liar who invents a chunk together with the midstate behind it gets that chunk linked, in every position but
/// the last, and never a complete object: the chunk behind it is not linked, whether it is the true one or invented.
#[test]
fn a_chunk_forged_with_its_midstate_is_linked_and_never_complete() {
    let (bytes, content, outboard) = file();
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK).collect();
    let invented = vec![0x5a; CHUNK];
    for forged in 0..3 {
        let before = outboard.before(forged as u64).unwrap();
        let mut midstates = outboard.midstates().to_vec();
        midstates[forged] = led_to(before, &invented);
        let chain = Chain::new(content, Outboard::new(outboard.length(), midstates).unwrap());
        let mut assembly = chain.assembly();
        assert!(assembly.add(&link(&chain, forged, &invented).unwrap()), "a link alone proves nothing");
        for (index, chunk) in chunks.iter().enumerate() {
            match link(&chain, index, chunk) {
                Ok(linked) => assert!(assembly.add(&linked)),
                // The true chunk in the forged place, and the one behind it.
                Err(_) => assert!(index == forged || index == forged + 1, "{forged}: {index}"),
            }
        }
        assert!(link(&chain, forged + 1, &invented[..chunks[forged + 1].len()]).is_err());
        assert!(assembly.complete().is_none() && assembly.linked().count() == 3);
        let from = assembly.anchored().map(|end| end.from);
        assert_eq!(
            from,
            (forged < 2).then_some(forged as u64 + 2),
            "the end behind the forgery is the true one"
        );
    }
    let mut last = chunks[3].to_vec();
    last[5] ^= 1;
    assert!(
        link(&Chain::new(content, outboard), 3, &last).is_err(),
        "nothing is invented behind the last chunk"
    );
}

/// Goal: with all midstates invented, from the first chunk on, all chunks but the last are linked; the last one, on which
/// the address depends, is not.
#[test]
fn a_whole_invented_file_lacks_its_end() {
    let (_, content, outboard) = file();
    let (invented, length) = (vec![0x33; CHUNK], outboard.length());
    let mut states = vec![Midstate::INITIAL];
    (0..3).for_each(|i| states.push(led_to(states[i], &invented)));
    let chain = Chain::new(content, Outboard::new(length, states[1..].to_vec()).unwrap());
    let mut assembly = chain.assembly();
    for index in 0..3 {
        assert!(assembly.add(&link(&chain, index, &invented).unwrap()));
    }
    assert!(link(&chain, 3, &invented[..700]).is_err());
    assert!(assembly.anchored().is_none() && assembly.complete().is_none());
}

/// Goal: a wrong length is never anchored: the padding behind the last chunk holds it.
#[test]
fn a_wrong_length_is_not_anchored() {
    let (bytes, content, outboard) = file();
    for length in [outboard.length() - 1, outboard.length() + 1, outboard.length() - 700 + CHUNK_BYTES] {
        let chain = Chain::new(content, Outboard::new(length, outboard.midstates().to_vec()).unwrap());
        let mut end = bytes[3 * CHUNK..].to_vec();
        end.resize(length as usize - 3 * CHUNK, 0);
        assert!(link(&chain, 3, &end).is_err(), "{length}");
    }
    // A file that ends one chunk earlier: its last chunk would have to lead to the address.
    let shorter = Outboard::new(3 * CHUNK_BYTES, outboard.midstates()[..2].to_vec()).unwrap();
    assert!(link(&Chain::new(content, shorter), 2, &bytes[2 * CHUNK..3 * CHUNK]).is_err());
}

/// Goal: a chunk that was linked before counts again only between the same two states, and a chunk of one chain does not
/// count in another.
#[test]
fn a_chunk_is_recalled_between_the_same_states_only() {
    let (bytes, content, outboard) = file();
    let chain = Chain::new(content, outboard.clone());
    let states: Vec<Midstate> = (0..=4).map(|index| chain.state(index).unwrap()).collect();
    assert_eq!((states[0], states[4], chain.state(5)), (Midstate::INITIAL, Midstate(content.0), None));
    for index in 0..4 {
        assert!(chain.recall(index as u64, &states[index], &states[index + 1]).is_some());
        let wrong = Midstate([7; 32]);
        assert!(chain.recall(index as u64, &wrong, &states[index + 1]).is_none());
        assert!(chain.recall(index as u64, &states[index], &wrong).is_none());
    }
    assert!(chain.recall(4, &states[4], &states[4]).is_none());
    let other = Chain::new(content, outboard);
    assert!(!other.assembly().add(&link(&chain, 0, &bytes[..CHUNK]).unwrap()));
}

/// Goal: a run that is hashed in order is complete if and only if it is the file.
#[test]
fn a_hashed_file_is_complete_if_it_is_the_one() {
    let (bytes, content, outboard) = file();
    for (cut, changed) in [(0, false), (1, false), (0, true)] {
        let mut hasher = ChunkHasher::default();
        let mut bytes = bytes[..bytes.len() - cut].to_vec();
        bytes[CHUNK] ^= u8::from(changed);
        hasher.update(&bytes);
        match Complete::hashed(hasher, &content) {
            Ok(complete) => assert!(cut == 0 && !changed && *complete.outboard() == outboard),
            Err(found) => assert!((cut > 0 || changed) && found == ContentId::of(&bytes)),
        }
    }
}
