//! How a peer signs name records, and checks the signatures of other peers.

use crate::id::Position;
use crate::peer::shared::Shared;
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
}
