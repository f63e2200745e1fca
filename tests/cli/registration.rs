//! Registration by commands alone, as a new site meets it: the first people while the register is open, then by steps that two
//! operator accounts enter. What one account cannot do is told with the rule; a site that has one account says so.

use crate::{
    node::Served,
    support::{Ran, command, spine_with},
};
use serde_json::json;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Stdio,
};

const MANAGER: &str = "656014452101";
const SPONSOR: &str = "656014452102";
/// `nobody`, as Debian has it; with root's group, to whom the socket of this test belongs.
const OTHER_ACCOUNT: u32 = 65_534;

/// One of the first people of a site.
fn member(node: &Served, uid: &str, urp: &str, role: &str, activities: &[&str]) {
    node.run(&["user", "add", "--uid", uid, "--given", uid, "--family", "Staff"]).ok();
    let mut add = vec!["user", "role", "add", uid, "--ods", "X26", "--role", role, "--urp", urp];
    activities.iter().for_each(|code| add.extend(["--activity", code]));
    node.run(&add).ok();
    spine_with(node.dir.path(), &["user", "password", uid], "correct horse battery\n").ok();
    node.run(&["user", "verify", uid, "--level", "3"]).ok();
    node.run(&["user", "activate", uid]).ok();
}

/// A command of another operator account; nothing where this test may not become one (it is not root's).
fn as_other(node: &Served, args: &[&str]) -> Option<Ran> {
    if !nix::unistd::getuid().is_root() {
        return None;
    }
    let mut other = command(node.dir.path(), args);
    other.uid(OTHER_ACCOUNT).gid(0).stdin(Stdio::null());
    // Where the program lies in somebody's home, nobody else starts it.
    other.output().ok().map(Ran::of)
}

/// What doctor says of the register of staff.
fn register(node: &Served) -> serde_json::Value {
    let told = node.run(&["doctor", "--output", "json"]).json();
    let items = told["items"].as_array().cloned().unwrap_or_default();
    items.iter().find(|item| item["check"] == "staff register").map(|item| item["result"].clone()).unwrap_or_default()
}

fn applied(node: &Served, given: &str) -> String {
    let apply = ["registration", "apply", "--given", given, "--family", "Carer", "--born", "1990-04-01"];
    let told = node.run(&[&apply[..], &["--output", "json"]].concat()).ok().json();
    told["uid"].as_str().unwrap().to_owned()
}

fn verified_and_sponsored(node: &Served, uid: &str) {
    let verify = ["registration", "verify", uid, "--by", MANAGER, "--evidence", "remote-proof-high=2026-01-02"];
    node.run(&verify).ok();
    let sponsor = ["registration", "sponsor", uid, "--by", SPONSOR, "--ods", "X26", "--role", "S8000:G8000:R8001"];
    node.run(&sponsor).ok();
}

fn issued(node: &Served, uid: &str) -> serde_json::Value {
    node.run(&["registration", "issue", uid, "--by", MANAGER, "--totp", "--terms"]).ok();
    node.run(&["registration", "show", uid, "--output", "json"]).ok().json()
}

#[test]
fn nobody_is_let_in_by_one_operator_account_unless_the_site_says_so() {
    let node = Served::start();
    node.run(&["party", "add", "X26", "--name", "Clinic"]).ok();
    node.run(&["user", "add", "--uid", "656005750101", "--given", "Sam", "--family", "Carer"]).ok();
    let role = ["user", "role", "add", "656005750101", "--ods", "X26", "--role", "S8000:G8000:R8001"];
    let [_, why, ..] = node.run(&role).failed(5);
    assert!(why.contains("spine registration rules --open-for"), "{why}");
    let [_, why, ..] = node.run(&["user", "verify", "656005750101", "--level", "3"]).failed(5);
    assert!(why.contains("without a registration"), "{why}");

    // The first people of a site.
    let open = ["registration", "rules", "--open-for", "1h"];
    let [_, why, ..] = node.run(&open).failed(2);
    assert!(why.contains("reason"), "{why}");
    node.run(&[&open[..], &["--reason", "first people"]].concat()).ok();
    let [_, why, ..] = node.run(&["status"]).failed(3);
    assert!(why.contains("the register of staff is open until"), "{why}");
    assert_eq!(register(&node), json!("WARN"));
    member(&node, "656005750201", MANAGER, "S8001:G8002:R5080", &[]);
    member(&node, "656005750202", SPONSOR, "S8001:G8003:R8008", &["B9001"]);
    let told = node.run(&["registration", "rules", "--close", "--output", "json"]).ok().json();
    assert_eq!(
        (&told["open"], &told["one_operator"], &told["sponsors"]),
        (&json!(false), &json!(false), &json!(["B9001"]))
    );
    node.run(&role).failed(5);
    let screen = node.run(&["status"]).ok().out;
    assert!(screen.contains("closed; two operator accounts"), "{screen}");
    assert_eq!(register(&node), json!("OK"));

    // The steps, by one account and by another.
    let sam = applied(&node, "Sam");
    verified_and_sponsored(&node, &sam);
    let grant = ["registration", "grant", &sam, "--by", MANAGER];
    let [_, why, ..] = node.run(&grant).failed(5);
    assert!(why.contains("two operator accounts are needed"), "{why}");
    let [_, why, ..] = node.run(&["user", "activate", &sam]).failed(5);
    assert!(why.contains("not complete"), "{why}");
    fs::set_permissions(node.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    match as_other(&node, &grant) {
        Some(ran) => {
            ran.ok();
            let told = issued(&node, &sam);
            let granted = &told["steps"][3];
            assert_eq!((&told["state"], &granted["one_operator"]), (&json!("active"), &json!(false)), "{told}");
            assert_eq!(granted["operator"], format!("uid:{OTHER_ACCOUNT}"));
            bulk(&node);
        }
        None => eprintln!("no second account can be had here: the grant by another is left out"),
    }

    // A site that has one account.
    let alex = applied(&node, "Alex");
    verified_and_sponsored(&node, &alex);
    let grant = ["registration", "grant", &alex, "--by", MANAGER];
    node.run(&grant).failed(5);
    node.run(&["registration", "rules", "--one-operator", "on", "--reason", "a practice of three"]).ok();
    node.run(&grant).ok();
    assert_eq!(register(&node), json!("WARN"));
    let told = issued(&node, &alex);
    assert_eq!((&told["state"], &told["steps"][3]["one_operator"]), (&json!("active"), &json!(true)), "{told}");
    let found = node.run(&["audit", "search", "--object", &alex, "--output", "json"]).ok().out;
    assert!(found.contains("one operator"), "{found}");
}

/// Many at once: one account's file with the first steps, another's with the grants.
fn bulk(node: &Served) {
    let path = |name: &str| node.dir.path().join(name).display().to_string();
    let position = json!({"by": SPONSOR, "ods": "X26", "role_code": "S8000:G8000:R8001"});
    let checked = json!({"by": MANAGER, "evidence": ["remote-proof-high=2026-01-02"]});
    let line = |uid: &str| {
        let person = json!({"uid": uid, "given": uid, "family": "Many", "born": "1991-05-02"});
        let steps = json!({"verify": checked, "sponsor": position});
        let mut line = person.as_object().unwrap().clone();
        line.extend(steps.as_object().unwrap().clone());
        json!(line)
    };
    let uids = ["656005750301", "656005750302"];
    let write = |name: &str, lines: Vec<serde_json::Value>| {
        fs::write(path(name), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    };
    let whole = uids.map(|uid| {
        let mut line = line(uid);
        line["grant"] = json!({"by": MANAGER});
        line
    });
    write("whole.jsonl", whole.to_vec());
    let ran = node.run(&["registration", "import", &path("whole.jsonl")]);
    assert!(ran.code != 0 && ran.out.contains("two operator accounts"), "{}", ran.out);
    node.run(&["user", "show", uids[0]]).failed(6);
    write("first.jsonl", uids.map(line).to_vec());
    node.run(&["registration", "import", &path("first.jsonl")]).ok();
    write("grants.jsonl", uids.map(|uid| json!({"uid": uid, "grant": {"by": MANAGER}})).to_vec());
    let grants = path("grants.jsonl");
    assert!(node.run(&["registration", "import", &grants]).out.contains("two operator accounts"));
    let import = ["registration", "import", &grants, "--output", "json"];
    let told = as_other(node, &import).unwrap().ok().json();
    assert_eq!((&told["done"], &told["refused"]), (&json!(2), &json!(0)));
}
