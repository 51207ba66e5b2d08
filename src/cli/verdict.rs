//! The sentences on how safe the files are: what `status` begins with, and what `safe-to-stop` answers. Pure: figures
//! in, one sentence out.

use super::format::size;
use super::local_time::LocalTime;
use crate::peer::{
    AtRisk, Doubt, Hindrance, Lack, LackReason, Listed, PeerName, StatusReport, StopAnswer, StopReport,
    StopSpan, Verdict, peer_list, word_list,
};

/// The sentence with which a status begins.
pub(super) fn sentence(report: &StatusReport, now: &LocalTime) -> String {
    let verdict = &report.verdict;
    if verdict.members == 0 {
        let phase = &report.phase;
        return format!("This peer is in no ring ({phase}), so it cannot tell how safe the files are.");
    }
    format!("{}{}.", said(verdict, now), as_far_as(verdict))
}

fn said(verdict: &Verdict, now: &LocalTime) -> String {
    match verdict {
        _ if verdict.unreadable > 0 => unreadable(verdict, now),
        Verdict { files: 0, .. } => "No files are stored in this ring".to_owned(),
        Verdict { copies: 1, members: 1, files, .. } => {
            let lost = if *files == 1 { "the file is lost" } else { "they are lost" };
            format!("{} on this machine alone; if it fails, {lost}", all_are(*files))
        }
        Verdict { copies: 1, files: 1, .. } => {
            "The only file is on one machine alone, since this ring keeps 1 copy; if that machine fails, the file is \
             lost"
                .to_owned()
        }
        Verdict { copies: 1, files, .. } => format!(
            "Each of the {} files is on one machine alone, since this ring keeps 1 copy; the files of a machine that \
             fails are lost",
            thousands(*files)
        ),
        Verdict { copies_least: 1, .. } => at_risk(verdict, now),
        _ if verdict.short > 0 => short(verdict, now),
        Verdict { members: 2, away: 0, copies: 2, files, .. } => {
            format!("{} on both machines of this ring; either may fail", all_are(*files))
        }
        Verdict { copies_least, files, .. } => {
            let may_fail = copies_least.saturating_sub(1);
            format!("{} on {copies_least} machines; any {may_fail} may fail", all_are(*files))
        }
    }
}

/// "3 files cannot be read now: their copies are on nas, away since 12:04".
fn unreadable(verdict: &Verdict, now: &LocalTime) -> String {
    let at_least = if verdict.more_unreadable { "At least " } else { "" };
    let files = counted(verdict.unreadable, "file", "files");
    let copies = if verdict.unreadable == 1 { "its copies" } else { "their copies" };
    let why = match verdict.unreadable_on.as_slice() {
        [] => "no member has a copy".to_owned(),
        [Lack { peer, reason }] => format!("{copies} are on {peer}, {}", absence(*reason, now)),
        several => {
            let named = several.iter().map(|lack| format!("{} ({})", lack.peer, absence(lack.reason, now)));
            format!("{copies} are on {}", word_list(named))
        }
    };
    format!("{at_least}{files} cannot be read now: {why}")
}

/// "304 files would be lost if desk fails now: nas is away since 12:04".
fn at_risk(verdict: &Verdict, now: &LocalTime) -> String {
    let Some(AtRisk { peer, files, reasons }) = verdict.at_risk.first.first() else {
        let lacks = reasons_in_words(&verdict.lacks, "their other copies are not made yet", now);
        return format!("Some files are on one machine alone: {lacks}");
    };
    let others = match (verdict.at_risk.total, verdict.at_risk.first.get(1)) {
        (2, Some(second)) => format!(", and {} if {} does", thousands(second.files), second.peer),
        (0..=2, _) => String::new(),
        (several, _) => format!(", and more with {} other machines", thousands(several - 1)),
    };
    let whose = if *files == 1 { "its" } else { "their" };
    let why = reasons_in_words(reasons, &format!("{whose} other copies are not made yet"), now);
    format!("{} would be lost if {peer} fails now{others}: {why}", counted(*files, "file", "files"))
}

/// "All 1,204 files are on at least 2 machines; any 1 may fail, and 304 wait for another copy: nas is away since 12:04".
fn short(verdict: &Verdict, now: &LocalTime) -> String {
    let Verdict { files, copies, copies_least: least, short, .. } = verdict;
    let more = if copies.saturating_sub(*least) == 1 { "another copy" } else { "more copies" };
    let (on, wait) = match (files, short) {
        (1, _) => ("on", format!("it waits for {more}")),
        (all, short) if all == short => ("on at least", format!("all wait for {more}")),
        (_, 1) => ("on at least", format!("1 waits for {more}")),
        (_, short) => ("on at least", format!("{} wait for {more}", thousands(*short))),
    };
    let why = reasons_in_words(&verdict.lacks, "copies are being made", now);
    format!(
        "{} {on} {least} machines; any {} may fail, and {wait}: {why}",
        all_are(*files),
        least.saturating_sub(1)
    )
}

/// The limits of what is known.
fn as_far_as(verdict: &Verdict) -> String {
    let Verdict { heard, members, syncing, .. } = verdict;
    let takes_over = (!syncing.is_empty()).then(|| format!(" while {}", taking_over(syncing)));
    match (heard < members, takes_over) {
        (false, None) => String::new(),
        (false, Some(takes_over)) => format!(", as far as is known{takes_over}"),
        (true, takes_over) => {
            let know = if *heard == 1 { "answers knows" } else { "answer know" };
            let (heard, members) = (thousands(*heard), thousands(*members));
            format!(
                ", as far as the {heard} of {members} members that {know}{}",
                takes_over.unwrap_or_default()
            )
        }
    }
}

/// The answer on whether peers may stop.
pub(super) fn answer(report: &StopReport, now: &LocalTime) -> String {
    let without = peer_list(&report.peers);
    match report.answer {
        StopAnswer::Yes if report.span == StopSpan::ForGood => format!("Yes: {}.", for_good(report)),
        StopAnswer::Yes => format!("Yes: without {without} {}{}.", stays(report), meanwhile(report)),
        StopAnswer::No(hindrance) => format!("No: {}.", hindered(report, hindrance, &without, now)),
        StopAnswer::CannotTell(doubt) => format!("Cannot tell: {}.", doubted(report, doubt)),
    }
}

/// The files that are still there while peers are stopped.
fn stays(report: &StopReport) -> String {
    let readable = report.files.saturating_sub(report.unreadable);
    let all = match (readable, report.unreadable) {
        (0, 0) => {
            return "nothing is missing, since no files are stored in this ring, and stores go on".to_owned();
        }
        (0, more) => {
            return format!("stores go on; {} cannot be read even now", counted(more, "file", "files"));
        }
        (1, 0) => "the only file stays readable".to_owned(),
        (1, _) => "the other file stays readable".to_owned(),
        (all, 0) => format!("all {} files stay readable", thousands(all)),
        (all, _) => format!("the other {} files stay readable", thousands(all)),
    };
    let copies = match (report.alone, readable) {
        (0, _) => format!(" on at least {}", counted(report.copies_least, "machine", "machines")),
        (1, 1) => ", on one machine alone".to_owned(),
        (alone, all) if alone == all => ", each on one machine alone".to_owned(),
        (alone, _) => format!(", {} of them on one machine alone", thousands(alone)),
    };
    let lost = match report.unreadable {
        0 => String::new(),
        more => format!("; {} cannot be read even now", counted(more, "file", "files")),
    };
    format!("{all}{copies}, and stores go on{lost}")
}

/// Whether copies are made while peers are stopped for a known time.
fn meanwhile(report: &StopReport) -> String {
    let StopSpan::For { ms } = report.span else { return String::new() };
    let limit = span(report.away_limit_ms);
    if ms <= report.away_limit_ms {
        return format!("; nothing is copied meanwhile, since a peer that is away is waited for {limit}");
    }
    match (report.to_copy_bytes, report.room_bytes) {
        (0, _) => format!("; after {limit} the others wait no more, and have all copies already"),
        (bytes, room) if room < bytes => format!(
            "; after {limit} the others make new copies, and have room for {} of {}",
            size(room),
            size(bytes)
        ),
        (bytes, _) => format!("; after {limit} the others make new copies of {}", size(bytes)),
    }
}

/// How peers stop for good.
fn for_good(report: &StopReport) -> String {
    let copied = match report.to_copy_bytes {
        0 => "the others have all copies already".to_owned(),
        bytes => format!("the others get copies of {} first", size(bytes)),
    };
    let present: Vec<PeerName> =
        report.peers.iter().filter(|peer| !report.absent.contains(peer)).cloned().collect();
    let leave = (!present.is_empty()).then(|| format!("`leave` at {}", peer_list(&present)));
    let forget = report.absent.iter().map(|peer| format!("`forget {peer}`"));
    format!(
        "{copied}, and {} left; the way is {}",
        machines_are(report.answering),
        word_list(leave.into_iter().chain(forget))
    )
}

/// Why peers may not stop.
fn hindered(report: &StopReport, hindrance: Hindrance, without: &str, now: &LocalTime) -> String {
    match hindrance {
        Hindrance::Unreadable if report.span == StopSpan::ForGood => {
            let absent = peer_list(&report.absent);
            let does = if report.absent.len() == 1 { "does" } else { "do" };
            let files = counted(report.only_there, "file", "files");
            format!("{files} cannot be read without {absent}, which {does} not answer")
        }
        Hindrance::Unreadable => {
            let files = counted(report.only_there, "file", "files");
            let (them, whose) = if report.only_there == 1 { ("it", "its") } else { ("them", "their") };
            let why = match report.lacks.is_empty() {
                true => format!("no other machine has {them}"),
                false => {
                    reasons_in_words(&report.lacks, &format!("{whose} other copies are not made yet"), now)
                }
            };
            format!("without {without} {files} could not be read: {why}")
        }
        Hindrance::NoStores => {
            let answering = match report.answering {
                0 => "no machine".to_owned(),
                n => counted(n, "machine", "machines"),
            };
            format!(
                "without {without}, {answering} would answer, and a store needs copies on {}",
                report.quorum
            )
        }
        Hindrance::TooFewMembers => {
            let left = match report.answering {
                0 => "no machine".to_owned(),
                n => counted(n, "machine", "machines"),
            };
            format!("without {without} {left} would be left, and each file belongs on {}", report.replicas)
        }
        Hindrance::NoRoom => format!(
            "the other machines have to take copies of {}, and have room for {} of them",
            size(report.to_copy_bytes),
            size(report.room_bytes)
        ),
    }
}

/// Why it cannot be told whether peers may stop.
fn doubted(report: &StopReport, doubt: Doubt) -> String {
    match doubt {
        Doubt::Unheard => format!("{} did not report in time", listed(&report.unheard)),
        Doubt::Syncing => format!("{}; ask again in a moment", taking_over(&report.syncing)),
        Doubt::Uncounted => {
            "there are too many sets of holders to know the holders of each file; ask about fewer peers at once"
                .to_owned()
        }
    }
}

/// "nas is away since 12:04 and tv is full"; `making` if the copies only need more time.
fn reasons_in_words(lacks: &[Lack], making: &str, now: &LocalTime) -> String {
    let known: Vec<&Lack> = lacks.iter().filter(|lack| lack.reason != LackReason::NotYet).collect();
    if known.is_empty() {
        return making.to_owned();
    }
    let shown = known.iter().take(REASONS_SHOWN_MAX).map(|Lack { peer, reason }| match reason {
        LackReason::Away { .. } | LackReason::Gone { .. } => format!("{peer} is {}", absence(*reason, now)),
        LackReason::Silent => format!("{peer} does not answer"),
        LackReason::Full => format!("{peer} is full"),
        LackReason::Syncing | LackReason::NotYet => format!("{peer} is still taking over"),
    });
    let more = known.len().saturating_sub(REASONS_SHOWN_MAX);
    let more = (more > 0).then(|| format!("{more} more"));
    word_list(shown.chain(more))
}

/// "away since 12:04".
fn absence(reason: LackReason, now: &LocalTime) -> String {
    let (state, since_ms) = match reason {
        LackReason::Away { since_ms } => ("away", since_ms),
        LackReason::Gone { since_ms } => ("gone", since_ms),
        _ => ("not answering", None),
    };
    since(state, since_ms, now)
}

/// "away since 12:04", or the state alone if the time is not known.
pub(super) fn since(state: &str, since_ms: Option<u64>, now: &LocalTime) -> String {
    match since_ms.and_then(|ms| now.of_day(ms)) {
        Some(time) => format!("{state} since {time}"),
        None => state.to_owned(),
    }
}

fn taking_over(peers: &Listed<PeerName>) -> String {
    let (is, its) = if peers.total == 1 { ("is", "its part") } else { ("are", "their parts") };
    format!("{} {is} still taking over {its} of the ring", listed(peers))
}

fn listed(peers: &Listed<PeerName>) -> String {
    let more = peers.total.saturating_sub(peers.first.len() as u64);
    let more = (more > 0).then(|| format!("{} more", thousands(more)));
    word_list(peers.first.iter().map(PeerName::label).chain(more))
}

fn all_are(files: u64) -> String {
    if files == 1 { "The only file is".to_owned() } else { format!("All {} files are", thousands(files)) }
}

fn machines_are(n: u64) -> String {
    if n == 1 { "1 machine is".to_owned() } else { format!("{} machines are", thousands(n)) }
}

/// A number with its noun: "1 file", "1,204 files".
fn counted(n: u64, one: &str, several: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { several })
}

/// A number with a comma after each thousand: "1,204".
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time span in its largest even unit: "15 min", "2 h", "7 days".
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        s if s >= 172_800 && s.is_multiple_of(86_400) => format!("{} days", s / 86_400),
        s if s >= 3_600 && s.is_multiple_of(3_600) => format!("{} h", s / 3_600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// The most members whose reasons one sentence gives.
const REASONS_SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests;
