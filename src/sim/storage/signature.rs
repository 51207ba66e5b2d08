//! The marks that stand for signatures, since none is made.

use crate::wire::SignedRecord;

/// A record for transport. Its signature stands for a valid one.
pub(super) fn unsigned(body: Vec<u8>) -> SignedRecord {
    SignedRecord { body, signature: vec![0; SignedRecord::SIGNATURE_BYTES], certificate: Vec::new() }
}

/// A byte of a forged signature; those of a valid one are 0.
pub(super) const FORGED: u8 = 1;
