//! The direction of imports: downward only, and each foreign crate where it belongs.
//!
//! Reads the sources as text, strings and comments aside. It does not see what a macro expands to.

mod circles;
mod scan;

use std::path::{Path, PathBuf};

use scan::Source;

/// One module at the top of the crate, with the modules and crates that it may name.
struct Rule {
    module: &'static str,
    /// Modules of this crate, whole or some items of them (`module::Item`).
    sees: &'static [&'static str],
    /// Whether the module only decides, without effects. Clippy checks it too.
    pure: bool,
}

/// The layers, bottom up. Every module has its rule here. Tests may also see two files that are no modules of `src`:
/// `eventually`, the only way to wait in tests, and `line`, the one relay.
const RULES: &[Rule] = &[
    // L0: values
    Rule { module: "id", sees: &[], pure: true },
    Rule { module: "time", sees: &[], pure: true },
    Rule { module: "config", sees: &[], pure: true },
    Rule { module: "backoff", sees: &[], pure: true },
    // L1: messages
    Rule { module: "wire", sees: &["id", "time", "config"], pure: true },
    // the midstates against which chunks of an object are checked
    Rule { module: "outboard", sees: &["id", "wire"], pure: true },
    // the object that stands for a directory
    Rule { module: "tree", sees: &["id", "wire", "outboard"], pure: true },
    // L2: the pure core; placement reads the ring's view
    Rule { module: "chord", sees: &["id", "time", "config", "backoff", "wire"], pure: true },
    Rule {
        module: "replica",
        sees: &[
            "id",
            "time",
            "config",
            "backoff",
            "wire",
            "chord::View",
            "chord::Table",
            "chord::Route",
            "chord::PhaseKind",
        ],
        pure: true,
    },
    // the rule which votes count is the same for names and bytes
    Rule { module: "names", sees: &["id", "time", "config", "wire", "replica::Election"], pure: true },
    // L3: the flows with files, as pure as the core except that they wait
    Rule {
        module: "files",
        sees: &["id", "time", "config", "backoff", "wire", "outboard", "tree", "chord", "replica", "names"],
        pure: true,
    },
    // disk and network; they do not know each other, nor the core's rules
    Rule { module: "blob", sees: &["id", "time", "config", "backoff", "wire", "outboard"], pure: false },
    Rule {
        module: "transport",
        sees: &["id", "time", "config", "backoff", "wire", "eventually", "line"],
        pure: false,
    },
    // L4: the functions that the flows ask of a store
    Rule { module: "shelf", sees: &["id", "time", "wire", "blob", "replica", "names", "files"], pure: false },
    // the world for tests; of the disk only the parts of a store in memory
    Rule {
        module: "sim",
        sees: &[
            "id",
            "time",
            "config",
            "wire",
            "outboard",
            "tree",
            "chord",
            "replica",
            "names",
            "files",
            "blob::BlobError",
            "blob::ChunkReceiver",
            "blob::Freeing",
            "blob::Kind",
            "blob::Loss",
            "blob::MemoryDisk",
            "blob::ObjectReader",
            "blob::Receiver",
            "blob::Store",
            "shelf",
        ],
        pure: false,
    },
    // joins them
    Rule {
        module: "peer",
        sees: &[
            "id",
            "time",
            "config",
            "backoff",
            "wire",
            "outboard",
            "tree",
            "chord",
            "replica",
            "names",
            "files",
            "blob",
            "transport",
            "shelf",
            "eventually",
        ],
        pure: false,
    },
    // L5: people; of the messages only values that are shown or given, of the simulator its experiments
    Rule {
        module: "cli",
        sees: &[
            "id",
            "config",
            "peer",
            "sim::Experiment",
            "sim::ExperimentError",
            "sim::Health",
            "sim::LeaveKind",
            "sim::Parameter",
            "sim::Report",
            "sim::Spread",
            "wire::Address",
            "wire::FileEntry",
            "wire::MemberState",
            "wire::Missing",
            "wire::MissingReason",
            "wire::ObjectInfo",
        ],
        pure: false,
    },
    Rule { module: "arenas", sees: &[], pure: false },
    Rule { module: "main", sees: &["cli", "arenas"], pure: false },
    Rule { module: "lib", sees: &[], pure: false },
];

/// Foreign crates that only some modules know: by file or folder below src.
const CRATES: &[(&str, &[&str])] = &[
    ("quinn", &["transport"]),
    ("quinn_proto", &["transport"]),
    ("quinn_udp", &["transport"]),
    ("rustls", &["transport"]),
    ("rustls_pki_types", &["transport"]),
    ("webpki", &["transport"]),
    ("rcgen", &["transport"]),
    ("ring", &["transport"]),
    ("x509_parser", &["transport"]),
    ("socket2", &["transport"]),
    ("bincode", &["wire/codec.rs"]),
    ("redb", &["blob"]),
    ("reflink_copy", &["blob"]),
    ("ignore", &["peer/control/trees"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("rustyline", &["cli"]),
    ("indicatif", &["cli"]),
    ("comfy_table", &["cli"]),
    ("anstream", &["cli"]),
    ("anstyle", &["cli"]),
    ("unicode_width", &["cli"]),
    ("plotters", &["cli/plot.rs"]),
    ("tracing_subscriber", &["cli"]),
    ("tokio", &["transport", "peer", "cli"]),
    // Channels and locks that need no runtime.
    ("tokio::sync", &["transport", "peer", "cli", "files", "sim"]),
];

/// Names that a pure module must not have, beside what clippy holds: whole modules of `std`.
const IMPURE: &[&str] = &["std::fs", "std::thread", "std::process", "std::env", "std::os"];

/// The rooms of `peer`: each may name these others, and `api` and `shared`, which all have in common.
const ROOMS: &[(&str, &[&str])] = &[
    ("ring", &[]),
    ("flows", &["ring"]),
    ("control", &["ring", "flows", "boot"]),
    ("boot", &["ring", "flows", "control"]),
];

/// The forbidden rooms of `peer` that a file in one of them names, a line each.
fn intrusions(path: &str, text: &str) -> Vec<String> {
    let Some((_, below)) = path.split_once("peer/") else { return Vec::new() };
    let Some((room, may)) = ROOMS.iter().find(|(room, _)| is_in(below, room)) else { return Vec::new() };
    let source = Source::new(path, text);
    let imports = source.imports().into_iter().filter(|import| import.segments[0] == "peer");
    let named = imports.filter_map(|import| Some((import.line, import.segments.get(1)?.clone())));
    let intrudes = |(_, other): &(usize, String)| {
        other != room && ROOMS.iter().any(|(known, _)| known == other) && !may.contains(&other.as_str())
    };
    // The state of a room is the field of `Shared` with the room's name.
    let kept = ROOMS
        .iter()
        .flat_map(|(other, _)| source.fields(other).into_iter().map(|line| (line, (*other).to_owned())));
    named
        .chain(kept)
        .filter(intrudes)
        .map(|(line, other)| format!("{path}:{line}: {room} must not see {other}"))
        .collect()
}

/// The violations of the rules in one file, a line each.
fn violations(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, text);
    let module = source.module();
    let Some(rule) = RULES.iter().find(|rule| rule.module == module) else {
        return vec![format!("{path}: module {module} has no rule in tests/layering")];
    };
    let mut wrong = Vec::new();
    for import in source.imports() {
        let (top, item) = (import.segments[0].as_str(), import.segments.get(1));
        let one = item.map(|item| format!("{top}::{item}")).unwrap_or_default();
        if top != module && !rule.sees.iter().any(|seen| *seen == top || *seen == one) {
            let name = import.segments.join("::");
            wrong.push(format!("{path}:{}: {module} must not see crate::{name}", import.line));
        }
    }
    for import in source.foreign() {
        let (top, name) = (import.segments[0].as_str(), import.segments.join("::"));
        let part = import.segments.get(1).map(|part| format!("{top}::{part}")).unwrap_or_default();
        let known = |of: &str| CRATES.iter().find(|(name, _)| *name == of);
        if let Some((known, places)) = known(&part).or(known(top))
            && !places.iter().any(|place| is_in(path, place))
        {
            wrong.push(format!("{path}:{}: only {places:?} know {known}", import.line));
        }
        if rule.pure
            && IMPURE.iter().any(|impure| name == *impure || name.starts_with(&format!("{impure}::")))
        {
            wrong.push(format!("{path}:{}: {module} is pure and must not see {name}", import.line));
        }
    }
    wrong
}

fn is_in(path: &str, place: &str) -> bool {
    path == place || path == format!("{place}.rs") || path.starts_with(&format!("{place}/"))
}

/// All sources, by their path below src.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push((name, text));
            }
        }
    }
    sources.sort();
    sources
}

#[test]
fn imports_go_downward_only() {
    let wrong: Vec<String> = sources().iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Goal: imports go one way. No file needs, by whatever way, a file that needs it, so that each file can be read with
/// those below it alone.
#[test]
fn imports_form_no_circle() {
    let circles = circles::of(&sources());
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}

/// Goal: circles are found, also through re-exports.
#[test]
fn circles_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let files: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        circles::of(&files)
    };
    let found = circles(&[
        ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::Y;"),
        ("a/x.rs", "use super::Y;"),
        ("a/y.rs", "use crate::a::X;"),
    ]);
    assert_eq!(found, ["a/x.rs, a/y.rs"]);
    assert_eq!(circles(&[("a/mod.rs", "mod x; use x::f;"), ("a/x.rs", "use super::G;")]).len(), 1);
    assert_eq!(
        circles(&[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "fn f() { crate::c::f() }"),
            ("c.rs", "use crate::a;")
        ])
        .len(),
        1
    );
    let right = [
        ("a/mod.rs", "mod x; mod y; pub use x::X;"),
        ("a/x.rs", "struct X; mod tests { use super::super::y::Y; }"),
        ("a/y.rs", "use super::X;"),
    ];
    assert!(circles(&right).is_empty());
}

/// Goal: in `peer`, the rooms for commands, for files and for the ring stay apart.
#[test]
fn rooms_of_a_peer_see_downward() {
    let sources = sources();
    let wrong: Vec<String> = sources.iter().flat_map(|(path, text)| intrusions(path, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for (room, _) in ROOMS {
        assert!(sources.iter().any(|(path, _)| path.starts_with(&format!("peer/{room}/"))), "no room {room}");
    }
    for (path, text) in [
        ("peer/ring/actor.rs", "use crate::peer::control::handle::Handle;"),
        ("peer/ring/actor.rs", "fn f() { crate::peer::flows::mend::mend(); }"),
        ("peer/flows/store.rs", "use super::super::boot::start;"),
        ("peer/ring/actor.rs", "fn f(shared: &Shared) { shared.flows.left.subscribe(); }"),
    ] {
        assert!(!intrusions(path, text).is_empty(), "{path}: {text}");
    }
    let right = "use crate::peer::shared::Shared; use crate::peer::ring::actor::ActorMessage;";
    assert!(intrusions("peer/flows/store.rs", right).is_empty());
}

/// Goal: the disks of a simulated world know nothing of its network and its tasks.
#[test]
fn simulated_disks_know_no_world() {
    let sees_world = |path: &str, text: &str| {
        let imports = Source::new(path, text).imports();
        let is_other = |room: &String| room != "disk";
        imports
            .iter()
            .any(|import| import.segments[0] == "sim" && import.segments.get(1).is_some_and(is_other))
    };
    let sources = sources();
    let disks: Vec<_> = sources.iter().filter(|(path, _)| path.starts_with("sim/disk/")).collect();
    assert!(!disks.is_empty());
    for (path, text) in disks {
        assert!(!sees_world(path, text), "{path}");
    }
    assert!(sees_world("sim/disk/light.rs", "use super::super::network::Slot;"));
    assert!(!sees_world("sim/disk/light.rs", "use super::span::Span;"));
}

/// Goal: a user of the library meets no option of the command line in an error. `cli` alone adds the name of the option
/// that helps. (The simulator prints commands for cargo, whose options are others.)
#[test]
fn options_are_named_by_the_command_line_only() {
    let may = |path: &str| is_in(path, "cli") || ["sim/plan.rs", "sim/replay.rs"].contains(&path);
    let (mut inside, mut outside) = (0, Vec::new());
    for (path, text) in sources() {
        let named = options(&path, &text);
        match may(&path) {
            true => inside += named.len(),
            false => outside.extend(named),
        }
    }
    assert!(inside > 20, "only {inside} literals of cli name an option: are they still found?");
    assert!(outside.is_empty(), "\n{}", outside.join("\n"));
    for (text, count) in [
        ("const A: &str = \"exists; --overwrite replaces it\";", 1),
        ("#[error(\"{asked} \\\n     is --wait\")] struct A;", 1),
        ("const A: &str = r#\"--as \"NAME\"\"#;", 1),
        ("/// `--as NAME`\nconst A: &str = \"a -- b --- c --1\"; // --as", 0),
    ] {
        assert_eq!(options("peer/api/files.rs", text).len(), count, "{text}");
    }
}

/// The literals of a file that name an option, each in one line.
fn options(path: &str, text: &str) -> Vec<String> {
    let names_one = |literal: &str| {
        literal.match_indices("--").any(|(at, _)| {
            let after = literal[at + 2..].chars().next();
            after.is_some_and(|c| c.is_ascii_lowercase()) && !literal[..at].ends_with('-')
        })
    };
    let source = Source::new(path, text);
    source
        .literals()
        .filter(|(_, literal)| names_one(literal))
        .map(|(line, literal)| format!("{path}:{line}: {literal}"))
        .collect()
}

/// Goal: the scanner finds imports, and every rule is of an existing module.
#[test]
fn the_rules_are_about_this_crate() {
    let sources = sources();
    for rule in RULES {
        let files: Vec<Source> = sources
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .filter(|source| source.module() == rule.module)
            .collect();
        assert!(!files.is_empty(), "there is no module {}", rule.module);
        let imports: usize = files.iter().map(|source| source.imports().len()).sum();
        let leaf = rule.sees.is_empty();
        assert!(leaf || imports > 0, "no import was found in {}", rule.module);
    }
    let known = |name: &str| {
        sources.iter().any(|(path, text)| {
            Source::new(path, text).foreign().iter().any(|import| import.segments[0] == name)
        })
    };
    for name in
        ["quinn", "rustls", "rcgen", "bincode", "redb", "clap", "anyhow", "rustyline", "plotters", "tokio"]
    {
        assert!(known(name), "no use of {name} was found");
    }
}

/// Goal: no running peer can be given other rules of the ring, or other laws of the store, than the right ones:
/// `chord::Rules`, `files::Laws` and what sets them are named by the simulator only.
#[test]
fn wrong_rules_are_for_the_simulator() {
    for (home, named) in [("chord", ["Rules", "set_rules"]), ("files", ["Laws", "set_laws"])] {
        let may = |path: &str| is_in(path, home) || is_in(path, "sim");
        let (mut inside, mut outside) = (0, Vec::new());
        for (path, text) in sources() {
            let names = Source::new(&path, &text).names_any(&named);
            match may(&path) {
                true => inside += usize::from(names),
                false if names => outside.push(path),
                false => {}
            }
        }
        assert!(inside > 0, "nobody names {named:?}: were they renamed?");
        assert!(outside.is_empty(), "{outside:?}");
    }
}

/// Goal: clippy's lists of disallowed names hold in all of each pure module.
#[test]
fn every_pure_module_forbids_what_is_impure() {
    let sources = sources();
    for rule in RULES.iter().filter(|rule| rule.pure) {
        let roots = [format!("{}.rs", rule.module), format!("{}/mod.rs", rule.module)];
        let (path, text) = sources.iter().find(|(path, _)| roots.contains(path)).unwrap();
        let begins = Source::new(path, text).begins_with_inner_attribute(PURE);
        assert!(begins, "{path} does not begin with #![{PURE}]");
    }
}

const PURE: &str = "forbid(clippy::disallowed_methods, clippy::disallowed_types)";

#[test]
fn the_lists_of_disallowed_names_name_what_matters() {
    let lists = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("clippy.toml")).unwrap();
    for name in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::spawn",
        "std::thread::sleep",
        "std::fs::File",
        "std::net::UdpSocket",
        "std::collections::HashMap",
        "rand::rng",
    ] {
        assert!(lists.contains(&format!("\"{name}\"")), "{name}");
    }
}

/// Goal: each kind of forbidden import is found, however it is written.
#[test]
fn violations_are_found() {
    for (path, text) in [
        ("chord/node.rs", "use crate::transport::Transport;"),
        ("chord/node.rs", "use crate::{id::Position, replica::replicas};"),
        ("chord/node.rs", "use crate::{\n    id::{Position, between},\n    blob as disk,\n};"),
        ("chord/node.rs", "fn f() { let _ = crate::peer::start(); }"),
        ("chord/node.rs", "use super::super::names::NameHistory;"),
        ("chord/mod.rs", "use super::names::NameHistory;"),
        ("chord/node.rs", "mod tests { use super::super::super::blob::Store; }"),
        ("chord/node.rs", "pub(in crate::sim) struct A;"),
        ("chord/node.rs", "use crate :: /* here */ peer;"),
        ("chord/node.rs", "use crate::*;"),
        ("chord/node.rs", "use crate as all;"),
        ("chord/node.rs", "use super::super::*;"),
        ("chord/node.rs", "use ::quoit::peer::Handle;"),
        ("replica/mod.rs", "use crate::chord::Node;"),
        ("replica/mod.rs", "use crate::chord;"),
        ("names/mod.rs", "use crate::chord::View;"),
        ("id.rs", "use crate::time::Moment;"),
        ("id.rs", "use super::time::Moment;"),
        ("wire/mod.rs", "use crate::chord::View;"),
        ("blob/store.rs", "use crate::transport::Transport;"),
        ("transport/pool.rs", "use crate::blob::Store;"),
        ("transport/pool.rs", "use crate::sim::World;"),
        ("sim/mod.rs", "use crate::blob::{MemoryDisk, RealDisk};"),
        ("sim/mod.rs", "use crate::transport::Transport;"),
        ("peer/actor.rs", "use crate::cli::run;"),
        ("peer/actor.rs", "use crate::sim::World;"),
        ("cli/mod.rs", "use crate::wire::Request;"),
        ("cli/mod.rs", "use crate::wire::{Address, codec};"),
        ("cli/mod.rs", "use crate::chord::View;"),
        ("cli/mod.rs", "use crate::blob::Store;"),
        ("cli/simulate.rs", "use crate::sim::World;"),
        ("cli/simulate.rs", "use crate::sim::{Experiment, check};"),
        ("cli/simulate.rs", "use plotters::prelude::*;"),
        ("main.rs", "fn main() { quoit::peer::start(); }"),
        ("gossip.rs", ""),
        ("gossip/mod.rs", ""),
        ("peer/start.rs", "use quinn::Endpoint;"),
        ("peer/start.rs", "fn f() -> quinn::Endpoint { todo!() }"),
        ("peer/start.rs", "use {quinn as q, std::fmt};"),
        ("peer/start.rs", "extern crate rcgen;"),
        ("peer/start.rs", "use ::rustls::ClientConfig;"),
        ("peer/start.rs", "use anyhow::Context as _;"),
        ("wire/mod.rs", "use bincode::config;"),
        ("cli/mod.rs", "use bincode;"),
        ("blob/store.rs", "use tokio::sync::Mutex;"),
        ("blob/store.rs", "#[tokio::test]\nasync fn f() {}"),
        ("chord/node.rs", "use tokio::time::Instant;"),
        ("transport/pool.rs", "use redb::Database;"),
        ("peer/store.rs", "#[derive(clap::Parser)] struct A;"),
        ("peer/store.rs", "let a = \"\\\"\"; use socket2::Socket; // \""),
        ("peer/store.rs", "fn f<'a>(x: &'a u8, c: char) { c == '\"'; socket2::f('\\''); }"),
        ("names/mod.rs", "use std::{fmt, fs::File};"),
        ("chord/node.rs", "fn f() { std::thread::yield_now(); }"),
    ] {
        assert!(!violations(path, text).is_empty(), "{path}: {text}");
    }
}

/// Goal: correct code is not refused, and words in strings and comments are ignored.
#[test]
fn correct_code_is_not_refused() {
    for (path, text) in [
        ("chord/node.rs", "use crate::id::Position; use crate::chord::View; use super::view::View;"),
        ("chord/node.rs", "mod tests { use super::*; use super::super::view::View; }"),
        ("chord/node.rs", "mod a { mod b {} } mod tests { use super::*; }"),
        ("chord/node.rs", "// use crate::peer::Handle;\n/// [`crate::peer`]\n//! crate::peer"),
        ("chord/node.rs", "/* a /* crate::peer::x */ tokio::spawn */ fn f() {}"),
        ("chord/node.rs", "const A: &str = \"crate::peer::Handle \\\" tokio::x\";"),
        ("chord/node.rs", "const A: &str = r#\"crate::peer \" quinn::x\"#; const B: &[u8] = b\"tokio::x\";"),
        ("chord/node.rs", "const A: &str = r\"\\\"; const B: &str = \"crate::peer::A\";"),
        ("chord/node.rs", "pub(crate) fn f() { let ring = 1; self.tokio.x(); a::quinn::x(); }"),
        ("chord/node.rs", "use std::net::SocketAddr;"),
        ("replica/mod.rs", "use crate::chord::{Route, View};"),
        ("sim/mod.rs", "use crate::blob::MemoryDisk; use crate::chord::Node;"),
        (
            "transport/tests/streams.rs",
            "use super::super::pool::Pool; use crate::transport::x; use quinn::y;",
        ),
        ("wire/codec.rs", "use bincode::config::{self, Limit}; use super::limits;"),
        ("cli/mod.rs", "use crate::peer::{Handle, start}; use clap::Parser; use crate::wire::Address;"),
        ("cli/simulate.rs", "use crate::sim::{Experiment, ExperimentError, Report};"),
        ("main.rs", "fn main() { quoit::cli::run(std::env::args_os()) }"),
        ("lib.rs", "//! [`peer`]\npub mod blob;\npub mod chord;"),
        ("peer/mod.rs", "use tokio::sync::mpsc; use crate::blob::Store; use crate::transport::Transport;"),
    ] {
        let wrong = violations(path, text);
        assert!(wrong.is_empty(), "{path}: {text}: {wrong:?}");
    }
}
