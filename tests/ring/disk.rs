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
    ///
    /// The same process writes a file at the last moment, which must not outlive the cut. It was another process before, so
    /// that a peer's sync of the whole file system came between the two.
    pub fn cut_power(&self) {
        let cut = "open(D, '<', $ARGV[0]) or die; open(F, '>', $ARGV[1]) or die; my $f = pack('L', 2); \
                   syswrite(F, 'never synced') or die; ioctl(D, 0x8004587D, $f) or die";
        let unsynced = self.unsynced();
        let done = run(Command::new("perl").args(["-e", cut]).arg(&self.at).arg(unsynced));
        assert!(done, "ext4 does not shut down");
    }

    /// Mounts the file system again after [`Disk::cut_power`]. No process may use it any more.
    pub fn power_on(&self) {
        eventually("nobody uses the disk", || run(Command::new("umount").arg(&self.at)));
        assert!(self.mount());
        let left = fs::read(self.unsynced()).unwrap_or_default();
        assert!(left.is_empty(), "a file that was never synced outlived the loss of power");
    }

    fn unsynced(&self) -> PathBuf {
        self.at.join("unsynced")
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
