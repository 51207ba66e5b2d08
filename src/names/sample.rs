//! Records for the tests of this module.

use super::CheckedRecord;
use crate::id::{ContentId, FileName, OutboardDigest, Position, RecordId};
use crate::time::Timestamp;
use crate::wire::{NameRecord, RecordTarget, SignedRecord, codec};

pub(super) fn record(clock: u64, writer: u8, replaces: Option<RecordId>) -> SignedRecord {
    versioned(clock, writer, 1, replaces)
}

pub(super) fn versioned(clock: u64, writer: u8, version: u64, replaces: Option<RecordId>) -> SignedRecord {
    let body = codec::encode(&NameRecord {
        name: FileName::new("a.txt").unwrap(),
        target: target(&[clock as u8, writer]),
        clock: Timestamp::of_unix_ms(clock),
        writer: Position::of_number(writer),
        version,
        replaces: replaces.into_iter().collect(),
    });
    SignedRecord { body: body.unwrap(), signature: vec![0; 64], certificate: Vec::new() }
}

pub(super) fn target(bytes: &[u8]) -> RecordTarget {
    let content = ContentId::of(bytes);
    RecordTarget::Content { content, length: bytes.len() as u64, outboard: OutboardDigest([0; 32]) }
}

pub(super) fn checked(signed: SignedRecord) -> CheckedRecord {
    let record = signed.decode().unwrap();
    CheckedRecord::new(signed, record)
}
