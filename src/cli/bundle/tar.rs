//! Files into a gzipped tar (POSIX ustar): regular files alone, which only their owner may read.

use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const BLOCK: usize = 512;
/// Longest name that the head has room for.
const NAME: usize = 100;

pub struct Tar {
    out: GzEncoder<File>,
    /// Unix seconds that all files are of.
    at: u64,
}

impl Tar {
    /// Fails where the file is there already: nothing is overwritten.
    pub fn create(path: &Path, at: u64) -> io::Result<Tar> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Tar { out: GzEncoder::new(file, Compression::default()), at })
    }

    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.out.write_all(&head(name, content.len(), self.at)?)?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; BLOCK][..content.len().next_multiple_of(BLOCK) - content.len()])
    }

    /// Two empty blocks end an archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.finish()?.sync_all()
    }
}

fn head(name: &str, size: usize, at: u64) -> io::Result<[u8; BLOCK]> {
    if name.is_empty() || name.len() >= NAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: a name of {} bytes", name.len())));
    }
    let mut head = [0; BLOCK];
    let mut put = |from: usize, text: &[u8]| head[from..from + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{at:011o}\0").as_bytes());
    // Counted as blanks in its own sum.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, process::Command};

    #[test]
    fn what_is_written_is_read_by_tar_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.gz");
        let mut tar = Tar::create(&path, 1_700_000_000).unwrap();
        let odd = vec![b'x'; 1_300];
        tar.add("a/INDEX", b"first\n").unwrap();
        tar.add("a/odd", &odd).unwrap();
        tar.add("a/empty", b"").unwrap();
        tar.add("a/full", &[7; BLOCK]).unwrap();
        assert!(tar.add(&"n".repeat(NAME), b"").is_err());
        tar.finish().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Tar::create(&path, 0).is_err(), "it is there already");
        let run = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(dir.path()).output().unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(std::fs::read(dir.path().join("a/INDEX")).unwrap(), b"first\n");
        assert_eq!(std::fs::read(dir.path().join("a/odd")).unwrap(), odd);
        assert_eq!(std::fs::read(dir.path().join("a/empty")).unwrap(), b"");
        assert_eq!(std::fs::read(dir.path().join("a/full")).unwrap(), [7; BLOCK]);
    }
}
