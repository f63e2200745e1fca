//! What nodes on this machine use: CPU and memory from `/proc`, disk by walking their data folders, and which partitions
//! they lead from their metrics. What cannot be read is zero, never an error: a load must not fail over its scales.

use super::site::Site;
use crate::ops::metrics;
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

/// One node at one moment.
#[derive(Clone, Debug, Default)]
pub struct NodeUse {
    pub id: u64,
    pub pid: u32,
    /// User and system time of the process so far, seconds.
    pub cpu_s: f64,
    pub rss: u64,
    pub rss_peak: u64,
    /// Bytes that the data folder holds on disk (allocated blocks).
    pub disk: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub nodes: Vec<NodeUse>,
    /// This process, the generator itself.
    pub own_cpu_s: f64,
}

impl Sample {
    pub fn take(site: &Site) -> Sample {
        let one = |n: &super::site::Node| {
            let (rss, rss_peak) = memory(n.pid);
            NodeUse { id: n.id, pid: n.pid, cpu_s: cpu(n.pid), rss, rss_peak, disk: disk(&n.data) }
        };
        Sample { nodes: site.nodes_now().iter().map(one).collect(), own_cpu_s: cpu(std::process::id()) }
    }

    /// CPU-seconds of a node since `before`; a restarted node counts from its start.
    pub fn cpu_since(&self, before: &Sample, id: u64) -> f64 {
        let find = |s: &Sample| s.nodes.iter().find(|n| n.id == id).cloned().unwrap_or_default();
        let (old, new) = (find(before), find(self));
        if old.pid == new.pid { new.cpu_s - old.cpu_s } else { new.cpu_s }
    }

    pub fn disk(&self) -> u64 {
        self.nodes.iter().map(|n| n.disk).sum()
    }
}

/// Linux counts process times in hundredths of a second on every machine that this runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

fn cpu(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields are counted behind the name, which may hold spaces and brackets itself.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn memory(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let find = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (find("VmRSS:"), find("VmHWM:"))
}

/// Bytes of all blocks below a folder. Files that vanish while it walks are left out.
pub fn disk(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let mut sum = 0;
    for entry in entries.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        sum += if about.is_dir() { disk(&entry.path()) } else { about.blocks() * 512 };
    }
    sum
}

/// Waits until disk use has not changed for three seconds, or `patience` is over; then samples.
pub fn settle(site: &Site, patience: Duration) -> Sample {
    const STILL: Duration = Duration::from_secs(3);
    let deadline = Instant::now() + patience;
    let (mut last, mut since) = (Sample::take(site), Instant::now());
    while Instant::now() < deadline && since.elapsed() < STILL {
        tokio_sleep(Duration::from_millis(500));
        let now = Sample::take(site);
        if now.disk() != last.disk() {
            since = Instant::now();
        }
        last = now;
    }
    last
}

fn tokio_sleep(time: Duration) {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() {
        runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

/// How many partitions a node says it leads, by its metrics page; the site partition takes no messages.
pub fn partitions_led(metrics_url: &str) -> usize {
    const SITE: &str = "partition=\"0\"";
    let Some(page) = fetch(metrics_url) else { return 0 };
    let leads = |l: &&str| l.starts_with(metrics::RAFT_IS_LEADER) && !l.contains(SITE) && l.trim_end().ends_with(" 1");
    page.lines().filter(leads).count()
}

/// Bytes that a node's store holds on disk, by its metrics page: rows and what is sealed, without the log.
pub fn stored(metrics_url: &str) -> u64 {
    let page = fetch(metrics_url).unwrap_or_default();
    let told = page.lines().filter(|l| l.starts_with(metrics::STORE_BYTES));
    told.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// A plain HTTP GET of a page on this machine.
fn fetch(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address: SocketAddr = authority.replace("localhost", "127.0.0.1").parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    // A page of metrics is some tens of KiB; the bound keeps a wrong address from filling memory.
    stream.take(8 << 20).read_to_string(&mut page).ok()?;
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_seen() {
        let (rss, peak) = memory(std::process::id());
        assert!(rss > 1 << 20 && peak >= rss);
        let begun = cpu(std::process::id());
        let mut n = 0u64;
        while cpu(std::process::id()) < begun + 0.02 {
            n = n.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
        }
        assert!(std::hint::black_box(n) != 1);
    }

    #[test]
    fn disk_counts_folders_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), vec![7u8; 10_000]).unwrap();
        assert!(disk(dir.path()) >= 10_000);
        assert_eq!(disk(&dir.path().join("missing")), 0);
    }
}
