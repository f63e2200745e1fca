//! The audit trail as an operator has it: one record shown, an export that proves itself, and logs without people (P4, P10).

use super::site::{one, until};
use serde_json::Value;
use std::{fs, path::Path};

/// The lines of an export.
fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_export_that_was_cut_at_an_earlier_head_or_lacks_a_partition_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    node.start_ready();
    let made = |name: &str| {
        let file = dir.path().join(name);
        node.run(&["audit", "export", file.to_str().unwrap()]).ok();
        lines(&file)
    };
    node.run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    let earlier = made("earlier");
    node.run(&["party", "add", "X27", "--name", "Lab"]).ok();
    let whole = made("whole");
    let ca = node.dir.join("tls/ca.pem");
    let verify = |name: &str, lines: &[Value]| {
        let file = dir.path().join(name);
        fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        node.run(&["audit", "verify", "--file", file.to_str().unwrap(), "--ca", ca.to_str().unwrap()])
    };
    verify("a", &whole).ok();
    verify("b", &earlier).ok();
    // What was done since the earlier export is left out, and its signed heads are put where the ends were.
    let cut: Vec<Value> = earlier[..earlier.len() - 1].iter().chain(whole.last()).cloned().collect();
    let [_, why, ..] = verify("c", &cut).failed(1);
    assert!(why.contains("is not sealed"), "{why}");
    let [_, why, ..] = verify("d", &whole[..whole.len() - 1]).failed(1);
    assert!(why.contains("is not sealed"), "{why}");
    let lacking: Vec<Value> = whole.iter().filter(|line| line["partition"] != 1).cloned().collect();
    let [_, why, ..] = verify("e", &lacking).failed(1);
    assert!(why.contains("partition 1") && why.contains("is not sealed"), "{why}");
    // One partition on its own, asked for so, is whole.
    let file = dir.path().join("alone");
    node.run(&["audit", "export", file.to_str().unwrap(), "--partition", "0"]).ok();
    verify("f", &lines(&file)).ok();
    node.stop();
}

#[test]
fn a_trail_whose_first_records_expired_proves_where_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    node.edit("[disk]", "[audit]\nretention = \"2s\"\n[disk]");
    node.start_ready();
    let parties: String = (0..700).map(|n| format!("T{n:04},Clinic {n}\n")).collect();
    fs::write(dir.path().join("parties.csv"), format!("ods,name\n{parties}")).unwrap();
    node.run(&["party", "import", dir.path().join("parties.csv").to_str().unwrap()]).ok();
    let file = dir.path().join("export");
    let ca = node.dir.join("tls/ca.pem");
    until("the first records expire", || {
        let _ = fs::remove_file(&file);
        node.run(&["audit", "export", file.to_str().unwrap()]).ok();
        lines(&file).iter().any(|line| line["begins"].is_u64())
    });
    node.run(&["audit", "verify"]).ok();
    let whole = lines(&file);
    let verify = |lines: &[Value]| {
        fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        node.run(&["audit", "verify", "--file", file.to_str().unwrap(), "--ca", ca.to_str().unwrap()])
    };
    verify(&whole).ok();
    // Somebody takes more away than expired, or the word of where it begins.
    let at = whole.iter().position(|line| line["begins"].is_u64()).unwrap();
    let mut shorter = whole.clone();
    shorter[at]["begins"] = (whole[at]["begins"].as_u64().unwrap() + 1).into();
    shorter.remove(at + 1);
    let [_, why, ..] = verify(&shorter).failed(1);
    assert!(why.contains("was changed"), "{why}");
    let mut untold = whole.clone();
    untold.remove(at);
    let [_, why, ..] = verify(&untold).failed(1);
    assert!(why.contains("is missing"), "{why}");
    node.stop();
}

#[test]
fn one_record_is_shown_by_either_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    node.start_ready();
    node.run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    let found = node.run(&["audit", "search", "--object", "X26", "--output", "json"]).ok().json();
    let first = &found["items"][0];
    for name in ["id", "event"] {
        let shown = node.run(&["audit", "show", first[name].as_str().unwrap(), "--output", "json"]).ok().json();
        assert_eq!((&shown["object"], &shown["id"]), (&first["object"], &first["id"]), "{shown}");
    }
    assert!(node.run(&["audit", "show", first["id"].as_str().unwrap()]).ok().out.contains("X26"));
    let by_request = node.run(&["audit", "search", "--object", first["correlation_id"].as_str().unwrap()]).ok().out;
    assert!(by_request.contains("X26"), "{by_request}");
    node.run(&["audit", "show", "0/999999"]).failed(6);
    node.run(&["audit", "show", "nothing"]).failed(2);
    node.stop();
}

#[test]
fn what_an_operator_is_refused_about_a_person_names_nobody_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = one(dir.path());
    node.start_ready();
    node.run(&["pds", "show", "9990000018"]).failed(6);
    node.run(&["relationship", "show", "--patient", "9990000018", "UNKNOWN"]).failed(6);
    let log = node.log();
    assert!(log.contains("admin.refused") && !log.contains("9990000018"), "{log}");
    node.stop();
}
