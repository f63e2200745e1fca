//! `spine doctor` finds what is wrong: each trouble is provoked, and named with its figures and a command that mends it.
//!
//! Here those that the machine alone shows, and those that a node tells of, by one that tells of them. Disks that are really slow and
//! full, nodes that are really gone and stores that really rot are in tests/cluster.

use crate::support::{Ran, free_address, spine};
use serde_json::{Value, json};
use spine::ops::{
    admin::{self, AdminError, AdminRouter},
    codes,
    health::Health,
};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Asserts that a check fails so, and gives what it found and what is to be done.
#[track_caller]
fn found(ran: &Ran, check: &str, result: &str) -> (String, String) {
    let told = ran.json();
    let all = told["items"].as_array().unwrap().clone();
    let of = |item: &&Value| item["check"] == check && item["result"] == result;
    let item = all.iter().find(of).unwrap_or_else(|| panic!("no {result} of {check}: {told:#}"));
    (item["found"].as_str().unwrap().to_owned(), item["fix"].as_str().unwrap().to_owned())
}

/// A machine on which no node runs: its configuration and the files that it names.
fn machine(dir: &Path, more: &str) {
    let path = |name: &str| dir.join(name).display().to_string();
    let ports = [(); 3].map(|()| free_address());
    let text = format!(
        "[node]\ndata = \"{}\"\n[supplier]\nlisten = \"{}\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n[peer]\nlisten = \"{}\"\n\
         [ops]\nlisten = \"{}\"\n[admin]\nsocket = \"{}\"\n{more}",
        path("data"),
        ports[0],
        path("ca.pem"),
        path("server.pem"),
        path("server-key.pem"),
        ports[1],
        ports[2],
        path("admin.sock"),
    );
    fs::write(dir.join("spine.toml"), text).unwrap();
    spine(dir, &["cert", "ca", "--out", "ca"]).ok();
    let issue = ["cert", "issue", "--ca", "ca.pem", "--for", "server", "--name", "localhost", "--days", "12"];
    spine(dir, &[&issue[..], &["--out", "server"]].concat()).ok();
}

fn doctor(dir: &Path, more: &[&str]) -> Ran {
    spine(dir, &[&["doctor", "--output", "json"], more].concat())
}

#[test]
fn a_port_that_is_taken_is_found_before_the_node_starts() {
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path(), "");
    let (address, other) = (free_address(), free_address());
    let set = format!("supplier.listen={address}");
    let api = format!("api.listen={other}");
    let told = doctor(dir.path(), &["--set", &set, "--set", &api]);
    found(&told, "supplier.listen", "OK");
    let _taken = (TcpListener::bind(address).unwrap(), TcpListener::bind(other).unwrap());
    let told = doctor(dir.path(), &["--set", &set, "--set", &api]);
    assert_eq!(told.code, 1, "{}", told.err);
    let (what, fix) = found(&told, "supplier.listen", "FAIL");
    assert!(what.contains(&address.to_string()) && what.contains("taken"), "{what}");
    assert!(fix.contains(&format!("ss -ltnp 'sport = :{}'", address.port())), "{fix}");
    assert!(found(&told, "api.listen", "FAIL").0.contains(&other.to_string()));
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_found() {
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path(), "");
    let (what, fix) = found(&doctor(dir.path(), &[]), "supplier certificate", "WARN");
    assert!(what.contains("server.pem: 1") && what.contains("days left"), "{what}");
    assert!(fix.contains("spine cert issue --ca CA --for server"), "{fix}");
    found(&doctor(dir.path(), &[]), "supplier authority", "OK");
    fs::write(dir.path().join("server.pem"), expired()).unwrap();
    let (what, _) = found(&doctor(dir.path(), &[]), "supplier certificate", "FAIL");
    assert!(what.contains("has run out") && what.contains("days ago"), "{what}");
}

#[test]
fn what_is_shown_to_the_system_being_replaced_is_looked_at_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("server.pem"), path("old-key.pem"));
    let more =
        format!("[upstream]\nmesh = \"https://127.0.0.1:1\"\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    machine(dir.path(), &more);
    fs::copy(path("server-key.pem"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let told = doctor(dir.path(), &[]);
    found(&told, "upstream authority", "OK");
    let (what, fix) = found(&told, "upstream certificate", "WARN");
    assert!(what.contains("days left") && fix.contains("SPN-1034"), "{what}: {fix}");
    assert!(found(&told, "file modes", "FAIL").0.contains("old-key.pem has mode 0644"));
}

fn expired() -> String {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

/// A revocation list whose successor was due so long ago.
fn list(ago: Duration) -> String {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2025, 1, 1),
        next_update: (SystemTime::now() - ago).into(),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().pem().unwrap()
}

#[test]
fn a_revocation_list_that_is_stale_is_found() {
    const DAY: Duration = Duration::from_secs(86_400);
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path(), "");
    let set = format!("supplier.crl={}", dir.path().join("list.pem").display());
    let with = |ago: Duration| {
        fs::write(dir.path().join("list.pem"), list(ago)).unwrap();
        doctor(dir.path(), &["--set", &set])
    };
    let (what, fix) = found(&with(3 * DAY + DAY / 2), "revocation list", "WARN");
    assert!(what.contains("out of date for 3 days; its clients are refused in 3 days"), "{what}");
    assert!(fix.contains("spine cert revoke") && fix.contains("list.pem"), "{fix}");
    let (what, _) = found(&with(9 * DAY + DAY / 2), "revocation list", "FAIL");
    assert!(what.contains("out of date for 9 days: its clients are refused"), "{what}");
    fs::remove_file(dir.path().join("list.pem")).unwrap();
    found(&doctor(dir.path(), &["--set", &set]), "revocation list", "FAIL");
}

#[test]
fn modes_that_let_others_read_keys_or_change_the_configuration_are_found() {
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path(), "");
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    let (key, drop_in) = (dir.path().join("server-key.pem"), dir.path().join("conf.d/50-a.toml"));
    fs::write(&drop_in, "").unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for path in [&dir.path().join("spine.toml"), &dir.path().join("conf.d"), &drop_in] {
        mode(path, if path.is_dir() { 0o750 } else { 0o640 });
    }
    let told = doctor(dir.path(), &[]);
    found(&told, "file modes", "OK");
    found(&told, "configuration modes", "OK");
    mode(&key, 0o644);
    mode(&drop_in, 0o666);
    mode(&dir.path().join("data"), 0o755);
    let told = doctor(dir.path(), &[]);
    let (what, fix) = found(&told, "file modes", "FAIL");
    assert!(what.contains("server-key.pem has mode 0644"), "{what}");
    assert_eq!(fix, format!("`chmod 0640 {}`", key.display()));
    let (what, fix) = found(&told, "configuration modes", "FAIL");
    assert!(what.contains("50-a.toml has mode 0666") && fix.contains("chmod o-w"), "{what} {fix}");
    assert!(found(&told, "data folder mode", "WARN").0.contains("mode 0755"));
}

#[test]
fn a_disk_that_is_nearly_full_is_found() {
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path(), "");
    let disk = nix::sys::statvfs::statvfs(dir.path()).unwrap();
    let free = disk.blocks_available() * disk.fragment_size();
    let told = doctor(dir.path(), &["--set", &format!("disk.reserve={}MiB", (free >> 20) / 2)]);
    assert!(found(&told, "free space", "WARN").1.contains("df -h"));
    let told = doctor(dir.path(), &["--set", &format!("disk.reserve={}MiB", (free >> 20) * 2)]);
    let (what, fix) = found(&told, "free space", "FAIL");
    assert!(what.contains("MiB free") && fix.contains("du -xh") && fix.contains("delete nothing"), "{what} {fix}");
}

/// A node that tells what the test wants.
fn told_by(dir: &Path, status: Result<Value, AdminError>, cluster: Value) -> Ran {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut router = AdminRouter::new();
    router.get("/v1/status", move |_| std::future::ready(status.clone()));
    router.get("/v1/cluster", move |_| std::future::ready(Ok(cluster.clone())));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let socket = runtime.block_on(admin::bind(&dir.join("admin.sock"))).unwrap();
    let serving = runtime.spawn(admin::serve(socket, Arc::new(router), Health::default(), stopped));
    let ran = doctor(dir, &[]);
    stop.send(true).unwrap();
    runtime.block_on(serving).unwrap();
    ran
}

#[test]
fn what_a_node_tells_of_clocks_disks_stores_and_releases_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path(), "");
    let status = json!({
        "node": {"version": "0.0.9"},
        "clock": {"standing": "off", "off": true, "ahead_ms": 61_000, "trouble": "its clock is 61.0 s ahead of the others"},
        "disk": {"trouble": "its disk is slow: a sync of the log takes 800 ms now"},
        "damage": {"found": 2, "repaired": 1, "left": ["a block of partition 1"], "lost": [{}]},
    });
    let member = |number: u16, version: &str| {
        json!({
            "number": number, "address": "127.0.0.1:1", "seen": true, "version": version,
        })
    };
    let cluster = json!({"members": [member(1, "0.1.0"), member(2, "0.0.9")]});
    let told = told_by(dir.path(), Ok(status.clone()), cluster);
    let (what, fix) = found(&told, "clocks agree", "FAIL");
    assert!(what.contains("61.0 s") && fix.contains("chronyc makestep"), "{what} {fix}");
    let (what, fix) = found(&told, "disk's pace", "FAIL");
    assert!(what.contains("800 ms") && fix.contains("iostat"), "{what} {fix}");
    let (what, fix) = found(&told, "at rest", "FAIL");
    assert!(what.contains("a block of partition 1") && fix.contains("smartctl -a"), "{what} {fix}");
    assert!(found(&told, "bodies", "FAIL").0.starts_with("1 are damaged or gone"));
    let (what, fix) = found(&told, "version", "WARN");
    assert!(what.starts_with("running 0.0.9, installed") && fix.contains("spine node restart"), "{what} {fix}");
    let (what, fix) = found(&told, "versions", "WARN");
    assert_eq!(what, "node 1 runs 0.1.0, node 2 runs 0.0.9");
    assert!(fix.contains("spine node restart"), "{fix}");
    // Nothing listens there.
    let (what, fix) = found(&told, "peer", "WARN");
    assert!(
        what.starts_with("node 2 at 127.0.0.1:1 cannot be reached") && fix.contains("systemctl start"),
        "{what} {fix}"
    );

    let waits = "its store is damaged, and no other node is whole";
    let shut = AdminError::of(&codes::CLI_NOT_READY, "the node is still starting", waits);
    let told = told_by(dir.path(), Err(shut.with_fix("see `spine explain SPN-3006`")), json!({}));
    let (what, fix) = found(&told, "node", "FAIL");
    assert!(what.contains(waits) && fix.contains("SPN-3006") && fix.contains("journalctl -u spine"), "{what} {fix}");
}
