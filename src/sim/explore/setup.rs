//! The initial ring of a search.

use std::fmt;
use std::str::FromStr;

use crate::chord::Rules;

/// The initial ring of a search, and the possible events. As text, without the rules and the earlier steps: `r 2, ring
/// 32 96 160 224, joiners 40 48, answers apart, who failed returns`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// The length of successor lists, r.
    pub successors: u8,
    /// The numbers of the ring's founders, in the order in which they joined.
    pub founders: Vec<u8>,
    /// The numbers of the peers that may join.
    pub joiners: Vec<u8>,
    /// Whether the arrival of a request and of its answer are steps of their own.
    pub answers_apart: bool,
    /// Whether a failed peer may come back, in its next incarnation and with its remembered members.
    pub returns: bool,
    /// Steps that are taken first, in the form that a [`super::Found`] shows; the search continues from there.
    pub before: String,
    /// The rules of all peers, once the ring of the founders has settled.
    pub rules: Rules,
}

/// A text that is not a setup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of `r NUMBER`, `ring NUMBERS`, `joiners NUMBERS`, `{APART}`, `{RETURNS}`")]
pub struct SetupError(String);

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |numbers: &[u8]| numbers.iter().map(|n| format!(" {n}")).collect::<String>();
        let Setup { successors, founders, joiners, .. } = self;
        write!(f, "r {successors}, ring{}, joiners{}", numbers(founders), numbers(joiners))?;
        for part in [(self.answers_apart, APART), (self.returns, RETURNS)] {
            if part.0 {
                write!(f, ", {}", part.1)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Setup {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Setup, SetupError> {
        let mut setup = Setup::default();
        for part in text.split(',').map(str::trim) {
            let error = || SetupError(part.to_owned());
            match part {
                APART => {
                    setup.answers_apart = true;
                    continue;
                }
                RETURNS => {
                    setup.returns = true;
                    continue;
                }
                _ => {}
            }
            let mut words = part.split_whitespace();
            let what = words.next();
            let numbers = words.map(str::parse).collect::<Result<Vec<u8>, _>>().map_err(|_| error())?;
            match (what, &numbers[..]) {
                (Some("r"), [successors]) => setup.successors = *successors,
                (Some("ring"), [_, ..]) => setup.founders = numbers,
                (Some("joiners"), _) => setup.joiners = numbers,
                _ => return Err(error()),
            }
        }
        Ok(setup)
    }
}

const APART: &str = "answers apart";
const RETURNS: &str = "who failed returns";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_as_text_and_back() {
        for text in
            ["r 2, ring 32 96, joiners 40", "r 1, ring 1, joiners 2 3, answers apart, who failed returns"]
        {
            assert_eq!(text.parse::<Setup>().map(|setup| setup.to_string()), Ok(text.to_owned()));
        }
        assert!("r 2, rings 1".parse::<Setup>().is_err() && "r".parse::<Setup>().is_err());
    }
}
