//! People come in while nodes are lost: each is there once, and the count that an administrator reads is the truth (P3, P9).

use super::{
    demo::{Demo, Plan, program, wait_for},
    scene::alone,
};
use std::process::{Command, Stdio};

const PEOPLE: usize = 12_000;

#[test]
fn an_import_survives_the_leader_and_counts_nobody_twice() {
    let _alone = alone();
    let demo = Demo::start(Plan::of(1));
    let file = demo.path().join("nation.ndjson");
    let made = std::fs::File::create(&file).expect("a file");
    let generate = ["generate", "people", "--seed", "3", "--count", &PEOPLE.to_string()];
    let made = Command::new(program()).args(generate).stdout(made).stdin(Stdio::null()).status();
    assert!(made.expect("spine starts").success());
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let people = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let number = |person: serde_json::Value| person["nhsNumber"].as_str().expect("a number").to_owned();
    let mut numbers: Vec<String> = people.map(number).collect();
    numbers.sort_unstable();
    let early = numbers[PEOPLE / 3].clone();
    let file = file.to_str().expect("a path");
    let leader = demo.leader(1);
    let asked = demo.ids().into_iter().find(|id| *id != leader).expect("another node");
    let told = std::thread::scope(|scope| {
        let import = scope.spawn(|| demo.try_ask(asked, &["import", "people", file, "--rate", "3000"]));
        wait_for("people to come in", || demo.try_ask(asked, &["pds", "show", &early]));
        demo.kill(leader);
        import.join().expect("the import ends").expect("the import succeeds")
    });
    let number = |name: &str| told[name].as_u64().unwrap_or(u64::MAX) as usize;
    assert_eq!((number("written"), number("same"), number("kept"), number("rejected")), (PEOPLE, 0, 0, 0), "{told}");
    demo.start_node(leader);
    demo.wait_ready();
    let told = demo.try_ask(leader, &["import", "people", file]).expect("the import succeeds");
    assert_eq!((told["written"].as_u64(), told["same"].as_u64()), (Some(0), Some(PEOPLE as u64)), "{told}");
    demo.replicas_are_equal();
    demo.audit_is_whole();
}
