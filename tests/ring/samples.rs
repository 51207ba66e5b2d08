//! Files to store, and the checks of files on disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::harness::Ring;
use super::peer::Answer;

/// A file, and the SHA-256 of its bytes in hexadecimal.
#[derive(Debug, Clone)]
pub struct Sample {
    pub path: PathBuf,
    pub name: String,
    pub sha256: String,
}

impl Sample {
    /// A file that is there.
    pub fn of(path: &Path) -> Sample {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Sample { path: path.to_owned(), name, sha256: sha256_of(path) }
    }

    /// A file of these bytes.
    pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> Sample {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        Sample::of(&path)
    }

    /// A file of this many bytes, from a seed: a MiB of random bytes again and again, each time with its number in front,
    /// since to draw all of them would take longer than to store them.
    pub fn random(dir: &Path, name: &str, seed: u64, length: u64) -> Sample {
        let path = dir.join(name);
        let mut piece = vec![0; length.clamp(8, 1 << 20) as usize];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut piece);
        let mut file = File::create(&path).unwrap();
        for (number, at) in (0..length).step_by(piece.len()).enumerate() {
            piece[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let part = (length - at).min(piece.len() as u64);
            file.write_all(&piece[..part as usize]).unwrap();
        }
        Sample::of(&path)
    }

    /// `Store` at a peer, with these options, which must succeed.
    #[track_caller]
    pub fn store(&self, ring: &Ring, at: u8, options: &str) -> String {
        let text = ring.ask(at, &format!("Store {options} '{}'", self.path.display())).done();
        assert_eq!(
            Answer::field(&text, "content"),
            Some(format!("sha256:{}", self.sha256).as_str()),
            "{text}"
        );
        text
    }

    /// `Request` at a peer, which must put the very same bytes into its received/.
    #[track_caller]
    pub fn request(&self, ring: &Ring, at: u8) -> String {
        self.check_received(ring, at, ring.ask(at, &format!("Request '{}'", self.name)))
    }

    /// Whether this answer of `Request` brought the very same bytes.
    #[track_caller]
    pub fn check_received(&self, ring: &Ring, at: u8, answer: Answer) -> String {
        let text = answer.done();
        let received = ring.data_dir(at).join("received").join(&self.name);
        assert_eq!(Answer::field(&text, "kept as"), Some(received.to_str().unwrap()), "{text}");
        assert_eq!(sha256_of(&received), self.sha256, "{} at peer {at}", self.name);
        text
    }

    /// The running peers that have the object on disk.
    pub fn on_disk(&self, ring: &Ring) -> BTreeSet<u8> {
        let relative = Path::new("objects").join(&self.sha256[..2]).join(&self.sha256);
        ring.numbers().into_iter().filter(|number| ring.data_dir(*number).join(&relative).exists()).collect()
    }

    /// The holders that `Whereis` at a peer names, the owner first.
    #[track_caller]
    pub fn holders(&self, ring: &Ring, at: u8) -> Vec<u8> {
        let text = ring.ask(at, &format!("Whereis '{}'", self.name)).done();
        let line = text.lines().find(|line| line.starts_with("  on ")).expect(&text);
        let (peers, _) = line.rsplit_once(": ").unwrap();
        peers.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
    }
}

/// Some small files and one of several chunks, whose keys lie anywhere on the ring.
pub fn several(ring: &Ring) -> Vec<Sample> {
    let dir = ring.scratch();
    let mut samples: Vec<Sample> =
        (0..8).map(|i| Sample::random(&dir, &format!("small {i}"), i, 1_000 + 777 * i)).collect();
    samples.push(Sample::random(&dir, "several chunks", 99, (3 << 20) + 5));
    samples
}

/// The SHA-256 of a file in hexadecimal.
pub fn sha256_of(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that every object has the SHA-256 that its name says and is write-protected, that only its owner may open the
/// folder, and that the names are relative links to objects that are there.
pub fn check_disk(ring: &Ring, number: u8) {
    let dir = ring.data_dir(number);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700, "{}", dir.display());
    for folder in entries(&dir.join("objects")) {
        for object in entries(&folder) {
            let name = object.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(sha256_of(&object), name, "peer {number}");
            assert_eq!(folder.file_name().unwrap().to_str(), Some(&name[..2]));
            assert_eq!(mode(&object), 0o444, "{}", object.display());
        }
    }
    let objects = fs::canonicalize(dir.join("objects")).unwrap();
    for link in entries(&dir.join("names")) {
        let target = fs::read_link(&link).unwrap_or_else(|_| panic!("{} is no link", link.display()));
        assert!(target.is_relative(), "{} -> {}", link.display(), target.display());
        let target = fs::canonicalize(&link).unwrap_or_else(|_| panic!("{} leads nowhere", link.display()));
        assert!(target.starts_with(&objects), "{} -> {}", link.display(), target.display());
    }
}

/// The entries of a folder.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A PDF of one empty page, its cross-reference table included.
pub fn pdf() -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    ];
    // The second line tells that the file is binary.
    let mut bytes = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut table = "0000000000 65535 f \n".to_owned();
    for (i, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", bytes.len()));
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", i + 1).bytes());
    }
    let (count, start) = (objects.len() + 1, bytes.len());
    let trailer = format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
    bytes.extend(format!("xref\n0 {count}\n{table}{trailer}").bytes());
    bytes
}

/// A PNG of 256 by 100 pixels of all greys.
pub fn png() -> Vec<u8> {
    let (width, height) = (256u32, 100u32);
    let row = || std::iter::once(0).chain((0..width).map(|x| x as u8));
    let pixels: Vec<u8> = (0..height).flat_map(|_| row()).collect();
    // zlib with one stored block: pixels as they are, and their Adler-32.
    let length = pixels.len() as u16;
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()));
    let (a, b) = pixels.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    data.extend(pixels.into_iter().chain((b << 16 | a).to_be_bytes()));
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 0, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", data), (b"IEND", Vec::new())] {
        let checked = [kind.as_slice(), &data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(checked.iter().copied().chain(crc32(&checked).to_be_bytes()));
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
