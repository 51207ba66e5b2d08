//! The digests of what the index holds, one for each bucket of the key space: the keys with the same first twelve bits.
//!
//! A digest changes in the transaction that changes the rows. The digest of any range is joined from those of the whole
//! buckets in it and from the rows of the two buckets that it cuts.

use std::ops::RangeInclusive;

use redb::{ReadableTable, TableDefinition};

use crate::id::{ContentId, KeyRange, Position, SetDigest};

/// Bucket → the number of its objects and of its names with records, and the sum of their hashes.
pub(super) const DIGESTS: TableDefinition<'_, u16, (u64, u128)> = TableDefinition::new("digests");

/// The digest of an object alone.
pub(super) fn of_object(content: &ContentId, is_cached: bool) -> SetDigest {
    let digest = SetDigest::of_object(content);
    if is_cached { digest.cached() } else { digest }
}

/// Adds to a bucket the digest of what came with this key, and takes away the digest of what went.
pub(super) fn change(
    transaction: &redb::WriteTransaction,
    key: &[u8; 32],
    came: SetDigest,
    went: SetDigest,
) -> std::result::Result<(), redb::Error> {
    let mut digests = transaction.open_table(DIGESTS)?;
    let bucket = bucket_of(key);
    let before = digests.get(bucket)?.map(|row| read(row.value())).unwrap_or_default();
    let after = before + came - went;
    if after == before {
        return Ok(());
    }
    match after == SetDigest::default() {
        true => digests.remove(bucket)?,
        false => digests.insert(bucket, (after.count, after.sum))?,
    };
    Ok(())
}

/// Puts these digests in the place of all that are there.
pub(super) fn replace(
    transaction: &redb::WriteTransaction,
    counted: &Buckets,
) -> std::result::Result<(), redb::Error> {
    transaction.delete_table(DIGESTS)?;
    let mut digests = transaction.open_table(DIGESTS)?;
    for (bucket, digest) in &counted.0 {
        digests.insert(*bucket, (digest.count, digest.sum))?;
    }
    Ok(())
}

/// The digests that are kept; `None` if the index is of a program that kept none.
pub(super) fn kept(tables: &redb::ReadTransaction) -> std::result::Result<Option<Buckets>, redb::Error> {
    let digests = match tables.open_table(DIGESTS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        digests => digests?,
    };
    let mut buckets = Buckets::default();
    for row in digests.iter()? {
        let (bucket, digest) = row?;
        buckets.0.insert(bucket.value(), read(digest.value()));
    }
    Ok(Some(buckets))
}

/// The joined digest of these buckets.
pub(super) fn of_buckets(
    tables: &redb::ReadTransaction,
    buckets: RangeInclusive<u16>,
) -> std::result::Result<SetDigest, redb::Error> {
    let mut sum = SetDigest::default();
    for row in tables.open_table(DIGESTS)?.range(buckets)? {
        sum = sum + read(row?.1.value());
    }
    Ok(sum)
}

/// The digests of buckets; a bucket without one holds nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets(std::collections::BTreeMap<u16, SetDigest>);

impl Buckets {
    /// Counts one more object or history.
    pub(super) fn add(&mut self, key: &[u8; 32], digest: SetDigest) {
        let sum = self.0.entry(bucket_of(key)).or_default();
        *sum = *sum + digest;
    }

    /// The number of objects and histories.
    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|digest| digest.count).sum()
    }
}

/// The buckets that lie in a range as a whole, and the parts of the range that lie in buckets which it cuts.
pub(super) fn cover(range: &KeyRange) -> (Option<RangeInclusive<u16>>, Vec<KeyRange>) {
    let (first, last) = (bucket_of(&range.first.0), bucket_of(&range.last.0));
    let is_whole = |bucket| range.common(&keys_of(bucket)) == Some(keys_of(bucket));
    let cut: Vec<u16> = match first == last {
        true => vec![first],
        false => vec![first, last],
    };
    let cut: Vec<u16> = cut.into_iter().filter(|bucket| !is_whole(*bucket)).collect();
    let begin = first + u16::from(cut.contains(&first));
    let end = i32::from(last) - i32::from(cut.contains(&last));
    let whole = u16::try_from(end).ok().filter(|end| begin <= *end).map(|end| begin..=end);
    (whole, cut.into_iter().filter_map(|bucket| range.common(&keys_of(bucket))).collect())
}

fn read((count, sum): (u64, u128)) -> SetDigest {
    SetDigest { count, sum }
}

fn bucket_of(key: &[u8; 32]) -> u16 {
    u16::from_be_bytes([key[0], key[1]]) >> 4
}

fn keys_of(bucket: u16) -> KeyRange {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    first[..2].copy_from_slice(&(bucket << 4).to_be_bytes());
    last[..2].copy_from_slice(&(bucket << 4 | 0xf).to_be_bytes());
    KeyRange { first: Position(first), last: Position(last) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_whole_circle_is_whole_buckets() {
        assert_eq!(cover(&KeyRange::WHOLE), (Some(0..=0xfff), Vec::new()));
        assert_eq!(cover(&keys_of(7)), (Some(7..=7), Vec::new()));
        let one = KeyRange { first: Position::ZERO, last: Position::ZERO };
        assert_eq!(cover(&one), (None, vec![one]));
    }

    proptest! {
        /// Goal: whole buckets and cut ones together are just the range.
        #[test]
        fn a_cover_is_the_range(a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), near in any::<bool>()) {
            let (mut a, b) = (Position(a), Position(b));
            if near {
                a.0[..2].copy_from_slice(&b.0[..2]);
            }
            let range = KeyRange { first: a.min(b), last: a.max(b) };
            let (whole, cut) = cover(&range);
            let whole = whole.map(|buckets| KeyRange { first: keys_of(*buckets.start()).first, last: keys_of(*buckets.end()).last });
            let mut all: Vec<KeyRange> = whole.into_iter().chain(cut).collect();
            all.sort();
            prop_assert_eq!((all[0].first, all[all.len() - 1].last), (range.first, range.last));
            prop_assert!(all.windows(2).all(|pair| pair[0].last.next() == Some(pair[1].first)));
        }
    }
}
