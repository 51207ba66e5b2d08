//! Reports as JSON for programs: one shape for each, described in docs/commands.md. Pure.
//!
//! Bytes and milliseconds are numbers, ids are hexadecimal text, peers are objects with a `label` and a `position`;
//! missing values are `null`.

use serde_json::{Value, json};

use crate::id::FileName;
use crate::peer::{
    Doubt, ForgetReport, Hindrance, Lack, LackReason, LeavePlan, LeaveReport, Listed, MemberLine,
    MissingCopy, PeerName, PingReport, RangeProof, RangeReport, RequestReport, RingFile, RingLine,
    ScrubReport, ShortFile, StatusReport, StopAnswer, StopReport, StopSpan, StoreReport, Verdict,
    WhereisReport,
};
use crate::sim::Report;
use crate::wire::FileEntry;

pub(super) fn store(report: &StoreReport) -> Value {
    json!({
        "name": report.name.as_str(),
        "content": report.content.to_string(),
        "length": report.length,
        "name_key": report.name_key.to_string(),
        "name_owner": peer(&report.name_owner),
        "holders": peers(&report.holders),
        "copies_wanted": report.copies,
        "missing": report.missing.iter().map(missing).collect::<Vec<_>>(),
        "version": report.version,
        "replaces": report.replaces.map(|content| content.to_string()),
        "unchanged": report.is_unchanged(),
        "took_ms": millis(report.took),
    })
}

pub(super) fn forget(report: &ForgetReport) -> Value {
    json!({
        "peer": peer(&report.peer),
        "address": report.address.as_str(),
        "forgotten": report.done,
    })
}

/// The JSON of a request; `output` is the path of the file if it was not written to received/ of the peer.
pub(super) fn request(report: &RequestReport, output: Option<&str>) -> Value {
    json!({
        "name": report.name.as_ref().map(FileName::as_str),
        "content": report.content.to_string(),
        "length": report.length,
        "version": report.version,
        "from": peers(&report.sources),
        "path": output.or(report.path.as_deref()),
        "took_ms": millis(report.took),
    })
}

pub(super) fn range(report: &RangeReport) -> Value {
    json!({
        "name": report.name.as_ref().map(FileName::as_str),
        "content": report.content.to_string(),
        "length": report.length,
        "first": report.range.first,
        "last": report.range.last,
        "verified_by": match report.proof {
            RangeProof::Whole => "hash",
            RangeProof::Outboard => "outboard",
        },
        "holders": peers(&report.holders),
    })
}

pub(super) fn file(file: &FileEntry) -> Value {
    json!({
        "names": names(&file.names),
        "content": file.object.content.to_string(),
        "length": file.object.length,
        "pinned": file.pinned,
    })
}

pub(super) fn ring_file(found: &RingFile) -> Value {
    let mut value = file(&found.file);
    // A pin is a matter of each holder.
    value.as_object_mut().map(|fields| fields.remove("pinned"));
    value["holders"] = peers(&found.holders);
    value
}

pub(super) fn ring_line(line: &RingLine) -> Value {
    json!({
        "label": line.peer.label(),
        "position": line.peer.position.to_string(),
        "address": line.address.as_str(),
        "incarnation": line.incarnation,
        "state": line.state_in_words(),
        "share": line.share,
        "me": line.me,
    })
}

pub(super) fn whereis(report: &WhereisReport) -> Value {
    json!({
        "name": report.name.as_str(),
        "name_key": report.name_key.to_string(),
        "record_peers": peers(&report.record_peers),
        "version": report.version,
        "writer": peer(&report.writer),
        "written": report.written,
        "content": report.content.to_string(),
        "length": report.length,
        "content_owner": peer(&report.content_owner),
        "holders": peers(&report.holders),
        "copies_wanted": report.copies,
        "history": report.history,
        "verified_ms": report.verified,
        "full": peers(&report.full),
    })
}

pub(super) fn scrub(report: &ScrubReport) -> Value {
    json!({
        "files": report.objects,
        "bytes": report.bytes,
        "sound": report.sound,
        "quarantined": report.quarantined,
        "fetched_again": report.fetched_again,
        "not_fetched_again": report.not_fetched_again,
        "unreadable": report.unreadable,
        "below_quorum": report.below_quorum,
        "not_healed": listed(&report.not_healed, |content| json!(content.to_string())),
        "took_ms": millis(report.took),
    })
}

pub(super) fn ping(report: &PingReport) -> Value {
    json!({
        "label": report.peer.label(),
        "position": report.peer.position.to_string(),
        "address": report.address.as_str(),
        "incarnation": report.incarnation,
        "round_trips_ms": report
            .round_trips_us
            .iter()
            .map(|trip| trip.map(|us| us as f64 / 1_000.0))
            .collect::<Vec<_>>(),
        "trouble": report.trouble,
    })
}

/// The JSON of a status; `sentence` is the one that its text begins with.
pub(super) fn status(report: &StatusReport, sentence: &str) -> Value {
    let mut value = json!({
        "verdict": verdict(&report.verdict, sentence),
        "label": report.peer.label(),
        "position": report.peer.position.to_string(),
        "incarnation": report.incarnation,
        "ring": report.ring,
        "address": report.address.as_str(),
        "phase": report.phase,
        "replicas": report.settings.map(|settings| settings.replicas),
        "successors_max": report.settings.map(|settings| settings.successors),
        "interval_ms": millis(report.interval),
        "small_ring": report.small_ring,
        "predecessor": report.predecessor.as_ref().map(peer),
        "successors": peers(&report.successors),
        "alive": listed(&report.alive, peer),
        "away": listed(&report.away, peer),
        "gone": listed(&report.gone, peer),
        "unreachable": listed(&report.unreachable, |apart| {
            let mut value = peer(&apart.peer);
            value["through"] = apart.through.as_ref().map_or(Value::Null, peer);
            value
        }),
        "misbehaving": listed(&report.misbehaving, |fault| {
            let mut value = peer(&fault.peer);
            value["fault"] = json!(fault.kind.to_string());
            value["count"] = json!(fault.count);
            value
        }),
        "refused": report.refused,
        "malformed": report.malformed,
        "dropped": report.dropped,
        "files": report.objects,
        "bytes": report.bytes,
        "records": report.records,
        "syncing": report.syncing,
        "short": json!({
            "total": report.short_total,
            "first": report.short.iter().map(short_file).collect::<Vec<_>>(),
        }),
        "below_quorum": report.below_quorum,
        "unheard": listed(&report.unheard, peer),
        "unkept": listed(&report.unkept, |unkept| {
            let mut value = peer(&unkept.peer);
            value["files"] = json!(unkept.files);
            value["bytes"] = json!(unkept.bytes);
            value["reason"] = json!(unkept.reason.to_string());
            value
        }),
        "trouble": report.trouble,
        "siblings": listed(&report.siblings, |name| json!(name.as_str())),
        "certificate_until": report.certificate_until,
        "data_dir": report.data_dir,
        "notices": listed(&report.notices, |line| json!(line)),
        "space": super::space::status_json(&report.space),
        "verified": json!({
            "oldest_here_ms": report.verified.here,
            "oldest_ms": report.verified.ring,
            "oldest_at": report.verified.at.as_ref().map(peer),
        }),
    });
    let versions = report.settings.map(|settings| settings.versions);
    value["versions_max"] = json!(versions.map(|versions| versions.count));
    value["versions_for_s"] = json!(versions.map(|versions| versions.seconds));
    value
}

fn verdict(verdict: &Verdict, sentence: &str) -> Value {
    json!({
        "sentence": sentence,
        "members": verdict.members,
        "heard": verdict.heard,
        "away": verdict.away,
        "files": verdict.files,
        "bytes": verdict.bytes,
        "copies_wanted": verdict.copies,
        "quorum": verdict.quorum,
        "copies_least": verdict.copies_least,
        "survives": verdict.survives(),
        "short": verdict.short,
        "unreadable": verdict.unreadable,
        "unreadable_on": lacks(&verdict.unreadable_on),
        "at_risk": listed(&verdict.at_risk, |risk| {
            let mut value = peer(&risk.peer);
            value["files"] = json!(risk.files);
            value["reasons"] = lacks(&risk.reasons);
            value
        }),
        "reasons": lacks(&verdict.lacks),
        "syncing": listed(&verdict.syncing, peer),
    })
}

/// The JSON of the answer on whether peers may stop; `sentence` is the answer as people read it.
pub(super) fn may_stop(report: &StopReport, sentence: &str) -> Value {
    let (safe, because) = match report.answer {
        StopAnswer::Yes => (json!(true), Value::Null),
        StopAnswer::No(hindrance) => (
            json!(false),
            json!(match hindrance {
                Hindrance::Unreadable => "unreadable",
                Hindrance::NoStores => "no_stores",
                Hindrance::TooFewMembers => "too_few_members",
                Hindrance::NoRoom => "no_room",
            }),
        ),
        StopAnswer::CannotTell(doubt) => (
            Value::Null,
            json!(match doubt {
                Doubt::Unheard => "unheard",
                Doubt::Syncing => "syncing",
                Doubt::Uncounted => "uncounted",
            }),
        ),
    };
    let for_ms = match report.span {
        StopSpan::For { ms } => Some(ms),
        StopSpan::AWhile | StopSpan::ForGood => None,
    };
    json!({
        "safe": safe,
        "sentence": sentence,
        "because": because,
        "peers": peers(&report.peers),
        "for_ms": for_ms,
        "for_good": report.span == StopSpan::ForGood,
        "absent": peers(&report.absent),
        "files": report.files,
        "unreadable": report.unreadable,
        "only_there": report.only_there,
        "reasons": lacks(&report.lacks),
        "copies_least": report.copies_least,
        "alone": report.alone,
        "answering": report.answering,
        "quorum": report.quorum,
        "to_copy_bytes": report.to_copy_bytes,
        "room_bytes": report.room_bytes,
        "unheard": listed(&report.unheard, peer),
        "syncing": listed(&report.syncing, peer),
    })
}

/// The JSON of a member in its own words; the figures are null if it does not answer.
pub(super) fn member(member: &MemberLine) -> Value {
    let said = member.said.as_ref();
    let mut value = peer(&member.line.peer);
    value["state"] = json!(member.line.state_in_words());
    value["away_since_ms"] = json!(member.away_since_ms);
    value["answers"] = json!(said.is_some());
    value["version"] = json!(said.map(|said| &said.version));
    value["files"] = json!(said.map(|said| said.objects));
    value["bytes"] = json!(said.map(|said| said.bytes));
    value["free_bytes"] = json!(said.map(|said| said.free_bytes));
    value["disk_bytes"] = json!(said.map(|said| said.disk_bytes));
    value["full"] = json!(said.map(|said| said.full));
    value["syncing"] = json!(said.map(|said| said.syncing));
    value["verified_ms"] = json!(said.and_then(|said| said.verified_ms));
    value["clock_ahead_ms"] = json!(member.clock_ahead_ms);
    value
}

fn lacks(lacks: &[Lack]) -> Value {
    let lack = |lack: &Lack| {
        let (reason, since_ms) = match lack.reason {
            LackReason::Away { since_ms } => ("away", since_ms),
            LackReason::Gone { since_ms } => ("gone", since_ms),
            LackReason::Silent => ("silent", None),
            LackReason::Full => ("full", None),
            LackReason::Syncing => ("syncing", None),
            LackReason::NotYet => ("not_yet", None),
        };
        let mut value = peer(&lack.peer);
        value["reason"] = json!(reason);
        value["since_ms"] = json!(since_ms);
        value
    };
    lacks.iter().map(lack).collect()
}

pub(super) fn leave(report: &LeaveReport) -> Value {
    json!({
        "handed_over": report.handed_over,
        "short": listed(&report.short, |content| json!(content.to_string())),
        "short_names": listed(&report.short_names, |name| json!(name.as_str())),
        "unreachable": listed(&report.unreachable, |name| json!(name.as_str())),
        "data_dir": report.data_dir,
    })
}

pub(super) fn leave_plan(plan: &LeavePlan) -> Value {
    json!({
        "objects": plan.objects,
        "bytes": plan.bytes,
        "records": plan.records,
        "stay": listed(&plan.stay, peer),
        "copies_wanted": plan.copies,
        "unreachable": listed(&plan.unreachable, |name| json!(name.as_str())),
    })
}

pub(super) fn simulation(report: &Report) -> Value {
    let mut hops = json!(report.hops);
    hops["histogram"] = json!(report.hops_histogram);
    json!({
        "peers": report.peers,
        "seed": report.seed,
        "virtual_s": report.virtual_s,
        "lookups": report.lookups,
        "hops": hops,
        "timeouts_mean": report.timeouts_mean,
        "lookups_failed": report.lookups_failed,
        "lookups_wrong_owner": report.lookups_wrong_owner,
        "maintenance_bytes_per_peer_s": report.maintenance_bytes_per_peer_s,
        "convergence_s": report.convergence_s,
        "files_acknowledged": report.files_acknowledged,
        "files_lost": report.files_lost,
        "repair_bytes": report.repair_bytes,
        "invariant_violations": report.invariant_violations,
        "events_per_s": report.events_per_s,
        "bytes_per_peer": report.bytes_per_peer,
        "health": report.health,
    })
}

fn short_file(file: &ShortFile) -> Value {
    json!({
        "names": names(&file.names),
        "content": file.content.to_string(),
        "holders": peers(&file.holders),
        "copies_wanted": file.copies,
        "quorum": file.quorum,
        "missing": peers(&file.missing),
    })
}

pub(super) fn missing(copy: &MissingCopy) -> Value {
    let mut value = peer(&copy.peer);
    value["reason"] = json!(copy.reason.to_string());
    value
}

pub(super) fn peer(peer: &PeerName) -> Value {
    json!({ "label": peer.label(), "position": peer.position.to_string() })
}

fn peers(peers: &[PeerName]) -> Value {
    peers.iter().map(peer).collect()
}

fn names(names: &[FileName]) -> Vec<&str> {
    names.iter().map(FileName::as_str).collect()
}

/// The first items, and the total number of items.
fn listed<T>(list: &Listed<T>, value: impl Fn(&T) -> Value) -> Value {
    json!({ "total": list.total, "first": list.first.iter().map(value).collect::<Vec<_>>() })
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ContentId, Position};
    use crate::wire::{Address, MemberState, ObjectInfo};

    #[test]
    fn shapes_of_lists() {
        let number = Position::of_number(4);
        let line = RingLine {
            peer: PeerName { position: number, name: Some("nas".to_owned()) },
            address: Address::new("10.0.0.4:12300").unwrap(),
            incarnation: 3,
            state: MemberState::Dead,
            gone: true,
            share: 0.0,
            me: false,
        };
        assert_eq!(
            ring_line(&line).to_string(),
            format!(
                r#"{{"label":"nas","position":"{number}","address":"10.0.0.4:12300","incarnation":3,"state":"gone","share":0.0,"me":false}}"#
            )
        );
        let content = ContentId::of(b"abc");
        let object = ObjectInfo { content, length: 3, outboard: crate::id::OutboardDigest([0; 32]) };
        let names = vec![FileName::new("two\nlines").unwrap()];
        let entry = FileEntry { object, names, pinned: false };
        assert_eq!(
            file(&entry).to_string(),
            format!(r#"{{"names":["two\nlines"],"content":"{content}","length":3,"pinned":false}}"#)
        );
        let found = RingFile { file: entry, holders: vec![number.into()] };
        assert!(
            ring_file(&found)
                .to_string()
                .ends_with(&format!(r#""holders":[{{"label":"4","position":"{number}"}}]}}"#))
        );
    }

    #[test]
    fn a_ping_that_was_not_answered_has_no_time() {
        let report = PingReport {
            peer: Position::of_number(4).into(),
            address: Address::new("127.0.0.1:12004").unwrap(),
            incarnation: 1,
            round_trips_us: vec![Some(1_500), None],
            trouble: Some("no reply within 1000 ms".to_owned()),
        };
        assert_eq!(ping(&report)["round_trips_ms"].to_string(), "[1.5,null]");
    }

    /// Goal: docs/commands.md names every field of the JSON output.
    #[test]
    fn every_field_is_in_the_documents() {
        let told = include_str!("../../docs/commands.md");
        let is_field = |word: &&str| {
            let is_word = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            // The words of a sentence that counts.
            !word.is_empty() && is_word && !["entry", "entries"].contains(word)
        };
        let codes = [include_str!("json.rs"), include_str!("trees.rs")];
        let codes = codes.map(|code| code.split("#[cfg(test)]").next().unwrap());
        let fields = codes.iter().flat_map(|code| code.split('"').skip(1).step_by(2)).filter(is_field);
        let untold: Vec<&str> = fields
            .filter(|field| !told.contains(&format!("\"{field}\"")) && !told.contains(&format!("`{field}`")))
            .collect();
        assert!(untold.is_empty(), "docs/commands.md does not tell of {untold:?}");
    }

    /// Goal: the report has the names that programs rely on, and all figures.
    #[test]
    fn a_simulation_has_all_figures() {
        let report = super::super::simulate::tests::report();
        let value = simulation(&report);
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "peers",
                "seed",
                "virtual_s",
                "lookups",
                "hops",
                "timeouts_mean",
                "lookups_failed",
                "lookups_wrong_owner",
                "maintenance_bytes_per_peer_s",
                "convergence_s",
                "files_acknowledged",
                "files_lost",
                "repair_bytes",
                "invariant_violations",
                "events_per_s",
                "bytes_per_peer",
                "health",
            ]
        );
        let mut all = serde_json::to_value(&report).unwrap();
        let histogram = all.as_object_mut().unwrap().remove("hops_histogram").unwrap();
        all["hops"]["histogram"] = histogram;
        assert_eq!(value, all);
        assert_eq!(
            value["hops"].to_string(),
            r#"{"mean":2.3142,"p1":1.0,"p50":2.0,"p99":5.0,"histogram":[11,2207,4306,2402,871,190,8,0,0]}"#
        );
        assert_eq!(value["health"][0].to_string(), r#"{"at_s":0.0,"alive":1000,"in_order":0.69}"#);
        assert!(simulation(&Report { convergence_s: None, ..report })["convergence_s"].is_null());
    }
}
