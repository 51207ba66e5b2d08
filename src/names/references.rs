//! The objects that a name refers to: they must not be freed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::NameHistory;
use super::record::content_of;
use crate::id::ContentId;
use crate::time::millis;
use crate::wire::{Link, Reference};

impl NameHistory {
    /// The objects that this name refers to at this time of the ring, in milliseconds since the Unix epoch: that of the
    /// current version, those of siblings, and those of versions that were replaced less than `kept_for` ago.
    pub fn references(&self, now_unix_ms: u64, kept_for: Duration) -> Vec<Reference> {
        let kept_ms = millis(kept_for);
        let mut found: BTreeMap<ContentId, Reference> = BTreeMap::new();
        let mut replaced_at = None;
        for version in self.versions() {
            let age_ms = replaced_at.map(|at: u64| now_unix_ms.saturating_sub(at));
            replaced_at = Some(version.record.clock.unix_ms());
            let is_kept = version.current || version.sibling || age_ms.is_some_and(|age| age < kept_ms);
            let Some(content) = content_of(&version.record).filter(|_| is_kept) else { continue };
            // The newest version with this content counts.
            found.entry(content).or_insert_with(|| Reference {
                content,
                link: Link { name: version.record.name.clone(), clock: version.record.clock },
                current: version.current,
            });
        }
        found.into_values().collect()
    }
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

    #[test]
    fn a_sibling_is_kept_until_it_is_settled() {
        let mut history = NameHistory::default();
        history.merge(record(DAY + 1, 1, None), VERSIONS_MAX).unwrap();
        history.merge(record(2 * DAY + 2, 2, None), VERSIONS_MAX).unwrap();
        assert_eq!(referred(&history, 1_000 * DAY), [(1, false), (2, true)]);
    }
}
