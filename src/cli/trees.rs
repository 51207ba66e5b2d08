//! `Store -r DIR`, `Request TREE`, `Files TREE`: directories.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::asked::Asked;
use super::command::{FilesArgs, RequestArgs, StoreArgs};
use super::execute::Executor;
use super::format::{count, seconds, size};
use super::progress::{self, Counted};
use super::remedy;
use super::tables::{Cut, Table};
use super::{DONE, json};
use crate::id::escaped;
use crate::peer::{
    BringError, BroughtTree, ChangeKind, Failure, FoundTree, ObjectBytes, Progress, RequestReport,
    StoreOptions, TreeChange, TreeLine, TreeOptions, TreePlan, TreeReport, Wanted, bring_tree, find_tree,
    find_tree_of, plan_tree, store_tree,
};
use crate::wire::ObjectInfo;

impl Executor<'_> {
    /// Stores one directory, or tells what that would do.
    pub(super) async fn store_directory(&self, path: &Path, options: &StoreOptions, args: &StoreArgs) -> u8 {
        let options = TreeOptions { store: options.clone(), exclude: args.exclude.clone() };
        let (progress, peer) = (Arc::new(Progress::default()), self.peer.for_trees());
        let done = if args.dry_run {
            let plan = plan_tree(peer, path, &options, &progress);
            let plan = progress::drawn_as(Counted::Directory, self.out, &progress, plan).await;
            plan.map(|plan| self.say(args.output.json, &plan_json(&plan), || plan_text(&plan)))
        } else {
            let store = store_tree(peer, path, &options, &progress);
            let stored = progress::drawn_as(Counted::Directory, self.out, &progress, store).await;
            stored.map(|report| self.say(args.output.json, &report_json(&report), || report_text(&report)))
        };
        done.unwrap_or_else(|error| {
            let told = remedy::store(&error);
            self.fail_with(&error.into(), &told)
        })
    }

    /// Brings a tree, or a part of one, after the request for its name has brought the tree itself.
    pub(super) async fn bring_directory(&self, args: &RequestArgs, report: RequestReport) -> u8 {
        let asked = &args.asked;
        let found = find_tree_of(self.peer.for_trees(), report, asked.what()).await;
        let done = match found {
            Ok(found) => self.bring_found(args, found).await,
            Err(error) => Err(error),
        };
        done.unwrap_or_else(|error| self.tell_failed(asked, error))
    }

    /// Brings a part of a tree.
    pub(super) async fn bring_part(&self, args: &RequestArgs) -> u8 {
        let found = match self.find(&args.asked).await {
            Ok(found) => found,
            Err(error) => return self.tell_failed(&args.asked, error),
        };
        let done = self.bring_found(args, found).await;
        done.unwrap_or_else(|error| self.tell_failed(&args.asked, error))
    }

    async fn bring_found(&self, args: &RequestArgs, found: FoundTree) -> Result<u8, BringError> {
        let (asked, peer) = (&args.asked, self.peer.for_trees());
        let folder = args.output_path.as_deref();
        let found = match (&asked.within, folder) {
            (None, _) => found,
            (Some(path), None) => found.only(path)?,
            (Some(path), Some(folder)) => match found.open(peer, path).await? {
                Some(file) => return self.save_part(args, found, file, folder).await,
                None => found.below(path)?,
            },
        };
        if folder.is_some_and(|folder| folder.as_os_str() == "-") {
            let why = format!("{asked} is a directory, which standard output cannot hold");
            return Err(BringError::Peer(Failure::new(why)));
        }
        let kept_as = kept_as(&found, asked);
        let progress = Arc::new(Progress::default());
        let brought = bring_tree(peer, found, folder, &kept_as, args.overwrite, &progress);
        let brought = progress::drawn_as(Counted::Directory, self.out, &progress, brought).await?;
        let what = asked.to_string();
        Ok(self.say(args.output.json, &brought_json(&brought), || brought_text(&what, &brought)))
    }

    /// Writes one file of a tree to a path, or to standard output.
    async fn save_part(
        &self,
        args: &RequestArgs,
        found: FoundTree,
        (object, bytes): (ObjectInfo, ObjectBytes),
        path: &Path,
    ) -> Result<u8, BringError> {
        let report = RequestReport { content: object.content, length: object.length, ..found.report };
        if path.as_os_str() == "-" {
            self.write_out(bytes).await?;
            return Ok(DONE);
        }
        self.save_bytes(bytes, path, args.overwrite).await?;
        let shown = path.to_string_lossy();
        let mut value = json::request(&report, Some(&shown));
        if let (Some(within), Some(fields)) = (&args.asked.within, value.as_object_mut()) {
            fields.insert("path_in_tree".to_owned(), within.to_string().into());
        }
        let text = || {
            format!(
                "Received {} ({})\n  content     sha256:{}\n  written to  {}",
                args.asked,
                size(object.length),
                object.content,
                escaped(&shown)
            )
        };
        Ok(self.say(args.output.json, &value, text))
    }

    /// Writes a file of a tree to standard output.
    pub(super) async fn cat_part(&self, asked: &Asked) -> u8 {
        let written = async {
            let Some(path) = &asked.within else { return Ok(()) };
            let found = self.find(asked).await?;
            match found.open(self.peer.for_trees(), path).await? {
                Some((_, bytes)) => Ok(self.write_out(bytes).await.map(drop)?),
                None => Err(BringError::Peer(Failure::new(format!(
                    "{asked} is no file; `files` lists what is in it"
                )))),
            }
        };
        match written.await {
            Ok(()) => DONE,
            Err(error) => self.tell_failed(asked, error),
        }
    }

    /// Lists a tree, or what is below one of its directories.
    pub(super) async fn files_of_tree(&self, args: &FilesArgs) -> u8 {
        let Some(asked) = &args.tree else { return DONE };
        let found = match self.find(asked).await {
            Ok(found) => found,
            Err(error) => return self.tell_failed(asked, error),
        };
        let found = match &asked.within {
            None => Ok(found),
            Some(path) => match found.below(path) {
                // A file alone is listed with the directories above it.
                Err(BringError::NoEntry { .. }) => found.only(path),
                below => below,
            },
        };
        match found {
            Ok(found) => {
                let lines = found.entries().map(|line| line_json(&line));
                self.list(args.output.json, lines, || lines_table(&found, asked))
            }
            Err(error) => self.tell_failed(asked, error),
        }
    }

    async fn find(&self, asked: &Asked) -> Result<FoundTree, BringError> {
        let progress = Arc::new(Progress::default());
        let finding = find_tree(self.peer.for_trees(), &asked.wanted, asked.what(), &progress);
        progress::drawn(self.out, &progress, finding).await
    }

    fn tell_failed(&self, asked: &Asked, error: BringError) -> u8 {
        let told = match &error {
            BringError::Peer(failure) => remedy::request(failure, &asked.wanted),
            error => remedy::bring(error),
        };
        self.fail_with(&error.into(), &told)
    }
}

/// The folder of a tree in received/ of the peer.
fn kept_as(found: &FoundTree, asked: &Asked) -> String {
    let name = found.report.name.as_ref().map(|name| name.as_str().to_owned());
    let name = name.unwrap_or_else(|| found.report.content.to_string());
    match &asked.wanted {
        Wanted::Version { version, .. } => format!("{name}@{version}"),
        _ => name,
    }
}

fn report_text(report: &TreeReport) -> String {
    let TreeReport { name, all, hashed, moved, .. } = report;
    let what = format!("{}, {}", count(all.files, "file", "files"), size(all.bytes));
    let done = match report.is_unchanged() {
        true => format!("Unchanged: {name} is this directory already ({what}) in {}", seconds(report.took)),
        false => format!("Stored {name} ({what}) in {}", seconds(report.took)),
    };
    let mut lines = vec![done, format!("  content     sha256:{}", report.content)];
    lines.push(format!("  moved       {}, {}", count(moved.files, "file", "files"), size(moved.bytes)));
    lines.push(format!("  hashed      {}, {}", count(hashed.files, "file", "files"), size(hashed.bytes)));
    if report.directories + report.links > 0 {
        lines.push(format!(
            "  and         {}, {}",
            count(report.directories, "directory", "directories"),
            count(report.links, "symbolic link", "symbolic links")
        ));
    }
    match (report.version, report.replaces.filter(|_| !report.is_unchanged())) {
        (Some(version), Some(replaced)) => {
            lines.push(format!("  version {version}, replaces sha256:{replaced}"));
        }
        (Some(version), None) if version > 1 => lines.push(format!("  version {version}")),
        _ => {}
    }
    lines.join("\n")
}

fn report_json(report: &TreeReport) -> Value {
    json!({
        "name": report.name.as_str(),
        "content": report.content.to_string(),
        "tree": true,
        "files": report.all.files,
        "bytes": report.all.bytes,
        "hashed_files": report.hashed.files,
        "hashed_bytes": report.hashed.bytes,
        "moved_files": report.moved.files,
        "moved_bytes": report.moved.bytes,
        "directories": report.directories,
        "links": report.links,
        "version": report.version,
        "replaces": report.replaces.map(|content| content.to_string()),
        "unchanged": report.is_unchanged(),
        "took_ms": report.took.as_secs_f64() * 1_000.0,
    })
}

fn plan_text(plan: &TreePlan) -> String {
    let mut lines: Vec<String> = plan.changes.iter().map(change_text).collect();
    let name = &plan.name;
    lines.push(match plan.changes.is_empty() {
        true => format!(
            "{name} is this directory already: {}, {}",
            count(plan.all.files, "file", "files"),
            size(plan.all.bytes)
        ),
        false => format!(
            "{name} would change by {}; {} of {} would move, {}",
            count(plan.changes.len() as u64, "entry", "entries"),
            plan.moved.files,
            count(plan.all.files, "file", "files"),
            size(plan.moved.bytes)
        ),
    });
    lines.join("\n")
}

fn change_text(change: &TreeChange) -> String {
    let sign = match change.kind {
        ChangeKind::Added => '+',
        ChangeKind::Changed => '~',
        ChangeKind::Touched => '.',
        ChangeKind::Removed => '-',
    };
    format!("{sign} {}", change.path)
}

fn plan_json(plan: &TreePlan) -> Value {
    let of_kind = |kind: ChangeKind| -> Vec<String> {
        plan.changes.iter().filter(|change| change.kind == kind).map(|c| c.path.to_string()).collect()
    };
    json!({
        "name": plan.name.as_str(),
        "added": of_kind(ChangeKind::Added),
        "changed": of_kind(ChangeKind::Changed),
        "touched": of_kind(ChangeKind::Touched),
        "removed": of_kind(ChangeKind::Removed),
        "files": plan.all.files,
        "bytes": plan.all.bytes,
        "hashed_files": plan.hashed.files,
        "hashed_bytes": plan.hashed.bytes,
        "moved_files": plan.moved.files,
        "moved_bytes": plan.moved.bytes,
    })
}

fn brought_text(what: &str, brought: &BroughtTree) -> String {
    let BroughtTree { moved, there, .. } = brought;
    let version = brought.tree.version.filter(|version| *version > 1);
    let what = version.map_or_else(|| what.to_owned(), |version| format!("{what}, version {version}"));
    [
        format!(
            "Received {what} ({}, {}) in {}",
            count(moved.files + there.files, "file", "files"),
            size(moved.bytes + there.bytes),
            seconds(brought.took)
        ),
        format!("  came        {}, {}", count(moved.files, "file", "files"), size(moved.bytes)),
        format!("  was there   {}, {}", count(there.files, "file", "files"), size(there.bytes)),
        format!("  written to  {}", escaped(&brought.path.to_string_lossy())),
    ]
    .join("\n")
}

fn brought_json(brought: &BroughtTree) -> Value {
    json!({
        "name": brought.tree.name.as_ref().map(|name| name.as_str()),
        "content": brought.tree.content.to_string(),
        "tree": true,
        "version": brought.tree.version,
        "path": brought.path.to_string_lossy(),
        "moved_files": brought.moved.files,
        "moved_bytes": brought.moved.bytes,
        "there_files": brought.there.files,
        "there_bytes": brought.there.bytes,
        "others": brought.others,
        "took_ms": brought.took.as_secs_f64() * 1_000.0,
    })
}

fn line_json(line: &TreeLine<'_>) -> Value {
    let kind = match (line.object(), line.target()) {
        (Some(_), _) => "file",
        (None, Some(_)) => "link",
        (None, None) => "directory",
    };
    let (seconds, nanos) = line.modified();
    json!({
        "path": line.path().to_string(),
        "kind": kind,
        "mode": line.mode().map(|mode| format!("{mode:03o}")),
        "modified": format!("{seconds}.{nanos:09}"),
        "length": line.object().map(|object| object.length),
        "content": line.object().map(|object| object.content.to_string()),
        "target": line.target().map(|target| String::from_utf8_lossy(target).into_owned()),
    })
}

fn lines_table(found: &FoundTree, asked: &Asked) -> Table {
    let row = |line: TreeLine<'_>| {
        let (length, content) = match (line.object(), line.target()) {
            (Some(object), _) => (size(object.length), Cut::content(&object.content)),
            (None, Some(target)) => {
                ("-".to_owned(), Cut::of(format!("-> {}", escaped(&String::from_utf8_lossy(target)))))
            }
            (None, None) => ("-".to_owned(), Cut::of("directory")),
        };
        let mode = line.mode().map_or("-".to_owned(), |mode| format!("{mode:03o}"));
        vec![Cut::of(line.path()), Cut::of(mode), Cut::of(length), content]
    };
    let rows: Vec<_> = found.entries().map(row).collect();
    let files = found.entries().filter_map(|line| line.object());
    let (files, bytes) = files.fold((0, 0), |(files, bytes), object| (files + 1, bytes + object.length));
    let last = format!("{}, {} in {asked}", count(files, "file", "files"), size(bytes));
    Table::new(&["PATH", "MODE", "SIZE", "CONTENT"], &[2], rows, last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::{ContentId, FileName};
    use crate::peer::{Amount, TreePath};

    #[test]
    fn a_stored_directory() {
        let mut report = TreeReport {
            name: FileName::new("photos").unwrap(),
            content: ContentId::of(b"abc"),
            all: Amount { files: 3, bytes: 2_048 },
            hashed: Amount { files: 1, bytes: 5 },
            moved: Amount { files: 1, bytes: 5 },
            directories: 1,
            links: 2,
            version: Some(2),
            replaces: Some(ContentId::of(b"")),
            took: Duration::from_millis(500),
        };
        let text = report_text(&report);
        assert!(text.starts_with("Stored photos (3 files, 2.0 KiB) in 0.50 s\n"), "{text}");
        assert!(text.contains("  moved       1 file, 5 bytes\n"), "{text}");
        assert!(text.contains("  and         1 directory, 2 symbolic links\n"), "{text}");
        assert!(text.ends_with(&format!("  version 2, replaces sha256:{}", ContentId::of(b""))), "{text}");
        report.replaces = Some(report.content);
        let text = report_text(&report);
        assert!(text.starts_with("Unchanged: photos is this directory already (3 files, 2.0 KiB)"), "{text}");
        assert!(text.ends_with("  version 2"), "{text}");
        assert_eq!(report_json(&report)["unchanged"], true);
    }

    #[test]
    fn a_plan_names_each_change() {
        let change = |path, kind| TreeChange { path: TreePath::new(path).unwrap(), kind, bytes: 1 };
        let mut plan = TreePlan {
            name: FileName::new("photos").unwrap(),
            changes: vec![
                change("a\nb", ChangeKind::Added),
                change("c d", ChangeKind::Changed),
                change("e", ChangeKind::Touched),
                change("f", ChangeKind::Removed),
            ],
            all: Amount { files: 9, bytes: 9 },
            hashed: Amount::default(),
            moved: Amount { files: 2, bytes: 2 },
        };
        assert_eq!(
            plan_text(&plan),
            "+ a%0Ab\n~ c d\n. e\n- f\nphotos would change by 4 entries; 2 of 9 files would move, 2 bytes"
        );
        assert_eq!(plan_json(&plan)["removed"], json!(["f"]));
        plan.changes.clear();
        assert_eq!(plan_text(&plan), "photos is this directory already: 9 files, 9 bytes");
    }
}
