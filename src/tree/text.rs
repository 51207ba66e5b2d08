//! The lines of a tree: written, and read back.

use std::fmt::Write as _;

use super::entry::{FileTime, Mode, Node, TreeEntry};
use super::error::TreeError;
use super::escape::{escape, unescape};
use super::limits::TARGET_BYTES_MAX;
use super::path::{PathError, TreePath};
use crate::id::{ContentId, OutboardDigest};
use crate::outboard::{CHUNK_BYTES, Outboard};
use crate::wire::ObjectInfo;
use crate::wire::limits::FILE_BYTES_MAX;

/// The first line.
pub(super) fn header(mode: Mode, modified: FileTime) -> String {
    format!("{MAGIC} {} {}\n", mode_text(mode), time_text(modified))
}

/// Appends the line of an entry.
pub(super) fn line(entry: &TreeEntry, text: &mut String) {
    let path = entry.path.to_text();
    // Writing to a string does not fail.
    let _ = match &entry.node {
        Node::Directory { mode, modified } => {
            writeln!(text, "d {} {} {path}", mode_text(*mode), time_text(*modified))
        }
        Node::File { mode, modified, object } => {
            let ObjectInfo { content, length, outboard } = object;
            let (mode, time) = (mode_text(*mode), time_text(*modified));
            match *length > CHUNK_BYTES {
                true => writeln!(text, "f {mode} {time} {length} {content} {outboard} {path}"),
                false => writeln!(text, "f {mode} {time} {length} {content} {path}"),
            }
        }
        Node::Link { modified, target } => {
            writeln!(text, "l {} {path} {}", time_text(*modified), escape(target))
        }
    };
}

/// Reads the first line, without its line feed.
pub(super) fn parse_header(line: &[u8]) -> Option<(Mode, FileTime)> {
    let rest = line.strip_prefix(MAGIC.as_bytes())?.strip_prefix(b" ")?;
    let mut fields = rest.split(|byte| *byte == b' ');
    let (mode, modified) = (mode_of(fields.next()?)?, time_of(fields.next()?)?);
    fields.next().is_none().then_some((mode, modified))
}

/// Reads the line of an entry, without its line feed.
///
/// # Errors
/// [`TreeError::Line`], or that of a path. The line's number is not known here: 0.
pub(super) fn parse_line(line: &[u8]) -> Result<TreeEntry, TreeError> {
    let mut fields = line.split(|byte| *byte == b' ');
    let read = read_entry(&mut fields).filter(|_| fields.next().is_none());
    let (path, node) = read.ok_or(TreeError::Line { number: 0 })?;
    let path = path.map_err(|source| TreeError::Path { number: 0, source })?;
    Ok(TreeEntry { path, node })
}

type ReadPath = Result<TreePath, PathError>;

fn read_entry<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<(ReadPath, Node)> {
    match fields.next()? {
        b"d" => {
            let (mode, modified) = (mode_of(fields.next()?)?, time_of(fields.next()?)?);
            Some((TreePath::from_text(fields.next()?)?, Node::Directory { mode, modified }))
        }
        b"f" => {
            let (mode, modified) = (mode_of(fields.next()?)?, time_of(fields.next()?)?);
            let length: u64 = number_of(fields.next()?)?;
            let content: ContentId = lower_hex(fields.next()?)?.parse().ok()?;
            let outboard = if length <= CHUNK_BYTES {
                Outboard::new(length, Vec::new()).ok()?.digest()
            } else if length <= FILE_BYTES_MAX {
                lower_hex(fields.next()?)?.parse::<OutboardDigest>().ok()?
            } else {
                return None;
            };
            let object = ObjectInfo { content, length, outboard };
            Some((TreePath::from_text(fields.next()?)?, Node::File { mode, modified, object }))
        }
        b"l" => {
            let modified = time_of(fields.next()?)?;
            let path = TreePath::from_text(fields.next()?)?;
            let target = unescape(fields.next()?).filter(|target| is_target(target))?;
            Some((path, Node::Link { modified, target }))
        }
        _ => None,
    }
}

/// Whether bytes can be the text of a symbolic link.
pub(super) fn is_target(target: &[u8]) -> bool {
    (1..=TARGET_BYTES_MAX).contains(&target.len()) && !target.contains(&0)
}

fn mode_text(mode: Mode) -> String {
    format!("{:03o}", mode.bits())
}

fn mode_of(text: &[u8]) -> Option<Mode> {
    let is_octal = text.len() == 3 && text.iter().all(|digit| (b'0'..=b'7').contains(digit));
    is_octal.then(|| Mode::of_bits(text.iter().fold(0, |bits, digit| (bits << 3) | u32::from(digit - b'0'))))
}

fn time_text(time: FileTime) -> String {
    format!("{}.{:09}", time.seconds(), time.nanos())
}

fn time_of(text: &[u8]) -> Option<FileTime> {
    let (seconds, nanos) = std::str::from_utf8(text).ok()?.split_once('.')?;
    let time = FileTime::new(seconds.parse().ok()?, nanos.parse().ok()?);
    // One time has one text.
    (time_text(time).as_bytes() == text).then_some(time)
}

fn number_of(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

/// 64 hexadecimal digits in lower case.
fn lower_hex(text: &[u8]) -> Option<&str> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    (text.len() == 64 && text.iter().all(is_digit)).then(|| std::str::from_utf8(text).ok())?
}

const MAGIC: &str = "quoit tree 1";
