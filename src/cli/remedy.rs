//! The remedy for each error, in the words of the command line.
//!
//! The library names the cause and the setting that would help. Only this module knows the option of a setting.

use std::path::Path;

use super::words::quoted;
use crate::config::{KeepVersions, RingSettings, SettingsError};
use crate::id::{FileName, FileNameError};
use crate::peer::{
    AdmitError, BringError, BundleError, ConnectError, Ended, EnrolError, Failure, FailureKind,
    IdentityError, PlaceError, StartError, StartNotice, StoreError, TicketRefusal, Wanted,
};
use crate::sim::{ExperimentError, Parameter};

/// Why a peer does not start.
pub(super) fn start(error: &StartError) -> String {
    let remedy = match error {
        StartError::Settings(error) => return settings(error),
        StartError::NoAuthority { .. } => {
            Some("where that key is, `quoit admit` makes a bundle for `quoit join --bundle`".to_owned())
        }
        StartError::SeveralPeers { .. } => Some("--data-dir names one".to_owned()),
        StartError::Certificates { source, .. } => identity(source),
        StartError::Ticket { source } => ticket(source),
        StartError::Bundle { source, .. } | StartError::BundleKey { source, .. } => bundle(source),
        StartError::Join { reason, .. } | StartError::Ended(reason) => same_settings(reason),
        _ => None,
    };
    with(error, remedy)
}

/// Why a peer has ended.
pub(super) fn ended(why: &Ended) -> String {
    with(why, same_settings(why))
}

/// A notice of the start, with the option that would help.
pub(super) fn notice(notice: &StartNotice) -> String {
    match notice {
        StartNotice::AddressNotThere { .. } => format!("{notice} (--listen gives it another address)"),
        _ => notice.to_string(),
    }
}

/// Why no peer or client was admitted.
pub(super) fn admit(error: &AdmitError) -> String {
    match error {
        AdmitError::NoAuthority { .. } => format!("{error}, or say with --certs-dir where the key is"),
        AdmitError::Identity(source) | AdmitError::Request { source, .. } => with(error, identity(source)),
        AdmitError::Bundle(source) => with(error, bundle(source)),
        AdmitError::Connect(source) => {
            format!("a running peer has to redeem the ticket: {}", connect(source))
        }
        AdmitError::OtherFolder { .. } => format!("{error}; --certs-dir names a folder, --peer a peer"),
        _ => error.to_string(),
    }
}

/// Why a command reaches no peer.
pub(super) fn connect(error: &ConnectError) -> String {
    let run = |dir: &Path| format!("`quoit run --data-dir {}`", quoted(&dir.to_string_lossy()));
    let remedy = match error {
        ConnectError::NoPeer { .. } => {
            return format!("{error}, --peer or --data-dir names a peer elsewhere");
        }
        ConnectError::SeveralRun { .. } => return format!("{error} with --peer"),
        ConnectError::NoneRuns { data_dirs, .. } => {
            data_dirs.first().map(|dir| format!("start one, as with {}", run(dir)))
        }
        ConnectError::NotRunning { data_dir, .. }
        | ConnectError::NoAnswer { data_dir: Some(data_dir), .. } => {
            Some(format!("start it with {}", run(data_dir)))
        }
        ConnectError::PortTooHigh { .. } => Some("choose a smaller --base-port".to_owned()),
        ConnectError::NoCertificate => {
            Some("`quoit admit --client` makes one there, and --bundle names it here".to_owned())
        }
        ConnectError::NoKey { source: IdentityError::Missing { .. }, .. } => {
            Some("--certs-dir or QUOIT_CERTS_DIR names another place".to_owned())
        }
        ConnectError::NoKey { source, .. } => identity(source),
        ConnectError::Bundle { source, .. } => bundle(source),
        _ => None,
    };
    with(error, remedy)
}

/// Why a file cannot be written to a place.
pub(super) fn place(error: &PlaceError) -> String {
    let exists = matches!(error, PlaceError::Exists { .. });
    with(error, exists.then(|| REPLACES.to_owned()))
}

/// Why a file was not stored.
pub(super) fn store(error: &StoreError) -> String {
    let remedy = match error {
        StoreError::Name { source: FileNameError::NotText | FileNameError::Address, .. } => {
            "--as NAME gives it one"
        }
        StoreError::NotAFile { kind: "a directory", .. } => "-r stores directories",
        StoreError::NotADirectory { .. } => "without -r it is stored as a file",
        StoreError::NotStorable { .. } => "--exclude leaves files out",
        _ => return error.to_string(),
    };
    with(error, Some(remedy.to_owned()))
}

/// Why a directory was not brought.
pub(super) fn bring(error: &BringError) -> String {
    let remedy = match error {
        BringError::Exists { .. } => REPLACES,
        BringError::NoTree { .. } => "`files` lists directories",
        BringError::NoEntry { .. } => "`files NAME` lists what is in a directory",
        BringError::NoFolder => "-o names one",
        _ => return error.to_string(),
    };
    with(error, Some(remedy.to_owned()))
}

/// Why a file was not found.
pub(super) fn request(failure: &Failure, wanted: &Wanted) -> String {
    match wanted {
        Wanted::Name(_) | Wanted::NameOrBeginning(_) if failure.is_not_found() => name(failure),
        Wanted::Version { name, .. } => version(failure, name),
        _ => failure.to_string(),
    }
}

/// Why a version of a name was not found.
pub(super) fn version(failure: &Failure, name: &FileName) -> String {
    match failure.is_not_found() {
        true => format!("{failure} (`history {}` lists its versions)", quoted(name.as_str())),
        false => failure.to_string(),
    }
}

/// Why a name was not found.
pub(super) fn name(failure: &Failure) -> String {
    match failure.is_not_found() {
        true if failure.kind == FailureKind::Removed => {
            format!("{failure} (`history` lists its versions, and `restore` brings one back)")
        }
        true => format!("{failure} (`Files --ring` lists what there is)"),
        false => failure.to_string(),
    }
}

/// Why a peer does not leave.
pub(super) fn leave(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Stays => format!("{failure} (`leave --force` leaves all the same)"),
        _ => failure.to_string(),
    }
}

/// Why an experiment is not run.
pub(super) fn experiment(error: &ExperimentError) -> String {
    match error {
        ExperimentError::Settings(error) => settings(error),
        ExperimentError::OutOfBounds { parameter, bounds, value } => {
            format!("{} is {bounds}, not {value}", option(*parameter))
        }
        ExperimentError::MoreGoThanCome { peers, coming, going } => format!(
            "--leave-rate and --fail-fraction take {going} peers of the {peers} there are and the {coming} that join"
        ),
    }
}

/// Why settings are refused.
pub(super) fn settings(error: &SettingsError) -> String {
    match error {
        SettingsError::Replicas { value, max } => format!("--replicas is 1 to {max}, not {value}"),
        SettingsError::Successors { value, max } => format!("--successors is 2 to {max}, not {value}"),
        SettingsError::ListTooShort { replicas, successors } => {
            format!(
                "--replicas {replicas} needs --successors of at least {}, not {successors}",
                replicas.saturating_sub(1)
            )
        }
        SettingsError::KeepVersions(_) => {
            let (most, days) = (KeepVersions::COUNT_MAX, KeepVersions::SECONDS_MAX / (24 * 3_600));
            format!("--keep-versions is 1 to {most} versions, and a time from 1s to {days}d")
        }
        SettingsError::AwayLimit { max, .. } => {
            format!("--away-limit is at most {} days", max.as_secs() / (24 * 3_600))
        }
        SettingsError::RepairRate { value, min } => {
            format!("--repair-rate is at least {min} bytes a second, not {value}")
        }
        SettingsError::UploadRate { value, min } => {
            format!("--upload-rate is at least {min} bytes a second, not {value}")
        }
        SettingsError::DownloadRate { value, min } => {
            format!("--download-rate is at least {min} bytes a second, not {value}")
        }
        _ => error.to_string(),
    }
}

/// How a certificate is renewed; `whom` is the word by which `admit` names its peer.
pub(super) fn renewal(whom: &str) -> String {
    format!("where the ring CA's key is, `quoit admit {whom} --renew` makes a new one")
}

fn same_settings(why: &Ended) -> Option<String> {
    let RingSettings { replicas, successors, versions } = why.other_settings()?;
    Some(format!("start with --replicas {replicas} --successors {successors} --keep-versions {versions}"))
}

fn identity(error: &IdentityError) -> Option<String> {
    match error {
        IdentityError::Expired { .. } => Some("`quoit admit … --renew` makes a new one".to_owned()),
        IdentityError::Revoked { .. } => Some(
            "its files stay; where the ring CA's key is, `quoit admit` makes a certificate for a new key"
                .to_owned(),
        ),
        IdentityError::GivenOut { whom, .. } => {
            Some(format!("`quoit admit {whom} --renew` makes a new certificate for the same key"))
        }
        _ => None,
    }
}

fn bundle(error: &BundleError) -> Option<String> {
    match error {
        BundleError::Expired { .. } => Some("`quoit admit … --renew` makes a new one".to_owned()),
        BundleError::Exists { .. } => Some(REPLACES.to_owned()),
        BundleError::OtherRing { .. } => Some("choose another --certs-dir".to_owned()),
        BundleError::NoKey { .. } => Some("give the key with --key".to_owned()),
        BundleError::Identity(error) => identity(error),
        _ => None,
    }
}

/// The next step after a ticket that brought nothing.
fn ticket(error: &EnrolError) -> Option<String> {
    const NEW: &str = "where the ring CA's key is, `quoit admit NAME --ticket` makes a new one";
    Some(match error {
        EnrolError::Refused(TicketRefusal::Used { .. }) => format!(
            "if it was not used by you, revoke that peer where the ring CA's key is (`quoit revoke`); {NEW}"
        ),
        EnrolError::Refused(TicketRefusal::NoAuthority) => {
            "the peer there has to run with the folder of certificates that has the ring CA's key".to_owned()
        }
        EnrolError::Refused(_) | EnrolError::NotThatPeer { .. } => NEW.to_owned(),
        EnrolError::Broken(_) | EnrolError::Late { .. } => {
            "the same command tries again, with the same ticket".to_owned()
        }
        EnrolError::Dial(_) => "the peer that gave it out has to run, and to be reached from here".to_owned(),
        EnrolError::OtherRing { .. } => "choose another --certs-dir".to_owned(),
        _ => return None,
    })
}

fn option(parameter: Parameter) -> &'static str {
    match parameter {
        Parameter::Peers => "--peers",
        Parameter::Lookups => "--lookups",
        Parameter::FailFraction => "--fail-fraction",
        Parameter::JoinRate => "--join-rate",
        Parameter::LeaveRate => "--leave-rate",
        Parameter::LeaveKind => "--leave-kind",
        Parameter::SessionMedian => "--session-median",
        Parameter::Duration => "--duration",
        Parameter::Successors => "--successors",
        Parameter::Contacts => "--contacts",
        Parameter::Loss => "--loss",
        Parameter::Latency => "--latency",
        Parameter::Files => "--files",
        Parameter::Replicas => "--replicas",
        Parameter::Interval => "--interval",
        Parameter::Seed => "--seed",
    }
}

fn with(error: &impl std::fmt::Display, remedy: Option<String>) -> String {
    match remedy {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    }
}

const REPLACES: &str = "--overwrite replaces it";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::id::Position;
    use crate::peer::{EndReason, JoinFailure};

    /// Goal: each remedy of the command line appears once, after the text of the library.
    #[test]
    fn a_remedy_names_its_option() {
        let path = PathBuf::from("report.pdf");
        assert_eq!(
            place(&PlaceError::Exists { path: path.clone() }),
            "report.pdf exists; --overwrite replaces it"
        );
        let unnamed = StoreError::Name { path, source: FileNameError::NotText };
        let told = "report.pdf: its name is not UTF-8; store it under another name; --as NAME gives it one";
        assert_eq!(store(&unnamed), told);
        assert_eq!(
            leave(&Failure::stays("no copy would remain; this peer stays")),
            "no copy would remain; this peer stays (`leave --force` leaves all the same)"
        );
        assert_eq!(leave(&Failure::new("this peer is leaving")), "this peer is leaving");
        let unknown = Failure::not_found("no file named x in ring y");
        let wanted = Wanted::Name(crate::id::FileName::new("x").unwrap());
        assert_eq!(
            request(&unknown, &wanted),
            "no file named x in ring y (`Files --ring` lists what there is)"
        );
        assert_eq!(request(&unknown, &Wanted::ContentPrefix("ab".to_owned())), unknown.message);
        let several =
            StartError::SeveralPeers { dir: "peers".into(), peers: vec!["peers/1".into(), "peers/2".into()] };
        assert_eq!(
            start(&several),
            "data directory peers: 2 peers live there: peers/1 and peers/2; say which; --data-dir names one"
        );
        let settings = RingSettings { replicas: 2, successors: 4, ..RingSettings::default() };
        let failure = JoinFailure::OtherSettings { of: Position::of_number(5), settings };
        assert_eq!(
            ended(&EndReason::JoinFailed(failure).into()),
            "peer 5 has other settings: 2 replicas, 4 successors, and 16 versions of a name, their bytes for 30d; start with --replicas 2 --successors 4 --keep-versions 16,30d"
        );
        assert_eq!(ended(&Ended::ShutDown), "shut down");
        let stopped = ConnectError::NotRunning { peer: "4".to_owned(), data_dir: "my data/4".into() };
        assert_eq!(
            connect(&stopped),
            "peer 4 is not running; start it with `quoit run --data-dir 'my data/4'`"
        );
        let two = ConnectError::SeveralRun { peers: vec!["4".to_owned(), "8".to_owned()] };
        assert_eq!(connect(&two), "2 peers run here: 4 and 8; say which with --peer");
        let taken = AdmitError::Identity(IdentityError::GivenOut {
            what: "number 8".to_owned(),
            whom: "8".to_owned(),
            path: "8.pem".into(),
        });
        assert!(
            admit(&taken).ends_with("; `quoit admit 8 --renew` makes a new certificate for the same key")
        );
    }
}
