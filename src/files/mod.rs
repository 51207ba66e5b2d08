//! The flows of a peer that move files: they carry out what [`crate::replica`] and [`crate::names`] decide.
//!
//! | part | what it does |
//! |---|---|
//! | `absence` | finds out whether the names of a peer that comes back still count |
//! | `ask` | asks a peer about files, this one itself too |
//! | `batch` | many small objects in one exchange |
//! | `batch_names` | many name records in one exchange |
//! | `bring` | brings an object from its holders to this peer |
//! | `bytes` | the bytes of objects, on streams and on the disk |
//! | `compare` | finds out in which ranges of keys two peers hold something else |
//! | `copy` | takes an object in, and passes it on |
//! | `deliver` | gives the object of a store to its owner, which may be this peer itself |
//! | `env` | all that the flows know of the world |
//! | `evidence` | what wrong chunks prove, and of whom |
//! | `fetch` | the holders of one object: which are asked, and what is held against them |
//! | `free` | frees copies that are one too many |
//! | `gather` | many small objects from their replicas in one exchange |
//! | `groups` | many items by the owners of their keys |
//! | `find` | finds owners and replicas |
//! | `in_order` | an object from one holder after the other |
//! | `many` | an object from many holders at once |
//! | `patience` | how long a store goes on without success |
//! | `progress` | the progress of a store or request |
//! | `push` | gives an object out |
//! | `quorum` | the number of copies that acknowledge a store |
//! | `laws` | switches for the simulator: the laws of the store that hold |
//! | `history` | the versions of a name |
//! | `leases` | renews the leases of objects, and frees what no name refers to |
//! | `leave` | hands over before a departure |
//! | `naming` | a change to a name, until it is acknowledged |
//! | `offers` | answers the offers of other peers: which objects and records are wanted |
//! | `records` | reads and writes name records |
//! | `serve` | gives objects out to peers that ask for them |
//! | `shares` | the limits on transfers at the same time, in all and for each peer |
//! | `renew` | renews the leases of objects at their replicas |
//! | `spans` | the plan of a download: which holder brings which chunks |
//! | `repair` | rounds that make missing copies again |
//! | `restore` | makes an earlier version of a name the current one again |
//! | `retention` | drops the tombstones and versions that the ring keeps no longer |
//! | `search` | the content that a name stands for, and the holders of an object |
//! | `store` | a store, until it is acknowledged |
//! | `store_batch` | many stores of small objects at once |
//! | `takeover` | takes over the peer's ranges |
//! | `trees` | the leases of the files of a tree |
//! | `wait` | waits for the first of several futures, and with a timeout |
//!
//! The flows are asynchronous functions without a runtime. A running peer gives them tokio, the network and the disk;
//! the simulator gives them virtual time. So both run the same code. No file, clock, thread, runtime or unseeded chance
//! stands in here; of two events at the same time, the one that is named first counts.
//!
//! Work that only people see (requests for what a person typed, reports, health) stays in `peer`.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

mod absence;
mod ask;
mod batch;
mod batch_names;
mod bring;
mod bytes;
mod compare;
mod copy;
mod deliver;
mod env;
mod evidence;
mod fetch;
mod find;
mod free;
mod gather;
mod groups;
mod history;
mod in_order;
mod laws;
mod leases;
mod leave;
mod many;
mod naming;
mod offers;
mod patience;
mod progress;
mod push;
mod quorum;
mod records;
mod renew;
mod repair;
mod restore;
mod retention;
mod room;
mod search;
mod serve;
mod shares;
mod spans;
mod store;
mod store_batch;
mod takeover;
mod trees;
mod wait;

pub use absence::answer_dropped;
pub use ask::ask_storage;
pub use batch::accept_batch;
pub use batch_names::{accept_records, answer_records};
pub use bring::bring;
pub use bytes::{
    Answering, Asking, Chunks, DiskError, DiskFault, GiveError, Incoming, KeptAs, Piece, Placed, Reader,
    StreamError,
};
pub use compare::{Compared, Comparison, answer_compare};
pub use copy::{Arrival, Upstream, accept_object, receive};
pub use env::{
    Asker, BoxFuture, Cause, Clock, CopyHere, Env, HeldPage, HistoryChange, Hops, OfferLook, RingWish, Small,
};
pub use fetch::{Fetch, FetchError, NotOpened, Wish, holders_to_ask};
pub use find::{FindError, NotActive, find, find_soon, list_after, look_up, member, replicas_of};
pub use free::{
    NotEvicted, NotFreed, answer_may_free, answer_vouch, evict, free_copy, free_surplus, hear_freed,
    tell_of_evicted,
};
pub use gather::{gather, read_batch, serve_batch};
pub use history::{Versions, answer_history, versions_of};
pub use laws::Laws;
pub use leases::{answer_renew, keep_leases};
pub use leave::{HandedOver, Remains, StayReason, hand_over_and_wait, why_stay};
pub use naming::{Renamed, edit_name};
pub use offers::answer_offer;
pub use progress::Progress;
pub use push::{Feed, Given, LiveFrom, Passed, PushFailure, push, push_exchange};
pub use quorum::{StoreFailure, copies_wanted};
pub use records::{LATE_WORD, STORAGE_TIMEOUT, Written, accept_record, answer_record, resolve};
pub use renew::renew;
pub use repair::{RoundLog, answer_sync, planned, repair, round};
pub use restore::{RestoreFailure, Restored, restore};
pub use retention::keep_names;
pub use room::tell_room;
pub use search::{answer_who_has, holders_of, other_holders, resolve_soon};
pub use serve::{answer_outboard, serve_object};
pub use shares::{Foreground, Meter, Pace, Party, Rates, Slot, Slots, Transfers};
pub use store::{Order, Stored, put, store};
pub use store_batch::{BatchOrder, PutOrder, put_batch, store_batch};
pub use takeover::take_over;
pub use wait::{Either, Task, Together, race, timeout};
