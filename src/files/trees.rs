//! Trees, as far as the ring cares: the leases of a tree's files are renewed with its own, by the owner of its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bring::bring;
use super::bytes::{Piece as _, Reader as _};
use super::env::Env;
use super::fetch::Wish;
use super::progress::Progress;
use super::renew::renew;
use crate::id::ContentId;
use crate::tree::{TreeEntry, TreeReader};
use crate::wire::{Link, ObjectInfo, Reference};

/// Renews the leases of all files of a tree, a page at a time; the tree itself is brought here first. Returns whether W of
/// the replicas of each have taken notice.
pub async fn renew_tree<E: Env>(env: &Arc<E>, tree: ObjectInfo, link: &Link) -> bool {
    match renew_files(env, tree, link).await {
        Ok(all) => all,
        Err(why) => {
            env.warn(format!("the leases of the files in {} are not renewed: {why}", link.name));
            false
        }
    }
}

async fn renew_files<E: Env>(env: &Arc<E>, tree: ObjectInfo, link: &Link) -> Result<bool, String> {
    let content = tree.content;
    if !env.holds(content).await? {
        let wish = Wish { content, known: Some(tree), links: Vec::new() };
        let brought = bring(env, wish, Arc::new(Progress::default())).await;
        brought.map_err(|error| format!("its tree does not come: {error:?}"))?;
    }
    let (_, mut bytes) = env.read(content, 0).await.map_err(|error| error.to_string())?;
    let (mut reader, mut page, mut all) = (TreeReader::default(), BTreeSet::new(), true);
    while let Some(piece) = bytes.next().await.map_err(|error| format!("{error:?}"))? {
        let mut take = |entry: TreeEntry| page.extend(entry.object().map(|object| object.content));
        for part in piece.parts() {
            reader.read(part, &mut take).map_err(|error| error.to_string())?;
        }
        if page.len() >= FILES_PER_PAGE {
            all &= renew(env, references(std::mem::take(&mut page), link)).await;
        }
    }
    reader.finish().map_err(|error| error.to_string())?;
    Ok(renew(env, references(page, link)).await && all)
}

/// The references of a tree to its files. The name stands for the tree, not for them.
fn references(page: BTreeSet<ContentId>, link: &Link) -> Vec<Reference> {
    page.into_iter().map(|content| Reference { content, link: link.clone(), current: false }).collect()
}

/// The number of files of a tree whose references are held at a time, or a few thousand more: those of one piece.
const FILES_PER_PAGE: usize = 4_000;
