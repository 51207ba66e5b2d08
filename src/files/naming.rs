//! A change to a name, until enough copies of its record are durable.

use std::sync::Arc;
use std::time::Duration;

use super::env::Env;
use super::find::find;
use super::patience::{Patience, RETRY};
use super::progress::Progress;
use super::quorum::{StoreFailure, copies_wanted, too_few};
use super::records::{Written, write_again, write_record};
use super::renew::renew;
use super::wait::pause;
use crate::id::FileName;
use crate::names::{NameEdit, content_of};
use crate::replica::CopiesWanted;
use crate::wire::{Link, Missing, ObjectInfo, RecordTarget, Reference, Wait};

/// A change to a name that was acknowledged.
#[derive(Debug)]
pub struct Renamed {
    /// The record that was written, and its copies.
    pub written: Written,
    /// The copies of the record that are not there, and why.
    pub missing: Vec<Missing>,
    /// The number of copies that were waited for, and the number there will be.
    pub wanted: CopiesWanted,
}

/// Makes a change to a name. It is acknowledged once W copies of the record are durable.
///
/// # Errors
/// [`StoreFailure`]: no or too few copies became durable within `timeout`.
pub async fn edit_name<E: Env>(
    env: &Arc<E>,
    name: &FileName,
    edit: &NameEdit,
    timeout: Duration,
) -> Result<Renamed, StoreFailure<E::DiskError>> {
    let wanted = copies_wanted(env, Wait::Quorum).await?;
    let mut patience = Patience::begin(env.now(), timeout, Arc::new(Progress::default()));
    let written = name_until(env, name, edit, wanted, &mut patience).await?;
    let missing = written.copies.missing_of(&env.view(), wanted.most);
    let references = references_of(&written);
    let teller = env.clone();
    env.spawn(async move {
        // The owner's next renewal tells what fails to be told now.
        let _ = renew(&teller, references).await;
    });
    Ok(Renamed { written, missing, wanted })
}

/// The objects that a change concerns: the one that the name stood for, and the one that it stands for now. Their holders
/// show the name accordingly.
fn references_of(written: &Written) -> Vec<Reference> {
    let now = content_of(&written.record);
    let before = written.replaced.filter(|before| Some(*before) != now);
    let of = |content, current| {
        let link = Link { name: written.record.name.clone(), clock: written.record.clock };
        Reference { content, link, current }
    };
    now.map(|content| of(content, true)).into_iter().chain(before.map(|content| of(content, false))).collect()
}

/// The target of a name that stands for this object, a file or a tree.
pub(super) fn target_of(object: &ObjectInfo, is_tree: bool) -> RecordTarget {
    let ObjectInfo { content, length, outboard } = *object;
    match is_tree {
        true => RecordTarget::Tree { content, length, outboard },
        false => RecordTarget::Content { content, length, outboard },
    }
}

/// Writes the name record until enough copies of it are durable.
///
/// # Errors
/// [`StoreFailure`] once the patience has ended.
pub(super) async fn name_until<E: Env>(
    env: &Arc<E>,
    name: &FileName,
    edit: &NameEdit,
    wanted: CopiesWanted,
    patience: &mut Patience,
) -> Result<Written, StoreFailure<E::DiskError>> {
    let deadline = patience.deadline(env.now());
    let written = write_record(env, name, edit, deadline).await;
    let mut written = written.map_err(StoreFailure::Name)?;
    let mut backoff = RETRY;
    loop {
        let owner = find(env, name.key(), 0).await;
        let acknowledge = |owner: &_| written.copies.acknowledge(&env.view(), wanted.needed, owner);
        if owner.is_ok_and(|found| acknowledge(&found.owner.position)) {
            return Ok(written);
        }
        if env.now() + backoff.peek() >= patience.deadline(env.now()) {
            let missing = written.copies.missing();
            return Err(too_few(env, &written.copies, missing, wanted, patience));
        }
        pause(env, &mut backoff).await;
        // A failure now shows in the copies that are missing at the deadline.
        if let Err(error) = write_again(env, &mut written).await {
            tracing::debug!(%error, %name, "a record was not given again");
        }
    }
}
