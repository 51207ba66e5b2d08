//! How a peer signs and keeps name records.

use super::shared::Shared;
use crate::blob::BlobError;
use crate::files::DiskError as _;
use crate::id::{FileName, Position};
use crate::names::NameHistory;
use crate::time::Timestamp;
use crate::wire::{MissingReason, NameRecord, SignedRecord, codec};

impl Shared {
    pub(super) fn signed(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        let body = codec::encode(record).map_err(|error| error.to_string())?;
        let signature = self.identity.sign(&SignedRecord::signed_bytes(&body)).to_vec();
        Ok(SignedRecord { body, signature, certificate: self.identity.certificate_der().to_vec() })
    }

    pub(super) fn signer(&self, signed: &SignedRecord, record: &NameRecord) -> Result<Position, String> {
        let bytes = SignedRecord::signed_bytes(&signed.body);
        let (certificate, made_ms) = (&signed.certificate, record.clock.unix_ms());
        let writer = self.verifier.verify_record_signature(certificate, made_ms, &bytes, &signed.signature);
        writer.map_err(|error| error.to_string())
    }

    /// What this peer keeps of a name.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) async fn kept_history(&self, key: Position) -> Result<NameHistory, String> {
        let bytes =
            self.blocking(move |store| store.record(&key)).await.map_err(|error| error.to_string())?;
        bytes.map_or(Ok(NameHistory::default()), |bytes| {
            codec::decode(&bytes).map_err(|error| error.to_string())
        })
    }

    /// Changes what this peer keeps of a name. What cannot be decoded is not written over.
    pub(super) async fn change_history<T: Send + 'static>(
        &self,
        key: Position,
        change: impl FnOnce(&mut NameHistory) -> (bool, T) + Send + 'static,
    ) -> Result<T, MissingReason> {
        let changed = self.blocking(move |store| {
            let mut done = None;
            store.update_record(key, |bytes| {
                let (new, result) = changed_history(bytes, change);
                done = Some(result);
                new
            })?;
            Ok(done)
        });
        match changed.await {
            Ok(Some(result)) => result.map_err(MissingReason::Disk),
            Ok(None) => Err(MissingReason::Disk("the record was not looked at".to_owned())),
            Err(error) => Err(error.missing_reason()),
        }
    }

    pub(super) async fn unlinked(&self, name: &FileName, since: Timestamp) -> Result<(), BlobError> {
        let name = name.clone();
        self.blocking(move |store| store.unlink(&name, since)).await
    }
}

/// The new bytes of a history, if there are any, and what its change came to.
fn changed_history<T>(
    bytes: Option<&[u8]>,
    change: impl FnOnce(&mut NameHistory) -> (bool, T),
) -> (Option<Vec<u8>>, Result<T, String>) {
    let history = bytes.map_or(Ok(NameHistory::default()), codec::decode);
    let mut history = match history {
        Ok(history) => history,
        Err(error) => return (None, Err(format!("what is kept of this name cannot be read: {error}"))),
    };
    match change(&mut history) {
        (false, result) => (None, Ok(result)),
        (true, result) => match codec::encode(&history) {
            Ok(bytes) => (Some(bytes), Ok(result)),
            Err(error) => (None, Err(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what cannot be read is neither written over nor taken for nothing; what cannot be written is no success.
    #[test]
    fn a_history_that_cannot_be_read_stays_as_it_is() {
        let untouched = |_: &mut NameHistory| -> (bool, ()) { panic!("there is nothing to change") };
        let (new, result) = changed_history(Some(&[0xff; 40]), untouched);
        assert_eq!(new, None);
        assert!(result.unwrap_err().contains("cannot be read"));
        let (new, result) = changed_history(None, |_| (false, 7));
        assert_eq!((new, result), (None, Ok(7)));
        let (new, result) = changed_history(None, |_| (true, 7));
        assert_eq!((new, result), (codec::encode(&NameHistory::default()).ok(), Ok(7)));
    }
}
