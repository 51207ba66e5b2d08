//! Files that are present from the beginning, with all their copies and records.

use std::sync::Arc;

use super::super::disk::file_of;
use super::super::network::Slot;
use super::super::world::World;
use super::keeper::BEGIN_UNIX_MS;
use super::outcome::Acknowledged;
use super::signature::unsigned;
use crate::id::{FileName, Position};
use crate::names::{NameHistory, next_record};
use crate::time::Timestamp;
use crate::wire::{ObjectInfo, RecordTarget, codec};

impl World {
    /// Puts `count` files of this length in their places, as if they had been stored long ago: all copies, all records.
    /// They are named `file-0`, `file-1`, …
    ///
    /// # Panics
    /// When the world has no files' side, or no member.
    pub fn place_files(&mut self, count: u64, length: u64) {
        let members: Vec<(Position, Slot)> = self.living().iter().map(|(p, slot)| (*p, *slot)).collect();
        assert!(!members.is_empty(), "nobody is there to keep them");
        let (copies, seed) = (self.settings.copies(members.len()), self.seed);
        let Some(files) = &mut self.files else { panic!("this world has no files") };
        let real_stores = files.settings.real_stores;
        let disks: Vec<_> = members.iter().map(|(_, slot)| files.home(*slot).disk.clone()).collect();
        let keepers = |key: &Position| {
            let owner = members.partition_point(|(position, _)| position < key);
            (owner..owner + copies).map(|at| &disks[at % disks.len()])
        };
        files.acknowledged.reserve(usize::try_from(count).unwrap_or(0));
        for i in 0..count {
            let label = [seed, i].map(u64::to_be_bytes).concat();
            let (object, text) = file_of(&label, length, real_stores);
            let ObjectInfo { content, outboard, .. } = object;
            let name = FileName::new(format!("file-{i}")).unwrap_or_else(|error| panic!("{error}"));
            let target = RecordTarget::Content { content, length, outboard };
            let clock = Timestamp::of_unix_ms(BEGIN_UNIX_MS - count + i);
            let writer = members[i as usize % members.len()].0;
            let record = next_record(name.clone(), &target.into(), None, clock, writer);
            let history = Arc::new(NameHistory {
                current: Some(unsigned(codec::encode(&record).unwrap_or_default())),
                ..NameHistory::default()
            });
            for disk in keepers(&content.key()) {
                disk.lock().put_object(object, text.as_deref());
            }
            let key = name.key();
            for disk in keepers(&key) {
                disk.lock().put_record(key, history.clone());
            }
            files.acknowledge_name(&record);
            files.acknowledged.push(Acknowledged { name, content, length });
        }
    }
}
