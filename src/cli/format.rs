//! Reports as people read them. Pure: a report in, lines out, without a last line break.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::local_time::LocalTime;
use super::words::quoted;
use crate::id::{FileName, escaped};
use crate::peer::{
    ForgetReport, LeavePlan, LeaveReport, Listed, PeerName, PingReport, RangeProof, RangeReport,
    RequestReport, ScrubReport, ShortFile, StatusReport, StoreReport, UnkeptFiles, Unreachable,
    Verifications, WhereisReport, missing_list, peer_list, word_list,
};
use crate::wire::MissingReason;

/// The text on a store.
pub(super) fn store(report: &StoreReport) -> String {
    let done = match report.is_unchanged() {
        true => format!("Unchanged: {} is these bytes already ({})", report.name, size(report.length)),
        false => {
            format!("Stored {} ({}) in {}", report.name, size(report.length), seconds(report.took))
        }
    };
    let mut lines = vec![
        done,
        format!("  name key    {}, owner peer {}", report.name_key, report.name_owner),
        format!("  content     sha256:{}", report.content),
        format!("  on {}: {} of {} copies", peer_list(&report.holders), report.holders.len(), report.copies),
    ];
    if !report.missing.is_empty() {
        lines.push(format!("  missing     {}", missing_list(&report.missing)));
    }
    if let Some(replaced) = report.replaces.filter(|_| !report.is_unchanged()) {
        lines.push(format!("  version {}, replaces sha256:{replaced}", report.version));
    } else if report.version > 1 {
        lines.push(format!("  version {}", report.version));
    }
    lines.join("\n")
}

/// The text on a request; `output` is the path of the file if it was not written to received/ of the peer.
pub(super) fn request(report: &RequestReport, output: Option<&str>) -> String {
    let what = match (&report.name, report.version) {
        (Some(name), Some(version)) if version > 1 => format!("{name}, version {version}"),
        (Some(name), _) => name.to_string(),
        (None, _) => format!("sha256:{}…", report.content.short()),
    };
    let from = match report.sources.as_slice() {
        [] => "it was here already".to_owned(),
        [one] => format!("peer {}, {}", one, rate(report.length, report.took)),
        several => format!("peers {}, {}", peer_list(several), rate(report.length, report.took)),
    };
    [
        format!("Received {what} ({}) in {}", size(report.length), seconds(report.took)),
        format!("  from        {from}"),
        format!("  content     sha256:{}", report.content),
        match (output, &report.path) {
            (Some("-"), _) | (None, None) => "  written to  standard output".to_owned(),
            (Some(path), _) => format!("  written to  {}", escaped(path)),
            (None, Some(path)) => format!("  kept as     {}", escaped(path)),
        },
    ]
    .join("\n")
}

/// The text on a range of bytes that was written to standard output.
pub(super) fn range(report: &RangeReport) -> String {
    let what = match &report.name {
        Some(name) => name.to_string(),
        None => format!("sha256:{}…", report.content.short()),
    };
    let proof = match report.proof {
        RangeProof::Whole => "the whole file is here and was hashed".to_owned(),
        RangeProof::Outboard => "verified by outboard; the whole file is not here".to_owned(),
    };
    [
        format!("Bytes {} of {what} ({})", report.range, size(report.length)),
        format!("  checked     {proof}"),
        format!("  content     sha256:{}", report.content),
        "  written to  standard output".to_owned(),
    ]
    .join("\n")
}

/// The text on a departure.
pub(super) fn leave(report: &LeaveReport) -> String {
    let mut lines = vec![match report.handed_over {
        0 => "Left the ring; nothing had to be handed over".to_owned(),
        n => format!("Left the ring; handed over {}", count(n, "file or record", "files and records")),
    }];
    if !report.unreachable.is_empty() {
        lines.push(format!(
            "This was the last peer: {} cannot be reached until it runs again (quoit run --data-dir {}):",
            count(report.unreachable.total, "file", "files"),
            quoted(&report.data_dir)
        ));
        lines.extend(listed(&report.unreachable, FileName::to_string));
    }
    lines.join("\n")
}

/// The question before a member is forgotten.
pub(super) fn forget_question(report: &ForgetReport) -> String {
    let mut lines = vec![format!(
        "Forget peer {} ({}) for good? The ring does not wait for it any more; it may join again.",
        report.peer, report.address
    )];
    if report.without_copy > 0 {
        lines.push(format!(
            "{} no copy at any peer that answers: what only {} has of them is lost to the ring unless it joins again.",
            count(report.without_copy, "file has", "files have"),
            report.peer
        ));
    }
    lines.push(format!("To forget it, type its name: {}", report.peer.label()));
    lines.join("\n")
}

/// The text on a forgotten member.
pub(super) fn forget(report: &ForgetReport) -> String {
    format!("Forgot peer {}: it is no member any more", report.peer)
}

/// The text on the plan of a departure.
pub(super) fn leave_plan(plan: &LeavePlan) -> String {
    let mut lines = vec![match (plan.stay.total, plan.objects, plan.records) {
        (0, ..) => format!(
            "This is the last peer: {} could not be reached until it runs again",
            count(plan.unreachable.total, "file", "files")
        ),
        (_, 0, 0) => "Nothing would have to be copied first: the peers that stay have all copies".to_owned(),
        (_, objects, records) => format!(
            "{} ({}) and {} would be copied first",
            count(objects, "file", "files"),
            size(plan.bytes),
            count(records, "name record", "name records")
        ),
    }];
    lines.extend(listed(&plan.unreachable, FileName::to_string));
    if !plan.stay.is_empty() {
        lines.push(format!("  stay        {}", peers(&plan.stay)));
        lines.push(format!("  copies      {} of each file afterwards", plan.copies));
    }
    lines.join("\n")
}

/// The text on a ping.
pub(super) fn ping(report: &PingReport) -> String {
    let mut lines = vec![format!("Peer {} at {}, life {}", report.peer, report.address, report.incarnation)];
    for (i, trip) in report.round_trips_us.iter().enumerate() {
        lines.push(match trip {
            Some(trip) => format!("  {}  {:.2} ms", i + 1, *trip as f64 / 1_000.0),
            None => format!("  {}  no answer", i + 1),
        });
    }
    lines.extend(report.trouble.as_ref().map(|trouble| format!("  {}", escaped(trouble))));
    lines.join("\n")
}

/// The text on the work that a departure left undone.
pub(super) fn leave_short(report: &LeaveReport) -> String {
    let mut lines = Vec::new();
    match report.short.total {
        0 => {}
        1 => lines.push("1 file is without all its copies elsewhere; this peer still has it:".to_owned()),
        n => {
            lines
                .push(format!("{n} files are without all their copies elsewhere; this peer still has them:"));
        }
    }
    lines.extend(listed(&report.short, |content| format!("sha256:{content}")));
    if !report.short_names.is_empty() {
        lines.push("Name records without all their copies elsewhere:".to_owned());
        lines.extend(listed(&report.short_names, FileName::to_string));
    }
    lines.join("\n")
}

/// The text on the peers with a name's record and its bytes.
pub(super) fn whereis(report: &WhereisReport) -> String {
    let mut lines = vec![
        format!("{} ({}), version {}", report.name, size(report.length), report.version),
        format!("  written     {} by peer {}", report.written, report.writer),
        format!("  name key    {}, record on {}", report.name_key, peer_list(&report.record_peers)),
        format!("  content     sha256:{}, owner peer {}", report.content, report.content_owner),
        format!("  on {}: {} of {} copies", peer_list(&report.holders), report.holders.len(), report.copies),
    ];
    if !report.full.is_empty() {
        lines.push(format!("  no room     {}; the next peers keep the copies", peer_list(&report.full)));
    }
    lines.extend(verified_copies(report));
    if report.history > 0 {
        lines.push(format!("  history     {}", count(report.history, "earlier record", "earlier records")));
    }
    lines.join("\n")
}

/// The line on when each copy was last verified.
fn verified_copies(report: &WhereisReport) -> Option<String> {
    let copy = |(peer, at_ms): (&PeerName, &Option<u64>)| match at_ms {
        Some(0) => format!("{peer} not yet"),
        Some(at_ms) => format!("{peer} {}", minute(*at_ms)),
        None => format!("{peer} does not say"),
    };
    let copies: Vec<String> = report.holders.iter().zip(&report.verified).map(copy).collect();
    (!copies.is_empty()).then(|| format!("  verified    {}", copies.join(", ")))
}

/// The text on a scrub.
pub(super) fn scrub(report: &ScrubReport) -> String {
    let what = format!(
        "Scrubbed {} ({}) in {}",
        count(report.objects, "file", "files"),
        size(report.bytes),
        seconds(report.took)
    );
    if report.quarantined == 0 && report.unreadable == 0 {
        return format!("{what}: every copy is sound");
    }
    let mut lines = vec![format!("{what}: {} sound", report.sound)];
    if report.quarantined > 0 {
        let copies = count(report.quarantined, "bad copy", "bad copies");
        lines.push(format!("  quarantined {copies}, with the reason beside each in quarantine/"));
        lines.push(format!("  fetched     {} again from other peers", report.fetched_again));
    }
    if report.not_fetched_again > 0 {
        lines.push(format!("  not healed  {}: no other peer gave a good copy", report.not_fetched_again));
        lines.extend(listed(&report.not_healed, |content| format!("sha256:{content}")));
    }
    if report.below_quorum > 0 {
        let files = count(report.below_quorum, "file has", "files have");
        lines.push(format!("  at risk     {files} fewer copies than acknowledge a store"));
    }
    if report.unreadable > 0 {
        let files = count(report.unreadable, "file", "files");
        lines.push(format!("  unreadable  {files}; the warnings of the peer say why"));
    }
    lines.join("\n")
}

/// The line on the oldest verifications.
fn verified(verified: &Verifications) -> Option<String> {
    let words = |at_ms: u64, whose: &str| match at_ms {
        0 => format!("not every copy {whose} was verified yet"),
        at_ms => format!("every copy {whose} since {}", minute(at_ms)),
    };
    let here = verified.here.map(|at_ms| words(at_ms, "here"));
    let ring = match (verified.ring, &verified.at) {
        (Some(at_ms), Some(peer)) if verified.ring != verified.here => {
            Some(words(at_ms, &format!("in the ring (peer {peer})")))
        }
        _ => None,
    };
    let told: Vec<String> = here.into_iter().chain(ring).collect();
    (!told.is_empty()).then(|| format!("  verified     {}", told.join("; ")))
}

/// A time in milliseconds since the Unix epoch, to the minute, in UTC.
pub(super) fn minute(at_ms: u64) -> String {
    let time = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "a day out of any calendar".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M").to_string())
}

/// The text on the state of a peer; `sentence` says how safe the files of the ring are, and comes first.
pub(super) fn status(report: &StatusReport, sentence: &str, verbose: bool, now: &LocalTime) -> String {
    let mut lines = vec![
        escaped(sentence),
        format!("Peer {} of ring {}: {}", report.peer, escaped(&report.ring), report.phase),
        format!("  listens on   {}, life {}", report.address, report.incarnation),
        format!("  position     {}", report.peer.position),
        format!("  predecessor  {}", report.predecessor.as_ref().map_or("none".to_owned(), PeerName::label)),
        format!("  successors   {}", peer_list(&report.successors)),
        format!("  alive        {}: {}", count(report.alive.total, "peer", "peers"), peers(&report.alive)),
    ];
    if !report.away.is_empty() {
        lines.push(format!("  away         {}", peers(&report.away)));
    }
    if !report.gone.is_empty() {
        lines.push(format!("  gone         {}", peers(&report.gone)));
    }
    lines.extend(unreachable(report));
    if let Some(settings) = report.settings {
        let membership = if report.small_ring { "small ring, one map" } else { "corrected Chord" };
        lines.push(format!(
            "  ring         {} of each file, {} in a list, {membership}",
            count(settings.replicas.into(), "copy", "copies"),
            count(settings.successors.into(), "successor", "successors"),
        ));
        lines.push(format!(
            "  versions     {} of a name, the bytes of an earlier one for {}",
            count(settings.versions.count.into(), "version", "versions"),
            settings.versions.time(),
        ));
    }
    lines.push(format!("  pings        every {}", seconds(report.interval)));
    lines.push(format!(
        "  keeps        {} ({}), {}",
        count(report.objects, "file", "files"),
        size(report.bytes),
        count(report.records, "name record", "name records")
    ));
    lines.extend(super::space::status(&report.space));
    lines.extend(verified(&report.verified));
    lines.extend(short(report, verbose));
    lines.extend(unkept(report));
    lines.extend(report.trouble.iter().map(|why| format!("  trouble      {}", escaped(why))));
    lines.extend(report.notices.first.iter().map(|line| format!("  notice       {}", escaped(line))));
    if report.syncing {
        lines.push("  syncing      still taking over its part of the ring".to_owned());
    }
    if !report.siblings.is_empty() {
        lines.push("  siblings     names that were written in two places at once; both are kept:".to_owned());
        lines.extend(listed(&report.siblings, FileName::to_string));
    }
    lines.extend(certificate(report.certificate_until, now.second()));
    lines.push(format!("  data         {}", escaped(&report.data_dir)));
    lines.extend(report.misbehaving.first.iter().take(LISTED_MAX).map(|m| {
        format!("  misbehaved   peer {}: {} ({})", m.peer, m.kind, count(m.count, "time", "times"))
    }));
    let turned_away = [
        (report.refused, "connection refused", "connections refused"),
        (report.malformed, "malformed message", "malformed messages"),
        (report.dropped, "datagram dropped", "datagrams dropped"),
    ];
    let turned_away = turned_away.iter().filter(|(n, ..)| *n > 0).map(|(n, one, more)| count(*n, one, more));
    let turned_away: Vec<String> = turned_away.collect();
    if !turned_away.is_empty() {
        lines.push(format!("  turned away  {}", word_list(turned_away)));
    }
    lines.join("\n")
}

/// The lines on members that this peer cannot reach directly.
fn unreachable(report: &StatusReport) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for Unreachable { peer, through } in report.unreachable.first.iter().take(LISTED_MAX) {
        let way = match through {
            Some(helper) => format!("reached through {helper}"),
            None => "and no way through another peer is known".to_owned(),
        };
        words.push(format!("  unreachable  cannot reach {peer} directly; {way}"));
    }
    let more = report.unreachable.total.saturating_sub(words.len() as u64);
    words.extend((more > 0).then(|| format!("  … and {more} more")));
    words
}

/// The lines on files with too few copies: their number and the away members, and with `verbose` each file.
fn short(report: &StatusReport, verbose: bool) -> Vec<String> {
    if report.short_total == 0 {
        let fine = "  copies       all files of the ring have their copies";
        return match (report.alive.is_empty(), report.unheard.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![fine.to_owned()],
            (false, false) => vec![unheard(report)],
        };
    }
    let mut lines = vec![format!("  short        {}", short_in_one_line(report))];
    if report.below_quorum > 0 {
        let files = count(report.below_quorum, "file has", "files have");
        lines.push(format!("  at risk      {files} fewer copies than acknowledge a store"));
    }
    if verbose {
        lines.extend(report.short.iter().map(|file| format!("    {}", short_file(report, file))));
        let more = report.short_total.saturating_sub(report.short.len() as u64);
        lines.extend((more > 0).then(|| format!("    … and {more} more")));
    }
    lines.extend((!report.unheard.is_empty()).then(|| unheard(report)));
    lines
}

/// "304 files have 2 of 3 copies: nas is away".
fn short_in_one_line(report: &StatusReport) -> String {
    let total = report.short_total;
    let holders: BTreeSet<usize> = report.short.iter().map(|file| file.holders.len()).collect();
    let copies = report.short.iter().map(|file| file.copies).max().unwrap_or_default();
    // The files with the fewest copies are listed first, so in a truncated list the rest has no fewer copies.
    let have = match (holders.first(), holders.last()) {
        (Some(least), Some(most)) if least == most && report.short.len() as u64 == total => least.to_string(),
        (Some(least), Some(most)) if *most == copies.saturating_sub(1) && least == most => least.to_string(),
        (Some(least), _) => format!("{least} to {}", copies.saturating_sub(1)),
        _ => "too few".to_owned(),
    };
    let verb = if total == 1 { "file has" } else { "files have" };
    let of = count(copies as u64, "copy", "copies");
    let mut lacking: BTreeMap<Lack, BTreeSet<&PeerName>> = BTreeMap::new();
    for peer in report.short.iter().flat_map(|file| &file.missing) {
        if let Some(why) = why_missing(report, peer) {
            lacking.entry(why).or_default().insert(peer);
        }
    }
    let why: Vec<String> = lacking.iter().map(|(why, peers)| why.in_words(peers)).collect();
    let why = if why.is_empty() { "not copied yet".to_owned() } else { why.join(", ") };
    format!("{total} {verb} {have} of {of}: {why}")
}

/// The reason for which a member lacks a copy that it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Away,
    Gone,
    /// The member cannot take the file. The status has a line on that member, with the cause.
    Unkept,
}

impl Lack {
    fn in_words(self, peers: &BTreeSet<&PeerName>) -> String {
        let names = word_list(peers.iter().map(|peer| peer.label()));
        let is = if peers.len() == 1 { "is" } else { "are" };
        match self {
            Lack::Away => format!("{names} {is} away"),
            Lack::Gone => format!("{names} {is} gone"),
            Lack::Unkept => {
                format!("{names} cannot keep {}", if peers.len() == 1 { "its copies" } else { "theirs" })
            }
        }
    }
}

/// The reason why a peer lacks a copy; `None` if it only needs more time.
fn why_missing(report: &StatusReport, peer: &PeerName) -> Option<Lack> {
    let is_it = |other: &PeerName| other.position == peer.position;
    if report.away.first.iter().any(is_it) {
        Some(Lack::Away)
    } else if report.gone.first.iter().any(is_it) {
        Some(Lack::Gone)
    } else {
        report.unkept.first.iter().any(|unkept| is_it(&unkept.peer)).then_some(Lack::Unkept)
    }
}

/// The lines on members that cannot take their files: "12 files (3.1 GB) have no copy on 73: no room (55 MB free)".
fn unkept(report: &StatusReport) -> Vec<String> {
    let line = |unkept: &UnkeptFiles| {
        let why = match &unkept.reason {
            MissingReason::NoRoom { free, .. } => format!("no room ({} free)", size(*free)),
            reason => escaped(&reason.to_string()),
        };
        let files = count(unkept.files, "file", "files");
        let have = if unkept.files == 1 { "has" } else { "have" };
        format!("  not kept     {files} ({}) {have} no copy on {}: {why}", size(unkept.bytes), unkept.peer)
    };
    let mut lines: Vec<String> = report.unkept.first.iter().take(LISTED_MAX).map(line).collect();
    let more = report.unkept.total.saturating_sub(lines.len() as u64);
    lines.extend((more > 0).then(|| format!("  … and {more} more")));
    lines
}

/// The line on members that did not report on their copies.
fn unheard(report: &StatusReport) -> String {
    format!("  cannot tell  how the files of {} are: no answer in time", peers(&report.unheard))
}

/// "report.pdf: 2 of 3 copies: nas, vps; laptop away".
fn short_file(report: &StatusReport, file: &ShortFile) -> String {
    let name = match file.names.as_slice() {
        [] => format!("sha256:{}…", file.content.short()),
        names => names.iter().map(FileName::to_string).collect::<Vec<_>>().join(", "),
    };
    let missing = file.missing.iter().map(|peer| {
        let why = match why_missing(report, peer) {
            Some(Lack::Away) => "away",
            Some(Lack::Gone) => "gone",
            Some(Lack::Unkept) => "cannot keep it",
            None => "not yet",
        };
        format!("{peer} {why}")
    });
    let missing: Vec<String> = missing.collect();
    let holders: Vec<String> = file.holders.iter().map(PeerName::label).collect();
    let mut text = format!("{name}: {} of {}", holders.len(), count(file.copies as u64, "copy", "copies"));
    if !holders.is_empty() {
        text.push_str(&format!(": {}", holders.join(", ")));
    }
    if !missing.is_empty() {
        text.push_str(&format!("; {}", missing.join(", ")));
    }
    text
}

/// A warning before a certificate ends, and after.
fn certificate(until: u64, now: u64) -> Option<String> {
    let left = until.saturating_sub(now);
    if left > CERTIFICATE_WARNING_DAYS * DAY_SECONDS {
        return None;
    }
    let day = i64::try_from(until).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    let day =
        day.map_or_else(|| "a day out of any calendar".to_owned(), |t| t.strftime("%Y-%m-%d").to_string());
    let ends = match (until > now, left / DAY_SECONDS) {
        (false, _) => format!("ended on {day}"),
        (true, 0) => format!("ends on {day} (today or tomorrow)"),
        (true, days) => format!("ends on {day} ({})", count(days, "day", "days")),
    };
    Some(format!("  certificate  {ends}: `quoit admit --renew` where the CA key is"))
}

/// A number of bytes in binary units.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return count(bytes, "byte", "bytes");
    }
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // A value that would be written as 1024.0 of one unit becomes 1.0 of the next.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A time span: with hundredths below ten seconds, tenths below a minute, then in minutes, and in hours.
pub(super) fn seconds(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        match whole / HOUR_SECONDS {
            0 => format!("{} min {} s", whole / 60, whole % 60),
            hours => format!("{hours} h {} min", whole % HOUR_SECONDS / 60),
        }
    }
}

/// A rate of bytes per second.
pub(super) fn rate(bytes: u64, span: Duration) -> String {
    // Below a millisecond the clock says more about the machine than about the transfer.
    let per_second = bytes as f64 / span.as_secs_f64().max(0.001);
    format!("{}/s", size(per_second as u64))
}

/// A number with up to two decimals.
pub(super) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// A number with its noun: "1 file", "2 files".
pub(super) fn count(n: u64, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
}

/// A list of peers, shortened for large rings.
fn peers(peers: &Listed<PeerName>) -> String {
    let shown = peers.first.iter().take(LISTED_MAX).map(PeerName::label);
    let more = peers.total.saturating_sub(LISTED_MAX as u64);
    word_list(shown.chain((more > 0).then(|| format!("{more} more"))))
}

fn listed<T>(items: &Listed<T>, line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<String> =
        items.first.iter().take(LISTED_MAX).map(|item| format!("  {}", line(item))).collect();
    if items.total > lines.len() as u64 {
        lines.push(format!("  … and {} more", items.total - lines.len() as u64));
    }
    lines
}

/// The most items of a list that are written out.
const LISTED_MAX: usize = 20;
/// How many days before its end a certificate is mentioned.
const CERTIFICATE_WARNING_DAYS: u64 = 30;
const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

#[cfg(test)]
mod tests;
