//! Operators' mistakes: the node does not start, says why in four lines, exits with 5 (a safety check refused) and touches
//! nothing; when the mistake is undone, it works as before.

use crate::site::{Node, assert_untouched, contents, one, three, until};
use serde_json::json;
use std::{fs, os::unix::fs::FileExt, path::Path, process::Command};

/// Nothing that was stored is lost when the mistake is undone.
fn works(node: &mut Node) {
    node.start_ready();
    assert_eq!(node.run(&["party", "show", "X26", "--output", "json"]).ok().json()["name"], "Clinic");
    node.stop();
}

/// A start that must be refused with this code, for this cause.
#[track_caller]
fn refused(node: &Node, code: &str, cause: &str) {
    let before = contents(&node.data());
    let [what, why, fix, told] = node.refused();
    assert_eq!(what, "the node cannot start");
    assert!(told.starts_with(code), "{told}: {why}");
    assert!(why.contains(cause), "{why}");
    assert!(!fix.is_empty());
    assert_untouched(&node.data(), &before);
}

#[test]
fn the_wrong_certificates_or_number_start_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(&dir.path().join("a"));
    let other = one(&dir.path().join("b"));
    // The certificates of another site, over this node's data.
    let tls = |node: &Node| node.dir.join("tls").display().to_string();
    node.edit(&tls(&node), &tls(&other));
    refused(&node, "SPN-2023", "identity.json is of node 1 of site");
    node.edit(&tls(&other), &tls(&node));
    // The data of another site, under this node's certificates.
    node.edit(&node.data().display().to_string(), &other.data().display().to_string());
    let before = contents(&other.data());
    let [_, why, _, code] = node.refused();
    assert!(code.starts_with("SPN-2023") && why.contains("of site"), "{code} {why}");
    assert_untouched(&other.data(), &before);
    node.edit(&other.data().display().to_string(), &node.data().display().to_string());
    // Another number on data that is there.
    node.edit("number = 1", "number = 2");
    refused(&node, "SPN-2023", "is of node 1, the configuration says node 2");
    node.edit("number = 2", "number = 1");
    works(&mut node);
}

/// Writes a log header of a higher version, as a later release would; gives the bytes that were there.
fn raise_log_version(segment: &Path) -> Vec<u8> {
    let file = fs::File::options().read(true).write(true).open(segment).unwrap();
    let mut before = vec![0; 4096];
    file.read_exact_at(&mut before, 0).unwrap();
    let mut block = before.clone();
    for copy in [0, 2048] {
        block[copy + 8..copy + 12].copy_from_slice(&2u32.to_le_bytes());
        let sum = crc32c::crc32c(&block[copy..copy + 44]);
        block[copy + 44..copy + 48].copy_from_slice(&sum.to_le_bytes());
    }
    file.write_all_at(&block, 0).unwrap();
    before
}

#[test]
fn an_older_release_leaves_newer_data_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    // The mark that covers everything in the folder, whatever else stands beside it.
    let identity = node.data().join("identity.json");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, "{\"format\": 2, \"site\": {\"id\": \"x\"}}").unwrap();
    refused(&node, "SPN-2024", "format 2");
    fs::write(&identity, &text).unwrap();
    // The log alone.
    let log = node.data().join("log");
    let segments = fs::read_dir(&log).unwrap().map(|f| f.unwrap().path());
    let segment = segments.min().unwrap();
    let header = raise_log_version(&segment);
    refused(&node, "SPN-2024", "format 2");
    fs::File::options().write(true).open(&segment).unwrap().write_all_at(&header, 0).unwrap();
    // A snapshot alone: an older release would take it for damaged, and remove it.
    let folder = node.data().join("store/snapshots/p1");
    fs::create_dir_all(&folder).unwrap();
    let snapshot = folder.join("s00000000000000000900-00000000000000000900.snap");
    fs::write(&snapshot, b"SPNSNAP2, and what follows then").unwrap();
    refused(&node, "SPN-2024", "s00000000000000000900");
    fs::remove_file(snapshot).unwrap();
    works(&mut node);
}

#[test]
fn a_folder_of_another_user_or_one_that_cannot_be_written_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    let (data, me) = (node.data(), nix::unistd::geteuid());
    if !me.is_root() {
        eprintln!("SKIPPED in part: only root can give a folder to another user or mount one");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
        refused(&node, "SPN-2025", "cannot be written");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        return works(&mut node);
    }
    let own = |path: &Path, uid: u32| std::os::unix::fs::chown(path, Some(uid), None).unwrap();
    own(&data, 64_123);
    refused(&node, "SPN-2025", "belongs to user 64123");
    own(&data, me.as_raw());
    // Copied back by hand, as somebody else.
    own(&data.join("log"), 64_123);
    refused(&node, "SPN-2025", "data/log belongs to user 64123");
    own(&data.join("log"), me.as_raw());
    let mount = |args: &[&str]| Command::new("mount").args(args).arg(&data).status().is_ok_and(|s| s.success());
    let at = data.display().to_string();
    if mount(&["--bind", &at]) {
        assert!(mount(&["-o", "remount,bind,ro"]));
        refused(&node, "SPN-2025", "cannot be written");
        assert!(Command::new("umount").arg(&data).status().unwrap().success());
    } else {
        eprintln!("SKIPPED in part: this process may not mount");
    }
    works(&mut node);
}

#[test]
fn a_second_process_on_the_same_data_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    node.start_ready();
    let [_, why, fix, code] = node.refused();
    assert!(code.starts_with("SPN-2026") && why.contains("another process uses"), "{code} {why} {fix}");
    assert!(node.ready(), "{}", node.log());
    node.stop();
}

#[test]
fn a_node_that_is_told_to_call_another_site_says_so_once_and_neither_is_harmed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut other) = (one(&dir.path().join("a")), one(&dir.path().join("b")));
    other.start_ready();
    let address = other.status().unwrap()["node"]["peer"].as_str().unwrap().to_owned();
    node.edit("[peer]\n", &format!("[peer]\nnodes = [\"2={address}\"]\n"));
    node.start_ready();
    let log = node.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("peer.stranger")).collect();
    assert!(said.len() == 1 && said[0].contains(&address), "{log}");
    assert!(other.ready());
    node.stop();
    node.edit(&format!("nodes = [\"2={address}\"]\n"), "");
    works(&mut node);
}

/// A copy of a node's folder, as of a machine's disk, with addresses of its own.
fn copy_of(node: &Node, dir: &Path) -> Node {
    let copied = Command::new("cp").arg("-a").arg(&node.dir).arg(dir).status().unwrap();
    assert!(copied.success());
    let own = Node::configure(dir.join("fresh"), &node.dir.with_file_name("common"), 2);
    let text = fs::read_to_string(own.dir.join("spine.toml")).unwrap();
    let text = text.replace(&own.dir.display().to_string(), &dir.display().to_string());
    fs::write(dir.join("spine.toml"), text).unwrap();
    Node::at(dir.to_owned())
}

#[test]
fn of_two_machines_with_one_number_the_later_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path());
    nodes[1].stop();
    let mut copy = copy_of(&nodes[1], &dir.path().join("copy"));
    nodes[1].start_ready();
    refused(&copy, "SPN-2026", "another process as node 2");
    assert!(nodes.iter().all(Node::ready));
    // The copy comes first: then it is the node, and the machine itself the later one.
    nodes[1].stop();
    copy.start();
    until("the copy to be taken for the node", || copy.ready());
    refused(&nodes[1], "SPN-2026", "another process as node 2");
    nodes[0].run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    assert_eq!(copy.run(&["party", "show", "X26", "--output", "json"]).ok().json()["name"], "Clinic");
    copy.stop();
    // The machine's own disk is now older than what was acknowledged in its name: it does not go on with that.
    nodes[1].start_ready();
    assert!(nodes[1].log().contains("node.data.old"), "{}", nodes[1].log());
    assert!(incarnation(&nodes[1]) > incarnation(&nodes[0]), "{}", nodes[1].log());
    nodes.iter_mut().for_each(Node::stop);
}

fn incarnation(node: &Node) -> u64 {
    node.status().unwrap()["node"]["incarnation"].as_u64().unwrap()
}

#[test]
fn a_machine_whose_copy_came_back_in_its_place_comes_back_too_as_yet_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path());
    nodes[1].stop();
    let mut copy = copy_of(&nodes[1], &dir.path().join("copy"));
    nodes[1].start_ready();
    // The copy is older than what the machine acknowledges now, so it comes back as the node's next incarnation.
    nodes[0].run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    assert_eq!(nodes[1].run(&["party", "show", "X26", "--output", "json"]).ok().json()["name"], "Clinic");
    nodes[1].stop();
    copy.start_ready();
    assert_eq!(incarnation(&copy), 2, "{}", copy.log());
    copy.stop();
    // Now the machine's own data are of an incarnation that nobody speaks to any more.
    nodes[1].start_ready();
    assert_eq!(incarnation(&nodes[1]), 3, "{}", nodes[1].log());
    assert_eq!(nodes[1].run(&["party", "show", "X26", "--output", "json"]).ok().json()["name"], "Clinic");
    nodes.iter_mut().for_each(Node::stop);
}

#[test]
fn a_node_that_comes_back_while_its_copy_speaks_for_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path());
    nodes[1].stop();
    let mut copy = copy_of(&nodes[1], &dir.path().join("copy"));
    nodes[1].start_ready();
    // The machine is cut off for a while, as by a pause; its copy is started in its place.
    let pause = |signal| nix::sys::signal::kill(nodes[1].pid(), signal).unwrap();
    pause(nix::sys::signal::Signal::SIGSTOP);
    copy.start();
    until("the copy to be taken for the node", || copy.ready());
    pause(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(nodes[1].ended(), Some(5), "{}", nodes[1].log());
    assert!(nodes[1].log().contains("code: SPN-2026"), "{}", nodes[1].log());
    until("the copy and its peer to go on", || copy.ready() && nodes[0].ready());
    nodes[0].run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    assert_eq!(copy.run(&["party", "show", "X26", "--output", "json"]).ok().json()["name"], "Clinic");
    copy.stop();
}

#[test]
fn disks_put_into_each_others_machines_start_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path());
    nodes[0].run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    nodes[1].stop();
    nodes[2].stop();
    let swap = || {
        let (two, three, aside) = (nodes[1].data(), nodes[2].data(), dir.path().join("aside"));
        fs::rename(&two, &aside).unwrap();
        fs::rename(&three, &two).unwrap();
        fs::rename(&aside, &three).unwrap();
    };
    swap();
    refused(&nodes[1], "SPN-2023", "identity.json is of node 3");
    refused(&nodes[2], "SPN-2023", "identity.json is of node 2");
    swap();
    nodes[1].start_ready();
    nodes[2].start_ready();
    assert_eq!(nodes[2].run(&["party", "show", "X26", "--output", "json"]).ok().json()["name"], "Clinic");
}

#[test]
fn a_node_whose_clock_is_wrong_starts_and_neither_leads_nor_takes_traffic() {
    if !cfg!(debug_assertions) {
        return eprintln!("SKIPPED: only development builds can be given a wrong clock");
    }
    const HOUR: i64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path());
    nodes[2].stop();
    nodes[2].set_clock(HOUR);
    nodes[2].start();
    until("it to say that its clock is wrong", || nodes[2].log().contains("engine.clock.off"));
    let lines = |node: &Node| node.log().lines().filter(|l| l.contains("engine.clock.off")).count();
    assert_eq!(lines(&nodes[2]), 1, "in one line");
    until("status to tell", || nodes[2].status().is_some_and(|told| told["clock"]["standing"] == "off"));
    let told = nodes[2].status().unwrap();
    assert_eq!((&told["node"]["ready"], &told["clock"]["off"]), (&json!(false), &json!(true)));
    let ahead = told["clock"]["ahead_ms"].as_i64().unwrap();
    assert!((HOUR - 2_000..=HOUR + 2_000).contains(&ahead), "{ahead}");
    // The others know, too, and `status` there names the node.
    let [_, why, ..] = nodes[0].run(&["status"]).failed(3);
    assert!(why.contains("node 3: its clock is 36") && why.contains("SPN-3002"), "{why}");
    // Leadership that an operator gives it all the same does not stay.
    for (node, partition) in nodes.iter().flat_map(|node| ["0", "1", "2"].map(|partition| (node, partition))) {
        node.run(&["cluster", "hand-over", "--partition", partition, "--to", "3"]);
    }
    until("it to lead nothing", || nodes[0].leads(3) == Some(0));
    nodes[0].run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    assert_eq!(nodes[0].status().unwrap()["partitions"][0]["stamps_ahead_ms"], 0, "nothing was stamped with it");
    // Set right, it comes back by itself.
    nodes[2].set_clock(0);
    until("it to be ready", || nodes[2].ready());
    // A leader whose clock jumps gives leadership away.
    let leader = nodes[0].status().unwrap()["partitions"][1]["leader"].as_u64().unwrap() as usize;
    nodes[leader - 1].set_clock(-HOUR);
    let other = leader % 3;
    until("leadership to go to a right clock", || nodes[other].leads(leader as u16) == Some(0));
    nodes[other].run(&["party", "add", "X27", "--name", "Lab"]).ok();
    nodes[leader - 1].set_clock(0);
    until("all to be ready", || nodes.iter().all(Node::ready));
}
