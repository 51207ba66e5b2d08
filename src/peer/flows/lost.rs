//! The search for contents that name records name and that no answering peer has, for people to see.
//!
//! Each peer searches for the contents of the names that it owns: all of them after the members of the ring have
//! changed, and once a day; in between only those that were lost at the last look. So a ring at rest asks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lost_search::Ring;
use crate::blob::BlobError;
use crate::chord::Route;
use crate::files::Env as _;
use crate::id::{ContentId, FileName, KeyRange, Position};
use crate::names::content_of;
use crate::peer::shared::{STORAGE_TIMEOUT, Shared};
use crate::shelf;
use crate::wire::Entry;
use crate::wire::limits::{HEALTH_NAMES_MAX, LOST_TOLD_MAX, OFFERS_PER_MESSAGE_MAX};

/// Contents that are named and not here, each with some of its names.
type Named = BTreeMap<ContentId, Vec<FileName>>;

impl Shared {
    /// After a round of repair: forgets what is known of objects that are no longer here, and looks for lost contents.
    pub(in crate::peer) async fn look_for_lost(self: &Arc<Self>) -> Result<(), BlobError> {
        self.forget_absent().await?;
        let (view, now) = (self.view(), self.ring.clock.now());
        let ring = Ring::of(&view);
        let mut lost = self.lost_of(self.still_named().await?).await;
        if self.flows.lost.is_due(now, &ring) {
            let before = view.predecessor.as_ref().unwrap_or(&view.me).position;
            let mut ranges = KeyRange::owned(&before, &view.me.position);
            while let Some(range) = ranges.pop() {
                let (named, rest) = self.blocking(move |store| named_elsewhere(store, &range)).await?;
                ranges.extend(rest);
                lost.extend(self.lost_of(named).await);
            }
            self.flows.lost.is_done(now, ring);
        }
        let more = lost.len() > LOST_TOLD_MAX;
        while lost.len() > LOST_TOLD_MAX {
            lost.pop_last();
        }
        self.flows.health.set_lost(lost, more);
        Ok(())
    }

    /// Forgets holders of objects that are not here, and holders that comparisons have shown as well.
    async fn forget_absent(self: &Arc<Self>) -> Result<(), BlobError> {
        let known = self.flows.health.contents();
        let here = self.blocking(move |store| {
            let mut here = BTreeSet::new();
            for content in known {
                if store.info(&content)?.is_some() {
                    here.insert(content);
                }
            }
            Ok::<_, BlobError>(here)
        });
        let here = here.await?;
        self.with_agreements(|agreements| {
            let is_agreed = |content: &ContentId, of: &Position, life: u64| {
                agreements.holders(content).any(|holder| holder == (*of, life))
            };
            self.flows.health.keep_only(&here, is_agreed);
        });
        Ok(())
    }

    /// The lost contents that a name still stands for, as far as is known here.
    async fn still_named(self: &Arc<Self>) -> Result<Named, BlobError> {
        let (lost, _) = self.flows.health.lost();
        self.blocking(move |store| {
            let mut named = Named::new();
            for (content, mut names) in lost {
                let nameless = names.is_empty();
                names.retain(|name| {
                    let current = shelf::history(store, &name.key()).ok().and_then(|history| history.current);
                    let current = current.and_then(|current| current.decode().ok());
                    current.is_none_or(|record| content_of(&record) == Some(content))
                });
                if (nameless || !names.is_empty()) && store.info(&content)?.is_none() {
                    named.insert(content, names);
                }
            }
            Ok(named)
        })
        .await
    }

    /// The contents, of these, that no answering peer has.
    async fn lost_of(self: &Arc<Self>, named: Named) -> Named {
        let mut by_owner: BTreeMap<Position, (Entry, Vec<ContentId>)> = BTreeMap::new();
        let view = self.view();
        for content in named.keys() {
            let owner = match view.route(&content.key()) {
                Some(Route::Owner { owner, .. }) => owner,
                _ => match self.find(content.key(), 0).await {
                    Ok(found) => found.owner,
                    Err(_) => continue,
                },
            };
            by_owner.entry(owner.position).or_insert_with(|| (owner, Vec::new())).1.push(*content);
        }
        let mut lost = Named::new();
        for (owner, contents) in by_owner.into_values() {
            for page in contents.chunks(OFFERS_PER_MESSAGE_MAX) {
                for content in self.lacking(&owner, page).await.unwrap_or_else(|| page.to_vec()) {
                    if lost.len() > LOST_TOLD_MAX {
                        break;
                    }
                    let found = self.holders_of(content, STORAGE_TIMEOUT).await;
                    if found.is_ok_and(|holders| holders.entries.is_empty() && !holders.in_a_moment) {
                        lost.insert(content, named.get(&content).cloned().unwrap_or_default());
                    }
                }
            }
        }
        lost
    }
}

/// The contents that the records of one page of a range name and that are not here, and the rest of the range.
fn named_elsewhere(
    store: &crate::blob::Store,
    range: &KeyRange,
) -> Result<(Named, Option<KeyRange>), BlobError> {
    let page = shelf::held(store, range, NAMES_PER_PAGE)?;
    let (mut named, mut last) = (Named::new(), None);
    for (key, record) in page.records {
        // The first record of each name is the current one.
        if last.replace(key) == Some(key) {
            continue;
        }
        let Ok(record) = record.decode() else { continue };
        let Some(content) = content_of(&record) else { continue };
        if store.info(&content)?.is_none() {
            let names = named.entry(content).or_default();
            if names.len() < HEALTH_NAMES_MAX {
                names.push(record.name);
            }
        }
    }
    Ok((named, page.rest))
}

/// The names that are read at a time.
const NAMES_PER_PAGE: usize = 500;
