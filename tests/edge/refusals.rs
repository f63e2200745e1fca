//! A foreign TLS client (OpenSSL) at the door: old versions, weak suites, weak keys and signatures, wrong usages,
//! renegotiation (P5). A control goes first in each test, so that a refusal is not a slip of the test's own.

use crate::support::pki::Identity;
use crate::support::{Client, Server};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use spine::edge::options::Options;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const REQUEST: &str = "GET /open HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Runs openssl in the test's own folder. It must be there: `make unit` installs it.
async fn openssl(server: &Server, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.current_dir(server.pki.dir.path()).args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed (apt-get install openssl)");
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read all.
    let _ = stdin.write_all(input.as_bytes()).await;
    let output = child.wait_with_output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), output);
    let output = output.await.expect("openssl ends").unwrap();
    drop(stdin);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The last client again, left to end by itself: its input stays open.
async fn typed(server: &Server, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.current_dir(server.pki.dir.path()).args(arguments).kill_on_drop(true);
    command.args(["-connect", &server.address.to_string(), "-cert", "client.pem", "-key", "client.key"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), child.wait_with_output());
    let output = output.await.expect("the server ends what it refuses").unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A client with this certificate, its settings and what it types. `@SECLEVEL=0` lets it offer what it should not.
async fn s_client(server: &Server, identity: &Identity, more: &[&str], input: &str) -> String {
    server.pki.write("client.pem", &identity.pem);
    server.pki.write("client.key", &identity.key_pem);
    let address = server.address.to_string();
    let fixed = ["s_client", "-ign_eof", "-connect", &address, "-cert", "client.pem", "-key", "client.key"];
    openssl(server, &[&fixed[..], more].concat(), input).await
}

fn got_in(told: &str) -> bool {
    told.contains("HTTP/1.1 200")
}

#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() {
    let server = Server::start(Options::default()).await;
    for good in [
        &["-tls1_3"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    ] {
        let told = s_client(&server, &server.approved, good, REQUEST).await;
        assert!(got_in(&told), "{good:?}: {told}");
    }
    for bad in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"],
        &["-tls1_2", "-groups", "secp224r1:secp521r1", "-cipher", "ALL:@SECLEVEL=0"],
    ] {
        let told = s_client(&server, &server.approved, bad, REQUEST).await;
        assert!(!got_in(&told) && told.contains("alert"), "{bad:?}: {told}");
    }
    assert_eq!(Client::connect(&server).await.get("/open").await.status, 200);
}

#[tokio::test]
async fn a_renegotiation_is_refused() {
    let server = Server::start(Options::default()).await;
    let told = s_client(&server, &server.approved, &["-tls1_2"], REQUEST).await;
    assert!(got_in(&told) && told.contains("Secure Renegotiation IS supported"), "the control: {told}");
    // A line that begins with R asks for one.
    let told = typed(&server, &["s_client", "-tls1_2"], "R\n").await;
    assert!(told.contains("RENEGOTIATING") && !got_in(&told), "the client asked for one: {told}");
    assert!(told.contains("no renegotiation") || told.contains("alert"), "{told}");
    assert_eq!(Client::connect(&server).await.get("/open").await.status, 200);
}

#[tokio::test]
async fn certificates_of_wrong_dates_or_usage_are_refused() {
    let server = Server::start(Options::default()).await;
    let with = |serial, purpose: &[ExtendedKeyUsagePurpose]| {
        server.pki.issue_with("a client", serial, |params| params.extended_key_usages = purpose.to_vec())
    };
    let client = with(200, &[ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(got_in(&s_client(&server, &client, &[], REQUEST).await), "the control");
    let early = server.pki.issue_with("early", 201, |params| params.not_before = date_time_ymd(2090, 1, 1));
    let listener = with(202, &[ExtendedKeyUsagePurpose::ServerAuth]);
    let mail = with(203, &[ExtendedKeyUsagePurpose::EmailProtection]);
    let authority = server.pki.issue_with("an authority", 204, |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    for (what, identity) in
        [("not yet valid", early), ("a listener's", listener), ("for mail", mail), ("an authority's", authority)]
    {
        for version in ["-tls1_2", "-tls1_3"] {
            let told = s_client(&server, &identity, &[version], REQUEST).await;
            assert!(!got_in(&told) && told.contains("alert"), "{what}, {version}: {told}");
        }
    }
}

/// Certificates of an authority that the server trusts, made by openssl with what ours does not make.
#[tokio::test]
async fn weak_keys_and_signatures_are_refused() {
    let server = Server::start(Options::default()).await;
    let run = async |line: &str| openssl(&server, &line.split(' ').collect::<Vec<_>>(), "").await;
    run("req -x509 -newkey rsa:2048 -nodes -keyout weak-ca.key -out weak-ca.pem -subj /CN=weak -days 9").await;
    let both = server.pki.authority_pem.clone() + &server.pki.read(&server.pki.path("weak-ca.pem"));
    server.pki.write("ca.pem", &both);
    server.edge.tls.reload().unwrap();
    let mut seen = vec![];
    for (key, digest) in [
        ("rsa:2048", "-sha256"),
        ("rsa:2048", "-sha1"),
        ("rsa:1024", "-sha256"),
        ("rsa:2048", "-md5"),
        ("ec -pkeyopt ec_paramgen_curve:secp224r1", "-sha256"),
    ] {
        run(&format!("req -newkey {key} -nodes -keyout weak.key -out weak.csr -subj /CN=client")).await;
        std::fs::write(server.pki.path("weak.ext"), "basicConstraints=CA:FALSE\n").unwrap();
        let sign = "x509 -req -in weak.csr -CA weak-ca.pem -CAkey weak-ca.key -days 5 -extfile weak.ext -out weak.pem";
        let signed = run(&format!("{sign} {digest}")).await;
        let read =
            |name: &str| std::fs::read_to_string(server.pki.path(name)).unwrap_or_else(|e| panic!("{e}: {signed}"));
        let identity = Identity { pem: read("weak.pem"), key_pem: read("weak.key"), serial: 0 };
        for version in ["-tls1_2", "-tls1_3"] {
            let more = [version, "-cipher", "ALL:@SECLEVEL=0"];
            let told = s_client(&server, &identity, &more, REQUEST).await;
            seen.push((format!("{key} {digest} {version}"), got_in(&told), told));
        }
        std::fs::remove_file(server.pki.path("weak.pem")).unwrap();
    }
    for (n, (what, got_in, told)) in seen.iter().enumerate() {
        assert_eq!(*got_in, n < 2, "{what}: {told}");
        assert!(*got_in || told.contains("alert"), "the server said no: {what}: {told}");
    }
}
