//! The room for files at a peer, pins and freed copies, in words and as JSON. Pure.

use serde_json::{Value, json};

use crate::id::{ContentId, FileName, escaped};
use crate::peer::{Amount, DropReport, EvictReport, PinReport, SpaceReport, peer_list};

/// The lines of `status` about the room: what is taken, and what is left, in bytes.
pub(super) fn status(space: &SpaceReport) -> Vec<String> {
    let limit = space.capacity.map_or("no limit".to_owned(), |capacity| format!("{capacity} bytes"));
    let mut lines = vec![
        format!("  capacity     {limit}; {} bytes of the disk stay free", space.reserve),
        format!(
            "  room         {} bytes for new files; replicas take {}, the cache {}{}",
            space.free,
            space.replicas.bytes,
            space.cached.bytes,
            match space.pinned.files {
                0 => String::new(),
                _ => format!(", pinned files {}", space.pinned.bytes),
            }
        ),
    ];
    if space.excess > 0 {
        lines.push(format!(
            "  over limit   by {} bytes: nothing new is taken, the cache goes, and replicas stay",
            space.excess
        ));
    }
    if space.going.files > 0 {
        let from = space.going_from_ms.map_or(String::new(), |at| format!(", the first on {}", day(at)));
        lines.push(format!(
            "  going        {} ({} bytes) that no name refers to any more{from}, unless a member is away",
            match space.going.files {
                1 => "1 file".to_owned(),
                files => format!("{files} files"),
            },
            space.going.bytes,
        ));
    }
    lines
}

/// The day of a time in milliseconds since the Unix epoch, in UTC.
fn day(at_ms: u64) -> String {
    let time = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "a day out of any calendar".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

pub(super) fn status_json(space: &SpaceReport) -> Value {
    json!({
        "capacity": space.capacity,
        "reserve": space.reserve,
        "replicas": amount_json(&space.replicas),
        "cached": amount_json(&space.cached),
        "pinned": amount_json(&space.pinned),
        "free": space.free,
        "excess": space.excess,
        "going": amount_json(&space.going),
        "going_from_ms": space.going_from_ms,
    })
}

/// The report on a pin.
pub(super) fn pin(report: &PinReport) -> String {
    let file = described(report.name.as_ref(), &report.content);
    match (report.pinned, report.changed) {
        (true, true) => format!("Pinned {file}, {} bytes", report.length),
        (true, false) => format!("{file} was pinned already"),
        (false, true) => format!("Unpinned {file}"),
        (false, false) => format!("{file} was not pinned"),
    }
}

pub(super) fn pin_json(report: &PinReport) -> Value {
    json!({
        "name": report.name.as_ref().map(FileName::as_str),
        "content": report.content.to_string(),
        "length": report.length,
        "pinned": report.pinned,
        "changed": report.changed,
    })
}

/// The report on a freed copy.
pub(super) fn dropped(report: &DropReport) -> String {
    format!(
        "Dropped the copy of {}, {} bytes; {} keep it",
        described(report.name.as_ref(), &report.content),
        report.length,
        peer_list(&report.holders)
    )
}

pub(super) fn dropped_json(report: &DropReport) -> Value {
    json!({
        "name": report.name.as_ref().map(FileName::as_str),
        "content": report.content.to_string(),
        "length": report.length,
        "holders": report.holders.iter().map(|peer| json!({
            "label": peer.label(),
            "position": peer.position.to_string(),
        })).collect::<Vec<_>>(),
    })
}

/// The report on all freed copies.
pub(super) fn evicted(report: &EvictReport) -> String {
    let amount = |amount: &Amount| match amount.files {
        1 => format!("1 copy ({} bytes)", amount.bytes),
        files => format!("{files} copies ({} bytes)", amount.bytes),
    };
    let freed = if report.dry_run { "Would free" } else { "Freed" };
    let mut lines = vec![format!("{freed} {}", amount(&report.freed))];
    let stay = [
        ("belong here", &report.belonging),
        ("are pinned", &report.pinned),
        ("are not known to be safe elsewhere", &report.unsafe_elsewhere),
    ];
    let stay = stay.iter().filter(|(_, one)| one.files > 0);
    lines.extend(stay.map(|(why, one)| format!("  stay: {}, since they {why}", amount(one))));
    lines.extend(report.reasons.first.iter().map(|why| format!("  {}", escaped(why))));
    lines.join("\n")
}

pub(super) fn evicted_json(report: &EvictReport) -> Value {
    json!({
        "freed": amount_json(&report.freed),
        "belonging": amount_json(&report.belonging),
        "pinned": amount_json(&report.pinned),
        "unsafe_elsewhere": amount_json(&report.unsafe_elsewhere),
        "reasons": report.reasons.first,
        "dry_run": report.dry_run,
    })
}

fn amount_json(amount: &Amount) -> Value {
    json!({ "files": amount.files, "bytes": amount.bytes })
}

fn described(name: Option<&FileName>, content: &ContentId) -> String {
    match name {
        Some(name) => format!("{name} (sha256:{content})"),
        None => format!("sha256:{content}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(files: u64, bytes: u64) -> Amount {
        Amount { files, bytes }
    }

    #[test]
    fn room_is_said_in_bytes() {
        let mut space = SpaceReport {
            capacity: Some(5_000),
            reserve: 700,
            replicas: amount(3, 1_000),
            cached: amount(1, 200),
            pinned: amount(0, 0),
            free: 3_800,
            excess: 0,
            going: amount(0, 0),
            going_from_ms: None,
        };
        assert_eq!(
            status(&space),
            [
                "  capacity     5000 bytes; 700 bytes of the disk stay free",
                "  room         3800 bytes for new files; replicas take 1000, the cache 200",
            ]
        );
        space = SpaceReport { capacity: None, pinned: amount(1, 30), excess: 40, free: 0, ..space };
        let lines = status(&space);
        assert!(lines[0].contains("no limit; 700 bytes"), "{lines:?}");
        assert!(lines[1].ends_with("the cache 200, pinned files 30"), "{lines:?}");
        assert!(lines[2].starts_with("  over limit   by 40 bytes"), "{lines:?}");
        space = SpaceReport { going: amount(2, 70), going_from_ms: Some(1_796_000_000_000), ..space };
        assert_eq!(
            status(&space)[3],
            "  going        2 files (70 bytes) that no name refers to any more, the first on 2026-11-30, unless a member \
             is away"
        );
        assert_eq!(status_json(&space)["cached"].to_string(), r#"{"files":1,"bytes":200}"#);
    }

    #[test]
    fn an_eviction_says_what_went_and_what_stays_and_why() {
        let report = EvictReport {
            freed: amount(2, 1_500),
            belonging: amount(1, 7),
            unsafe_elsewhere: amount(1, 9),
            reasons: ["no word".to_owned()].into_iter().collect(),
            ..EvictReport::default()
        };
        assert_eq!(
            evicted(&report),
            "Freed 2 copies (1500 bytes)\n  stay: 1 copy (7 bytes), since they belong here\n  stay: 1 copy (9 bytes), \
             since they are not known to be safe elsewhere\n  no word"
        );
        assert!(evicted(&EvictReport { dry_run: true, ..report }).starts_with("Would free 2 copies"));
    }

    /// Goal: docs/commands.md names every field of these reports.
    #[test]
    fn every_field_is_in_the_documents() {
        let told = include_str!("../../docs/commands.md");
        let code = include_str!("space.rs").split("#[cfg(test)]").next().unwrap();
        let fields = code.split('"').skip(1).step_by(2);
        let fields = fields
            .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let untold: Vec<&str> = fields.filter(|field| !told.contains(&format!("\"{field}\""))).collect();
        assert!(untold.is_empty(), "docs/commands.md does not tell of {untold:?}");
    }
}
