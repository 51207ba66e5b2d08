//! A file system of a test's own: an ext4 in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::eventually::eventually;

/// An ext4 file system in a file, mounted at a path until this is dropped.
pub struct Disk {
    at: PathBuf,
    image: tempfile::NamedTempFile,
}

impl Disk {
    pub fn of(at: &Path, megabytes: u64, options: &[&str]) -> Disk {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(megabytes << 20).unwrap();
        fs::create_dir_all(at).unwrap();
        let made = run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).args(options).arg(image.path()));
        let disk = Disk { at: at.to_owned(), image };
        assert!(made && disk.mount(), "no ext4 can be made and mounted here");
        disk
    }

    fn mount(&self) -> bool {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image.path()).arg(&self.at))
    }

    /// Fills the file system, and returns the file that takes all room.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.at.join("filler");
        let mut file = fs::File::options().create(true).append(true).open(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        let _ = file.sync_all();
        path
    }

    /// Cuts the power: nothing that was not synced reaches the disk any more, and every call fails from now on. (The
    /// shutdown call of ext4, with the flag that leaves the journal unwritten.)
    pub fn cut_power(&self) {
        let cut =
            "open(D, '<', $ARGV[0]) or die $!; my $f = pack('L', 2); ioctl(D, 0x8004587D, $f) or die $!";
        let done = Command::new("perl").args(["-e", cut]).arg(&self.at).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Mounts the file system again after [`Disk::cut_power`]. No process may use it any more.
    pub fn power_on(&self) {
        eventually("nobody uses the disk", || run(Command::new("umount").arg(&self.at)));
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A lazy unmount: a process that still has a file open there keeps it.
        run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

/// Runs a command; true if it succeeds.
pub fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Goal: the cut is one. A folder that was synced is there afterwards; one that was made after that is not, although the
/// file system would have kept it in an orderly end. Any process of the machine may sync all file systems just then, so
/// that one cut of several must show it.
#[test]
#[ignore = "needs --all, mount, perl"]
fn a_cut_takes_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::of(dir.path(), 64, &[]);
    let takes_what_was_not_synced = |round: u8| {
        let [kept, lost] = ["kept", "lost"].map(|name| dir.path().join(format!("{name} {round}")));
        fs::create_dir(&kept).unwrap();
        assert!(run(Command::new("sync").arg("-f").arg(dir.path())));
        fs::create_dir(&lost).unwrap();
        disk.cut_power();
        disk.power_on();
        assert!(kept.is_dir());
        !lost.exists()
    };
    assert!((0..5).any(takes_what_was_not_synced));
}
