//! Reports that are tables. No borders and no wrapping, so that `awk` and `grep` read them too.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::format::{count, size};
use crate::id::FileName;
use crate::peer::{RingFiles, RingLine, peer_list};
use crate::wire::{FileEntry, MemberState};

/// Who is in the ring, in its order.
pub(super) fn ring(lines: &[RingLine]) -> String {
    let mut table = table(["PEER", "ADDRESS", "SHARE", "LIFE", "STATE", ""], &[0, 2, 3]);
    for line in lines {
        let share = match line.state {
            MemberState::Alive => format!("{:.1} %", line.share * 100.0),
            MemberState::Left | MemberState::Dead => "-".to_owned(),
        };
        table.add_row([
            Cell::new(&line.peer),
            Cell::new(&line.address),
            Cell::new(share),
            Cell::new(line.incarnation),
            Cell::new(state(line)),
            Cell::new(if line.me { "you" } else { "" }),
        ]);
    }
    let alive = lines.iter().filter(|line| line.state == MemberState::Alive).count();
    format!("{}\n{} alive", lined(&table), count(alive as u64, "peer", "peers"))
}

/// The files of this peer.
pub(super) fn files(files: &[FileEntry]) -> String {
    if files.is_empty() {
        return "No files here".to_owned();
    }
    let mut table = table(["NAME", "SIZE", "CONTENT"], &[1]);
    for file in files {
        table.add_row([
            Cell::new(names(&file.names)),
            Cell::new(size(file.object.length)),
            Cell::new(format!("sha256:{}", file.object.content)),
        ]);
    }
    format!("{}\n{}", lined(&table), total(files.iter()))
}

/// The files of the ring, and who holds them.
pub(super) fn files_of_ring(report: &RingFiles) -> String {
    if report.files.is_empty() {
        return "No files in this ring".to_owned();
    }
    let mut table = table(["NAME", "SIZE", "ON", "CONTENT"], &[1]);
    for file in &report.files {
        table.add_row([
            Cell::new(names(&file.file.names)),
            Cell::new(size(file.file.object.length)),
            Cell::new(peer_list(&file.holders)),
            Cell::new(format!("sha256:{}", file.file.object.content)),
        ]);
    }
    format!("{}\n{}", lined(&table), total(report.files.iter().map(|file| &file.file)))
}

fn names(names: &[FileName]) -> String {
    let names: Vec<String> = names.iter().map(FileName::to_string).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn total<'a>(files: impl ExactSizeIterator<Item = &'a FileEntry>) -> String {
    let number = files.len() as u64;
    let bytes = files.fold(0u64, |sum, file| sum.saturating_add(file.object.length));
    format!("{}, {}", count(number, "file", "files"), size(bytes))
}

fn state(line: &RingLine) -> &'static str {
    match line.state {
        MemberState::Alive => "alive",
        MemberState::Left => "left",
        MemberState::Dead if line.gone => "gone",
        MemberState::Dead => "away",
    }
}

/// `right` are the columns of figures, counted from zero.
fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty().set_header(header);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table without the spaces that its preset puts at both ends of a line.
fn lined(table: &Table) -> String {
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ContentId, Position};
    use crate::peer::RingFile;
    use crate::wire::{Address, ObjectInfo};

    fn file(bytes: &[u8], names: &[&str]) -> FileEntry {
        FileEntry {
            object: ObjectInfo {
                content: ContentId::of(bytes),
                length: bytes.len() as u64,
                outboard: crate::id::OutboardDigest([0; 32]),
            },
            names: names.iter().map(|name| FileName::new(*name).unwrap()).collect(),
        }
    }

    #[test]
    fn a_ring() {
        let line = |number, state, share, me| RingLine {
            peer: Position::of_number(number).into(),
            gone: false,
            address: Address::new(&format!("127.0.0.1:{}", 12_000 + u16::from(number))).unwrap(),
            incarnation: 3,
            state,
            share,
            me,
        };
        let text = ring(&[
            line(4, MemberState::Alive, 0.25, false),
            line(100, MemberState::Alive, 0.75, true),
            line(200, MemberState::Dead, 0.0, false),
            RingLine { gone: true, ..line(255, MemberState::Dead, 0.0, false) },
        ]);
        assert_eq!(
            text,
            "PEER  ADDRESS           SHARE  LIFE  STATE\n   \
                4  127.0.0.1:12004  25.0 %     3  alive\n \
              100  127.0.0.1:12100  75.0 %     3  alive  you\n \
              200  127.0.0.1:12200       -     3  away\n \
              255  127.0.0.1:12255       -     3  gone\n\
             2 peers alive"
        );
    }

    #[test]
    fn files_here_and_anywhere() {
        assert_eq!(files(&[]), "No files here");
        let (abc, empty) = (file(b"abc", &["a b", "two\nlines"]), file(b"", &[]));
        let text = files(&[abc.clone(), empty]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "a b, two\\nlines  3 bytes  sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(lines[2].starts_with("-                0 bytes  sha256:e3b0c442"));
        assert_eq!(lines[3], "2 files, 3 bytes");
        let holders = vec![Position::of_number(4).into(), Position::of_number(8).into()];
        let report = RingFiles { files: vec![RingFile { file: abc, holders }], silent: vec![] };
        assert!(files_of_ring(&report).contains("  3 bytes  4 and 8  sha256:ba7816bf"));
        assert_eq!(files_of_ring(&RingFiles::default()), "No files in this ring");
    }
}
