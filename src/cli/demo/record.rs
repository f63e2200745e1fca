//! `DIR/demo.json`: what scripts read. Its shape is a contract; fields are added, never changed.

use super::{
    data::{self, CLIENTS},
    layout::Layout,
};
use crate::{
    cli::failure::{Failure, failure, file},
    ops::codes,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A running demo. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The authority of listeners and clients, PEM.
    pub ca: PathBuf,
    /// The environment's shared key for MESH tokens, as text.
    pub shared_key: String,
    pub nodes: Vec<Node>,
    pub clients: Vec<ClientRecord>,
    pub mailboxes: Vec<Mailbox>,
    /// Ids.
    pub workflows: Vec<String>,
    /// Clients of the HTTP APIs.
    #[serde(default)]
    pub applications: Vec<Application>,
    /// Where a signed JWT gives a token; the `aud` of such a JWT, whichever node is asked.
    #[serde(default)]
    pub token_url: String,
    /// Of the APIs.
    #[serde(default)]
    pub issuer: String,
    /// Files for batch trace go to this mailbox.
    #[serde(default)]
    pub trace_mailbox: String,
    /// Of ID tokens: the provider where staff log in.
    #[serde(default)]
    pub staff_issuer: String,
    /// People who log in.
    #[serde(default)]
    pub users: Vec<User>,
    /// What the demo's prescriptions were when they had been loaded.
    #[serde(default)]
    pub prescriptions: Vec<Prescription>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prescription {
    /// Short and long id.
    pub id: String,
    pub long_id: String,
    pub nhs_number: String,
    /// Of the current issue; `9005` is a cancellation that waits for its order.
    pub state: String,
    /// Of each issue, the first first.
    pub states: Vec<String>,
    /// The issue that is current.
    pub issue: u32,
    /// ODS code of the nominated pharmacy, if there is one.
    pub nominated: Option<String>,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub id: String,
    /// dm+d.
    pub code: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Twelve digits.
    pub id: String,
    pub name: String,
    pub password: String,
    /// Base32, for one-time codes (RFC 6238).
    pub totp_secret: String,
    /// Certificate and key of their smartcard, PEM; none for those who have none.
    #[serde(default)]
    pub smartcard: Option<PathBuf>,
    #[serde(default)]
    pub smartcard_key: Option<PathBuf>,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Role profile: what `NHSD-Session-URID` names.
    pub urp: String,
    pub ods: String,
    pub role_code: String,
    pub activities: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    pub name: String,
    pub client_id: String,
    /// Names the key in the application's key set.
    pub kid: String,
    /// Its private key, PEM; `key_file` and `private_key` are the same path.
    pub key_file: PathBuf,
    pub private_key: PathBuf,
    /// APIs and levels, `personal-demographics-service:level0,level3`.
    pub products: Vec<String>,
    /// Levels that the application can prove.
    pub access: Vec<String>,
    /// For codes and refresh tokens of people.
    #[serde(default)]
    pub client_secret: String,
    #[serde(default)]
    pub redirect_uris: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// 1, 2, 3…
    pub id: u16,
    /// Of the node's process now; a restarted node has another.
    pub pid: u32,
    /// `https://127.0.0.1:8440`
    pub supplier: String,
    /// Of the listener of the HTTP APIs.
    pub internet: Option<String>,
    /// `ldaps://127.0.0.1:8444`, with the suppliers' certificates.
    #[serde(default)]
    pub ldap: String,
    /// `http://127.0.0.1:8442/metrics`
    pub metrics: String,
    /// Admin socket.
    pub socket: PathBuf,
    pub data: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    pub name: String,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ods: String,
    pub asid: String,
    pub party_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    pub id: String,
    pub name: String,
    pub password: String,
    pub ods: String,
}

impl Record {
    /// Of a demo whose nodes run as these processes, in order.
    pub fn new(layout: &Layout, pids: &[u32]) -> Record {
        let node = |(i, pid): (usize, &u32)| {
            let n = i as u16 + 1;
            Node {
                id: n,
                pid: *pid,
                supplier: format!("https://{}", layout.supplier(n)),
                internet: Some(layout.api_url_of(n)),
                ldap: format!("ldaps://{}", layout.ldap(n)),
                metrics: format!("http://{}/metrics", layout.ops(n)),
                socket: layout.socket(n),
                data: layout.data(n),
            }
        };
        let client = |c: &data::Client| {
            let (cert, key) = layout.client(c.name);
            let (ods, asid, party_key) = (c.ods.into(), c.asid.into(), c.party_key.into());
            ClientRecord { name: c.name.into(), cert, key, ods, asid, party_key }
        };
        let mailbox = |(id, name, ods): &(&str, &str, &str)| Mailbox {
            id: (*id).into(),
            name: (*name).into(),
            password: data::PASSWORD.into(),
            ods: (*ods).into(),
        };
        let application = |a: &data::Application| Application {
            name: a.name.into(),
            client_id: a.client_id.into(),
            kid: data::KID.into(),
            key_file: layout.application_key(a.name),
            private_key: layout.application_key(a.name),
            products: a.products.iter().map(|p| (*p).into()).collect(),
            access: a.access.iter().map(|level| (*level).into()).collect(),
            client_secret: data::CLIENT_SECRET.into(),
            redirect_uris: vec![data::REDIRECT_URI.into()],
        };
        let role = |(urp, ods, role_code, activities): &(&str, &str, &str, &[&str])| Role {
            urp: (*urp).into(),
            ods: (*ods).into(),
            role_code: (*role_code).into(),
            activities: activities.iter().filter_map(|a| a.split('=').next()).map(str::to_owned).collect(),
        };
        let user = |u: &data::User| User {
            id: u.id.into(),
            name: format!("{} {}", u.given, u.family),
            password: u.password.into(),
            totp_secret: u.totp_secret.into(),
            smartcard: u.smartcard.then(|| layout.smartcard(u.id).0),
            smartcard_key: u.smartcard.then(|| layout.smartcard(u.id).1),
            roles: u.roles.iter().map(role).collect(),
        };
        Record {
            applications: data::APPLICATIONS.iter().map(application).collect(),
            token_url: format!("{}/oauth2/token", layout.api_url()),
            issuer: layout.api_url(),
            staff_issuer: format!("{}{}", layout.api_url(), super::layout::ISSUER_PATH),
            users: data::USERS.iter().map(user).collect(),
            ca: layout.ca(),
            shared_key: data::SHARED_KEY.into(),
            nodes: pids.iter().enumerate().map(node).collect(),
            clients: CLIENTS.iter().map(client).collect(),
            mailboxes: data::MAILBOXES_OF_DEMO.iter().map(mailbox).collect(),
            workflows: data::WORKFLOWS_OF_DEMO.iter().map(|(id, ..)| (*id).into()).collect(),
            trace_mailbox: data::TRACE_MAILBOX.into(),
            prescriptions: super::prescriptions::loaded(layout),
        }
    }

    /// A reader sees the old file or the new one, never a part.
    pub fn write(&self, layout: &Layout) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        crate::cli::cert::write_private(&layout.record(), &text)
    }

    pub fn read(layout: &Layout) -> Result<Record, Failure> {
        let path = layout.record();
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                let why = format!("{} is not there", path.display());
                failure(&codes::CLI_DEMO, "no demo is ready in this folder", why, "start one: spine demo --dir DIR")
            }
            _ => file("the demo's record cannot be read", &path, &e),
        })?;
        serde_json::from_str(&text)
            .map_err(|e| Failure::of(&codes::CLI_DEMO, "the demo's record is damaged", e.to_string()))
    }
}
