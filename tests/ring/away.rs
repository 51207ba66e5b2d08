//! Peers that are away and are waited for.

use std::collections::BTreeSet;

use super::harness::{Ring, SEVEN};
use super::samples::Sample;
use crate::eventually::eventually;

/// Goal: while two copies of a file can be reached, a peer that is away is waited for; a file with one copy left gets a
/// second one at once. Once the peers are back, nothing is short.
#[test]
fn away_is_not_gone() {
    let mut ring = Ring::new(8);
    ring.environment.push(("QUOIT_AWAY_LIMIT".to_owned(), "15m".to_owned()));
    ring.init_all(&SEVEN);
    ring.settle();
    let samples: Vec<Sample> = (0..40)
        .map(|seed| {
            let sample = Sample::random(&ring.scratch(), &format!("f{seed}"), seed, 2_000);
            sample.store(&ring, 36, "--wait all");
            sample
        })
        .collect();
    let dead = [109, 146];
    // The copies that are left when these two are away: one of some files, two of others.
    let left = |count: usize| -> Vec<&Sample> {
        let living = |sample: &&Sample| sample.on_disk(&ring).iter().filter(|n| !dead.contains(n)).count();
        samples.iter().filter(|sample| living(sample) == count).collect()
    };
    let (one, two): (Vec<Sample>, Vec<Sample>) =
        (left(1).into_iter().cloned().collect(), left(2).into_iter().cloned().collect());
    assert!(!one.is_empty() && !two.is_empty(), "the samples are spread over the ring");
    ring.wait_taken_over();
    ring.kill(&dead);
    ring.settle();
    let living: BTreeSet<u8> = ring.numbers().into_iter().collect();
    let copies = |sample: &Sample| sample.on_disk(&ring).intersection(&living).count();
    eventually("each file has two copies that can be reached", || {
        let short: Vec<&str> =
            one.iter().filter(|sample| copies(sample) < 2).map(|sample| sample.name.as_str()).collect();
        if short.is_empty() { Ok(()) } else { Err(format!("{short:?}")) }
    });
    for sample in one.iter().chain(&two) {
        assert_eq!(copies(sample), 2, "{}: no more than that", sample.name);
    }
    dead.iter().for_each(|number| ring.begin_run(*number));
    ring.numbers().into_iter().for_each(|number| {
        eventually(&format!("nothing is short at {number}"), || {
            let said = ring.ask(number, "Status --verbose").done();
            let fine = said.contains("all files of the ring have their copies");
            if fine { Ok(()) } else { Err(said) }
        });
    });
}
