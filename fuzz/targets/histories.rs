//! The history of a name: as it lies on disk, and merged from records in any order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quoit::id::{ContentId, FileName, OutboardDigest, Position};
use quoit::names::{NameHistory, VERSIONS_MAX};
use quoit::time::Timestamp;
use quoit::wire::{NameRecord, RecordTarget, SignedRecord, codec};
use quoit_fuzz::{byte, choice, one_encoding, piece};

fuzz_target!(|data: &[u8]| {
    let Some((which, mut rest)) = choice(data) else { return };
    match which % 3 {
        0 => {
            let Some(mut history) = one_encoding::<NameHistory>(rest) else { return };
            // A history from a damaged disk is offered, merged and asked like any other.
            let _ = history.siblings().count();
            let records: Vec<_> = history.past.iter().map(|past| past.record.clone()).collect();
            let known = history.current.clone();
            for record in records.into_iter().chain(known).take(VERSIONS_MAX) {
                let decoded = record.decode();
                if let Ok(decoded) = &decoded {
                    let _ = history.accepts(decoded, decoded.clock.unix_ms());
                }
                let merged = history.merge(record, VERSIONS_MAX);
                assert!(decoded.is_ok() || merged.is_err());
            }
        }
        1 => {
            let mut history = NameHistory::default();
            for _ in 0..RECORDS_MAX {
                let Some(record) = piece(&mut rest).and_then(one_encoding::<SignedRecord>) else { break };
                let _ = history.merge(record, VERSIONS_MAX);
                check(&history);
            }
        }
        _ => {
            let mut records: Vec<SignedRecord> = Vec::new();
            while let Some(record) = next_record(&mut rest, &records) {
                records.push(record);
            }
            let merged = |records: &mut dyn Iterator<Item = &SignedRecord>| {
                let mut history = NameHistory::default();
                for record in records {
                    history.merge(record.clone(), VERSIONS_MAX).expect("it decodes");
                    check(&history);
                }
                history
            };
            let forwards = merged(&mut records.iter());
            let backwards = merged(&mut records.iter().rev());
            assert_eq!(forwards.current, backwards.current, "the winner depends on the order");
            assert_eq!(forwards, backwards, "the history depends on the order");
        }
    }
});

fn check(history: &NameHistory) {
    assert!(history.past.len() < VERSIONS_MAX);
    assert!(history.current.is_some() || history.past.is_empty());
    codec::encode(history).expect("a history fits what the index keeps");
}

/// A record out of four bytes: clock, writer, and which earlier one it replaces.
fn next_record(rest: &mut &[u8], earlier: &[SignedRecord]) -> Option<SignedRecord> {
    if earlier.len() >= RECORDS_MAX {
        return None;
    }
    let (clock, writer, replaces, target) = (byte(rest)?, byte(rest)?, byte(rest)?, byte(rest)?);
    let record = NameRecord {
        name: FileName::new("a name").ok()?,
        target: match target {
            0 => RecordTarget::Tombstone,
            seed => RecordTarget::Content {
                content: ContentId::of(&[seed]),
                length: u64::from(seed),
                outboard: OutboardDigest([seed; 32]),
            },
        },
        clock: Timestamp(u64::from(clock)),
        writer: Position::of_number(writer),
        version: 1,
        replaces: earlier.get(usize::from(replaces)).map(SignedRecord::id).into_iter().collect(),
    };
    let body = codec::encode(&record).ok()?;
    Some(SignedRecord { body, signature: vec![0; SignedRecord::SIGNATURE_BYTES], certificate: Vec::new() })
}

const RECORDS_MAX: usize = 24;
