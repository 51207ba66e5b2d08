//! How a peer signs name records, and checks the signatures of other peers.

use crate::id::Position;
use crate::peer::shared::Shared;
use crate::time::Timestamp;
use crate::wire::limits::REVOCATION_NEWS_MAX;
use crate::wire::{NameRecord, SignedRecord, codec};

impl Shared {
    pub(in crate::peer) fn signed(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        let body = codec::encode(record).map_err(|error| error.to_string())?;
        let signature = self.identity.sign(&SignedRecord::signed_bytes(&body)).to_vec();
        Ok(SignedRecord { body, signature, certificate: self.identity.certificate_der().to_vec() })
    }

    pub(in crate::peer) fn signer(
        &self,
        signed: &SignedRecord,
        record: &NameRecord,
    ) -> Result<Position, String> {
        let bytes = SignedRecord::signed_bytes(&signed.body);
        let (certificate, made_ms) = (&signed.certificate, record.clock.unix_ms());
        let writer = self.verifier.verify_record_signature(certificate, made_ms, &bytes, &signed.signature);
        writer.map_err(|error| error.to_string())
    }

    /// Why a record is not accepted any more: its writer's key was revoked long enough before, so that the writer can
    /// only have found a peer that did not know of it.
    pub(in crate::peer) fn revoked_signer(
        &self,
        signed: &SignedRecord,
        record: &NameRecord,
    ) -> Option<String> {
        let revocation = self.verifier.revocation_of(&signed.certificate)?;
        let last_ms = revocation.at_ms.saturating_add(REVOCATION_NEWS_MAX.as_millis() as u64);
        (record.clock.unix_ms() >= last_ms).then(|| {
            let at = Timestamp::of_unix_ms(revocation.at_ms);
            format!("the key of peer {}, which wrote the record, was revoked at {at}", record.writer.label())
        })
    }
}
