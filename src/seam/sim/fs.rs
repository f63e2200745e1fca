//! A file system in memory that forgets at a power cut what was not synced (P1, P7): contents without `sync`, names
//! without `sync_dir`. Writes can tear at sectors; any call can be made to fail; the disk can be full.

use super::{
    SimRng,
    disk::{Inode, Names, Node},
};
use crate::seam::fs::{File, Fs, Open};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// What a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Sync,
    SyncDir,
    /// Creating, renaming, removing.
    Name,
}

struct Fault {
    call: Call,
    /// Strikes paths that contain this.
    path: String,
    /// Calls to let pass first.
    after: u32,
    /// Calls to strike.
    times: u32,
    kind: ErrorKind,
}

struct Disk {
    files: BTreeMap<u64, Inode>,
    names: Names,
    next: u64,
    capacity: u64,
    /// Counts power cuts: handles from before one are dead.
    boots: u64,
    /// Changing calls so far, and how many more are let through before the power goes.
    calls: u64,
    power: Option<u64>,
    faults: Vec<Fault>,
    slow: Range<Duration>,
    rng: SimRng,
}

/// The simulated file system of one machine. Clones are the same disk.
#[derive(Clone)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
    /// The power cuts before this handle was made for a process, which ends with the next one; `None`: the test's own.
    boot: Option<u64>,
}

struct SimFile {
    fs: SimFs,
    inode: u64,
    path: PathBuf,
    boot: u64,
    writable: bool,
}

impl SimFs {
    /// An empty disk of `capacity` bytes.
    pub fn new(seed: u64, capacity: u64) -> SimFs {
        let disk = Disk {
            files: BTreeMap::new(),
            names: Names::default(),
            next: 1,
            capacity,
            boots: 0,
            calls: 0,
            power: None,
            faults: Vec::new(),
            slow: Duration::ZERO..Duration::ZERO,
            rng: SimRng::new(seed),
        };
        SimFs { disk: Arc::new(Mutex::new(disk)), boot: None }
    }

    /// The disk for a process that is started now: after the next power cut nothing can be done through it.
    pub fn mount(&self) -> SimFs {
        SimFs { disk: self.disk.clone(), boot: Some(self.lock().boots) }
    }

    /// From now on each piece of work takes this long, drawn anew.
    pub fn set_slow(&self, slow: Range<Duration>) {
        self.lock().slow = slow;
    }

    /// Paths of all files, and their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let disk = self.lock();
        let file = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) => Some((path.clone(), disk.files.get(inode).map_or(0, Inode::len))),
            Node::Dir => None,
        };
        disk.names.now.iter().filter_map(file).collect()
    }

    /// Bytes in files.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// The disk is exchanged for an empty one.
    pub fn wipe(&self) {
        let mut disk = self.lock();
        disk.files.clear();
        disk.names = Names::default();
        disk.boots += 1;
        disk.power = None;
    }

    /// Power is cut and comes back: what was not synced is gone, in whole or in part; handles opened before fail.
    pub fn crash(&self) {
        let mut disk = self.lock();
        let Disk { files, names, rng, .. } = &mut *disk;
        files.values_mut().for_each(|f| f.crash(rng));
        names.crash(rng);
        let kept: Vec<u64> =
            names.now.values().filter_map(|n| if let Node::File(i) = n { Some(*i) } else { None }).collect();
        files.retain(|inode, _| kept.contains(inode));
        disk.boots += 1;
        disk.power = None;
    }

    /// The power goes after so many more changing calls: every call fails from then on, until [`SimFs::crash`].
    pub fn cut_power_after(&self, calls: u64) {
        self.lock().power = Some(calls);
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.lock().power == Some(0)
    }

    /// Changing calls (write, sync, names) so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Lets `after` calls of this sort on paths that contain `path` pass and the next `times` fail. A failed `sync`
    /// behaves as on Linux: a later one that succeeds does not save what the failed one lost.
    pub fn fail(&self, call: Call, path: &str, after: u32, times: u32, kind: ErrorKind) {
        self.lock().faults.push(Fault { call, path: path.into(), after, times, kind });
    }

    /// Ends all faults.
    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Flips one bit of a file on the disk. False if there is no such byte.
    pub fn flip(&self, path: &Path, offset: u64, bit: u8) -> bool {
        self.corrupt(path, offset, 1, |b| *b ^= 1 << (bit % 8))
    }

    /// Overwrites bytes of a file on the disk with `byte`.
    pub fn smear(&self, path: &Path, offset: u64, len: usize, byte: u8) -> bool {
        self.corrupt(path, offset, len, |b| *b = byte)
    }

    /// Cuts a file on the disk to `len` bytes, behind everyone's back.
    pub fn cut(&self, path: &Path, len: u64) {
        let mut disk = self.lock();
        if let Some(Node::File(inode)) = disk.names.now.get(path).copied()
            && let Some(file) = disk.files.get_mut(&inode)
        {
            file.cut(len);
        }
    }

    fn corrupt(&self, path: &Path, offset: u64, len: usize, change: impl Fn(&mut u8)) -> bool {
        let mut disk = self.lock();
        let Some(Node::File(inode)) = disk.names.now.get(path).copied() else { return false };
        let Some(file) = disk.files.get_mut(&inode) else { return false };
        let inside = offset < file.len();
        file.corrupt(offset, change, len);
        inside
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The disk, if this handle's process is still there.
    fn mounted(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.lock();
        if self.boot.is_some_and(|boot| boot != disk.boots) {
            return Err(io::Error::other("the machine was restarted"));
        }
        Ok(disk)
    }
}

impl Disk {
    fn gate(&mut self, call: Call, path: &Path) -> io::Result<()> {
        if self.power == Some(0) {
            return Err(io::Error::other("the power is off"));
        }
        if call != Call::Read {
            self.calls += 1;
            if let Some(left) = &mut self.power {
                *left -= 1;
                if *left == 0 {
                    return Err(io::Error::other("the power went off"));
                }
            }
        }
        let text = path.to_string_lossy();
        for fault in self.faults.iter_mut().filter(|f| f.call == call && text.contains(&f.path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(fault.kind.into());
            }
        }
        Ok(())
    }

    /// A file's name now, which only faults need to know.
    fn name_of(&self, inode: u64) -> Option<PathBuf> {
        if self.faults.is_empty() {
            return None;
        }
        self.names.now.iter().find(|(_, node)| **node == Node::File(inode)).map(|(path, _)| path.clone())
    }

    fn used(&self) -> u64 {
        let linked = self.names.now.values().filter_map(|n| if let Node::File(i) = n { Some(i) } else { None });
        linked.filter_map(|i| self.files.get(i)).map(Inode::len).sum()
    }

    fn room(&self, inode: u64, len: u64) -> io::Result<()> {
        let grow = len.saturating_sub(self.files.get(&inode).map_or(0, Inode::len));
        if self.used() + grow > self.capacity && grow > 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn parent_is_dir(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|p| self.names.now.get(p)) {
            Some(Node::Dir) => Ok(()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl SimFile {
    fn disk(&self, call: Call) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.fs.lock();
        if disk.boots != self.boot {
            return Err(io::Error::other("the machine was restarted"));
        }
        if !self.writable && call != Call::Read {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let path = disk.name_of(self.inode).unwrap_or_else(|| self.path.clone());
        disk.gate(call, &path)?;
        Ok(disk)
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let disk = self.disk(Call::Read)?;
        let whole = disk.files.get(&self.inode).is_some_and(|f| f.read(offset, buf));
        if whole { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk(Call::Write)?;
        disk.room(self.inode, offset + data.len() as u64)?;
        disk.files.entry(self.inode).or_default().write(offset, data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk(Call::Sync) {
            Ok(mut disk) => {
                disk.files.entry(self.inode).or_default().sync();
                Ok(())
            }
            Err(e) => {
                let mut disk = self.fs.lock();
                if disk.boots == self.boot && disk.power != Some(0) {
                    disk.files.entry(self.inode).or_default().sync_failed();
                }
                Err(e)
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk(Call::Read)?;
        Ok(disk.files.get(&self.inode).map_or(0, Inode::len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk(Call::Write)?;
        disk.room(self.inode, len)?;
        disk.files.entry(self.inode).or_default().set_len(len);
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk(Call::Write)?;
        disk.room(self.inode, len)?;
        disk.files.entry(self.inode).or_default().zero(len);
        Ok(())
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut disk = self.mounted()?;
        disk.gate(if how == Open::Create { Call::Name } else { Call::Read }, path)?;
        let inode = match (how, disk.names.now.get(path).copied()) {
            (Open::Create, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Open::Create, None) => {
                disk.parent_is_dir(path)?;
                let inode = disk.next;
                disk.next += 1;
                disk.files.insert(inode, Inode::default());
                disk.names.now.insert(path.into(), Node::File(inode));
                inode
            }
            (_, Some(Node::File(inode))) => inode,
            (_, Some(Node::Dir)) => return Err(ErrorKind::IsADirectory.into()),
            (_, None) => return Err(ErrorKind::NotFound.into()),
        };
        let writable = how != Open::Read;
        Ok(Arc::new(SimFile { fs: self.clone(), inode, path: path.into(), boot: disk.boots, writable }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.mounted()?;
        let missing: Vec<_> = path.ancestors().filter(|p| !disk.names.now.contains_key(*p)).collect();
        for dir in missing.into_iter().rev() {
            disk.gate(Call::Name, dir)?;
            disk.names.now.insert(dir.into(), Node::Dir);
            // The name is there before it is durable: whoever else looks in between must not rest on it.
            if let Some(parent) = dir.parent() {
                disk.gate(Call::SyncDir, parent)?;
                disk.names.sync(parent);
            }
        }
        match disk.names.now.get(path) {
            Some(Node::Dir) => Ok(()),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.mounted()?;
        disk.gate(Call::Read, path)?;
        if disk.names.now.get(path) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(disk.names.children(path).filter_map(|(p, _)| Some(p.file_name()?.to_str()?.to_string())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.mounted()?;
        disk.gate(Call::Name, to)?;
        disk.parent_is_dir(to)?;
        if disk.names.rename(from, to) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.mounted()?;
        disk.gate(Call::Name, path)?;
        match disk.names.now.get(path) {
            Some(Node::File(_)) => {
                disk.names.now.remove(path);
                Ok(())
            }
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.mounted()?;
        disk.gate(Call::Name, path)?;
        if disk.names.now.get(path) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.names.now.retain(|p, _| !p.starts_with(path));
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.lock().names.now.contains_key(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.mounted()?;
        disk.gate(Call::SyncDir, path)?;
        if disk.names.now.get(path) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.names.sync(path);
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let mut disk = self.mounted()?;
        disk.gate(Call::Read, path)?;
        Ok((disk.capacity.saturating_sub(disk.used()), disk.capacity))
    }

    fn inline(&self) -> bool {
        true
    }

    fn delay(&self) -> Duration {
        let disk = self.lock();
        let span = disk.slow.end.saturating_sub(disk.slow.start).as_micros() as u64;
        disk.slow.start + Duration::from_micros(if span == 0 { 0 } else { disk.rng.below(span) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(fs: &SimFs, path: &str, data: &[u8]) -> Arc<dyn File> {
        let file = fs.open(Path::new(path), Open::Create).unwrap();
        file.write_at(0, data).unwrap();
        file
    }

    fn get(fs: &SimFs, path: &str) -> Option<Vec<u8>> {
        let file = fs.open(Path::new(path), Open::Read).ok()?;
        let mut buf = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut buf).unwrap();
        Some(buf)
    }

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let (mut lost_data, mut lost_name, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let fs = SimFs::new(seed, 1 << 30);
            fs.create_dir_all(Path::new("/d")).unwrap();
            let file = put(&fs, "/d/a", &[1; 3000]);
            file.sync().unwrap();
            fs.sync_dir(Path::new("/d")).unwrap();
            file.write_at(0, &[2; 3000]).unwrap();
            put(&fs, "/d/b", b"new").sync().unwrap();
            fs.crash();
            assert!(file.sync().is_err(), "a handle from before the crash is dead");
            let a = get(&fs, "/d/a").unwrap();
            assert!(a.iter().all(|b| *b == 1 || *b == 2));
            lost_data += u32::from(a == [1; 3000]);
            torn += u32::from(a != [1; 3000] && a != [2; 3000]);
            match get(&fs, "/d/b") {
                None => lost_name += 1,
                Some(b) => assert_eq!(b, b"new"),
            }
        }
        assert!(lost_data > 50 && torn > 20 && lost_name > 50, "{lost_data} {torn} {lost_name}");
    }

    #[test]
    fn a_failed_sync_is_not_healed_by_the_next() {
        let fs = SimFs::new(1, 1 << 30);
        let file = put(&fs, "/a", b"old");
        file.sync().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        file.write_at(0, b"new").unwrap();
        fs.fail(Call::Sync, "a", 0, 1, ErrorKind::Other);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        fs.crash();
        assert_eq!(get(&fs, "/a").unwrap(), b"old");
    }

    #[test]
    fn full_disks_missing_folders_and_power_cuts_are_errors() {
        let fs = SimFs::new(1, 10_000);
        let file = put(&fs, "/a", &[1; 9_000]);
        assert_eq!(file.write_at(9_000, &[1; 2_000]).err().map(|e| e.kind()), Some(ErrorKind::StorageFull));
        fs.remove_file(Path::new("/a")).unwrap();
        assert_eq!(fs.space(Path::new("/")).unwrap(), (10_000, 10_000));
        assert_eq!(fs.open(Path::new("/x/y"), Open::Create).err().map(|e| e.kind()), Some(ErrorKind::NotFound));
        fs.cut_power_after(1);
        assert!(fs.open(Path::new("/z"), Open::Create).is_err());
        assert!(fs.is_off() && fs.list(Path::new("/")).is_err());
        fs.crash();
        assert!(!fs.is_off() && !fs.exists(Path::new("/z")));
    }

    #[test]
    fn folders_take_their_content_along() {
        let fs = SimFs::new(1, 1 << 30);
        fs.create_dir_all(Path::new("/a/b")).unwrap();
        put(&fs, "/a/b/c", b"x").sync().unwrap();
        fs.sync_dir(Path::new("/a/b")).unwrap();
        fs.rename(Path::new("/a/b"), Path::new("/a/n")).unwrap();
        fs.sync_dir(Path::new("/a")).unwrap();
        fs.crash();
        assert_eq!(get(&fs, "/a/n/c").unwrap(), b"x");
        assert!(!fs.exists(Path::new("/a/b")));
        fs.remove_dir_all(Path::new("/a/n")).unwrap();
        fs.sync_dir(Path::new("/a")).unwrap();
        fs.create_dir_all(Path::new("/a/n")).unwrap();
        fs.crash();
        assert_eq!(fs.list(Path::new("/a/n")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn cutting_and_zeroing_leave_no_old_bytes() {
        let fs = SimFs::new(1, 1 << 30);
        let file = put(&fs, "/a", &[7; 10_000]);
        file.set_len(5_000).unwrap();
        file.set_len(10_000).unwrap();
        let all = get(&fs, "/a").unwrap();
        assert!(all[..5_000].iter().all(|b| *b == 7) && all[5_000..].iter().all(|b| *b == 0));
        file.preallocate(4_999).unwrap();
        let all = get(&fs, "/a").unwrap();
        assert_eq!(all.iter().position(|b| *b != 0), Some(4_999));
        assert!(fs.flip(Path::new("/a"), 4_999, 0));
        assert_eq!(get(&fs, "/a").unwrap()[4_999], 6);
    }
}
