//! Batch trace over MESH, end to end: a file goes to the service's mailbox as any client sends it, and its answer is collected as any
//! client collects. Also with the node killed that works on it (P1, P3, P4, P9).

use super::{
    demo::{Demo, Plan, program, wait_for},
    scene::alone,
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::Value;
use spine::cli::bench::{client::Client, token::Tokens};
use std::{fmt::Write as _, process::Command, time::Duration};

const SENDER: &str = "X26ABC1";
const COLUMNS: &str = "UNIQUE REFERENCE,NHS_NO,FAMILY_NAME,GIVEN_NAME,OTHER_GIVEN_NAME,GENDER,DATE_OF_BIRTH,POSTCODE,\
    DATE_OF_DEATH,ADDRESS_LINE1,ADDRESS_LINE2,ADDRESS_LINE3,ADDRESS_LINE4,ADDRESS_LINE5,ADDRESS_DATE,GP_PRACTICE_CODE,\
    GP_REGISTRATION_DATE,NHAIS_POSTING_ID,AS_AT_DATE,LOCAL_PATIENT_ID,INTERNAL_ID,TELEPHONE_NUMBER,MOBILE_NUMBER,EMAIL_ADDRESS\r\n";

/// A supplier's client of one mailbox.
struct Supplier {
    client: Client,
    tokens: Tokens,
    runtime: tokio::runtime::Runtime,
}

impl Supplier {
    fn of(demo: &Demo) -> Supplier {
        let site = demo.site();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = Client::new(&site, 0, Duration::from_secs(10));
        let tokens = Tokens::new(&site.shared_key, SENDER, "password");
        Supplier { client, tokens, runtime }
    }

    /// Asks until a node answers; a request is asked again with a token of its own.
    fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<Bytes> {
        let Supplier { client, tokens, runtime } = self;
        wait_for(path, || {
            let mut request = Request::builder()
                .method(method.clone())
                .uri(format!("/messageexchange/{SENDER}{path}"))
                .header("host", client.authority())
                .header("authorization", tokens.make())
                .header("accept", "application/vnd.mesh.v2+json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request");
            let answer = runtime.block_on(client.ask(request)).ok()?;
            (answer.status() != 503).then_some(answer)
        })
    }

    fn send(&mut self, to: &str, workflow: &str, name: &str, body: &[u8]) -> String {
        let headers = [
            ("mex-to", to),
            ("mex-workflowid", workflow),
            ("mex-filename", name),
            ("mex-localid", "trace-1"),
            ("content-type", "text/csv"),
        ];
        let sent = self.ask(Method::POST, "/outbox", &headers, body);
        assert_eq!(sent.status(), 202, "{:?}", sent.body());
        let told: Value = serde_json::from_slice(sent.body()).expect("JSON");
        told["message_id"].as_str().expect("an id").to_owned()
    }

    /// Every message that waits, with its headers of interest.
    fn inbox(&mut self) -> Vec<String> {
        let told = self.ask(Method::GET, "/inbox", &[], b"");
        let told: Value = serde_json::from_slice(told.body()).expect("JSON");
        told["messages"].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
    }

    /// The one answer, whole, however many chunks it has; it is acknowledged.
    fn collect(&mut self) -> (http::HeaderMap, String, u32) {
        let id = wait_for("the answer", || self.inbox().pop());
        assert_eq!(self.inbox().len(), 1, "one answer");
        let first = self.ask(Method::GET, &format!("/inbox/{id}"), &[], b"");
        let range = first.headers().get("mex-chunk-range").and_then(|r| r.to_str().ok()).unwrap_or("1:1").to_owned();
        let chunks: u32 = range.split(':').nth(1).and_then(|n| n.parse().ok()).expect("a chunk range");
        let mut text = first.body().to_vec();
        for chunk in 2..=chunks {
            text.extend_from_slice(self.ask(Method::GET, &format!("/inbox/{id}/{chunk}"), &[], b"").body());
        }
        assert_eq!(self.ask(Method::PUT, &format!("/inbox/{id}/status/acknowledged"), &[], b"").status(), 200);
        (first.headers().clone(), String::from_utf8(text).expect("text"), chunks)
    }
}

impl Supplier {
    /// The same listener answers an old client's question over SOAP.
    fn verifies(&mut self, (nhs, born): &(String, String)) {
        let body = VERIFY.replace("{nhs}", nhs).replace("{born}", born);
        let request = Request::post("/smsp/pds")
            .header("host", self.client.authority())
            .header("content-type", "text/xml")
            .header("soapaction", "urn:nhs-itk:services:201005:verifyNHSNumber-v1-0")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let answer = self.runtime.block_on(self.client.ask(request)).expect("an answer");
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert_eq!(answer.status(), 200, "{text}");
        assert!(text.contains(r#"<value code="SMSP-0000""#) && text.contains(r#"<value value="true"/>"#), "{text}");
    }
}

const VERIFY: &str = r#"<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:itk="urn:nhs-itk:ns:201005">
<soap:Header><wsa:MessageID>4BEEA412-5FFA-48CC-A658-1236E0BC61C9</wsa:MessageID><wsa:Action>urn:nhs-itk:services:201005:verifyNHSNumber-v1-0</wsa:Action></soap:Header>
<soap:Body><itk:DistributionEnvelope><itk:header service="urn:nhs-itk:services:201005:verifyNHSNumber-v1-0" trackingid="0F8228B0-E251-40E2-82B5-88DF393FB0C5">
<itk:manifest count="1"><itk:manifestitem id="uuid_1" mimetype="text/xml" profileid="urn:nhs-en:profile:verifyNHSNumberRequest-v1-0"/></itk:manifest></itk:header>
<itk:payloads count="1"><itk:payload id="uuid_1"><verifyNHSNumberRequest-v1-0 xmlns="urn:hl7-org:v3" classCode="CACT" moodCode="EVN"><id root="7C81FCC1-E13A-4615-8DC6-B1E435BA0472"/>
<code code="verifyNHSNumberRequest-v1-0" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.284"/><queryEvent>
<Person.DateOfBirth><value value="{born}"/><semanticsText>Person.DateOfBirth</semanticsText></Person.DateOfBirth>
<Person.NHSNumber><value root="2.16.840.1.113883.2.1.4.1" extension="{nhs}"/><semanticsText>Person.NHSNumber</semanticsText></Person.NHSNumber>
</queryEvent></verifyNHSNumberRequest-v1-0></itk:payload></itk:payloads></itk:DistributionEnvelope></soap:Body></soap:Envelope>"#;

/// People made by the program, and the questions that find each of them.
fn people(demo: &Demo, count: usize) -> Vec<(String, String)> {
    let file = demo.path().join("people.ndjson");
    let made = Command::new(program())
        .args(["generate", "people", "--seed", "7", "--count", &count.to_string()])
        .output()
        .expect("spine starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(&file, &made.stdout).expect("a file");
    demo.try_ask(1, &["pds", "import", file.to_str().expect("a path")]).expect("people are loaded");
    let text = String::from_utf8(made.stdout).expect("text");
    let one = |line: &str| {
        let person: Value = serde_json::from_str(line).ok()?;
        let plain = person.get("invalidated").is_none() && person["resource"]["meta"]["security"][0]["code"] == "U";
        let born = person["resource"]["birthDate"].as_str().filter(|born| born.len() == 10)?.replace('-', "");
        plain.then(|| Some((person["nhsNumber"].as_str()?.to_owned(), born))).flatten()
    };
    text.lines().filter_map(one).collect()
}

/// `count` rows that ask by number and birth date, each fifth for somebody who is not there.
fn file(people: &[(String, String)], count: usize) -> String {
    let mut text = String::from(COLUMNS);
    for n in 0..count {
        let (nhs, born) = &people[n % people.len()];
        let born = if n % 5 == 4 { "18000101" } else { born };
        let _ = write!(text, "ref-{n},{nhs},,,,,{born},,,,,,,,,,,,,local-{n},,,,");
        text.push_str("\r\n");
    }
    text
}

/// Every row is answered once, in its place, with the right person or none.
fn judge(text: &str, people: &[(String, String)], count: usize) {
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), count, "as many answers as questions");
    for (n, row) in rows.iter().enumerate() {
        let (reference, local, nhs) = (format!("ref-{n}"), format!("local-{n}"), people[n % people.len()].0.as_str());
        let expected = if n % 5 == 4 { ("98", "0000000000") } else { ("00", nhs) };
        // Addresses may hold commas: count from both ends.
        let (code, matched, echoed) = (row[row.len() - 4], row[row.len() - 3], row[row.len() - 11]);
        assert_eq!(
            (row[0], echoed, code, matched),
            (reference.as_str(), local.as_str(), expected.0, expected.1),
            "row {n}"
        );
    }
}

/// In how many of `rows` rows the first person is asked for and there.
fn shown(people: usize, rows: usize) -> usize {
    (0..rows).step_by(people).filter(|n| n % 5 != 4).count()
}

/// How often the trail names these people for this file.
fn named(demo: &Demo, nhs: &str, message: &str) -> usize {
    let told = demo.try_ask(1, &["audit", "search", "--object", nhs, "--limit", "1000"]).unwrap_or_default();
    let all = told["items"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|record| record["interaction"] == "pds.trace" && record["object"] == message).count()
}

fn trace_one_file(partitions: u16) {
    let _alone = alone();
    let demo = Demo::start(Plan::of(partitions));
    let to = demo.json()["trace_mailbox"].as_str().expect("a mailbox").to_owned();
    let people = people(&demo, 200);
    let mut supplier = Supplier::of(&demo);
    let id = supplier.send(&to, "SPINE_PDS_MESH_V1", "mine.csv", file(&people, 1_000).as_bytes());
    let (headers, text, chunks) = supplier.collect();
    judge(&text, &people, 1_000);
    assert_eq!(chunks, 1, "a small answer is one chunk");
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    assert_eq!(
        (header("mex-from"), header("mex-workflowid"), header("mex-localid")),
        (to.as_str(), "SPINE_PDS_MESH_V1", "trace-1")
    );
    assert_eq!(header("mex-subject"), id);
    assert!(header("mex-filename").starts_with("RESP_mine_"));
    assert_eq!(named(&demo, &people[0].0, &id), shown(people.len(), 1_000), "the trail names each once for each row");
    let told = demo.try_ask(1, &["pds", "traces"]).expect("a listing");
    let item = told["items"].as_array().and_then(|items| items.first()).cloned().unwrap_or_default();
    assert_eq!(
        (item["state"].as_str(), item["rows"].as_u64(), item["code"].as_str()),
        (Some("answered"), Some(1_000), Some("00"))
    );
    supplier.verifies(&people[0]);
    // The request counts as collected, and its sender can see it.
    let tracked = supplier.ask(Method::GET, &format!("/outbox/tracking?messageID={id}"), &[], b"");
    assert!(String::from_utf8_lossy(tracked.body()).contains("acknowledged"));
    demo.replicas_are_equal();
    demo.audit_is_whole();
}

#[test]
fn a_file_is_traced_over_mesh() {
    trace_one_file(1);
}

#[test]
fn a_file_is_traced_over_mesh_at_three_partitions() {
    trace_one_file(3);
}

#[test]
fn the_node_that_works_on_a_file_is_killed() {
    const ROWS: usize = 20_000;
    let _alone = alone();
    let demo = Demo::start(Plan { set: &["trace.rate=4000"], ..Plan::of(1) });
    let to = demo.json()["trace_mailbox"].as_str().expect("a mailbox").to_owned();
    let people = people(&demo, 200);
    let mut supplier = Supplier::of(&demo);
    let id = supplier.send(&to, "SPINE_PDS_MESH_V1", "long.csv", file(&people, ROWS).as_bytes());
    let worker = demo.leader(1);
    let under_way = || {
        let told = demo.try_ask(worker, &["pds", "traces"])?;
        let done = told["items"].as_array()?.first()?["done"].as_u64()?;
        (done as usize > ROWS / 10).then_some(done)
    };
    let done = wait_for("the file to be under way", under_way) as usize;
    demo.kill(worker);
    assert!(done < ROWS, "{done} rows were answered before the node was killed");
    demo.start_node(worker);
    let (_, text, chunks) = supplier.collect();
    judge(&text, &people, ROWS);
    assert!(chunks > 1, "a large answer comes in chunks");
    demo.wait_ready();
    assert_eq!(named(&demo, &people[0].0, &id), shown(people.len(), ROWS), "the trail names each once for each row");
    demo.replicas_are_equal();
    demo.audit_is_whole();
}
