//! The objects and records here, by ranges of keys, and the digests of these ranges.

use redb::ReadableDatabase as _;

use super::digests::{self, Buckets};
use super::error::Result;
use super::index::Index;
use super::store::Store;
use super::tables::{OBJECTS, RECORDS, REQUESTED};
use crate::id::{ContentId, KeyRange, Position, SetDigest};

/// A page of what is here of a range: objects and records, in the order of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeldRows {
    /// The content ids of the objects.
    pub objects: Vec<ContentId>,
    /// The name keys and their records, as bytes.
    pub records: Vec<(Position, Vec<u8>)>,
    /// The rest of the range, which the page does not cover.
    pub rest: Option<KeyRange>,
}

impl Store {
    /// The digest of all objects and records whose keys are in a range.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn digest(&self, range: &KeyRange) -> Result<SetDigest> {
        self.index().digest(range)
    }

    /// Notes that another peer is told that all objects of a range are here: this peer frees none of them on a permission
    /// that it has asked for before.
    pub fn vouch_for(&self, range: &KeyRange) {
        self.uses().promised_in(range);
    }

    /// The first key, from this one on, of which an object or a record is here.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn first_held(&self, from: &Position) -> Result<Option<Position>> {
        self.index().first_held(from)
    }

    /// The objects and records whose keys are in a range, at most `max` of each.
    ///
    /// # Errors
    /// The errors of the index.
    pub fn held(&self, range: &KeyRange, max: usize) -> Result<HeldRows> {
        self.index().held(range, max)
    }

    /// Looks at the files of at most `max` objects after this one, as [`Store::contains`] does: an object without its
    /// file is forgotten, and a file that has changed is hashed. Returns the object after which the next look begins;
    /// `None` to begin anew.
    ///
    /// # Errors
    /// The errors of the index, or of the disk.
    pub fn look_at_files(&self, after: Option<ContentId>, max: usize) -> Result<Option<ContentId>> {
        let objects = self.index().objects_after(after, max)?;
        for (info, _) in &objects {
            self.contains(&info.content)?;
        }
        Ok(objects.last().map(|(info, _)| info.content).filter(|_| objects.len() == max))
    }
}

impl Index {
    fn digest(&self, range: &KeyRange) -> Result<SetDigest> {
        if range.first > range.last {
            return Ok(SetDigest::default());
        }
        let (whole, cut) = digests::cover(range);
        self.read(|tables| {
            let mut sum = match whole.clone() {
                Some(buckets) => digests::of_buckets(tables, buckets)?,
                None => SetDigest::default(),
            };
            for part in &cut {
                for_each(tables, part, |_, digest| sum = sum + digest)?;
            }
            Ok(sum)
        })
    }

    fn first_held(&self, from: &Position) -> Result<Option<Position>> {
        self.read(|tables| {
            let object = tables.open_table(OBJECTS)?.range::<&[u8; 32]>(&from.0..)?.next().transpose()?;
            let record = tables.open_table(RECORDS)?.range::<&[u8; 32]>(&from.0..)?.next().transpose()?;
            let object = object.map(|(key, _)| Position(*key.value()));
            Ok(object.into_iter().chain(record.map(|(key, _)| Position(*key.value()))).min())
        })
    }

    fn held(&self, range: &KeyRange, max: usize) -> Result<HeldRows> {
        if range.first > range.last {
            return Ok(HeldRows::default());
        }
        let keys = &range.first.0..=&range.last.0;
        self.read(|tables| {
            // The page ends before the first key that does not fit it, be it an object's or a name's.
            let (mut page, mut end) = (HeldRows::default(), None::<Position>);
            for row in tables.open_table(OBJECTS)?.range::<&[u8; 32]>(keys.clone())?.take(max + 1) {
                let key = Position(*row?.0.value());
                match page.objects.len() < max {
                    true => page.objects.push(ContentId(key.0)),
                    false => end = Some(key),
                }
            }
            for row in tables.open_table(RECORDS)?.range::<&[u8; 32]>(keys.clone())?.take(max + 1) {
                let (key, value) = row?;
                let key = Position(*key.value());
                if end.is_some_and(|end| key >= end) {
                    break;
                }
                match page.records.len() < max {
                    true => page.records.push((key, value.value().to_vec())),
                    false => end = Some(key),
                }
            }
            if let Some(first) = end {
                page.objects.retain(|content| content.key() < first);
                page.rest = Some(KeyRange { first, last: range.last });
            }
            Ok(page)
        })
    }

    /// Whether the digests are there and count as much as there is. An index of an earlier program has none.
    pub(super) fn has_digests(&self) -> Result<bool> {
        self.read(|tables| {
            let objects = redb::ReadableTableMetadata::len(&tables.open_table(OBJECTS)?)?;
            let records = redb::ReadableTableMetadata::len(&tables.open_table(RECORDS)?)?;
            let kept = digests::kept(tables)?;
            let has = kept.as_ref().is_some_and(|kept| kept.count() == objects + records);
            debug_assert!(!has || kept == Some(recount(tables)?), "a digest differs from its rows");
            Ok(has)
        })
    }

    /// Counts all digests anew, from the rows.
    pub(super) fn recount_digests(&self) -> Result<()> {
        self.write(|database| {
            let counted = recount(&database.begin_read()?)?;
            let transaction = database.begin_write()?;
            digests::replace(&transaction, &counted)?;
            Ok(transaction.commit()?)
        })
    }
    /// Makes the index one of a program that kept no digests.
    #[cfg(test)]
    pub(super) fn forget_digests(&self) {
        let forgotten = self.write(|database| {
            let transaction = database.begin_write()?;
            transaction.delete_table(digests::DIGESTS)?;
            Ok(transaction.commit()?)
        });
        forgotten.unwrap();
    }
}

fn recount(tables: &redb::ReadTransaction) -> std::result::Result<Buckets, redb::Error> {
    let mut buckets = Buckets::default();
    for_each(tables, &KeyRange::WHOLE, |key, digest| buckets.add(key, digest))?;
    Ok(buckets)
}

/// Visits the digest of each object and of each name's records in a range.
fn for_each(
    tables: &redb::ReadTransaction,
    range: &KeyRange,
    mut visit: impl FnMut(&[u8; 32], SetDigest),
) -> std::result::Result<(), redb::Error> {
    let keys = &range.first.0..=&range.last.0;
    for row in tables.open_table(OBJECTS)?.range::<&[u8; 32]>(keys.clone())? {
        let (key, value) = row?;
        let content = ContentId(*key.value());
        visit(&content.0, digests::of_object(&content, value.value().2 == REQUESTED));
    }
    for row in tables.open_table(RECORDS)?.range::<&[u8; 32]>(keys)? {
        let (key, value) = row?;
        visit(key.value(), SetDigest::of_records(&Position(*key.value()), value.value()));
    }
    Ok(())
}
