//! Reports that are tables. No borders and no wrapping, so that `awk` and `grep` can read them; in a terminal that is
//! narrower than the table, cells are shortened where possible, otherwise each row becomes a few lines.

use std::fmt;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, presets};
use unicode_width::UnicodeWidthStr as _;

use super::fit::wrapped;
use super::format::{count, figure, minute, seconds, size};
use super::local_time::LocalTime;
use super::verdict;
use crate::id::{ContentId, FileName};
use crate::peer::{MemberLine, RingFiles, RingLine, SelfReport, peer_list};
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

/// The members of the ring in their own words.
pub(super) fn members(members: &[MemberLine], now: &LocalTime) -> Table {
    let row = |member: &MemberLine| {
        let of = |cell: &dyn Fn(&SelfReport) -> String| {
            member.said.as_ref().map_or_else(|| Cut::of("-"), |said| Cut::of(cell(said)))
        };
        let state = match (&member.said, member.line.state) {
            (Some(said), _) if said.syncing => "taking over".to_owned(),
            (None, MemberState::Alive) => "no answer".to_owned(),
            _ => verdict::since(member.line.state_in_words(), member.away_since_ms, now),
        };
        vec![
            Cut::of(&member.line.peer),
            Cut::of(state),
            of(&|said| said.version.clone()),
            of(&|said| said.objects.to_string()),
            of(&|said| size(said.bytes)),
            of(&|said| size(said.free_bytes)),
            of(&|said| if said.disk_bytes == 0 { "-".to_owned() } else { size(said.disk_bytes) }),
            of(&|said| if said.full { "yes" } else { "no" }.to_owned()),
            of(&|said| match said.verified_ms {
                None => "-".to_owned(),
                Some(0) => "not all yet".to_owned(),
                Some(at_ms) => minute(at_ms),
            }),
            Cut::of(member.clock_ahead_ms.map_or("-".to_owned(), clock)),
        ]
    };
    let answer = members.iter().filter(|member| member.said.is_some()).count();
    Table {
        header: &["PEER", "STATE", "VERSION", "FILES", "HOLDS", "FREE", "DISK", "FULL", "VERIFIED", "CLOCK"],
        right: &[0, 3, 4, 5, 6, 9],
        rows: members.iter().map(row).collect(),
        last: format!("{}, {answer} answer", count(members.len() as u64, "member", "members")),
    }
}

/// How far a clock is ahead of this peer's: "+0.2 s", "-1 h 0 min".
fn clock(ahead_ms: i64) -> String {
    let tenths = ahead_ms.saturating_add(if ahead_ms < 0 { -50 } else { 50 }) / 100;
    match tenths {
        0 => "0.0 s".to_owned(),
        -599..600 => {
            format!("{}{}.{} s", if tenths < 0 { "-" } else { "+" }, tenths.abs() / 10, tenths.abs() % 10)
        }
        _ => {
            let sign = if ahead_ms < 0 { "-" } else { "+" };
            format!("{sign}{}", seconds(Duration::from_millis(ahead_ms.unsigned_abs())))
        }
    }
}

/// The files of this peer.
pub(super) fn files(files: &[FileEntry]) -> Table {
    if files.is_empty() {
        return Table::empty("No files here");
    }
    // The column of pins is there only where there is a pin.
    let has_pins = files.iter().any(|file| file.pinned);
    let row = |file: &FileEntry| {
        let object = &file.object;
        let pinned = has_pins.then(|| Cut::of(if file.pinned { "pinned" } else { "-" }.to_owned()));
        [Cut::of(names(&file.names)), Cut::of(size(object.length))]
            .into_iter()
            .chain(pinned)
            .chain([Cut::content(&object.content)])
            .collect()
    };
    Table {
        header: match has_pins {
            true => &["NAME", "SIZE", "KEPT", "CONTENT"],
            false => &["NAME", "SIZE", "CONTENT"],
        },
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
    fn members_in_their_own_words() {
        let line = |number, state, gone| RingLine {
            peer: Position::of_number(number).into(),
            gone,
            address: Address::new("127.0.0.1:12004").unwrap(),
            incarnation: 3,
            state,
            share: 0.0,
            me: false,
        };
        let said = SelfReport {
            version: "0.1.0".to_owned(),
            free_bytes: 3 << 30,
            disk_bytes: 8 << 30,
            objects: 1_204,
            bytes: 5 << 20,
            full: false,
            syncing: false,
            unix_ms: 0,
            verified_ms: Some(1_795_694_400_000),
        };
        let other = SelfReport {
            full: true,
            syncing: true,
            disk_bytes: 0,
            free_bytes: 0,
            verified_ms: Some(0),
            ..said.clone()
        };
        let member = |line, said: Option<SelfReport>, away_since_ms, clock_ahead_ms| MemberLine {
            line,
            away_since_ms,
            said,
            clock_ahead_ms,
        };
        let noon = 1_795_694_400_000;
        let (alive, dead) = (MemberState::Alive, MemberState::Dead);
        let text = members(
            &[
                member(line(4, alive, false), Some(said), None, Some(12)),
                member(line(100, alive, false), Some(other), None, Some(-3_700_000)),
                member(line(200, alive, false), None, None, None),
                member(line(220, dead, false), None, Some(noon), None),
                member(line(240, dead, true), None, Some(noon - 86_400_000), None),
            ],
            &LocalTime::at(1_795_694_400, jiff::tz::TimeZone::UTC),
        );
        let lines: Vec<String> = text.fitted(None).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "PEER  STATE                        VERSION  FILES    HOLDS     FREE     DISK  FULL  VERIFIED               CLOCK",
                "   4  alive                        0.1.0     1204  5.0 MiB  3.0 GiB  8.0 GiB  no    2026-11-26 12:00       0.0 s",
                " 100  taking over                  0.1.0     1204  5.0 MiB  0 bytes        -  yes   not all yet       -1 h 1 min",
                " 200  no answer                    -            -        -        -        -  -     -                          -",
                " 220  away since 12:00             -            -        -        -        -  -     -                          -",
                " 240  gone since 2026-11-25 12:00  -            -        -        -        -  -     -                          -",
                "5 members, 2 answer",
            ]
        );
    }

    #[test]
    fn a_clock_has_its_sign() {
        let shown = [0, 49, -49, 50, 250, -1_234, 59_949, 59_950, -3_600_000].map(clock);
        assert_eq!(
            shown,
            ["0.0 s", "0.0 s", "0.0 s", "+0.1 s", "+0.3 s", "-1.2 s", "+59.9 s", "+1 min 0 s", "-1 h 0 min"]
        );
        assert!(clock(i64::MIN).starts_with('-') && clock(i64::MAX).starts_with('+'));
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
        let pinned = files(&[FileEntry { pinned: true, ..abc.clone() }, file(b"", &["c"])]).fitted(None);
        assert!(pinned.lines().nth(1).unwrap().contains("3 bytes  pinned  sha256:"), "{pinned}");
        assert!(pinned.lines().nth(2).unwrap().contains("0 bytes  -       sha256:"), "{pinned}");
        let text = table.fitted(Some(60));
        assert_eq!(text.lines().nth(1), Some("a b, two\\nlines  3 bytes  sha256:ba7816bf…"));
        let text = table.fitted(Some(20));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["a b, two\\nlines", "  size     3 bytes", "  content"]);
        assert_eq!(lines[3], "    sha256:ba7816bf…");
        assert!((20..90).all(|width| table.fitted(Some(width)).lines().all(|line| line.width() <= width)));
    }
}
