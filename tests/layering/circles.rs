//! Circles among the files of the crate: files that need each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{Import, Source};

/// The circles, each as its files in one line: the strongly connected components, of whatever length. Unit tests do not
/// count: they may look at anything.
pub fn of(sources: &[(String, String)]) -> Vec<String> {
    let files: Vec<Source> = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
    let by_module: BTreeMap<&[String], usize> =
        files.iter().enumerate().map(|(at, file)| (file.path(), at)).collect();
    let needs: Vec<BTreeSet<usize>> = files
        .iter()
        .map(|file| {
            let own = file.paths_from_here().into_iter().filter(|import| !import.public && !import.inline);
            own.filter_map(|import| target(&files, &by_module, &import.segments, 0)).collect()
        })
        .collect();
    let ahead: Vec<BTreeSet<usize>> = (0..files.len()).map(|from| reached_from(&needs, from)).collect();
    let mut circles = BTreeSet::new();
    for at in 0..files.len() {
        let back = ahead[at].iter().copied().filter(|other| ahead[*other].contains(&at));
        let circle: BTreeSet<usize> = back.chain([at]).collect();
        if circle.len() > 1 {
            let names = circle.into_iter().map(|at| sources[at].0.as_str());
            circles.insert(names.collect::<Vec<_>>().join(", "));
        }
    }
    circles.into_iter().collect()
}

/// The file in which the item of a path stands. An item that a module passes on with `pub use` counts where it is
/// defined.
fn target(
    files: &[Source],
    by_module: &BTreeMap<&[String], usize>,
    segments: &[String],
    depth: usize,
) -> Option<usize> {
    let longest = (1..=segments.len()).rev().find(|length| by_module.contains_key(&segments[..*length]))?;
    let at = by_module[&segments[..longest]];
    let Some(item) = segments.get(longest).filter(|_| depth < DEPTH_MAX) else { return Some(at) };
    let is_it = |import: &Import| import.public && import.segments.last() == Some(item);
    let passed_on = files[at].paths_from_here().into_iter().find(is_it);
    match passed_on {
        Some(import) => target(files, by_module, &import.segments, depth + 1).or(Some(at)),
        None => Some(at),
    }
}

fn reached_from(needs: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        open.extend(needs[next].iter().filter(|other| **other != next && reached.insert(**other)));
    }
    reached
}

/// The most modules through which an item is passed on.
const DEPTH_MAX: usize = 8;
