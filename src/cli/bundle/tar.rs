//! Files into a gzipped tar: regular files alone, which only their owner may read.

use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

pub struct Tar {
    out: tar::Builder<GzEncoder<File>>,
    /// Unix seconds that all files are of.
    at: u64,
}

impl Tar {
    /// Fails where the file is there already: nothing is overwritten.
    pub fn create(path: &Path, at: u64) -> io::Result<Tar> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Tar { out: tar::Builder::new(GzEncoder::new(file, Compression::default())), at })
    }

    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut head = tar::Header::new_ustar();
        head.set_size(content.len() as u64);
        head.set_mode(0o600);
        head.set_uid(0);
        head.set_gid(0);
        head.set_mtime(self.at);
        self.out.append_data(&mut head, name, content)
    }

    pub fn finish(self) -> io::Result<()> {
        self.out.into_inner()?.finish()?.sync_all()
    }
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
        tar.add("a/full", &[7; 512]).unwrap();
        tar.finish().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Tar::create(&path, 0).is_err(), "it is there already");
        let run = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(dir.path()).output().unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(std::fs::read(dir.path().join("a/INDEX")).unwrap(), b"first\n");
        assert_eq!(std::fs::read(dir.path().join("a/odd")).unwrap(), odd);
        assert_eq!(std::fs::read(dir.path().join("a/empty")).unwrap(), b"");
        assert_eq!(std::fs::read(dir.path().join("a/full")).unwrap(), [7; 512]);
    }
}
