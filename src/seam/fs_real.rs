//! The machine's file system (P1, P7): positioned I/O, fdatasync, folder syncs, nothing clever.

use super::fs::{File, Fs, Open};
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// Zeroes go out in pieces of this size, each synced, so that a sync of the log never waits behind a whole segment.
const ZERO_PIECE: usize = 1 << 20;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let size = i64::try_from(len).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        match nix::fcntl::fallocate(&self.0, nix::fcntl::FallocateFlags::empty(), 0, size) {
            // Some file systems cannot reserve; writing zeroes below reserves just as well.
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => {}
            Err(e) => return Err(e.into()),
        }
        // Reserved blocks are "unwritten": the first write of each would change metadata and so cost a journal commit
        // on the append path. Writing them now moves that cost here.
        let zeroes = vec![0u8; ZERO_PIECE.min(len as usize)];
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(zeroes.len() as u64);
            self.0.write_all_at(&zeroes[..piece as usize], at)?;
            self.0.sync_data()?;
            at += piece;
        }
        Ok(())
    }
}

impl Fs for RealFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => &mut options,
            Open::Write => options.write(true),
            // Whatever the umask of whoever started this: all of it is the daemon's alone.
            Open::Create => options.write(true).create_new(true).mode(0o600),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().filter(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for dir in missing.into_iter().rev() {
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            self.sync_dir(parent)?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // Names that are not UTF-8 are not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let stat = nix::sys::statvfs::statvfs(path)?;
        let unit = stat.fragment_size();
        Ok((stat.blocks_available() * unit, stat.blocks() * unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_names_and_space_work() {
        let dir = tempfile::tempdir().unwrap();
        let fs = RealFs;
        let path = dir.path().join("a");
        assert_eq!(fs.open(&path, Open::Write).err().map(|e| e.kind()), Some(ErrorKind::NotFound));
        let file = fs.open(&path, Open::Create).unwrap();
        assert_eq!(fs.open(&path, Open::Create).err().map(|e| e.kind()), Some(ErrorKind::AlreadyExists));
        file.preallocate(3 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 3 << 20);
        file.write_at(5, b"hello").unwrap();
        file.sync().unwrap();
        let mut buf = [9u8; 7];
        file.read_at(4, &mut buf).unwrap();
        assert_eq!(&buf, b"\0hello\0");
        assert_eq!(file.read_at(3 << 20, &mut buf).err().map(|e| e.kind()), Some(ErrorKind::UnexpectedEof));
        fs.rename(&path, &dir.path().join("b")).unwrap();
        fs.sync_dir(dir.path()).unwrap();
        assert_eq!(fs.list(dir.path()).unwrap(), ["b"]);
        let (free, total) = fs.space(dir.path()).unwrap();
        assert!(free > 0 && free <= total);
    }

    #[test]
    fn what_is_made_is_closed_to_others() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let (folder, fs) = (dir.path().join("a/b"), RealFs);
        fs.create_dir_all(&folder).unwrap();
        fs.open(&folder.join("c"), Open::Create).unwrap();
        let open = |path: &Path| fs::metadata(path).unwrap().mode() & 0o077;
        assert_eq!([&dir.path().join("a"), &folder, &folder.join("c")].map(|path| open(path)), [0; 3]);
    }
}
