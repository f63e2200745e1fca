//! Disks made slow: a control group of our own in which a process may write only so often (blkio.throttle, io.max).

use nix::unistd::Pid;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where the machine's control groups are, and what they call the limit.
enum Kind {
    /// `blkio` of version 1.
    Blkio(PathBuf),
    /// `io` of version 2.
    Io(PathBuf),
}

pub struct Throttle {
    group: PathBuf,
    parent: PathBuf,
    pid: Pid,
}

fn kind() -> Result<Kind, String> {
    let blkio = Path::new("/sys/fs/cgroup/blkio");
    if blkio.join("blkio.throttle.write_iops_device").exists() {
        return Ok(Kind::Blkio(blkio.to_owned()));
    }
    let io = Path::new("/sys/fs/cgroup");
    let has =
        fs::read_to_string(io.join("cgroup.subtree_control")).is_ok_and(|all| all.split(' ').any(|c| c.trim() == "io"));
    if has { Ok(Kind::Io(io.to_owned())) } else { Err("neither blkio nor io control groups are there".to_owned()) }
}

impl Throttle {
    /// Lets a process write to the disk under `data` so often a second, until dropped.
    pub fn new(pid: Pid, data: &Path, writes: u32) -> Result<Throttle, String> {
        let because = |what: &str, e: std::io::Error| format!("{what}: {e}");
        let device = whole_disk(fs::metadata(data).map_err(|e| because("data", e))?.dev())?;
        let (parent, file, limit) = match kind()? {
            Kind::Blkio(at) => (at, "blkio.throttle.write_iops_device", format!("{device} {writes}")),
            Kind::Io(at) => (at, "io.max", format!("{device} wiops={writes}")),
        };
        let group = parent.join(format!("spine-test-{}-{pid}", std::process::id()));
        fs::create_dir_all(&group).map_err(|e| because("a control group", e))?;
        let throttle = Throttle { group, parent, pid };
        fs::write(throttle.group.join(file), limit).map_err(|e| because(file, e))?;
        fs::write(throttle.group.join("cgroup.procs"), pid.to_string()).map_err(|e| because("cgroup.procs", e))?;
        Ok(throttle)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = fs::write(self.parent.join("cgroup.procs"), self.pid.to_string());
        // What was queued under the limit leaves at its pace.
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.group).is_err() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// Limits are set on whole disks: `254:0` for a file system on `254:1`.
fn whole_disk(device: u64) -> Result<String, String> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let at = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let own = fs::canonicalize(&at).map_err(|_| format!("the data lies on no block device ({major}:{minor})"))?;
    let disk = if own.join("partition").exists() { own.parent().unwrap_or(&own).to_owned() } else { own };
    fs::read_to_string(disk.join("dev")).map(|text| text.trim().to_owned()).map_err(|e| e.to_string())
}

/// Whether this process may slow a disk; says loudly why not.
pub fn may_throttle(test: &str, data: &Path) -> bool {
    let sleeper = std::process::Command::new("sleep").arg("60").spawn();
    let Ok(mut sleeper) = sleeper else { return false };
    let tried = Throttle::new(Pid::from_raw(sleeper.id() as i32), data, 100).map(drop);
    let _ = (sleeper.kill(), sleeper.wait());
    if let Err(why) = &tried {
        eprintln!("SKIPPED: {test} needs a control group that limits writes, and has none: {why}");
    }
    tried.is_ok()
}
