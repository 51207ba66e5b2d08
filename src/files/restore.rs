//! An earlier version of a name becomes the current one again.

use std::sync::Arc;
use std::time::Duration;

use super::env::Env;
use super::find::FindError;
use super::history::{Versions, versions_of};
use super::naming::{Renamed, edit_name};
use super::quorum::StoreFailure;
use super::records::LATE_WORD;
use super::renew::renew;
use super::search::holders_of;
use super::trees::renew_tree;
use crate::id::{ContentId, FileName};
use crate::names::{Chosen, NameEdit, NameHistory, Version, object_of, tree_of};
use crate::wire::{Link, ObjectInfo, Reference, VersionChoice};

/// A version that was restored.
#[derive(Debug)]
pub struct Restored {
    /// The version whose file the name stands for.
    pub from: Version,
    /// That file.
    pub object: ObjectInfo,
    /// The new record, and its copies.
    pub renamed: Renamed,
    /// The number of siblings that the new record settled.
    pub settled: usize,
    /// Whether the name stood for this file already and had no siblings, so that there is no new record.
    pub unchanged: bool,
}

/// Why a version is not restored.
#[derive(Debug)]
pub enum RestoreFailure<D> {
    /// No peer could be asked.
    Find(FindError),
    /// The name has no record, or that cannot be told.
    Versions(Versions),
    /// The choice means no file, or several, of this history.
    Choice(Box<NameHistory>),
    /// No peer that answers holds the bytes: the name would stand for nothing.
    Gone(ContentId),
    /// The new record is not acknowledged.
    Write(StoreFailure<D>),
}

/// Makes the file of a version the current one again, in a new version. It also settles all siblings.
///
/// # Errors
/// [`RestoreFailure`].
pub async fn restore<E: Env>(
    env: &Arc<E>,
    name: &FileName,
    choice: &VersionChoice,
    timeout: Duration,
) -> Result<Restored, RestoreFailure<E::DiskError>> {
    let history = match versions_of(env, name).await.map_err(RestoreFailure::Find)? {
        Versions::Known(history) => history,
        other => return Err(RestoreFailure::Versions(other)),
    };
    let Chosen::One(from) = history.choose(choice) else { return Err(RestoreFailure::Choice(history)) };
    let Some(object) = object_of(&from.record) else { return Err(RestoreFailure::Choice(history)) };
    if env.laws().restored_leased {
        lease(env, &from, object.content).await?;
    }
    let edit = NameEdit { target: from.record.target, settles: history.sibling_ids() };
    let renamed = edit_name(env, name, &edit, timeout).await.map_err(RestoreFailure::Write)?;
    let current = history.versions().into_iter().find(|version| version.current);
    let unchanged = current.is_some_and(|current| current.record == renamed.written.record);
    Ok(Restored { from: *from, object, renamed, settled: edit.settles.len(), unchanged })
}

/// Makes sure that the bytes of a version are there, and renews their lease: from here on they stay, whatever became of the
/// names that referred to them.
async fn lease<E: Env>(
    env: &Arc<E>,
    of: &Version,
    content: ContentId,
) -> Result<(), RestoreFailure<E::DiskError>> {
    let holders = holders_of(env, content, LATE_WORD).await.map_err(RestoreFailure::Find)?;
    if holders.entries.is_empty() {
        return Err(RestoreFailure::Gone(content));
    }
    let link = Link { name: of.record.name.clone(), clock: of.record.clock };
    let mut renewed = renew(env, vec![Reference { content, link: link.clone(), current: false }]).await;
    if let Some(tree) = tree_of(&of.record) {
        renewed = renewed && renew_tree(env, tree, &link).await;
    }
    if renewed {
        return Ok(());
    }
    let why = "too few of the peers that keep its bytes answer".to_owned();
    Err(RestoreFailure::Write(StoreFailure::Name(why)))
}
