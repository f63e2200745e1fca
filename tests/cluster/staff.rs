//! Members of staff at the HTTP APIs of a site that is broken: a request goes again, the same to the byte and under the same id, to the
//! next node, until one says how it ended. What no node may say is for the tests to judge.

use super::{
    demo::{Demo, PATIENCE, program},
    load::{PACE, TIMEOUT},
};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use spine::cli::bench::{
    client::{Client, Failure},
    site::Site,
};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const PATIENT: &str = "/personal-demographics/FHIR/R4/Patient";

/// The nodes' APIs, and access tokens of everybody who works here: they outlive the nodes that gave them.
pub struct Office {
    site: Site,
    /// With the role that each acts in.
    tokens: Vec<(String, String)>,
}

impl Office {
    /// Of those who may change people (spec/identity.md §6.5).
    pub fn open(demo: &Demo) -> Arc<Office> {
        let (site, _) = Site::of_apis(demo.path()).expect("demo.json can be read");
        Office::of(demo, site, "B0825")
    }

    /// Of those who have the activity and a smartcard, which proves each connection too: mutual TLS.
    pub fn with_smartcards(demo: &Demo, activity: &str) -> Arc<Office> {
        let (mut site, _) = Site::of_apis(demo.path()).expect("demo.json can be read");
        let users = holders(demo, activity);
        let card = users.iter().find(|user| user["smartcard"].is_string()).expect("somebody has a smartcard");
        let ca = demo.within(&demo.json()["ca"]);
        let (cert, key) = (demo.within(&card["smartcard"]), demo.within(&card["smartcard_key"]));
        site.tls = proving(&ca, &cert, &key);
        Office::of(demo, site, activity)
    }

    fn of(demo: &Demo, site: Site, activity: &str) -> Arc<Office> {
        let users = holders(demo, activity);
        let token = |user: &Value| {
            let asked = ["demo", "token", "--as", user["id"].as_str().expect("an id"), "--dir"];
            let given = Command::new(program()).args(asked).arg(demo.path()).stdin(Stdio::null()).output();
            let given = given.expect("spine starts");
            assert!(given.status.success(), "{}", String::from_utf8_lossy(&given.stderr));
            let role = user["roles"][0]["urp"].as_str().expect("a role profile").to_owned();
            (format!("Bearer {}", String::from_utf8_lossy(&given.stdout).trim()), role)
        };
        Arc::new(Office { site, tokens: users.iter().map(token).collect() })
    }

    /// How many work here.
    pub fn people(&self) -> usize {
        self.tokens.len()
    }
}

/// Everybody whose first role has the activity.
fn holders(demo: &Demo, activity: &str) -> Vec<Value> {
    let mut users = demo.json()["users"].as_array().cloned().expect("the demo has users");
    let has =
        |user: &Value| user["roles"][0]["activities"].as_array().is_some_and(|all| all.contains(&json!(activity)));
    users.retain(has);
    users
}

/// Trusts the demo's authority, and proves itself by a certificate.
fn proving(ca: &Path, cert: &Path, key: &Path) -> Arc<ClientConfig> {
    let chain = |path: &Path| -> Vec<CertificateDer<'static>> {
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        found.expect("certificates can be read")
    };
    let mut roots = RootCertStore::empty();
    chain(ca).into_iter().for_each(|authority| roots.add(authority).expect("an authority"));
    let secret = PrivateKeyDer::from_pem_file(key).expect("a key can be read");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("protocol versions").with_root_certificates(roots);
    Arc::new(config.with_client_auth_cert(chain(cert), secret).expect("certificate and key fit"))
}

/// One request: sent as often as it takes, always the same.
#[derive(Clone)]
pub struct Ask {
    method: Method,
    path: String,
    pub id: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Ask {
    /// `series` and `count` name the request among all of a test.
    fn new(method: Method, path: String, (series, count): (u16, usize), body: Bytes) -> Ask {
        let id = format!("60e0b220-8136-4ca5-{series:04x}-{count:012x}");
        Ask { method, path, id, headers: vec![], body }
    }

    /// A message under an id of its own.
    pub fn post(path: &str, id: String, body: String) -> Ask {
        Ask { method: Method::POST, path: path.to_owned(), id, headers: vec![], body: body.into() }
    }

    /// What is at a path, with headers that say more than who asks.
    pub fn get(path: String, id: String, headers: Vec<(&'static str, String)>) -> Ask {
        Ask { method: Method::GET, path, id, headers, body: Bytes::new() }
    }

    /// A new person, as [`person`] describes them.
    pub fn create(person: &Value, name: (u16, usize)) -> Ask {
        Ask::new(Method::POST, PATIENT.into(), name, person.to_string().into())
    }

    /// A change of the birth date, where the record has this version.
    pub fn born(number: &str, version: u64, day: &str, name: (u16, usize)) -> Ask {
        let body = json!({"patches": [{"op": "replace", "path": "/birthDate", "value": day}]}).to_string();
        let ask = Ask::new(Method::PATCH, format!("{PATIENT}/{number}"), name, body.into());
        Ask { headers: vec![("if-match", format!("W/\"{version}\""))], ..ask }
    }

    pub fn retrieve(number: &str, name: (u16, usize)) -> Ask {
        Ask::new(Method::GET, format!("{PATIENT}/{number}"), name, Bytes::new())
    }

    /// By what tells people apart here.
    pub fn search(family: &str, born: &str, gender: &str, name: (u16, usize)) -> Ask {
        let query = format!("family={family}&birthdate=eq{born}&gender={gender}");
        Ask::new(Method::GET, format!("{PATIENT}?{query}"), name, Bytes::new())
    }

    fn request(&self, host: &str, token: &str, role: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, token)
            .header(header::CONTENT_TYPE, "application/json")
            .header("nhsd-session-urid", role)
            .header("x-request-id", &self.id);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(self.body.clone())).expect("a request of known parts")
    }
}

/// The published new patient under another name.
pub fn person(family: &str, born: &str) -> Value {
    let published = include_str!("../data/pds/create/create-patient.json");
    let mut person: Value = serde_json::from_str(published).expect("JSON");
    person["name"] = json!([{"use": "usual", "given": ["Jane"], "family": family}]);
    person["birthDate"] = json!(born);
    person
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// How many tries before may have reached the site, and nobody said what came of them.
    pub cut: usize,
    /// When the try began that was answered, in milliseconds since 1970.
    pub asked: u64,
}

impl Answer {
    /// The code of a refusal, or nothing.
    pub fn code(&self) -> &str {
        self.body.pointer("/issue/0/details/coding/0/code").and_then(Value::as_str).unwrap_or_default()
    }

    /// The person's number and version, of an answer that shows one.
    pub fn person(&self) -> Option<(&str, u64)> {
        let version = self.body.pointer("/meta/versionId")?.as_str()?.parse().ok()?;
        Some((self.body["id"].as_str()?, version))
    }
}

/// One of them, at a connection of their own.
pub struct Staff {
    office: Arc<Office>,
    token: String,
    role: String,
    client: Client,
    node: usize,
}

impl Staff {
    /// The `who`th of them, who begins at the `node`th node.
    pub fn new(office: &Arc<Office>, who: usize, node: usize) -> Staff {
        let (token, role) = office.tokens[who % office.people()].clone();
        Staff { office: Arc::clone(office), token, role, client: Client::new(&office.site, node, TIMEOUT), node }
    }

    fn next_node(&mut self) {
        self.node += 1;
        self.client = Client::new(&self.office.site, self.node, TIMEOUT);
    }

    /// Asks until a node says how it ended: anything but "not now" and silence.
    pub async fn surely(&mut self, ask: &Ask) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let mut cut = 0;
        loop {
            let asked = now();
            let told = self.client.ask(ask.request(self.client.authority(), &self.token, &self.role)).await;
            let last = match &told {
                Ok(told) if told.status() != 503 => {
                    let body = serde_json::from_slice(told.body()).unwrap_or_default();
                    return Answer { status: told.status().as_u16(), body, cut, asked };
                }
                Ok(told) => {
                    assert!(told.headers().contains_key(header::RETRY_AFTER), "503 without Retry-After: {told:?}");
                    cut += 1;
                    "503"
                }
                Err(failure) => {
                    cut += usize::from(matches!(failure, Failure::Closed | Failure::Timeout));
                    failure.name()
                }
            };
            assert!(Instant::now() < deadline, "no answer to {} {} in {PATIENCE:?}: {last}", ask.method, ask.id);
            self.next_node();
            tokio::time::sleep(PACE * 5).await;
        }
    }
}

/// For those who work one after the other in a thread of their own.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}
