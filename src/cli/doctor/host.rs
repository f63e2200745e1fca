//! Checks of the machine: data folder, disk, files, clock, limits.

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
    path::{Path, PathBuf},
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
    out.push(secrets(settings));
    out.push(written_by_others(settings));
    out.extend(open_data(&settings.node.data));
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
            let fix = format!("`chown -R spine: {}`; of a read-only mount `dmesg` tells the cause", data.display());
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
            let look = format!(
                "`df -h {0}` and `du -xh --max-depth=2 {0}` show what takes it; delete nothing in the folder itself",
                data.display()
            );
            match free {
                f if f < reserve => Finding::fail(check, found, format!("make room, writes are refused: {look}")),
                f if f < reserve * 4 => Finding::warn(check, found, format!("make room soon: {look}")),
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
            let limit = SLOW_SYNC.as_millis();
            let found = format!("{:.1} ms for 4 KiB, {limit} ms at most are good", time.as_secs_f64() * 1e3);
            let fix = "`iostat -x 1 5` shows who keeps the disk busy; put node.data on a disk of its own, best one with \
                       power-loss protection";
            Finding::warn(check, found, fix)
        }
        Ok(time) => Finding::ok(check, format!("{:.2} ms for 4 KiB", time.as_secs_f64() * 1e3)),
        Err(e) => Finding::fail(check, format!("{}: {e}", path.display()), "see the check of the data folder"),
    }
}

/// Which of these files grant everyone one of these rights, each once, with the mode that it has.
fn granting(files: impl IntoIterator<Item = PathBuf>, rights: u32) -> Vec<(PathBuf, u32)> {
    let mode = |path: &PathBuf| Some(fs::metadata(path).ok()?.permissions().mode() & 0o777);
    let known = files.into_iter().filter_map(|path| mode(&path).map(|mode| (path, mode)));
    let mut found: Vec<(PathBuf, u32)> = known.collect();
    found.retain(|(_, mode)| mode & rights != 0);
    found.sort();
    found.dedup();
    found
}

/// `each` of those files in words, and one command that mends all.
fn mended(found: &[(PathBuf, u32)], each: &str, mode: &str) -> (String, String) {
    let said: Vec<String> =
        found.iter().map(|(path, mode)| format!("{} has mode {mode:04o}: {each}", path.display())).collect();
    let paths: Vec<String> = found.iter().map(|(path, _)| path.display().to_string()).collect();
    (said.join("; "), format!("`chmod {mode} {}`", paths.join(" ")))
}

fn secrets(settings: &Settings) -> Finding {
    let check = "file modes";
    let (supplier, peer) = (&settings.supplier, &settings.peer);
    let files = [
        &supplier.key,
        &settings.api.key,
        &peer.key,
        &peer.ca_key,
        &settings.mesh.shared_key_file,
        &settings.upstream.key,
    ];
    let found = granting(files.into_iter().cloned(), 0o007);
    if found.is_empty() {
        return Finding::ok(check, "keys are not readable by everyone");
    }
    let (said, fix) = mended(&found, "anyone may read it", "0640");
    Finding::fail(check, said, fix)
}

/// Whoever writes the configuration says which keys and authorities are trusted.
fn written_by_others(settings: &Settings) -> Finding {
    let check = "configuration modes";
    let file = &settings.told.file;
    let folder = file.with_file_name("conf.d");
    let drop_ins = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let authorities = [&settings.supplier.ca, &settings.peer.ca, &settings.upstream.ca].map(Clone::clone);
    let found = granting(drop_ins.chain([file.clone(), folder.clone()]).chain(authorities), 0o002);
    if found.is_empty() {
        return Finding::ok(check, "nobody but its owner and group can change what the node trusts");
    }
    let (said, fix) = mended(&found, "anyone may change it", "o-w");
    Finding::fail(check, said, fix)
}

fn open_data(data: &Path) -> Option<Finding> {
    let meta = fs::metadata(data).ok().filter(|meta| meta.permissions().mode() & 0o007 != 0)?;
    let mode = meta.permissions().mode() & 0o777;
    let found = format!("{} has mode {mode:04o} and is open to everyone (uid {})", data.display(), meta.uid());
    Some(Finding::warn("data folder mode", found, format!("`chmod 0700 {}`", data.display())))
}

fn certificates(settings: &Settings) -> Vec<Finding> {
    let mut files = vec![
        ("supplier authority", &settings.supplier.ca),
        ("supplier certificate", &settings.supplier.cert),
        ("peer authority", &settings.peer.ca),
        ("peer certificate", &settings.peer.cert),
    ];
    if settings.api.listen.is_some() && settings.api.cert != settings.supplier.cert {
        files.push(("API certificate", &settings.api.cert));
    }
    if !settings.upstream.addresses.is_empty() {
        files
            .extend([("upstream authority", &settings.upstream.ca), ("upstream certificate", &settings.upstream.cert)]);
    }
    let mut out: Vec<Finding> = files.into_iter().map(|(check, path)| certificate(check, path)).collect();
    out.extend(settings.supplier.crl.as_deref().map(|path| revocations(path, settings.supplier.crl_grace)));
    out
}

fn revocations(path: &Path, grace: Duration) -> Finding {
    let check = "revocation list";
    let fix = format!(
        "put a fresh list at {} (of an authority of your own: `spine cert revoke CERT --ca CA --crl {0}` renews it); the node \
         takes it up within ten seconds",
        path.display()
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let told = fs::read(path).map_err(|e| e.to_string()).and_then(|pem| Lists::examine(&pem, grace, now));
    match told {
        Err(e) => Finding::fail(check, format!("{}: {e}", path.display()), fix),
        Ok(told) => {
            let days = |to: u64| to.abs_diff(now) / 86_400;
            match told.state {
                State::Refusing => {
                    let found = format!(
                        "{} is out of date for {} days: its clients are refused",
                        path.display(),
                        days(told.next_update)
                    );
                    Finding::fail(check, found, fix)
                }
                State::Stale => {
                    let found = format!(
                        "{} is out of date for {} days; its clients are refused in {} days",
                        path.display(),
                        days(told.next_update),
                        days(told.believed_until)
                    );
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
        Some(days) if days < 0 => {
            Finding::fail(check, format!("{} has run out {} days ago", path.display(), days.abs()), renew(check, path))
        }
        Some(days) if days < SOON => {
            Finding::warn(check, format!("{}: {days} days left, {SOON} are wanted", path.display()), renew(check, path))
        }
        Some(days) => Finding::ok(check, format!("{days} days left")),
    }
}

/// Where a new one comes from: the peers' are of the site's own authority, the others of whoever signs for the site.
fn renew(check: &str, path: &Path) -> String {
    let shown = path.display();
    match check {
        "peer certificate" => {
            "a node gets a new one by joining anew, one at a time: `systemctl stop spine`, on another node \
                               `spine node replace NUMBER --yes`, here move the data folder away and `spine join TOKEN`"
                .into()
        }
        "peer authority" => "it is the site's own: plan a new site authority, see the manual, *Certificates*".into(),
        "upstream authority" | "upstream certificate" => format!(
            "whoever runs the system being replaced has new ones: put them in the place of {shown} (and of its key): the node \
             takes them within ten seconds; until then all that is handed on is refused (SPN-1034)"
        ),
        "supplier authority" => {
            format!("get the authority's new certificate and add it to {shown}; `spine cert list {shown}`")
        }
        _ => format!(
            "`spine cert issue --ca CA --for server --name NAME --san ADDRESS --out NEW`, or ask your authority; put \
             certificate and key in the place of {shown} and its key: the node takes them within ten seconds"
        ),
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
        let found = format!("the clock is {} days before this program was built", (built - now) / 86_400);
        return Finding::fail(check, found, "`systemctl enable --now chrony`, then `chronyc makestep`");
    }
    let disciplined = Path::new("/run/systemd/timesync/synchronized").exists() || Path::new("/run/chrony").exists();
    match disciplined {
        true => Finding::ok(check, "a time service runs"),
        false => Finding::warn(
            check,
            "no time service is seen, and tokens are good for two hours only",
            "`apt install chrony`, or `systemctl enable --now systemd-timesyncd`",
        ),
    }
}

fn descriptors(settings: &Settings) -> Finding {
    use nix::sys::resource::{Resource, getrlimit};
    let check = "file descriptors";
    let need = settings.supplier.connections as u64 + SPARE_DESCRIPTORS;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft < need => {
            let found = format!("{soft} allowed, {need} wanted");
            Finding::warn(check, found, "raise LimitNOFILE (`systemctl edit spine`), or lower supplier.connections")
        }
        Ok((soft, _)) => Finding::ok(check, format!("{soft} allowed")),
        Err(e) => Finding::warn(check, e.to_string(), "check `ulimit -n`"),
    }
}
