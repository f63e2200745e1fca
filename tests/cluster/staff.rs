//! Members of staff at the HTTP APIs of a site that is broken: a request goes again, the same to the byte and under the same id, to the
//! next node, until one says how it ended. What no node may say is for the tests to judge.

use super::{
    demo::{Demo, PATIENCE, program},
    load::{PACE, TIMEOUT},
};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use spine::cli::bench::{
    client::{Client, Failure},
    site::Site,
};
use std::{
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
    pub fn open(demo: &Demo) -> Arc<Office> {
        let (site, _) = Site::of_apis(demo.path()).expect("demo.json can be read");
        let mut users = demo.json()["users"].as_array().cloned().expect("the demo has users");
        // Not everybody may change people (spec/identity.md §6.5).
        users.retain(|user| {
            user["roles"][0]["activities"].as_array().is_some_and(|held| held.iter().any(|a| a == "B0825"))
        });
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

/// One request: sent as often as it takes, always the same.
#[derive(Clone)]
pub struct Ask {
    method: Method,
    path: String,
    pub id: String,
    version: Option<u64>,
    body: Bytes,
}

impl Ask {
    /// `series` and `count` name the request among all of a test.
    fn new(method: Method, path: String, (series, count): (u16, usize), body: Bytes) -> Ask {
        let id = format!("60e0b220-8136-4ca5-{series:04x}-{count:012x}");
        Ask { method, path, id, version: None, body }
    }

    /// A new person, as [`person`] describes them.
    pub fn create(person: &Value, name: (u16, usize)) -> Ask {
        Ask::new(Method::POST, PATIENT.into(), name, person.to_string().into())
    }

    /// A change of the birth date, where the record has this version.
    pub fn born(number: &str, version: u64, day: &str, name: (u16, usize)) -> Ask {
        let body = json!({"patches": [{"op": "replace", "path": "/birthDate", "value": day}]}).to_string();
        let ask = Ask::new(Method::PATCH, format!("{PATIENT}/{number}"), name, body.into());
        Ask { version: Some(version), ..ask }
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
        if let Some(version) = self.version {
            request = request.header(header::IF_MATCH, format!("W/\"{version}\""));
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
