//! How a peer signs name records, and checks the signatures of other peers.

use crate::id::Position;
use crate::peer::shared::Shared;
use crate::time::Timestamp;
use crate::wire::{NameRecord, SignedRecord, codec};

impl Shared {
    pub(in crate::peer) fn signed(&self, record: &NameRecord) -> Result<SignedRecord, String> {
        let body = codec::encode(record).map_err(|error| error.to_string())?;
        let bytes = SignedRecord::signed_bytes(&body);
        let signature = self.identity.sign(&bytes).to_vec();
        let certificate = self.identity.certificate_der().to_vec();
        self.verifier.note_own_signature(&certificate, &bytes, &signature);
        Ok(SignedRecord { body, signature, certificate })
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
        revocation.refuses_record_of(record.clock.unix_ms()).then(|| {
            let at = Timestamp::of_unix_ms(revocation.at_ms);
            format!("the key of peer {}, which wrote the record, was revoked at {at}", record.writer.label())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{self, Asker};
    use crate::id::{ContentId, FileName, OutboardDigest};
    use crate::peer::ring::clock::unix_ms;
    use crate::peer::{Entrance, StartOptions, start};
    use crate::transport::{Authority, Placement};
    use crate::wire::limits::REVOCATION_NEWS_MAX;
    use crate::wire::{PutRole, RecordTarget, Replaces, StorageReply};

    /// Goal: of a revoked peer, older records are taken as before, later ones are refused, and the peer that passes one
    /// on is not blamed.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_record_after_the_revocation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let certs_dir = dir.path().join("certs");
        let options = StartOptions {
            number: Some(1),
            data_dir: Some(dir.path().join("1")),
            certs_dir: Some(certs_dir.clone()),
            listen: Some(([127, 0, 0, 1], 0).into()),
            ..StartOptions::new(Entrance::Found)
        };
        let peer = start(options).await.unwrap();
        peer.wait_active().await.unwrap();
        let shared = peer.shared.clone();
        let authority = Authority::open(&certs_dir).unwrap().unwrap();
        let writer = authority.issue(Placement::Numbered(9), None).unwrap();
        let now = unix_ms();
        let put = async |name: &str, at_ms: u64| {
            let record = NameRecord {
                name: FileName::new(name).unwrap(),
                target: RecordTarget::Content {
                    content: ContentId([1; 32]),
                    length: 1,
                    outboard: OutboardDigest([2; 32]),
                },
                clock: Timestamp::of_unix_ms(at_ms),
                writer: writer.position(),
                version: 1,
                replaces: Replaces::Nothing,
            };
            let body = codec::encode(&record).unwrap();
            let signature = writer.sign(&SignedRecord::signed_bytes(&body)).to_vec();
            let signed = SignedRecord { body, signature, certificate: writer.certificate_der().to_vec() };
            let from = Asker { entry: shared.view().me.clone(), through_a_helper: false };
            files::accept_record(&shared, &from, signed, PutRole::Replica).await
        };
        let is_kept =
            |reply: StorageReply| matches!(reply, StorageReply::Put { missing, .. } if missing.is_empty());
        assert!(is_kept(put("before", now).await));
        authority.revoke(writer.key_hash(), writer.position(), now - 10).unwrap();
        shared.verifier.load_revocations(&certs_dir).unwrap();
        let last = now - 10 + REVOCATION_NEWS_MAX.as_millis() as u64;
        assert!(is_kept(put("before", now).await), "a repair offers it again");
        assert!(is_kept(put("while the news travels", last - 1).await));
        let refused = put("after", last).await;
        let StorageReply::Refused(why) = refused else { panic!("{refused:?}") };
        assert!(why.contains("the key of peer 9, which wrote the record, was revoked at"), "{why}");
        assert!(shared.misbehaving().is_empty());
        peer.shutdown().await;
    }
}
