//! Small disks that can be filled: a file system in memory under a node's data folder, and ballast on it.

use super::demo::wait_for;
use nix::sys::statvfs::statvfs;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system of its own, taken away with this value.
pub struct Disk(PathBuf);

impl Disk {
    pub fn mount(at: PathBuf, mib: u64) -> Disk {
        mount(&at, mib).unwrap_or_else(|why| panic!("{}: {why}", at.display()));
        Disk(at)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    pub fn free(&self) -> u64 {
        let told = statvfs(&self.0).expect("the disk is there");
        told.blocks_available() as u64 * told.fragment_size() as u64
    }

    /// Takes space until no more than `leave` bytes are free.
    pub fn fill(&self, leave: u64) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("a file for ballast");
        let chunk = vec![0xb5; 64 << 10];
        loop {
            let take = self.free().saturating_sub(leave).min(chunk.len() as u64) as usize;
            if take == 0 || file.write(&chunk[..take]).is_err() {
                return;
            }
        }
    }

    /// Gives the space back.
    pub fn clear(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a node that hangs must not leave the mount behind.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(at: &Path, mib: u64) -> Result<(), String> {
    fs::create_dir_all(at).map_err(|e| e.to_string())?;
    let done = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0700"), "spine-test"])
        .arg(at)
        .output()
        .map_err(|e| format!("mount: {e}"))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

/// Whether this process may mount; says loudly why not.
pub fn may_mount(test: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("disk");
    match mount(&at, 1) {
        Ok(()) => {
            drop(Disk(at.clone()));
            wait_for("the disk to be gone", || fs::remove_dir(&at).ok());
            true
        }
        Err(why) => {
            eprintln!("SKIPPED: {test} needs to mount a file system of its own, and may not: {why}");
            false
        }
    }
}
