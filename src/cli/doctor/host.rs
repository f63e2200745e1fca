//! Checks of the machine: data folder, disk, files, clock, limits, ports.

use super::Finding;
use crate::{
    config::{Settings, units},
    edge::revocation::{Lists, State},
    node::{identity, pki},
};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

/// A sync this slow holds up every write: ten times what a plain SSD needs.
const SLOW_SYNC: Duration = Duration::from_millis(20);
/// Below this many days a certificate is a warning.
const SOON: i64 = 30;
/// One descriptor per connection, and room for files.
const SPARE_DESCRIPTORS: u64 = 1_000;

pub fn examine(settings: &Settings) -> Vec<Finding> {
    let mut out = vec![data_folder(&settings.node.data), space(settings), sync_time(&settings.node.data)];
    out.extend(secrets(settings));
    out.extend(certificates(settings));
    out.push(membership(settings));
    out.push(invitations(settings));
    out.push(clock());
    out.push(descriptors(settings));
    out
}

fn data_folder(data: &Path) -> Finding {
    let check = "data folder";
    let probe = data.join(".doctor");
    match fs::create_dir_all(data).and_then(|()| fs::write(&probe, b"")).and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Finding::ok(check, format!("{} can be written", data.display())),
        Err(e) => {
            let fix = format!("let the user that runs spine own {}", data.display());
            Finding::fail(check, format!("{}: {e}", data.display()), fix)
        }
    }
}

fn space(settings: &Settings) -> Finding {
    let check = "free space";
    let (data, reserve) = (&settings.node.data, settings.storage.disk_reserve);
    match nix::sys::statvfs::statvfs(data.as_path()) {
        Err(e) => Finding::warn(check, format!("{}: {e}", data.display()), "check that the folder exists"),
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let found = format!("{} MiB free, {} reserved", free >> 20, units::show_size(reserve));
            match free {
                f if f < reserve => Finding::fail(check, found, "make room: writes are refused"),
                f if f < reserve * 4 => Finding::warn(check, found, "make room soon"),
                _ => Finding::ok(check, found),
            }
        }
    }
}

/// The median of a few small synced writes, as the log makes them.
fn sync_time(data: &Path) -> Finding {
    let check = "disk sync";
    let path = data.join(".doctor-sync");
    let measure = || -> std::io::Result<Duration> {
        let mut file = fs::File::create(&path)?;
        let mut times = vec![];
        for _ in 0..9 {
            file.write_all(&[0; 4096])?;
            let begun = Instant::now();
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(times[times.len() / 2])
    };
    let measured = measure();
    let _ = fs::remove_file(&path);
    match measured {
        Ok(time) if time > SLOW_SYNC => {
            let found = format!("{:.1} ms for 4 KiB", time.as_secs_f64() * 1e3);
            Finding::warn(check, found, "put node.data on a disk of its own, best one with power-loss protection")
        }
        Ok(time) => Finding::ok(check, format!("{:.2} ms for 4 KiB", time.as_secs_f64() * 1e3)),
        Err(e) => Finding::fail(check, format!("{}: {e}", path.display()), "see the check of the data folder"),
    }
}

fn secrets(settings: &Settings) -> Vec<Finding> {
    let check = "file modes";
    let files = [&settings.supplier.key, &settings.peer.key, &settings.peer.ca_key, &settings.mesh.shared_key_file];
    let mut out = vec![];
    for path in files {
        let Ok(meta) = fs::metadata(path) else { continue };
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            let fix = format!("chmod 0640 {}", path.display());
            out.push(Finding::fail(check, format!("{} has mode {mode:o}: anyone may read it", path.display()), fix));
        }
    }
    if out.is_empty() {
        out.push(Finding::ok(check, "keys are not readable by everyone"));
    }
    if let Ok(meta) = fs::metadata(&settings.node.data)
        && meta.permissions().mode() & 0o007 != 0
    {
        let fix = format!("chmod 0700 {}", settings.node.data.display());
        let found = format!("{} is open to everyone (uid {})", settings.node.data.display(), meta.uid());
        out.push(Finding::warn("data folder mode", found, fix));
    }
    out
}

fn certificates(settings: &Settings) -> Vec<Finding> {
    let files = [
        ("supplier authority", &settings.supplier.ca),
        ("supplier certificate", &settings.supplier.cert),
        ("peer authority", &settings.peer.ca),
        ("peer certificate", &settings.peer.cert),
    ];
    let mut out: Vec<Finding> = files.into_iter().map(|(check, path)| certificate(check, path)).collect();
    out.extend(settings.supplier.crl.as_deref().map(|path| revocations(path, settings.supplier.crl_grace)));
    out
}

fn revocations(path: &Path, grace: Duration) -> Finding {
    let check = "revocation list";
    let fix = format!("put a fresh list at {}; the node takes it up by itself", path.display());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let told = fs::read(path).map_err(|e| e.to_string()).and_then(|pem| Lists::examine(&pem, grace, now));
    match told {
        Err(e) => Finding::fail(check, format!("{}: {e}", path.display()), fix),
        Ok(told) => {
            let days = |to: u64| to.abs_diff(now) / 86_400;
            match told.state {
                State::Refusing => {
                    let found = format!("out of date for {} days: its clients are refused", days(told.next_update));
                    Finding::fail(check, found, fix)
                }
                State::Stale => {
                    let found = format!("out of date; its clients are refused in {} days", days(told.believed_until));
                    Finding::warn(check, found, fix)
                }
                State::Fresh => Finding::ok(check, format!("{} days left", days(told.next_update))),
            }
        }
    }
}

fn certificate(check: &'static str, path: &Path) -> Finding {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return Finding::fail(check, format!("{}: {e}", path.display()), "see `spine cert --help`"),
    };
    let least = pki::describe(&text).ok().and_then(|all| all.iter().map(pki::Described::days_left).min());
    match least {
        None => Finding::fail(check, format!("{} holds no certificate", path.display()), "put a PEM file there"),
        Some(days) if days < 0 => Finding::fail(check, format!("{} has run out", path.display()), "renew it now"),
        Some(days) if days < SOON => Finding::warn(check, format!("{days} days left"), "renew it"),
        Some(days) => Finding::ok(check, format!("{days} days left")),
    }
}

fn membership(settings: &Settings) -> Finding {
    let check = "membership";
    match identity::cluster_of(settings) {
        Ok(cluster) => Finding::ok(check, format!("node {} of site {cluster}", settings.node.number)),
        Err(e) => Finding::fail(check, e.to_string(), "run `spine init` on the first node, `spine join` on others"),
    }
}

/// Machines are let in by a node that holds the authority's key; without the key nobody can, ever.
fn invitations(settings: &Settings) -> Finding {
    let check = "invitations";
    let key = &settings.peer.ca_key;
    match fs::metadata(key) {
        Ok(_) => Finding::ok(
            check,
            format!("this node can invite others; keep a copy of {} away from the site's machines", key.display()),
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Finding::ok(
            check,
            "this node cannot invite others: `spine cluster invite` and `spine node replace` run on the node that holds peer.ca_key",
        ),
        Err(e) => {
            let fix = "let the user that runs spine read it";
            Finding::warn(check, format!("this node cannot invite others: {}: {e}", key.display()), fix)
        }
    }
}

/// A clock that is years off is seen here; a running node compares it with the others' as well.
fn clock() -> Finding {
    let check = "clock";
    let built = option_env!("SOURCE_DATE_EPOCH").and_then(|s| s.parse::<u64>().ok()).unwrap_or(1_760_000_000);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if now < built {
        return Finding::fail(check, "the clock is before this program was built", "run a time service (chrony)");
    }
    let disciplined = Path::new("/run/systemd/timesync/synchronized").exists() || Path::new("/run/chrony").exists();
    match disciplined {
        true => Finding::ok(check, "a time service runs"),
        false => Finding::warn(check, "no time service is seen", "install chrony: tokens are good for two hours"),
    }
}

fn descriptors(settings: &Settings) -> Finding {
    use nix::sys::resource::{Resource, getrlimit};
    let check = "file descriptors";
    let need = settings.supplier.connections as u64 + SPARE_DESCRIPTORS;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft < need => {
            let found = format!("{soft} allowed, {need} wanted");
            Finding::warn(check, found, "raise LimitNOFILE, or lower supplier.connections")
        }
        Ok((soft, _)) => Finding::ok(check, format!("{soft} allowed")),
        Err(e) => Finding::warn(check, e.to_string(), "check `ulimit -n`"),
    }
}
