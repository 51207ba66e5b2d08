//! Revocations on disk and from others: checked against the ring CA, kept in the certificates directory, made by the
//! holder of the CA's key.

use std::io;
use std::path::{Path, PathBuf};

use ring::signature::{ED25519, UnparsedPublicKey};

use super::authority::Authority;
use super::files::{self, Access};
use super::identity;
use super::identity_error::IdentityError;
use super::verifier::Verifier;
use crate::id::KeyHash;
use crate::id::Position;
use crate::wire::{Revocation, RevocationError, SignedRevocation, codec, limits};

impl Verifier {
    /// Checks that the ring CA made this statement.
    ///
    /// # Errors
    /// [`RevocationError`].
    pub fn check_revocation(&self, signed: &SignedRevocation) -> Result<Revocation, RevocationError> {
        let revocation = signed.decode()?;
        UnparsedPublicKey::new(&ED25519, self.ca_key())
            .verify(&SignedRevocation::signed_bytes(&signed.body), &signed.signature)
            .map_err(|_| RevocationError::Signature)?;
        Ok(revocation)
    }

    /// Takes in revocations from anywhere; returns those that are new. From then on their keys are refused.
    ///
    /// # Errors
    /// [`RevocationError`] when one of them is not by the ring CA; then none is taken.
    pub fn learn_revocations(
        &self,
        revoked: Vec<SignedRevocation>,
    ) -> Result<Vec<Revocation>, RevocationError> {
        if revoked.len() > limits::REVOKED_MAX {
            return Err(RevocationError::TooMany);
        }
        let checked: Result<Vec<_>, _> = revoked
            .into_iter()
            .map(|signed| self.check_revocation(&signed).map(|revocation| (revocation, signed)))
            .collect();
        Ok(self.revoked().add(checked?))
    }

    /// Takes in what a certificates directory keeps. A statement that is not by this ring's CA is left out, as after a
    /// flipped bit: any other peer of the ring has it too. Returns the number of these.
    ///
    /// # Errors
    /// [`IdentityError`] when the file cannot be read or understood at all.
    pub fn load_revocations(&self, certs_dir: &Path) -> Result<usize, IdentityError> {
        let all = read(certs_dir)?;
        let count = all.len();
        let checked: Vec<_> = all
            .into_iter()
            .filter_map(|signed| self.check_revocation(&signed).ok().map(|revocation| (revocation, signed)))
            .collect();
        let left_out = count - checked.len();
        self.revoked().add(checked);
        Ok(left_out)
    }

    /// Keeps all revocations that are known in a certificates directory, together with those that other processes
    /// keep there; durable on return.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn keep_revocations(&self, certs_dir: &Path) -> Result<(), IdentityError> {
        let path = path(certs_dir);
        let io = |source| IdentityError::io(&path, source);
        let _lock = identity::lock(certs_dir).map_err(io)?;
        // A file that cannot be understood is replaced by what is known here.
        let _ = self.load_revocations(certs_dir);
        let bytes = codec::encode(&self.revoked().all()).map_err(|error| io(io::Error::other(error)))?;
        if files::read(&path).ok().flatten().as_ref() == Some(&bytes) {
            return Ok(());
        }
        files::write(&path, &bytes, Access::Public).map_err(io)
    }
}

impl Authority {
    /// Revokes a key, for good, and keeps the statement in the certificates directory; durable on return. A key that is
    /// revoked already stays revoked since then.
    ///
    /// # Errors
    /// [`IdentityError`] when files cannot be read or written; [`IdentityError::TooManyRevoked`].
    pub fn revoke(&self, key: KeyHash, position: Position, at_ms: u64) -> Result<Revocation, IdentityError> {
        let verifier = self.verifier()?;
        verifier.load_revocations(self.certs_dir())?;
        if let Some(revocation) = verifier.revoked().of(&key) {
            return Ok(revocation);
        }
        let revocation = Revocation { key, position, at_ms };
        let malformed = |reason: String| IdentityError::Malformed { path: path(self.certs_dir()), reason };
        let body = codec::encode(&revocation).map_err(|error| malformed(error.to_string()))?;
        let signature = self.sign(&SignedRevocation::signed_bytes(&body)).to_vec();
        let signed = SignedRevocation { body, signature };
        let added = verifier.learn_revocations(vec![signed]).map_err(|error| malformed(error.to_string()))?;
        if added.is_empty() {
            return Err(IdentityError::TooManyRevoked);
        }
        verifier.keep_revocations(self.certs_dir())?;
        Ok(revocation)
    }
}

/// The path of the revocations in a certificates directory.
fn path(certs_dir: &Path) -> PathBuf {
    certs_dir.join(FILE)
}

fn read(certs_dir: &Path) -> Result<Vec<SignedRevocation>, IdentityError> {
    let path = path(certs_dir);
    let Some(bytes) = files::read(&path).map_err(|source| IdentityError::io(&path, source))? else {
        return Ok(Vec::new());
    };
    codec::decode(&bytes).map_err(|error| IdentityError::Malformed { path, reason: error.to_string() })
}

const FILE: &str = "revoked.bin";

#[cfg(test)]
mod tests {
    use super::super::sample::{Ring, ring};
    use super::*;

    fn key(number: u8) -> (KeyHash, Position) {
        (KeyHash([number; 32]), Position::of_number(number))
    }

    impl Ring {
        fn revoke(&self, number: u8, at_ms: u64) -> Revocation {
            let (key, position) = key(number);
            self.authority.revoke(key, position, at_ms).unwrap()
        }

        fn loaded(&self) -> Verifier {
            let verifier = self.authority.verifier().unwrap();
            verifier.load_revocations(self.folder.path()).unwrap();
            verifier
        }
    }

    #[test]
    fn a_revoked_key_stays_revoked_since_the_first_time() {
        let ring = ring();
        assert_eq!((ring.loaded().revoked().count(), ring.loaded().revoked().digest()), (0, 0));
        let first = ring.revoke(7, 1_000);
        assert_eq!(ring.revoke(7, 2_000), first);
        ring.revoke(8, 3_000);
        let revoked = ring.loaded();
        let revoked = revoked.revoked();
        assert_eq!((revoked.of(&key(7).0), revoked.of(&key(9).0)), (Some(first), None));
        assert_eq!(revoked.count(), 2);
        assert_ne!(revoked.digest(), 0);
    }

    /// Goal: two lists are joined whatever their order, and an older file takes nothing back.
    #[test]
    fn lists_only_grow() {
        let ring = ring();
        ring.revoke(7, 1_000);
        let old = std::fs::read(path(ring.folder.path())).unwrap();
        let seven = ring.loaded().revoked().all();
        ring.revoke(8, 2_000);
        let both = ring.loaded();
        // The folder was restored from an older backup, and the running peer knows more.
        std::fs::write(path(ring.folder.path()), &old).unwrap();
        assert_eq!(ring.loaded().revoked().count(), 1);
        both.keep_revocations(ring.folder.path()).unwrap();
        assert_eq!(ring.loaded().revoked().digest(), both.revoked().digest());
        let other = ring.authority.verifier().unwrap();
        let mut changes = other.revoked().changes();
        assert_eq!(other.learn_revocations(both.revoked().all()).unwrap().len(), 2);
        assert!(other.learn_revocations(seven).unwrap().is_empty());
        assert_eq!(other.revoked().digest(), both.revoked().digest());
        assert!(futures_util::FutureExt::now_or_never(changes.next()).is_some());
        assert!(futures_util::FutureExt::now_or_never(changes.next()).is_none());
    }

    /// Goal: only the ring CA revokes; a changed, cut or foreign statement is refused, and a bad file loses only what
    /// is bad in it.
    #[test]
    fn only_the_ring_ca_revokes() {
        let (ring, theirs) = (ring(), ring_of_another_ca());
        ring.revoke(7, 1_000);
        ring.revoke(8, 1_000);
        let good = ring.loaded().revoked().all();
        let verifier = ring.authority.verifier().unwrap();
        let foreign = theirs.loaded().revoked().all();
        assert_eq!(verifier.learn_revocations(foreign.clone()), Err(RevocationError::Signature));
        for at in 0..good[0].body.len() {
            let mut bad = good[0].clone();
            bad.body[at] ^= 1;
            assert!(verifier.learn_revocations(vec![bad]).is_err(), "byte {at} of the body");
        }
        for at in 0..good[0].signature.len() {
            let mut bad = good[0].clone();
            bad.signature[at] ^= 1;
            assert_eq!(verifier.learn_revocations(vec![bad]), Err(RevocationError::Signature), "{at}");
        }
        let mut cut = good[0].clone();
        cut.signature.pop();
        assert_eq!(verifier.learn_revocations(vec![good[1].clone(), cut]), Err(RevocationError::Length));
        assert_eq!(verifier.revoked().count(), 0, "one bad statement refuses the whole list");
        let many = vec![good[0].clone(); limits::REVOKED_MAX + 1];
        assert_eq!(verifier.learn_revocations(many), Err(RevocationError::TooMany));

        let mixed = codec::encode(&[good, foreign].concat()).unwrap();
        std::fs::write(path(ring.folder.path()), &mixed).unwrap();
        assert_eq!(verifier.load_revocations(ring.folder.path()).unwrap(), 1);
        assert_eq!(verifier.revoked().count(), 2);
        std::fs::write(path(ring.folder.path()), &mixed[..mixed.len() - 1]).unwrap();
        let read = verifier.load_revocations(ring.folder.path());
        assert!(matches!(read, Err(IdentityError::Malformed { .. })), "{read:?}");
        verifier.keep_revocations(ring.folder.path()).unwrap();
        assert_eq!(ring.loaded().revoked().count(), 2);
    }

    fn ring_of_another_ca() -> Ring {
        let theirs = ring();
        theirs.revoke(9, 1_000);
        theirs
    }

    #[test]
    fn a_full_list_takes_no_more() {
        let ring = ring();
        let verifier = ring.authority.verifier().unwrap();
        let all: Vec<_> = (0..limits::REVOKED_MAX as u32)
            .map(|n| {
                let key = KeyHash(crate::id::sha256(&n.to_be_bytes()));
                let body =
                    codec::encode(&Revocation { key, position: Position(key.0), at_ms: u64::MAX }).unwrap();
                assert!(body.len() <= SignedRevocation::BODY_BYTES_MAX);
                let signature = ring.authority.sign(&SignedRevocation::signed_bytes(&body)).to_vec();
                SignedRevocation { body, signature }
            })
            .collect();
        verifier.learn_revocations(all).unwrap();
        verifier.keep_revocations(ring.folder.path()).unwrap();
        let refused = ring.authority.revoke(KeyHash([7; 32]), Position::of_number(7), 1_000);
        assert!(matches!(refused, Err(IdentityError::TooManyRevoked)), "{refused:?}");
    }
}
