//! Certificates of nodes among themselves, made anew for the same key, and taken while the site serves; what else lies in
//! their place is refused (P5). And data that a later release has written since are left alone (P8).

use super::{
    demo::{Demo, Plan, program, serve, wait_for},
    scene::Scene,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const EXPIRY: &str = "spine_certificate_expiry_timestamp_seconds{use=\"peer\"}";

fn spine(words: &[&str], paths: &[&Path]) -> Output {
    Command::new(program()).args(words).args(paths).stdin(Stdio::null()).output().expect("spine starts")
}

/// Makes a node's certificate anew where the authority's key is, on node 1.
fn renew(demo: &Demo, cert: &Path, out: &Path) -> Result<(), String> {
    let ca = demo.path().join("node-1/tls/peer-ca.pem");
    let done = Command::new(program())
        .args(["cert", "renew-node"])
        .arg(cert)
        .arg("--ca")
        .arg(ca)
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .output()
        .expect("spine starts");
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

fn cert(demo: &Demo, id: u64) -> PathBuf {
    demo.path().join(format!("node-{id}/tls/peer-cert.pem"))
}

/// What a node says that ends by itself at its start.
fn ends_with(demo: &Demo, id: u64) -> String {
    let log = demo.path().join(format!("refused-{id}.log"));
    fs::write(&log, "").expect("a log");
    let mut process = serve(&program(), &demo.path().join(format!("node-{id}/spine.toml")), &log);
    let code = wait_for("the node to end", || process.try_wait().expect("it is ours"));
    assert!(!code.success(), "it started");
    fs::read_to_string(&log).expect("a log")
}

#[test]
fn nodes_certificates_are_renewed_under_load_and_others_are_refused() {
    let mut scene = Scene::begin("certificates renewed", Plan::of(1));
    for id in [2, 3, 1] {
        let before = scene.demo.metric(id, EXPIRY).expect("the metric");
        let new = scene.demo.path().join(format!("new-{id}.pem"));
        renew(&scene.demo, &cert(&scene.demo, id), &new).expect("it is made anew");
        assert!(
            renew(&scene.demo, &cert(&scene.demo, id), &new).unwrap_err().contains("SPN-2008"),
            "nothing is written over"
        );
        fs::copy(&new, cert(&scene.demo, id)).expect("it is put in its place");
        assert_eq!(scene.demo.metric(id, EXPIRY), Some(before), "taken at the next start");
        scene.demo.exchange(id, &program());
        wait_for("the node to vote", || scene.demo.votes(id).then_some(()));
        scene.demo.wait_ready();
        assert!(scene.demo.metric(id, EXPIRY) > Some(before), "node {id} runs with the new one");
        scene.load.more(50);
    }
    // Its peers take it: alone with it, node 1 has the majority that the writes below need.
    scene.demo.stop(3);
    scene.load.more(50);
    scene.demo.exchange_stopped(3, &program());
    scene.demo.wait_ready();
    scene.end();
}

#[test]
fn a_node_with_another_certificate_or_data_of_a_later_release_does_not_start() {
    let mut scene = Scene::begin("certificates refused", Plan::of(1));
    let (own, folder) = (cert(&scene.demo, 2), scene.demo.path().to_owned());
    let good = fs::read(&own).expect("node 2's certificate");
    scene.demo.stop(2);
    renew(&scene.demo, &cert(&scene.demo, 3), &folder.join("three.pem")).expect("it is made anew");
    fs::copy(folder.join("three.pem"), &own).expect("put in its place");
    let told = ends_with(&scene.demo, 2);
    assert!(told.contains("is of node 3, the configuration says node 2"), "{told}");
    // The same name and key, of an authority that is another's.
    let other = folder.join("other");
    assert!(spine(&["cert", "ca", "--name", "Spine CA", "--out"], &[&other]).status.success());
    let name = scene.demo.status(1).expect("its status")["site"]["cluster"].as_str().expect("its id").to_owned();
    let request = folder.join("two.csr");
    let key = folder.join("node-2/tls/peer-key.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-subj",
            &format!("/CN=node-2.{name}"),
            "-addext",
            &format!("subjectAltName=DNS:node-2.{name}"),
            "-key",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&request)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::remove_file(&own).expect("it is away");
    let signed = Command::new(program())
        .args(["cert", "sign", "--for", "client"])
        .arg(&request)
        .arg("--ca")
        .arg(folder.join("other.pem"))
        .arg("--out")
        .arg(&own)
        .output()
        .expect("spine starts");
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let told = ends_with(&scene.demo, 2);
    assert!(told.contains("peer-cert.pem: the certificate is not of this authority"), "{told}");
    let told = renew(&scene.demo, &own, &folder.join("no.pem")).unwrap_err();
    assert!(told.contains("SPN-2017") && !folder.join("no.pem").exists(), "{told}");
    fs::write(&own, good).expect("put back");
    // The site was raised, by a later release, to a level that this program does not know.
    let needs = scene.demo.data(2).join("needs-release");
    let noted = fs::read_to_string(&needs).expect("a note");
    fs::write(&needs, "99.0.0\n").expect("a note");
    let told = ends_with(&scene.demo, 2);
    assert!(told.contains("SPN-2024") && told.contains("the data need release 99.0.0"), "{told}");
    assert_eq!(fs::read_to_string(&needs).expect("a note"), "99.0.0\n");
    fs::write(&needs, noted).expect("put back");
    scene.demo.exchange_stopped(2, &program());
    scene.demo.wait_ready();
    scene.end();
}
