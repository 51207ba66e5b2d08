//! The version of a name that a person means.

use super::history::NameHistory;
use super::record::content_of;
use crate::id::RecordId;
use crate::wire::{NameRecord, SignedRecord, VersionChoice};

/// One record of a history, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The record.
    pub record: NameRecord,
    /// Whether the record is the winner.
    pub current: bool,
    /// Whether the record is a sibling: it lost without being replaced.
    pub sibling: bool,
}

/// The versions that a choice means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// No version.
    Nothing,
    /// One file, or one removal: of several versions with it, the latest.
    One(Box<Version>),
    /// Several versions with different files, the latest first.
    Several(Vec<Version>),
}

impl NameHistory {
    /// All versions, the current one first, then the others, latest first.
    pub fn versions(&self) -> Vec<Version> {
        let decoded = |signed: &SignedRecord, current, sibling| {
            signed.decode().ok().map(|record| Version { record, current, sibling })
        };
        let current = self.current.iter().filter_map(|signed| decoded(signed, true, false));
        let past = self.past.iter().filter_map(|past| decoded(&past.record, false, past.sibling));
        current.chain(past).collect()
    }

    /// The versions that a choice means.
    pub fn choose(&self, choice: &VersionChoice) -> Chosen {
        let is_meant = |version: &Version| match choice {
            VersionChoice::Number(number) => version.record.version == *number,
            VersionChoice::Content(digits) => {
                content_of(&version.record).is_some_and(|content| content.to_string().starts_with(digits))
            }
        };
        let mut meant: Vec<Version> = self.versions().into_iter().filter(is_meant).collect();
        let differ = |meant: &[Version]| {
            meant.iter().any(|version| content_of(&version.record) != content_of(&meant[0].record))
        };
        match meant.len() {
            0 => Chosen::Nothing,
            _ if differ(&meant) => Chosen::Several(meant),
            _ => Chosen::One(Box::new(meant.swap_remove(0))),
        }
    }

    /// The ids of the siblings.
    pub fn sibling_ids(&self) -> Vec<RecordId> {
        self.siblings().map(SignedRecord::id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::VERSIONS_MAX;
    use super::super::sample::{record, versioned};
    use super::*;

    /// Versions 1 and 2, and a second version 2 that another peer wrote at the same time.
    fn split() -> (NameHistory, [SignedRecord; 3]) {
        let first = versioned(1, 1, 1, None);
        let (one, other) = (versioned(2, 1, 2, Some(first.id())), versioned(3, 2, 2, Some(first.id())));
        let mut history = NameHistory::default();
        for record in [&first, &one, &other] {
            history.merge(record.clone(), VERSIONS_MAX).unwrap();
        }
        (history, [first, one, other])
    }

    #[test]
    fn versions_are_listed_from_the_current_one_on() {
        let (history, [first, one, other]) = split();
        let listed: Vec<_> =
            history.versions().into_iter().map(|v| (v.record, v.current, v.sibling)).collect();
        let decoded = |signed: &SignedRecord| signed.decode().unwrap();
        assert_eq!(
            listed,
            [(decoded(&other), true, false), (decoded(&one), false, true), (decoded(&first), false, false)]
        );
        assert_eq!(NameHistory::default().versions(), []);
    }

    #[test]
    fn a_number_that_two_files_have_means_neither() {
        let (history, [first, one, _]) = split();
        let chosen = |text: &str| history.choose(&text.parse().unwrap());
        assert!(matches!(chosen("1"), Chosen::One(v) if v.record == first.decode().unwrap()));
        assert!(matches!(chosen("2"), Chosen::Several(both) if both.len() == 2 && both[0].current));
        assert_eq!(chosen("3"), Chosen::Nothing);
        let content = content_of(&one.decode().unwrap()).unwrap();
        let by_content = chosen(&format!("sha256:{}", &content.to_string()[..8]));
        assert!(matches!(by_content, Chosen::One(v) if v.sibling));
    }

    /// Goal: a file that came back under a later version is meant by its content, whichever record names it.
    #[test]
    fn of_versions_with_one_file_the_latest_is_meant() {
        let first = record(1, 1, None);
        let mut again = first.decode().unwrap();
        again.clock = again.clock.next(9);
        (again.version, again.replaces) = (2, [first.id()].into_iter().collect());
        let body = crate::wire::codec::encode(&again).unwrap();
        let mut history = NameHistory::default();
        history.merge(first.clone(), VERSIONS_MAX).unwrap();
        history.merge(SignedRecord { body, ..first.clone() }, VERSIONS_MAX).unwrap();
        let content = content_of(&again).unwrap();
        let Chosen::One(chosen) = history.choose(&VersionChoice::Content(content.to_string())) else {
            panic!()
        };
        assert_eq!((chosen.record.version, chosen.current), (2, true));
    }

    /// Goal: a record that names siblings settles them, on every peer and in whatever order the records come.
    #[test]
    fn siblings_are_settled_by_the_record_that_names_them() {
        let (history, [first, one, other]) = split();
        let mut settled = other.decode().unwrap();
        settled.clock = settled.clock.next(9);
        settled.replaces = [other.id(), one.id()].into_iter().collect();
        let body = crate::wire::codec::encode(&settled).unwrap();
        let settled = SignedRecord { body, ..other.clone() };
        assert_eq!(history.sibling_ids(), [one.id()]);
        for order in [[&settled, &first, &one, &other], [&one, &other, &settled, &first]] {
            let mut history = NameHistory::default();
            for record in order {
                history.merge(record.clone(), VERSIONS_MAX).unwrap();
            }
            assert_eq!((history.sibling_ids(), history.current.as_ref()), (vec![], Some(&settled)));
        }
    }
}
