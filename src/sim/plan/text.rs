//! Plans as text, one line for each fault: `12.250 crash 3`. A plan is read back from lines, or from parts separated by
//! semicolons.

use std::fmt;
use std::str::FromStr;

use super::{Command, Fault, Plan, Timed};

/// A text that is not a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{line:?} is not part of a plan; the first line is \"ring PEERS r SUCCESSORS drift PPM\", each other one \"SECONDS FAULT …\""
)]
pub struct PlanError {
    /// The part that is not understood.
    pub line: String,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ring {} r {} drift {}", self.peers, self.successors, self.drift_ppm)?;
        self.faults.iter().try_for_each(|timed| writeln!(f, "{timed}"))
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} {}", self.at_ms / 1_000, self.at_ms % 1_000, self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Crash(peer) => write!(f, "crash {peer}"),
            Fault::Restart(peer) => write!(f, "restart {peer}"),
            Fault::Pause(peer) => write!(f, "pause {peer}"),
            Fault::Resume(peer) => write!(f, "resume {peer}"),
            Fault::Join(peer, through) => write!(f, "join {peer} through {through}"),
            Fault::Leave(peer) => write!(f, "leave {peer}"),
            Fault::Clone(peer) => write!(f, "clone {peer}"),
            Fault::Cut(from, to) => write!(f, "cut {from} to {to}"),
            Fault::Split(groups) => {
                let group = |peers: &Vec<u16>| peers.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
                write!(f, "split {}", groups.iter().map(group).collect::<Vec<_>>().join(" | "))
            }
            Fault::Heal => write!(f, "heal"),
            Fault::Slow(peer, factor) => write!(f, "slow {peer} by {factor}"),
            Fault::Loss(share) => write!(f, "loss {share}"),
            Fault::Duplication(share) => write!(f, "duplication {share}"),
            Fault::Holdups(share, most_ms) => write!(f, "holdups {share} of {most_ms}"),
            Fault::User(peer, command) => write!(f, "{command} at {peer}"),
            Fault::Room(peer, files) => write!(f, "room {peer} for {files}"),
            Fault::FailSync(peer) => write!(f, "fail-sync {peer}"),
            Fault::Clock(peer, seconds) => write!(f, "clock {peer} by {seconds}"),
        }
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Plan, PlanError> {
        let mut lines = text.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let wrong = || PlanError { line: first.to_owned() };
        let ["ring", peers, "r", successors, "drift", drift_ppm] = words(first)[..] else {
            return Err(wrong());
        };
        let mut faults = lines.map(Timed::from_str).collect::<Result<Vec<Timed>, PlanError>>()?;
        faults.sort_by_key(|timed| timed.at_ms);
        Ok(Plan {
            peers: peers.parse().map_err(|_| wrong())?,
            successors: successors.parse().map_err(|_| wrong())?,
            drift_ppm: drift_ppm.parse().map_err(|_| wrong())?,
            faults,
        })
    }
}

impl FromStr for Timed {
    type Err = PlanError;

    fn from_str(line: &str) -> Result<Timed, PlanError> {
        parsed(line).ok_or_else(|| PlanError { line: line.to_owned() })
    }
}

fn parsed(line: &str) -> Option<Timed> {
    let (at, fault) = line.split_once(' ')?;
    let (seconds, ms) = at.split_once('.')?;
    let at_ms = seconds.parse::<u32>().ok()?.checked_mul(1_000)?.checked_add(ms.parse().ok()?)?;
    let number = |word: &str| word.parse::<u16>().ok();
    let fault = match words(fault)[..] {
        ["crash", peer] => Fault::Crash(number(peer)?),
        ["restart", peer] => Fault::Restart(number(peer)?),
        ["pause", peer] => Fault::Pause(number(peer)?),
        ["resume", peer] => Fault::Resume(number(peer)?),
        ["join", peer, "through", through] => Fault::Join(number(peer)?, number(through)?),
        ["leave", peer] => Fault::Leave(number(peer)?),
        ["clone", peer] => Fault::Clone(number(peer)?),
        ["cut", from, "to", to] => Fault::Cut(number(from)?, number(to)?),
        ["split", ref groups @ ..] => {
            let group = |words: &[&str]| words.iter().map(|word| number(word)).collect::<Option<Vec<u16>>>();
            Fault::Split(groups.split(|word| *word == "|").map(group).collect::<Option<_>>()?)
        }
        ["heal"] => Fault::Heal,
        ["slow", peer, "by", factor] => Fault::Slow(number(peer)?, factor.parse().ok()?),
        ["loss", share] => Fault::Loss(number(share).filter(|share| *share < 1_000)?),
        ["duplication", share] => Fault::Duplication(number(share).filter(|share| *share <= 1_000)?),
        ["holdups", share, "of", most_ms] => {
            Fault::Holdups(number(share).filter(|share| *share <= 1_000)?, number(most_ms)?)
        }
        ["room", peer, "for", files] => Fault::Room(number(peer)?, number(files)?),
        [ref command @ .., "at", peer] => Fault::User(number(peer)?, Command::of_words(command)?),
        ["fail-sync", peer] => Fault::FailSync(number(peer)?),
        ["clock", peer, "by", seconds] => Fault::Clock(number(peer)?, seconds.parse().ok()?),
        _ => return None,
    };
    Some(Timed { at_ms, fault })
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_plan_is_read_back() {
        for seed in 0..200 {
            for plan in [Plan::draw(seed, 30), Plan::draw_with_files(seed, 30)] {
                assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "{plan}");
                let one_line = plan.to_string().replace('\n', "; ");
                assert_eq!(one_line.parse(), Ok(plan));
            }
        }
    }

    #[test]
    fn a_text_that_is_no_plan_is_named() {
        for bad in
            ["", "ring 3", "ring 3 r 2 drift x", "ring 3 r 2 drift 0; 1.0 dance 3", "ring 3 r 2 drift 0; x"]
        {
            assert!(bad.parse::<Plan>().is_err(), "{bad}");
        }
        let error = "ring 3 r 2 drift 0; 1.0 loss 1000".parse::<Plan>().unwrap_err();
        assert_eq!(error.line, "1.0 loss 1000");
    }
}
