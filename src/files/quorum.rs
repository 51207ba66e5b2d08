//! The number of copies that acknowledge a store, or a change to a name, and the failures when they are not reached.

use std::sync::Arc;
use std::time::Duration;

use super::bytes::GiveError;
use super::env::Env;
use super::find::{NotActive, member};
use super::patience::Patience;
use crate::chord::PhaseKind;
use crate::replica::{Copies, CopiesWanted, WaitError};
use crate::wire::{Missing, Wait};

/// Why a store, or a change to a name, was not acknowledged.
#[derive(Debug)]
pub enum StoreFailure<D> {
    /// This peer is not active in its ring.
    NotActive(NotActive),
    /// The requested number of copies is out of bounds.
    Wait(WaitError),
    /// The bytes cannot be had from their source.
    Source(GiveError<D>),
    /// The name record cannot be written; the text says why.
    Name(String),
    /// Fewer copies than needed, of the object or of its record, are durable.
    TooFewCopies {
        /// The number of durable copies.
        durable: usize,
        /// The number of copies that would be enough.
        needed: usize,
        /// The time that was waited.
        waited: Duration,
        /// The copies that are not durable, and why.
        missing: Vec<Missing>,
    },
}

/// The number of copies that a store would wait for.
///
/// # Errors
/// This peer stores nothing at the moment, or cannot wait for so many copies.
pub async fn copies_wanted<E: Env>(
    env: &Arc<E>,
    wait: Wait,
) -> Result<CopiesWanted, StoreFailure<E::DiskError>> {
    member(env).await.map_err(StoreFailure::NotActive)?;
    let view = env.view();
    if view.phase != PhaseKind::Active {
        return Err(StoreFailure::NotActive(NotActive::of(&view)));
    }
    let settings = view.settings.unwrap_or_default();
    let laws = env.laws();
    let members = if laws.w_of_all_members { view.members_count() } else { 1 + view.alive().count() };
    let wanted = CopiesWanted::new(wait, &settings, members).map_err(StoreFailure::Wait)?;
    let needed = if laws.w_copies { wanted.needed } else { (wanted.needed - 1).max(1) };
    Ok(CopiesWanted { needed, ..wanted })
}

/// The failure of a store, or of a change to a name, whose patience has ended.
pub(super) fn too_few<E: Env>(
    env: &Arc<E>,
    copies: &Copies,
    missing: Vec<Missing>,
    wanted: CopiesWanted,
    patience: &Patience,
) -> StoreFailure<E::DiskError> {
    StoreFailure::TooFewCopies {
        durable: copies.living(&env.view()).len(),
        needed: wanted.needed,
        waited: patience.waited(env.now()),
        missing,
    }
}
