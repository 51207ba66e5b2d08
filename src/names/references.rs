//! The objects that a name refers to: they must not be freed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::choice::Version;
use super::history::NameHistory;
use super::record::{content_of, tree_of};
use crate::id::ContentId;
use crate::time::millis;
use crate::wire::{Link, ObjectInfo, Reference};

impl NameHistory {
    /// The objects that this name refers to at this time of the ring, in milliseconds since the Unix epoch: that of the
    /// current version, those of siblings, and those of versions that were replaced less than `kept_for` ago.
    pub fn references(&self, now_unix_ms: u64, kept_for: Duration) -> Vec<Reference> {
        let mut found: BTreeMap<ContentId, Reference> = BTreeMap::new();
        for version in self.kept_versions(now_unix_ms, kept_for) {
            let Some(content) = content_of(&version.record) else { continue };
            // The newest version with this content counts.
            found.entry(content).or_insert_with(|| Reference {
                content,
                link: link_of(&version),
                current: version.current,
            });
        }
        found.into_values().collect()
    }

    /// The trees among these objects: the name refers to their files as well.
    pub fn trees(&self, now_unix_ms: u64, kept_for: Duration) -> Vec<(ObjectInfo, Link)> {
        let mut found: BTreeMap<ContentId, (ObjectInfo, Link)> = BTreeMap::new();
        for version in self.kept_versions(now_unix_ms, kept_for) {
            let Some(tree) = tree_of(&version.record) else { continue };
            found.entry(tree.content).or_insert_with(|| (tree, link_of(&version)));
        }
        found.into_values().collect()
    }

    /// The versions whose objects the name refers to, the newest first.
    fn kept_versions(&self, now_unix_ms: u64, kept_for: Duration) -> Vec<Version> {
        let kept_ms = millis(kept_for);
        let mut replaced_at = None;
        let mut versions = self.versions();
        versions.retain(|version| {
            let age_ms = replaced_at.map(|at: u64| now_unix_ms.saturating_sub(at));
            replaced_at = Some(version.record.clock.unix_ms());
            version.current || version.sibling || age_ms.is_some_and(|age| age < kept_ms)
        });
        versions
    }
}

fn link_of(version: &Version) -> Link {
    Link { name: version.record.name.clone(), clock: version.record.clock }
}

#[cfg(test)]
mod tests {
    use super::super::VERSIONS_MAX;
    use super::super::sample::record;
    use super::*;
    use crate::wire::{RecordTarget, codec};

    const DAY: u64 = 86_400_000;
    const KEPT: Duration = Duration::from_millis(30 * DAY);

    fn referred(history: &NameHistory, now: u64) -> Vec<(u64, bool)> {
        let mut found: Vec<_> = history
            .references(now, KEPT)
            .into_iter()
            .map(|r| (r.link.clock.unix_ms() / DAY, r.current))
            .collect();
        found.sort_unstable();
        found
    }

    /// Goal (design §5): a version's bytes stay for 30 days after a later one replaced it, the current one's for ever.
    #[test]
    fn a_version_is_kept_for_a_while_after_it_was_replaced() {
        // The sample's content depends on the last byte of the clock.
        let (one, mut history) = (record(DAY + 1, 1, None), NameHistory::default());
        let two = record(40 * DAY + 2, 1, Some(one.id()));
        history.merge(one, VERSIONS_MAX).unwrap();
        assert_eq!(referred(&history, 1_000 * DAY), [(1, true)]);
        history.merge(two.clone(), VERSIONS_MAX).unwrap();
        assert_eq!(referred(&history, 69 * DAY), [(1, false), (40, true)]);
        assert_eq!(referred(&history, 70 * DAY + 2), [(40, true)]);
        let mut removal = two.decode().unwrap();
        removal.target = RecordTarget::Tombstone;
        removal.clock = crate::time::Timestamp::of_unix_ms(80 * DAY);
        removal.replaces = [two.id()].into_iter().collect();
        let body = codec::encode(&removal).unwrap();
        history.merge(crate::wire::SignedRecord { body, ..two }, VERSIONS_MAX).unwrap();
        assert_eq!(referred(&history, 109 * DAY), [(40, false)], "the removal itself refers to nothing");
        assert_eq!(referred(&history, 110 * DAY), []);
    }

    /// Goal: a name that stood for a tree refers to its files for as long as to the tree, and only then.
    #[test]
    fn a_tree_is_told_apart_from_a_file() {
        let (one, mut history) = (record(DAY + 1, 1, None), NameHistory::default());
        let mut body = one.decode().unwrap();
        let RecordTarget::Content { content, length, outboard } = body.target else { panic!() };
        body.target = RecordTarget::Tree { content, length, outboard };
        let one = crate::wire::SignedRecord { body: codec::encode(&body).unwrap(), ..one };
        history.merge(one.clone(), VERSIONS_MAX).unwrap();
        let tree = ObjectInfo { content, length, outboard };
        let link = Link { name: body.name.clone(), clock: body.clock };
        assert_eq!(history.trees(1_000 * DAY, KEPT), [(tree, link)]);
        assert_eq!(referred(&history, 1_000 * DAY), [(1, true)]);
        history.merge(record(40 * DAY + 2, 1, Some(one.id())), VERSIONS_MAX).unwrap();
        assert_eq!(history.trees(69 * DAY, KEPT).len(), 1);
        assert_eq!(history.trees(71 * DAY, KEPT), []);
    }

    #[test]
    fn a_sibling_is_kept_until_it_is_settled() {
        let mut history = NameHistory::default();
        history.merge(record(DAY + 1, 1, None), VERSIONS_MAX).unwrap();
        history.merge(record(2 * DAY + 2, 2, None), VERSIONS_MAX).unwrap();
        assert_eq!(referred(&history, 1_000 * DAY), [(1, false), (2, true)]);
    }
}
