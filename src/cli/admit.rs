//! `quoit admit`: certificates for peers on other machines and for clients, on the machine with the ring CA's key.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::json;

use super::args::{BASE_PORT, Misuse, address};
use super::output::Output;
use super::{DONE, FAILED, NOT_FOUND, remedy};
use crate::id::Weight;
use crate::peer::{
    Admission, AdmitError, AdmitOptions, AdmitReport, Admittee, PeerChoice, TicketOptions, admit,
    issue_ticket,
};
use crate::wire::Address;

/// Admit a peer of another machine, or a client
///
/// Makes a key and a certificate, and writes them with the ring CA's certificate as a bundle, a file to
/// carry to that machine. NAME is what the peer is going to be called (nas, laptop); it places itself by
/// its key. PEER is the number of a numbered peer. The ring CA's key has to be here; it never travels.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "quoit admit [OPTIONS] <NAME|PEER>\n       quoit admit [OPTIONS] --ticket <NAME|PEER>\n       quoit admit [OPTIONS] --csr <FILE> [NAME|PEER]\n       quoit admit [OPTIONS] --renew <NAME|PEER>\n       quoit admit [OPTIONS] --client [NAME]",
    after_help = AFTER_HELP
)]
pub(super) struct Args {
    /// A display name, or a number from 0 to 255
    #[arg(value_name = "NAME|PEER", allow_negative_numbers = true, required_unless_present_any = ["csr", "client"])]
    whom: Option<Admittee>,
    /// Certify the key of this request (PKCS#10, PEM, Ed25519); the key itself stays where it is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["renew", "client"])]
    csr: Option<PathBuf>,
    /// Make a new certificate for the same key and position; in its place where the key is here
    #[arg(long, conflicts_with = "client", requires = "whom")]
    renew: bool,
    /// Make a certificate that may command every peer of the ring, and is no peer; NAME is for `quoit revoke`
    #[arg(long)]
    client: bool,
    /// The size of its machine beside the others, 1 to 10000; it places itself by it [default: 1]
    #[arg(long, value_name = "W", allow_negative_numbers = true, conflicts_with_all = ["renew", "client"])]
    weight: Option<Weight>,
    /// Print a ticket, one line with which `quoit join` makes the key on the other machine; a peer has to run here
    #[arg(long, conflicts_with_all = ["csr", "renew", "client", "output", "overwrite"], requires = "whom")]
    ticket: bool,
    /// How long the ticket can be used: 30m, 1h, 2d [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = lifetime, requires = "ticket")]
    expires: Option<Duration>,
    /// Where the other machine reaches the peer here [default: where the ring reaches it]
    #[arg(long, value_name = "HOST:PORT", value_parser = address, requires = "ticket")]
    address: Option<Address>,
    /// The running peer that is to redeem the ticket, where several run here
    #[arg(long, value_name = "PEER", requires = "ticket")]
    peer: Option<String>,
    /// The data directory of that peer, or a folder of several [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "QUOIT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where the bundle goes [default: NAME.bundle.pem in the current folder; NAME.renewed.bundle.pem with --renew]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
    /// Where the ring CA and the peers' certificates are
    #[arg(long, value_name = "DIR", env = "QUOIT_CERTS_DIR")]
    certs_dir: Option<PathBuf>,
    /// Say what was made as one JSON object
    #[arg(long)]
    json: bool,
}

/// The checked settings of an admission.
#[derive(Debug)]
pub(super) struct Plan {
    options: AdmitOptions,
    json: bool,
}

/// The two kinds of work that `admit` does.
#[derive(Debug)]
pub(super) enum Planned {
    Admission(Plan),
    Ticket(TicketPlan),
}

/// The checked settings of a ticket.
#[derive(Debug)]
pub(super) struct TicketPlan {
    options: TicketOptions,
    json: bool,
}

impl Args {
    pub(super) fn plan(self) -> Result<Planned, Misuse> {
        if self.ticket {
            let whom = self.whom.ok_or_else(|| Misuse("NAME|PEER is missing".to_owned()))?;
            let server = PeerChoice {
                peer: self.peer,
                data_dir: self.data_dir,
                base_port: BASE_PORT,
                ..PeerChoice::default()
            };
            let options = TicketOptions {
                whom,
                weight: self.weight,
                certs_dir: self.certs_dir,
                lifetime: self.expires.unwrap_or(TicketOptions::LIFETIME),
                address: self.address,
                server,
            };
            return Ok(Planned::Ticket(TicketPlan { options, json: self.json }));
        }
        let admission = match (self.whom, self.csr) {
            (whom, _) if self.client => match whom {
                Some(Admittee::Number(_)) => return Err(Misuse("a client has a name, no number".to_owned())),
                Some(Admittee::Name(name)) => Admission::Client { name: Some(name) },
                None => Admission::Client { name: None },
            },
            (whom, Some(request)) => Admission::Request { whom, request },
            (Some(whom), None) if self.renew => Admission::Renewal(whom),
            (Some(whom), None) => Admission::Peer(whom),
            (None, None) => return Err(Misuse("NAME|PEER is missing".to_owned())),
        };
        let options = AdmitOptions {
            admission,
            weight: self.weight,
            certs_dir: self.certs_dir,
            bundle: self.output,
            overwrite: self.overwrite,
        };
        Ok(Planned::Admission(Plan { options, json: self.json }))
    }
}

/// Admits, and prints the next step.
///
/// # Errors
/// When the report cannot be written as JSON.
pub(super) fn run(plan: &Plan) -> anyhow::Result<u8> {
    let out = Output::new();
    let report = match admit(&plan.options) {
        Ok(report) => report,
        Err(error) => {
            out.error(&remedy::admit(&error));
            return Ok(if matches!(error, AdmitError::Unknown { .. }) { NOT_FOUND } else { FAILED });
        }
    };
    if plan.json {
        out.result(&serde_json::to_string(&Json::of(&report))?);
    } else {
        out.result(&made(&report));
        out.note(&next(&report));
    }
    Ok(DONE)
}

/// Makes a ticket and prints it: the one line of standard output.
///
/// # Errors
/// When a task of this process fails.
pub(super) async fn run_ticket(plan: TicketPlan) -> anyhow::Result<u8> {
    let out = Output::new();
    let ticket = match issue_ticket(&plan.options).await {
        Ok(ticket) => ticket,
        Err(error) => {
            out.error(&remedy::admit(&error));
            return Ok(FAILED);
        }
    };
    let until = time(SystemTime::UNIX_EPOCH + Duration::from_millis(ticket.expires_ms()));
    if plan.json {
        out.json(&json!({
            "ticket": ticket.to_string(),
            "id": ticket.id(),
            "peer": ticket.holder().to_string(),
            "ring": ticket.ring_name(),
            "address": ticket.address().as_str(),
            "expires": until,
        }));
        return Ok(DONE);
    }
    out.result(&ticket.to_string());
    out.note(&format!(
        "On the other machine, until {until}: quoit join TICKET    it becomes peer {}; the ticket works once, for whoever has it",
        ticket.holder()
    ));
    if ticket.address().is_loopback() {
        out.note(&format!(
            "warning: only this machine reaches {}; --address names where the other one does",
            ticket.address()
        ));
    }
    Ok(DONE)
}

/// The JSON object of an admission.
#[derive(Serialize)]
struct Json<'a> {
    /// The kind of certificate: "peer", "request", "renewal" or "client".
    made: &'static str,
    name: Option<&'a str>,
    number: Option<u8>,
    label: Option<&'a str>,
    position: Option<String>,
    /// The weight of the peer; 1 for a client.
    weight: u32,
    ring: &'a str,
    /// The path of the bundle; null if only a certificate here was renewed.
    path: Option<String>,
    key_in_bundle: bool,
    /// The certificate that was renewed in its place, if its key is here.
    renewed: Option<String>,
    valid_until: String,
}

impl Json<'_> {
    fn of(report: &AdmitReport) -> Json<'_> {
        Json {
            made: match report.admission {
                Admission::Peer(_) => "peer",
                Admission::Request { .. } => "request",
                Admission::Renewal(_) => "renewal",
                Admission::Client { .. } => "client",
            },
            name: report.name.as_deref(),
            number: report.position.and_then(|position| position.number()),
            label: report.label.as_deref(),
            position: report.position.map(|position| position.to_string()),
            weight: report.weight.number(),
            ring: &report.ring,
            path: report.bundle.as_deref().map(absolute),
            key_in_bundle: report.with_key,
            renewed: report.renewed.as_deref().map(absolute),
            valid_until: date(report),
        }
    }
}

fn made(report: &AdmitReport) -> String {
    let what = match (&report.name, report.position) {
        (Some(name), None) if name_was_given(report) => format!("client {name}"),
        (_, None) => "a client".to_owned(),
        (Some(name), Some(position)) => format!("peer {name}, position {position},"),
        (None, Some(position)) => format!("peer {}", position.label()),
    };
    let (ring, until) = (&report.ring, date(report));
    let mut lines = vec![match report.admission {
        Admission::Renewal(_) => format!("Renewed the certificate of {what} in ring {ring} until {until}"),
        _ => format!("Admitted {what} to ring {ring} until {until}"),
    }];
    lines.extend((report.weight != Weight::ONE).then(|| format!("  weight      {}", report.weight)));
    lines.extend(report.renewed.as_deref().map(|path| format!("  certificate {}", absolute(path))));
    lines.extend(report.bundle.as_deref().map(|path| {
        let key = if report.with_key { "with its key: who reads it is that peer" } else { "without a key" };
        let key =
            if report.position.is_none() { "with its key: who reads it commands the ring" } else { key };
        format!("  bundle      {} ({key})", absolute(path))
    }));
    lines.join("\n")
}

fn name_was_given(report: &AdmitReport) -> bool {
    matches!(report.admission, Admission::Client { name: Some(_) })
}

/// The next step for the person.
fn next(report: &AdmitReport) -> String {
    let shown = |path: &Path| crate::id::escaped(&path.to_string_lossy());
    let file = report.bundle.as_deref().map(shown);
    match (&report.admission, file) {
        (Admission::Client { .. }, _) => "Keep it where the commands are run, and to yourself".to_owned(),
        (Admission::Renewal(_), None) => "Its peer takes it at its next start".to_owned(),
        (Admission::Renewal(_), Some(file)) => {
            format!("Carry it to that machine, stop the peer there, and run: quoit run --bundle {file}")
        }
        (Admission::Request { .. }, Some(file)) => {
            format!("Carry it to that machine and run: quoit join --bundle {file} --key KEY HOST:PORT")
        }
        (_, Some(file)) => format!("Carry it to that machine and run: quoit join --bundle {file} HOST:PORT"),
        (_, None) => String::new(),
    }
}

fn date(report: &AdmitReport) -> String {
    time(report.valid_until)
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let bounds = TicketOptions::LIFETIME_MIN..=TicketOptions::LIFETIME_MAX;
    let span = text.parse::<jiff::SignedDuration>().or_else(|error| {
        // A day of the calendar may have 23 hours; here it has 24.
        let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).ok_or(error)?;
        Ok::<_, jiff::Error>(jiff::SignedDuration::from_hours(days.clamp(0, 1_000) * 24))
    });
    let time = span.map_err(|_| "not a time like 30m, 1h or 2d".to_owned())?;
    match Duration::try_from(time) {
        Ok(time) if bounds.contains(&time) => Ok(time),
        _ => Err("a ticket lasts one second to 30 days".to_owned()),
    }
}

fn time(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => time.to_string(),
        Err(_) => "beyond the calendar".to_owned(),
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

const AFTER_HELP: &str = "\
Example: quoit admit nas            writes nas.bundle.pem, with a new key
         quoit admit 8 -o 8.pem     the same for peer number 8
         quoit admit nas --renew    a new certificate for the same key
         quoit admit nas --weight 4 the same for a machine that is to keep four times as much as others
         quoit admit --client bob   a certificate for the commands of a person or a script
         quoit admit nas --ticket   one line to type on the other machine, where the key is made

With a key that never leaves its machine, there:
         openssl genpkey -algorithm ed25519 -out nas.key
         openssl req -new -key nas.key -subj /CN=nas -out nas.csr
then here, with nas.csr, and there again, with what it writes:
         quoit admit nas --csr nas.csr
         quoit join --bundle nas.bundle.pem --key nas.key HOST:PORT";
