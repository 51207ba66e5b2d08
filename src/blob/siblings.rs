//! The names whose history holds a sibling, in a table of their own: a status reads these names and no record.
//!
//! The row of a name changes in the transaction of its record. An index of an earlier program, or one that was rebuilt,
//! has no rows until its records were looked through once; the number `siblings` of the index says whether that is
//! done.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata as _, TableDefinition, WriteTransaction};

use crate::id::{FileName, Position};

type Done<T> = Result<T, redb::Error>;

/// Makes the table, so that later reads find it.
pub(super) fn create(transaction: &WriteTransaction) -> Done<()> {
    transaction.open_table(SIBLINGS)?;
    Ok(())
}

/// Notes the name whose history, under this key, holds a sibling; `None` if there is no sibling.
pub(super) fn set(transaction: &WriteTransaction, key: &Position, name: Option<&FileName>) -> Done<()> {
    let mut table = transaction.open_table(SIBLINGS)?;
    match name {
        Some(name) => table.insert(&key.0, name.as_str())?,
        None => table.remove(&key.0)?,
    };
    Ok(())
}

/// The first `max` of these names, and the number of all.
pub(super) fn first(tables: &ReadTransaction, max: usize) -> Done<(Vec<FileName>, u64)> {
    let table = tables.open_table(SIBLINGS)?;
    let mut names = Vec::new();
    for row in table.iter()?.take(max) {
        names.extend(FileName::new(row?.1.value()).ok());
    }
    Ok((names, table.len()?))
}

/// Name key → name.
const SIBLINGS: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("siblings");
