//! Laws of files that are taken away, one at a time: the oracle has to see it.

use quoit::files::Laws;
use quoit::sim::seeds;

/// Takes a law away.
pub type TakeAway = fn(&mut Laws);

/// Plays games with each of these laws off, until one ends in a violation; `QUOIT_COUNT=1` plays them all, and prints how
/// many do.
///
/// # Panics
/// When no game shows that a law is off.
pub fn each_is_caught(
    controls: &[(&str, TakeAway)],
    games_max: u64,
    mut play: impl FnMut(u64, Laws) -> Result<(), String>,
) {
    let count_all = std::env::var_os("QUOIT_COUNT").is_some();
    let mut missed = Vec::new();
    for (name, take_away) in controls {
        let mut laws = Laws::default();
        take_away(&mut laws);
        let (mut caught, mut games, mut first) = (0, 0, None);
        for seed in seeds(0..games_max) {
            games += 1;
            if let Err(why) = play(seed, laws) {
                caught += 1;
                first = first.or(Some((seed, why)));
                if !count_all {
                    break;
                }
            }
        }
        println!("without \"{name}\": {caught} of {games} games; first {first:?}");
        if caught == 0 {
            missed.push(*name);
        }
    }
    assert!(missed.is_empty(), "nothing is seen without {missed:?}");
}
