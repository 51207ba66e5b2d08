//! `History NAME`, `Remove NAME`, `Restore NAME@VERSION`: the versions of a name.

use serde_json::{Value, json};

use super::command::{HistoryArgs, RemoveArgs, RestoreArgs};
use super::execute::Executor;
use super::format::{count, size};
use super::json;
use super::remedy;
use super::tables::{Cut, Table};
use crate::peer::{
    HistoryReport, RemoveReport, RestoreReport, VersionFile, VersionLine, VersionState, missing_list,
};

impl Executor<'_> {
    pub(super) async fn history(&self, args: &HistoryArgs) -> u8 {
        match self.peer.history(&args.name).await {
            Ok(report) if args.output.json => self.say(true, &history_json(&report), String::new),
            Ok(report) => self.list(false, std::iter::empty(), || history_table(&report)),
            Err(failure) => self.fail_with(&failure, &remedy::name(&failure)),
        }
    }

    pub(super) async fn remove(&self, args: &RemoveArgs) -> u8 {
        match self.peer.remove(&args.name).await {
            Ok(report) => self.say(args.output.json, &remove_json(&report), || remove_text(&report)),
            Err(failure) => self.fail_with(&failure, &remedy::name(&failure)),
        }
    }

    pub(super) async fn restore(&self, args: &RestoreArgs) -> u8 {
        let (name, version) = &args.meant;
        match self.peer.restore(name, version).await {
            Ok(report) => self.say(args.output.json, &restore_json(&report), || restore_text(&report)),
            Err(failure) => self.fail_with(&failure, &remedy::version(&failure, name)),
        }
    }
}

fn history_table(report: &HistoryReport) -> Table {
    let row = |line: &VersionLine| {
        let (length, content, held) = match &line.file {
            Some(VersionFile { content, length, holders }) => {
                (size(*length), Cut::content(content), held_in_words(*holders))
            }
            None => ("-".to_owned(), Cut::of("removed"), "-".to_owned()),
        };
        let state = state_in_words(line.state);
        vec![
            Cut::of(line.version),
            Cut::of(&line.written),
            Cut::of(&line.writer),
            Cut::of(length),
            Cut::of(held),
            Cut::of(state),
            content,
        ]
    };
    let siblings = report.versions.iter().filter(|line| line.state == VersionState::Sibling).count() as u64;
    let versions = count(report.versions.len() as u64, "version", "versions");
    let last = match siblings {
        0 => format!("{versions} of {}", report.name),
        n => format!(
            "{versions} of {}; {} written in another place at the same time: Restore one of them, or the current \
             one, to settle it",
            report.name,
            count(n, "was", "were")
        ),
    };
    Table::new(
        &["VERSION", "WRITTEN", "BY", "SIZE", "COPIES", "STATE", "CONTENT"],
        &[0, 3],
        report.versions.iter().map(row).collect(),
        last,
    )
}

fn held_in_words(holders: Option<u64>) -> String {
    match holders {
        Some(0) => "none".to_owned(),
        Some(n) => n.to_string(),
        None => "unknown".to_owned(),
    }
}

fn state_in_words(state: VersionState) -> &'static str {
    match state {
        VersionState::Current => "current",
        VersionState::Past => "past",
        VersionState::Sibling => "sibling",
    }
}

fn remove_text(report: &RemoveReport) -> String {
    let mut lines = vec![
        format!("Removed {} (version {})", report.name, report.version),
        format!("  its bytes stay for a while; Restore {}@{} brings it back", report.name, report.before),
    ];
    if !report.missing.is_empty() {
        lines.push(format!("  missing     {}", missing_list(&report.missing)));
    }
    lines.join("\n")
}

fn restore_text(report: &RestoreReport) -> String {
    let RestoreReport { name, version, from, .. } = report;
    let mut lines = vec![match report.unchanged {
        true => format!("Unchanged: {name} stands for that file already (version {version})"),
        false => format!("Restored version {from} of {name} ({}) as version {version}", size(report.length)),
    }];
    lines.push(format!("  content     sha256:{}", report.content));
    if report.settled > 0 {
        lines.push(format!("  settled     {}", count(report.settled, "sibling", "siblings")));
    }
    if !report.missing.is_empty() {
        lines.push(format!("  missing     {}", missing_list(&report.missing)));
    }
    lines.join("\n")
}

fn history_json(report: &HistoryReport) -> Value {
    let line = |line: &VersionLine| {
        json!({
            "version": line.version,
            "written": line.written,
            "writer": json::peer(&line.writer),
            "state": state_in_words(line.state),
            "removed": line.file.is_none(),
            "content": line.file.as_ref().map(|file| file.content.to_string()),
            "length": line.file.as_ref().map(|file| file.length),
            "holders": line.file.as_ref().and_then(|file| file.holders),
        })
    };
    json!({
        "name": report.name.as_str(),
        "versions": report.versions.iter().map(line).collect::<Vec<_>>(),
    })
}

fn remove_json(report: &RemoveReport) -> Value {
    json!({
        "name": report.name.as_str(),
        "version": report.version,
        "before": report.before,
        "content": report.content.to_string(),
        "missing": report.missing.iter().map(json::missing).collect::<Vec<_>>(),
    })
}

fn restore_json(report: &RestoreReport) -> Value {
    json!({
        "name": report.name.as_str(),
        "version": report.version,
        "from": report.from,
        "content": report.content.to_string(),
        "length": report.length,
        "settled": report.settled,
        "unchanged": report.unchanged,
        "missing": report.missing.iter().map(json::missing).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ContentId, FileName, Position};

    fn line(version: u64, state: VersionState, file: Option<(&[u8], Option<u64>)>) -> VersionLine {
        VersionLine {
            version,
            written: "2026-11-22T18:29:04Z".to_owned(),
            writer: Position::of_number(4).into(),
            state,
            file: file.map(|(bytes, holders)| VersionFile {
                content: ContentId::of(bytes),
                length: bytes.len() as u64,
                holders,
            }),
        }
    }

    fn report() -> HistoryReport {
        HistoryReport {
            name: FileName::new("report.pdf").unwrap(),
            versions: vec![
                line(3, VersionState::Current, None),
                line(2, VersionState::Past, Some((b"two", Some(3)))),
                line(2, VersionState::Sibling, Some((b"other", Some(0)))),
                line(1, VersionState::Past, Some((b"one", None))),
            ],
        }
    }

    #[test]
    fn a_history_is_a_table() {
        let text = history_table(&report()).fitted(None);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["VERSION", "WRITTEN", "BY", "SIZE", "COPIES", "STATE", "CONTENT"]);
        assert_eq!(rows[1], ["3", "2026-11-22T18:29:04Z", "4", "-", "-", "current", "removed"]);
        assert_eq!(rows[2][3..7], ["3", "bytes", "3", "past"]);
        assert_eq!(rows[3][3..7], ["5", "bytes", "none", "sibling"]);
        assert_eq!(rows[4][3..7], ["3", "bytes", "unknown", "past"]);
        assert!(text.ends_with(
            "4 versions of report.pdf; 1 was written in another place at the same time: Restore one of them, or the \
             current one, to settle it"
        ));
        let value = history_json(&report());
        assert_eq!(
            (&value["versions"][0]["removed"], &value["versions"][2]["state"]),
            (&json!(true), &json!("sibling"))
        );
        assert_eq!(value["versions"][3]["holders"], json!(null));
    }

    #[test]
    fn changes_say_how_to_go_back() {
        let name = FileName::new("report.pdf").unwrap();
        let content = ContentId::of(b"two");
        let removed =
            RemoveReport { name: name.clone(), version: 3, before: 2, content, missing: Vec::new() };
        assert_eq!(
            remove_text(&removed),
            "Removed report.pdf (version 3)\n  its bytes stay for a while; Restore report.pdf@2 brings it back"
        );
        let restored = RestoreReport {
            name,
            version: 4,
            from: 2,
            content,
            length: 3,
            settled: 1,
            unchanged: false,
            missing: Vec::new(),
        };
        let text = restore_text(&restored);
        assert!(text.starts_with("Restored version 2 of report.pdf (3 bytes) as version 4\n"), "{text}");
        assert!(text.ends_with("\n  settled     1 sibling"), "{text}");
        let unchanged = RestoreReport { unchanged: true, settled: 0, ..restored };
        assert!(restore_text(&unchanged).starts_with("Unchanged: report.pdf stands for that file already"));
    }
}
