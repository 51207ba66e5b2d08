//! Files that a person wants to store, and that cannot be stored.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::super::client::Said;
use super::super::harness::Ring;
use super::super::samples::Sample;
use super::refused;

/// Goal: each gets a line with its path and its kind, and the peer works on.
#[test]
fn no_file_at_all() {
    let ring = Ring::of(8, &[60, 120]);
    let dir = ring.scratch();
    fs::create_dir(dir.join("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(dir.join("socket")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("dangling")).unwrap();
    fs::write(dir.join("report.pdf"), "here").unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    for (file, cause) in [
        (path("missing"), "No such file or directory"),
        (path("reprot.pdf"), "did you mean"),
        (path("folder"), "is a directory"),
        (path("dangling"), "No such file or directory"),
        (path("fifo"), "is a FIFO"),
        (path("socket"), "is a socket"),
        (path("report.pdf/x"), "Not a directory"),
        ("/".to_owned(), "/ is a directory"),
        ("/dev/null".to_owned(), "is a device"),
        ("/dev/zero".to_owned(), "is a device"),
        #[cfg(target_os = "linux")]
        ("/proc/version".to_owned(), "is a view of the system's state"),
    ] {
        let why = refused(&ring, 60, &["store", &file], 2);
        assert!(why.contains(&file) && why.contains(cause), "{why}");
        let why = refused(&ring, 60, &["store", "--as", "x", &file], 2);
        assert!(why.contains(&file) && why.contains(cause), "{why}");
    }
    Sample::of(&dir.join("report.pdf")).store(&ring, 60, "");
}

/// Goal: a file that the user may not read is refused with the reason. Root may read everything, so another user gives
/// the command.
#[test]
fn an_unreadable_file() {
    let ring = Ring::of(8, &[60, 120]);
    let file = ring.scratch().join("secret");
    fs::write(&file, "secret").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if !rustix::process::geteuid().is_root() {
        let why = refused(&ring, 60, &["store", file.to_str().unwrap()], 2);
        assert!(why.contains("secret") && why.contains("Permission denied"), "{why}");
    } else {
        // The client runs as the user `nobody`, which may read the client's key, but not the file.
        let open = |path: &std::path::Path| {
            assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(path).status().unwrap().success());
        };
        open(ring.scratch().parent().unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        let mut command = ring.shell(60, &["store", file.to_str().unwrap()]);
        command.uid(65_534).gid(65_534);
        let why = Said::by(command).error(2);
        assert!(why.contains("secret") && why.contains("Permission denied"), "{why}");
    }
    Sample::write(&ring.scratch(), "readable", b"readable").store(&ring, 60, "");
}
