//! Reports that are tables. No borders and no wrapping, so that `awk` and `grep` can read them; in a terminal that is
//! narrower than the table, cells are shortened where possible, otherwise each row becomes a few lines.

use std::fmt;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, presets};
use unicode_width::UnicodeWidthStr as _;

use super::fit::wrapped;
use super::format::{count, figure, seconds, size};
use crate::id::{ContentId, FileName};
use crate::peer::{RingFiles, RingLine, peer_list};
use crate::sim::Report;
use crate::wire::{FileEntry, MemberState};

/// Rows under a header, and a last line; or only that line.
pub(super) struct Table {
    header: &'static [&'static str],
    /// The indices of the right-aligned columns, which hold numbers.
    right: &'static [usize],
    rows: Vec<Vec<Cut>>,
    last: String,
}

/// The content of a cell, in full and shortened.
pub(super) struct Cut {
    long: String,
    short: Option<String>,
}

impl Table {
    /// A table with this header; `right` has the indices of the columns of numbers.
    pub(super) fn new(
        header: &'static [&'static str],
        right: &'static [usize],
        rows: Vec<Vec<Cut>>,
        last: String,
    ) -> Table {
        Table { header, right, rows, last }
    }

    fn empty(last: &str) -> Table {
        Table { header: &[], right: &[], rows: Vec::new(), last: last.to_owned() }
    }

    /// The best layout for this width; `None` for as wide as needed.
    pub(super) fn fitted(&self, width: Option<usize>) -> String {
        let Some(width) = width else { return self.laid_out(Cut::long) };
        for cell in [Cut::long, Cut::short] {
            let text = self.laid_out(cell);
            if text.lines().all(|line| line.width() <= width) {
                return text;
            }
        }
        self.stacked(width)
    }

    /// The layout in columns.
    fn laid_out(&self, cell: fn(&Cut) -> &str) -> String {
        if self.rows.is_empty() {
            return self.last.clone();
        }
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty().set_header(self.header.iter().copied());
        for column in self.right {
            if let Some(column) = table.column_mut(*column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|cut| Cell::new(cell(cut))));
        }
        // The style puts spaces at both ends of a line; they are removed.
        let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
        lines.chain([self.last.clone()]).collect::<Vec<_>>().join("\n")
    }

    /// The layout in rows: the first cell, and below it the others with their headers.
    fn stacked(&self, width: usize) -> String {
        let heads = self.header.iter().map(|head| head.to_lowercase());
        let heads: Vec<String> = heads.collect();
        let broad = heads.iter().skip(1).map(|head| head.width()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for row in &self.rows {
            for (i, (head, cell)) in heads.iter().zip(row).enumerate() {
                let text = cell.short();
                if !text.is_empty() {
                    lines.push(if i == 0 { text.to_owned() } else { format!("  {head:<broad$}  {text}") });
                }
            }
        }
        lines.push(self.last.clone());
        wrapped(&lines.join("\n"), width)
    }
}

impl Cut {
    pub(super) fn of(long: impl fmt::Display) -> Cut {
        Cut { long: long.to_string(), short: None }
    }

    pub(super) fn content(content: &ContentId) -> Cut {
        let short = Some(format!("sha256:{}…", content.short()));
        Cut { long: format!("sha256:{content}"), short }
    }

    fn long(&self) -> &str {
        &self.long
    }

    fn short(&self) -> &str {
        self.short.as_ref().unwrap_or(&self.long)
    }
}

/// The peers of the ring, in its order.
pub(super) fn ring(lines: &[RingLine]) -> Table {
    let row = |line: &RingLine| {
        let share = match line.state {
            MemberState::Alive => format!("{:.1} %", line.share * 100.0),
            MemberState::Left | MemberState::Dead => "-".to_owned(),
        };
        vec![
            Cut::of(&line.peer),
            Cut::of(&line.address),
            Cut::of(share),
            Cut::of(line.incarnation),
            Cut::of(line.state_in_words()),
            Cut::of(if line.me { "you" } else { "" }),
        ]
    };
    let alive = lines.iter().filter(|line| line.state == MemberState::Alive).count();
    Table {
        header: &["PEER", "ADDRESS", "SHARE", "LIFE", "STATE", ""],
        right: &[0, 2, 3],
        rows: lines.iter().map(row).collect(),
        last: format!("{} alive", count(alive as u64, "peer", "peers")),
    }
}

/// The files of this peer.
pub(super) fn files(files: &[FileEntry]) -> Table {
    if files.is_empty() {
        return Table::empty("No files here");
    }
    let row = |file: &FileEntry| {
        let object = &file.object;
        vec![Cut::of(names(&file.names)), Cut::of(size(object.length)), Cut::content(&object.content)]
    };
    Table {
        header: &["NAME", "SIZE", "CONTENT"],
        right: &[1],
        rows: files.iter().map(row).collect(),
        last: total(files.iter()),
    }
}

/// The files of the ring, with their holders.
pub(super) fn files_of_ring(report: &RingFiles) -> Table {
    if report.files.is_empty() {
        return Table::empty("No files in this ring");
    }
    let rows = report.files.iter().map(|file| {
        let object = &file.file.object;
        vec![
            Cut::of(names(&file.file.names)),
            Cut::of(size(object.length)),
            Cut::of(peer_list(&file.holders)),
            Cut::content(&object.content),
        ]
    });
    Table {
        header: &["NAME", "SIZE", "ON", "CONTENT"],
        right: &[1],
        rows: rows.collect(),
        last: total(report.files.iter().map(|file| &file.file)),
    }
}

/// The figures of a simulation, one in each row.
pub(super) fn simulation(report: &Report) -> Table {
    let found = report.lookups > report.lookups_failed;
    let hops = |value: f64| if found { figure(value) } else { "-".to_owned() };
    let traffic = |value: f64| format!("{}/s", size(value.round() as u64));
    let maintenance = &report.maintenance_bytes_per_peer_s;
    let rows = [
        ("lookups", report.lookups.to_string()),
        ("lookups failed", report.lookups_failed.to_string()),
        ("lookups, wrong owner", report.lookups_wrong_owner.to_string()),
        ("hops, mean", hops(report.hops.mean)),
        ("hops, 1st percentile", hops(report.hops.p1)),
        ("hops, median", hops(report.hops.p50)),
        ("hops, 99th percentile", hops(report.hops.p99)),
        ("timeouts of a lookup, mean", figure(report.timeouts_mean)),
        ("maintenance of a peer, mean", traffic(maintenance.mean)),
        ("maintenance, 99th percentile", traffic(maintenance.p99)),
        ("in order again after", report.convergence_s.map_or("never".to_owned(), span)),
        ("files acknowledged", report.files_acknowledged.to_string()),
        ("files lost", report.files_lost.to_string()),
        ("copied for repair", size(report.repair_bytes)),
        ("breaches of invariants", report.invariant_violations.to_string()),
        ("memory of a peer", size(report.bytes_per_peer.round() as u64)),
        ("events simulated", format!("{:.0} a second", report.events_per_s)),
    ];
    Table {
        header: &["FIGURE", "VALUE"],
        right: &[1],
        rows: rows.map(|(name, value)| vec![Cut::of(name), Cut::of(value)]).into(),
        last: format!(
            "{}, {} simulated, seed {}",
            count(report.peers as u64, "peer", "peers"),
            span(report.virtual_s),
            report.seed
        ),
    }
}

fn span(in_s: f64) -> String {
    Duration::try_from_secs_f64(in_s).map_or("-".to_owned(), seconds)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ContentId, Position};
    use crate::wire::{Address, ObjectInfo};

    fn file(bytes: &[u8], names: &[&str]) -> FileEntry {
        FileEntry {
            object: ObjectInfo {
                content: ContentId::of(bytes),
                length: bytes.len() as u64,
                outboard: crate::id::OutboardDigest([0; 32]),
            },
            names: names.iter().map(|name| FileName::new(*name).unwrap()).collect(),
            pinned: false,
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
        let table = ring(&[
            line(4, MemberState::Alive, 0.25, false),
            line(100, MemberState::Alive, 0.75, true),
            line(200, MemberState::Dead, 0.0, false),
            RingLine { gone: true, ..line(255, MemberState::Dead, 0.0, false) },
        ]);
        let text = table.fitted(Some(80));
        assert_eq!(text, table.fitted(None));
        assert_eq!(
            text,
            "PEER  ADDRESS           SHARE  LIFE  STATE\n   \
                4  127.0.0.1:12004  25.0 %     3  alive\n \
              100  127.0.0.1:12100  75.0 %     3  alive  you\n \
              200  127.0.0.1:12200       -     3  away\n \
              255  127.0.0.1:12255       -     3  gone\n\
             2 peers alive"
        );
        assert_eq!(
            table.fitted(Some(20)).lines().take(6).collect::<Vec<_>>(),
            [
                "4",
                "  address",
                "    127.0.0.1:12004",
                "  share    25.0 %",
                "  life     3",
                "  state    alive"
            ]
        );
    }

    #[test]
    fn a_simulation() {
        let report = super::super::simulate::tests::report();
        let table = simulation(&report);
        let text = table.fitted(Some(46));
        assert_eq!(text, table.fitted(None));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "FIGURE                                   VALUE",
                "lookups                                  10000",
                "lookups failed                               5",
                "lookups, wrong owner                         2",
                "hops, mean                                2.31",
                "hops, 1st percentile                         1",
                "hops, median                                 2",
                "hops, 99th percentile                        5",
                "timeouts of a lookup, mean                0.17",
                "maintenance of a peer, mean        412 bytes/s",
                "maintenance, 99th percentile       723 bytes/s",
                "in order again after                1 min 23 s",
                "files acknowledged                        1000",
                "files lost                                   3",
                "copied for repair                    300.0 MiB",
                "breaches of invariants                       0",
                "memory of a peer                      96.5 KiB",
                "events simulated              1234568 a second",
                "1000 peers, 10 min 0 s simulated, seed 1",
            ]
        );
        assert_eq!(table.fitted(Some(20)).lines().nth(1), Some("  value  10000"));
        assert!((20..60).all(|width| table.fitted(Some(width)).lines().all(|line| line.width() <= width)));
        let text = simulation(&Report { lookups: 5, convergence_s: None, ..report }).fitted(None);
        for line in ["hops, median                       -", "in order again after           never"] {
            assert!(text.lines().any(|there| there.split_whitespace().eq(line.split_whitespace())), "{text}");
        }
    }

    #[test]
    fn files_here_and_anywhere() {
        assert_eq!(files(&[]).fitted(None), "No files here");
        let (abc, empty) = (file(b"abc", &["a b", "two\nlines"]), file(b"", &[]));
        let table = files(&[abc.clone(), empty]);
        let text = table.fitted(None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "a b, two\\nlines  3 bytes  sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(lines[2].starts_with("-                0 bytes  sha256:e3b0c442"));
        assert_eq!(lines[3], "2 files, 3 bytes");
        let text = table.fitted(Some(60));
        assert_eq!(text.lines().nth(1), Some("a b, two\\nlines  3 bytes  sha256:ba7816bf…"));
        let text = table.fitted(Some(20));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["a b, two\\nlines", "  size     3 bytes", "  content"]);
        assert_eq!(lines[3], "    sha256:ba7816bf…");
        assert!((20..90).all(|width| table.fitted(Some(width)).lines().all(|line| line.width() <= width)));
    }
}
