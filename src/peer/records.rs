//! Name records: read from the replicas of the name key, written through its owner.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::serve::Asker;
use super::shared::{LATE_WORD, STORAGE_TIMEOUT, Shared, disk_reason, shortened};
use crate::id::{ContentId, FileName, Position};
use crate::names::{CheckedRecord, Greatest, NameHistory, Verdict, Vote, Votes, content_of, next_record};
use crate::replica::{Copies, Election, Found, has_no_vote, own_replicas, put_duty, vote_count};
use crate::wire::{
    Entry, Fault, Missing, MissingReason, NameRecord, PutRole, RecordTarget, SignedRecord, StorageReply,
    StorageRequest, codec,
};

/// A record that was written.
#[derive(Debug)]
pub(super) struct Written {
    pub owner: Position,
    pub record: NameRecord,
    signed: SignedRecord,
    pub replaced: Option<ContentId>,
    pub copies: Copies,
}

impl Shared {
    /// Writes what a name stands for, through the owner of the name key.
    ///
    /// # Errors
    /// Who did not take it and why, once the deadline has passed.
    pub(super) async fn write_record(
        self: &Arc<Self>,
        name: &FileName,
        target: RecordTarget,
        deadline: Instant,
    ) -> Result<Written, String> {
        let mut trouble;
        loop {
            match self.try_to_write(name, target).await {
                Ok(written) => return Ok(written),
                Err(why) => trouble = why,
            }
            if Instant::now() + RETRY >= deadline {
                return Err(trouble);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// What the first 2R − 1 members from a name key on say of the name.
    ///
    /// # Errors
    /// Says why nobody could be asked.
    pub(super) async fn resolve(self: &Arc<Self>, name: &FileName) -> Result<Verdict, String> {
        let found = self.find_soon(name.key(), vote_count(self.copies()) - 1).await?;
        let (election, everybody) = Election::of(&self.view(), self.copies(), &name.key(), &found);
        let mut votes = Votes::new(found.owner.position, election);
        let mut asked = JoinSet::new();
        for whom in everybody {
            let (shared, name) = (self.clone(), name.clone());
            asked.spawn(async move { (whom.position, shared.fetch_record(&whom, &name).await.ok()) });
        }
        // One that is silent costs no more than this once the others are enough.
        while !votes.is_over() {
            let patience = if votes.is_decided() { LATE_WORD } else { STORAGE_TIMEOUT };
            match timeout(patience, asked.join_next()).await {
                Ok(Some(Ok((peer, vote)))) => votes.hear(peer, vote),
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        // What comes late is checked all the same: a forger is not spared because others were quicker.
        asked.detach_all();
        Ok(votes.verdict())
    }

    /// One peer's record of a name, its signature checked, and whether that peer is still syncing.
    async fn fetch_record(self: &Arc<Self>, whom: &Entry, name: &FileName) -> Result<Vote, String> {
        let (signed, syncing) = self.fetch_signed(whom, name).await?;
        let record = signed.map(|signed| self.checked(signed, name)).transpose();
        if record.is_err() {
            self.blame_answer(&whom.position, Fault::BadRecord);
        }
        Ok(Vote { record: record?, syncing })
    }

    async fn fetch_signed(
        self: &Arc<Self>,
        whom: &Entry,
        name: &FileName,
    ) -> Result<(Option<SignedRecord>, bool), String> {
        let request = StorageRequest::FetchRecord { name: name.clone() };
        match self.ask_storage(whom, request, STORAGE_TIMEOUT).await {
            Ok(StorageReply::Record { record, syncing }) => Ok((record, syncing)),
            Ok(_) => {
                self.blame_answer(&whom.position, Fault::WrongReply);
                Err(format!("peer {} broke the protocol", self.named(&whom.position)))
            }
            Err(reason) => Err(format!("peer {} {reason}", self.named(&whom.position))),
        }
    }

    /// Reads a record that came from elsewhere: of this name, signed by its writer.
    fn checked(&self, signed: SignedRecord, name: &FileName) -> Result<CheckedRecord, String> {
        let checked = self.verified(signed)?;
        if checked.record().name != *name {
            return Err("the record is of another name".to_owned());
        }
        Ok(checked)
    }

    /// Reads a record whose signature and certificate are good.
    fn verified(&self, signed: SignedRecord) -> Result<CheckedRecord, String> {
        let record = signed.decode().map_err(|error| error.to_string())?;
        let bytes = SignedRecord::signed_bytes(&signed.body);
        let writer = self
            .verifier
            .verify_record_signature(&signed.certificate, record.clock.unix_ms(), &bytes, &signed.signature)
            .map_err(|error| error.to_string())?;
        if writer != record.writer {
            return Err(format!(
                "the record names peer {} but another signed it",
                self.named(&record.writer)
            ));
        }
        let checked = CheckedRecord::new(signed, record);
        self.saw_clock(checked.clock_seen(self.ring_ms()));
        Ok(checked)
    }

    async fn try_to_write(
        self: &Arc<Self>,
        name: &FileName,
        target: RecordTarget,
    ) -> Result<Written, String> {
        let found = self.find(name.key(), usize::from(self.settings().replicas) - 1).await?;
        let (signed, mut syncing) = self.fetch_signed(&found.owner, name).await?;
        let mut current = None;
        if let Some(signed) = signed {
            match self.checked(signed, name) {
                Ok(checked) => current = Some(checked),
                Err(_) => {
                    // What the owner has is no record: its replicas are asked, as if it had none yet.
                    self.blame_answer(&found.owner.position, Fault::BadRecord);
                    syncing = true;
                }
            }
        }
        if syncing {
            current = self.brought_to(&found, name, current).await?;
        }
        if let Some(current) = current.as_ref().filter(|current| current.record().target == target) {
            return self.write_nothing_new(found.owner, current).await;
        }
        let record = next_record(name.clone(), target, current.as_ref(), self.next_clock(), self.position());
        let signed = self.sign(&record)?;
        let mut copies = Copies::default();
        self.put_at_owner(&found.owner, &signed, &mut copies).await?;
        let replaced = current.and_then(|old| content_of(old.record()));
        Ok(Written { owner: found.owner.position, record, signed, replaced, copies })
    }

    /// The name stands for this already: there is no new record, only the copies of the one that there is.
    async fn write_nothing_new(
        self: &Arc<Self>,
        owner: Entry,
        current: &CheckedRecord,
    ) -> Result<Written, String> {
        let (record, signed) = (current.record().clone(), current.signed().clone());
        let mut copies = Copies::default();
        self.put_at_owner(&owner, &signed, &mut copies).await?;
        let replaced = content_of(&record);
        Ok(Written { owner: owner.position, record, signed, replaced, copies })
    }

    /// Gives a record that was written before to the owner of its name once more, for more copies.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) async fn write_again(self: &Arc<Self>, written: &mut Written) -> Result<(), String> {
        let found = self.find(written.record.name.key(), 0).await?;
        self.put_at_owner(&found.owner, &written.signed, &mut written.copies).await?;
        written.owner = found.owner.position;
        Ok(())
    }

    /// An owner that is still taking over may not have the record that its replicas have: the greatest that
    /// any has is given to it first. Which that is.
    async fn brought_to(
        self: &Arc<Self>,
        found: &Found,
        name: &FileName,
        has: Option<CheckedRecord>,
    ) -> Result<Option<CheckedRecord>, String> {
        let mut greatest = Greatest::new(has);
        let mut asked = JoinSet::new();
        for other in &found.successors {
            let (shared, other, name) = (self.clone(), other.clone(), name.clone());
            asked.spawn(async move { shared.fetch_signed(&other, &name).await });
        }
        // All of them, side by side: any may have the greatest.
        while let Some(answered) = asked.join_next().await {
            let Ok(Ok((Some(signed), _))) = answered else { continue };
            if let Ok(checked) = self.checked(signed, name) {
                greatest.hear(checked);
            }
        }
        if let Some(record) = greatest.to_bring().cloned() {
            let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
            let brought = self.ask_storage(&found.owner, request, STORAGE_TIMEOUT).await;
            brought.map_err(|reason| format!("peer {} {reason}", self.named(&found.owner.position)))?;
        }
        Ok(greatest.into_current())
    }

    async fn put_at_owner(
        self: &Arc<Self>,
        owner: &Entry,
        signed: &SignedRecord,
        copies: &mut Copies,
    ) -> Result<(), String> {
        let request = StorageRequest::PutRecord { record: signed.clone(), role: PutRole::Owner };
        match self.ask_storage(owner, request, STORAGE_TIMEOUT * 2).await {
            Ok(StorageReply::Put { durable, missing }) => {
                copies.hear_all(durable, missing);
                Ok(())
            }
            Ok(StorageReply::Conflict { .. }) => {
                Err("the name was written by another peer just now".to_owned())
            }
            Ok(StorageReply::NotOwner { .. }) => Err("the name's owner has just changed".to_owned()),
            Ok(_) => Err(format!("peer {} broke the protocol", self.named(&owner.position))),
            Err(reason) => Err(format!("peer {} {reason}", self.named(&owner.position))),
        }
    }

    fn sign(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        let body = codec::encode(record).map_err(|error| error.to_string())?;
        let signature = self.identity.sign(&SignedRecord::signed_bytes(&body)).to_vec();
        Ok(SignedRecord { body, signature, certificate: self.identity.certificate_der().to_vec() })
    }

    /// Handles `FetchRecord`.
    pub(super) async fn answer_record(self: &Arc<Self>, name: &FileName) -> Result<StorageReply, String> {
        // Before the disk is read: what comes meanwhile, with the end of the take-over, makes no vote of this "no".
        let syncing = has_no_vote(&self.view(), &self.takeover());
        let record = self.history(name.key()).await?.current;
        Ok(StorageReply::Record { record, syncing })
    }

    /// What this peer keeps of a name.
    pub(super) async fn history(&self, key: Position) -> Result<NameHistory, String> {
        let bytes =
            self.blocking(move |store| store.record(&key)).await.map_err(|error| error.to_string())?;
        bytes.map_or(Ok(NameHistory::default()), |bytes| {
            codec::decode(&bytes).map_err(|error| error.to_string())
        })
    }

    /// Handles `PutRecord`.
    pub(super) async fn accept_record(
        self: &Arc<Self>,
        from: &Asker,
        signed: SignedRecord,
        role: PutRole,
    ) -> StorageReply {
        let new = match self.verified(signed) {
            Ok(new) => new,
            Err(why) => {
                // Nobody passes on what they have not checked themselves; but for a helper, which reads nothing.
                if !from.through_a_helper {
                    self.blame(&from.entry.position, Fault::BadRecord);
                }
                return StorageReply::Refused(shortened(why));
            }
        };
        let view = self.view();
        let (key, signed) = (new.record().name.key(), new.signed().clone());
        if let Err(why) = put_duty(&view, &key, role) {
            return why.into();
        }
        match self.merge_record(key, new, role).await {
            Ok(()) if role == PutRole::Owner => self.pass_record_on(key, signed, None).await,
            Ok(()) => StorageReply::Put { durable: vec![self.position()], missing: Vec::new() },
            // A disk that takes nothing here does not keep the record from the others.
            Err(NotMerged::Disk(reason)) if role == PutRole::Owner => {
                self.pass_record_on(key, signed, Some(reason)).await
            }
            Err(NotMerged::Disk(reason)) => StorageReply::Refused(shortened(reason.to_string())),
            Err(NotMerged::Refused(refusal)) => refusal,
        }
    }

    /// Merges a record into what this peer keeps; durable on return.
    async fn merge_record(
        self: &Arc<Self>,
        key: Position,
        new: CheckedRecord,
        role: PutRole,
    ) -> Result<(), NotMerged> {
        let (name, clock) = (new.record().name.clone(), new.record().clock);
        let tombstone = new.record().target == RecordTarget::Tombstone;
        let now = self.ring_ms();
        let merged = self
            .blocking(move |store| {
                let mut refused = None;
                store.update_record(key, |bytes| {
                    let mut history: NameHistory =
                        bytes.and_then(|bytes| codec::decode(bytes).ok()).unwrap_or_default();
                    match history.put(&new, role, now) {
                        Ok(changed) => changed.then(|| codec::encode(&history).ok()).flatten(),
                        Err(refusal) => {
                            refused = Some(refusal.into_reply(&history));
                            None
                        }
                    }
                })?;
                if tombstone && refused.is_none() {
                    store.unlink(&name, clock)?;
                }
                Ok(refused)
            })
            .await;
        match merged {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(NotMerged::Refused(refusal)),
            Err(error) => Err(NotMerged::Disk(disk_reason(&error))),
        }
    }

    /// The owner gives a record to its replicas, all at once.
    async fn pass_record_on(
        self: &Arc<Self>,
        key: Position,
        signed: SignedRecord,
        own: Option<MissingReason>,
    ) -> StorageReply {
        let view = self.view();
        let mut asked = JoinSet::new();
        for whom in own_replicas(&view, self.copies()) {
            let (shared, record) = (self.clone(), signed.clone());
            asked.spawn(async move {
                let request = StorageRequest::PutRecord { record, role: PutRole::Replica };
                (whom.position, shared.ask_storage(&whom, request, STORAGE_TIMEOUT).await)
            });
        }
        let mut copies = Copies::default();
        let peer = view.me.position;
        copies.hear(match own {
            None => StorageReply::Durable { peer },
            Some(reason) => StorageReply::Missing(Missing { peer, reason }),
        });
        while let Some(Ok((peer, answer))) = asked.join_next().await {
            copies.hear_answer(peer, answer);
        }
        copies.into_put(&key)
    }
}

/// Why a record is not kept here.
enum NotMerged {
    /// It may not be.
    Refused(StorageReply),
    /// It cannot be.
    Disk(MissingReason),
}

/// Between two tries to write a record.
const RETRY: Duration = Duration::from_millis(150);
