//! The versions of a name, for people: `History NAME`, `Request NAME@2`, `Remove NAME`, `Restore NAME@2`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::blob::BlobError;
use crate::files::{self, RestoreFailure, Versions};
use crate::id::{ContentId, FileName};
use crate::names::{Chosen, NameEdit, NameHistory, Version, content_of, object_of};
use crate::peer::api::{
    EDIT_TIMEOUT, HistoryReport, RemoveError, RemoveReport, RequestError, RestoreError, RestoreReport,
    VersionChoice, VersionFile, VersionLine, VersionState,
};
use crate::peer::shared::{LATE_WORD, Shared};
use crate::wire::{NameRecord, RecordTarget};

impl Shared {
    /// The versions of a name, and how many peers hold the bytes of each.
    ///
    /// # Errors
    /// [`RequestError`]: there is no record of the name, or that cannot be told.
    pub(in crate::peer) async fn history_report(
        self: &Arc<Self>,
        name: &FileName,
    ) -> Result<HistoryReport, RequestError> {
        self.until_member().await?;
        let history = self.versions_of(name).await?;
        let versions = history.versions();
        let held =
            self.holder_counts(versions.iter().filter_map(|version| content_of(&version.record))).await;
        let line = |Version { record, current, sibling }: Version| VersionLine {
            version: record.version,
            written: record.clock.to_string(),
            writer: self.named(&record.writer),
            state: match (current, sibling) {
                (true, _) => VersionState::Current,
                (false, true) => VersionState::Sibling,
                (false, false) => VersionState::Past,
            },
            file: object_of(&record).map(|object| VersionFile {
                content: object.content,
                length: object.length,
                holders: held.get(&object.content).copied().flatten(),
            }),
        };
        Ok(HistoryReport { name: name.clone(), versions: versions.into_iter().map(line).collect() })
    }

    /// Removes a name. The bytes stay for a while, so that the removal can be undone.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub(in crate::peer) async fn remove(
        self: &Arc<Self>,
        name: &FileName,
    ) -> Result<RemoveReport, RemoveError> {
        self.until_member().await.map_err(RequestError::from)?;
        let (content, before) = self.content_record(name).await?;
        let edit = NameEdit::from(RecordTarget::Tombstone);
        let removed = files::edit_name(self, name, &edit, EDIT_TIMEOUT).await;
        let removed = removed.map_err(|failure| self.edit_error(name, failure))?;
        Ok(RemoveReport {
            name: name.clone(),
            version: removed.written.record.version,
            before: before.version,
            content: removed.written.replaced.unwrap_or(content),
            missing: self.missing_named(&removed.missing),
        })
    }

    /// Makes the file of a version the current one again, in a new version that also settles all siblings.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(in crate::peer) async fn restore(
        self: &Arc<Self>,
        name: &FileName,
        choice: &VersionChoice,
    ) -> Result<RestoreReport, RestoreError> {
        self.until_member().await.map_err(RequestError::from)?;
        let restored = files::restore(self, name, choice, EDIT_TIMEOUT).await;
        let restored = restored.map_err(|failure| self.restore_error(name, choice, failure))?;
        Ok(RestoreReport {
            name: name.clone(),
            version: restored.renamed.written.record.version,
            from: restored.from.record.version,
            content: restored.object.content,
            length: restored.object.length,
            settled: restored.settled as u64,
            unchanged: restored.unchanged,
            missing: self.missing_named(&restored.renamed.missing),
        })
    }

    fn restore_error(
        &self,
        name: &FileName,
        choice: &VersionChoice,
        failure: RestoreFailure<BlobError>,
    ) -> RestoreError {
        RestoreError::Lookup(match failure {
            RestoreFailure::Write(failure) => return self.edit_error(name, failure).into(),
            RestoreFailure::Find(error) => error.into(),
            RestoreFailure::Gone(content) => RequestError::BytesGone { content },
            RestoreFailure::Versions(versions) => self.no_versions(name, versions),
            RestoreFailure::Choice(history) => {
                self.chosen(name, &history, choice).err().unwrap_or_else(|| self.unknown(name))
            }
        })
    }

    /// The content of a version of a name, and its record. A name that is itself spelt `NAME@VERSION` goes first.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(in crate::peer) async fn version_content(
        self: &Arc<Self>,
        name: &FileName,
        choice: &VersionChoice,
    ) -> Result<(ContentId, NameRecord), RequestError> {
        if let Ok(literal) = FileName::new(format!("{}@{choice}", name.as_str())) {
            match self.content_record(&literal).await {
                Err(RequestError::UnknownName { .. } | RequestError::Removed { .. }) => {}
                found => return found,
            }
        }
        let history = self.versions_of(name).await?;
        self.chosen(name, &history, choice)
    }

    fn chosen(
        &self,
        name: &FileName,
        history: &NameHistory,
        choice: &VersionChoice,
    ) -> Result<(ContentId, NameRecord), RequestError> {
        let (name, version) = (name.clone(), choice.to_string());
        match history.choose(choice) {
            Chosen::Nothing => {
                let mut known: Vec<u64> = history.versions().iter().map(|v| v.record.version).collect();
                known.sort_unstable();
                known.dedup();
                Err(RequestError::UnknownVersion { name, version, known })
            }
            Chosen::One(chosen) => match content_of(&chosen.record) {
                Some(content) => Ok((content, chosen.record)),
                None => Err(RequestError::RemovedVersion { name, version }),
            },
            Chosen::Several(several) => {
                let of = |version: &Version| {
                    let content = content_of(&version.record)?;
                    Some(format!("{name}@sha256:{}", &content.to_string()[..CHOICE_DIGITS]))
                };
                let candidates = several.iter().filter_map(of).collect();
                Err(RequestError::AmbiguousVersion { name: name.clone(), version, candidates })
            }
        }
    }

    async fn versions_of(self: &Arc<Self>, name: &FileName) -> Result<NameHistory, RequestError> {
        match files::versions_of(self, name).await? {
            Versions::Known(history) => Ok(*history),
            other => Err(self.no_versions(name, other)),
        }
    }

    fn no_versions(&self, name: &FileName, versions: Versions) -> RequestError {
        match versions {
            Versions::CannotTell { silent, taking_over } => {
                self.cannot_tell(format!("a file named {name}"), &silent, &taking_over)
            }
            Versions::Known(_) | Versions::Unknown => self.unknown(name),
        }
    }

    /// The number of holders of each object, `None` where too few peers answered to tell that there is none.
    async fn holder_counts(
        self: &Arc<Self>,
        contents: impl Iterator<Item = ContentId>,
    ) -> BTreeMap<ContentId, Option<u64>> {
        let mut counts: BTreeMap<ContentId, Option<u64>> = contents.map(|content| (content, None)).collect();
        let mut asked = JoinSet::new();
        for content in counts.keys().copied() {
            let shared = self.clone();
            asked.spawn(async move { (content, shared.holders_of(content, LATE_WORD).await) });
        }
        while let Some(Ok((content, found))) = asked.join_next().await {
            let count = found.ok().and_then(|found| match found.entries.len() as u64 {
                0 if !found.silent.is_empty() => None,
                count => Some(count),
            });
            counts.insert(content, count);
        }
        counts
    }
}

/// The digits of a content id that an error gives to tell versions apart.
const CHOICE_DIGITS: usize = 12;
