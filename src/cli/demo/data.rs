//! The demo's organisations, systems, mailboxes and workflows, registered as an operator would.

use crate::{
    cli::{
        app::{self, APPLICATIONS as APPLICATIONS_REGISTER},
        failure::Failure,
        mailbox::MAILBOXES,
        party::{self, PARTIES},
        registry::Mode,
        workflow::WORKFLOWS,
    },
    ops::{admin_client::AdminClient, codes},
};
use serde_json::json;

/// The environment's shared key of MESH, as the published examples have it.
pub const SHARED_KEY: &str = "TestKey";
pub const PASSWORD: &str = "password";

/// A supplier's system with a client certificate.
pub struct Client {
    pub name: &'static str,
    pub ods: &'static str,
    pub organisation: &'static str,
    pub asid: &'static str,
    pub party_key: &'static str,
}

impl Client {
    /// The convention of MESH client certificates (mesh.md §2).
    pub fn common_name(&self) -> String {
        format!("{}.{}.api.mesh-client.nhs.uk", self.name, self.ods.to_lowercase())
    }
}

pub const CLIENTS: &[Client] = &[
    Client {
        name: "testmb-x26",
        ods: "X26",
        organisation: "Demo Hospital",
        asid: "999000000026",
        party_key: "X26-900026",
    },
    Client {
        name: "testmb-x27",
        ods: "X27",
        organisation: "Demo Laboratory",
        asid: "999000000027",
        party_key: "X27-900027",
    },
];

/// (id, name, organisation)
pub const MAILBOXES_OF_DEMO: &[(&str, &str, &str)] =
    &[("X26ABC1", "TESTMB1", "X26"), ("X26ABC2", "TESTMB2", "X26"), ("X26ABC3", "TESTMB3", "X27")];

/// (id, senders, receivers)
pub const WORKFLOWS_OF_DEMO: &[(&str, &[&str], &[&str])] = &[
    ("TEST_WORKFLOW", &["X26ABC1"], &["X26ABC2"]),
    ("TEST_WORKFLOW_ACK", &["X26ABC2"], &["X26ABC1", "X26ABC3"]),
    ("TEST_WORKFLOW2", &["X26ABC1"], &["X26ABC1", "X26ABC2", "X26ABC3"]),
];

/// The kid of each demo application's key.
pub const KID: &str = "demo-1";

/// A client of the HTTP APIs, with a key under the demo's folder.
pub struct Application {
    pub name: &'static str,
    pub client_id: &'static str,
    pub ods: &'static str,
    /// As `spine app add --product` takes them.
    pub products: &'static [&'static str],
    pub access: &'static [&'static str],
}

pub const APPLICATIONS: &[Application] = &[Application {
    name: "demo-app",
    client_id: "spine-demo-app",
    ods: "X26",
    products: &[
        "personal-demographics-service:level0,level3,aal1,aal2,aal3,P0,P5,P9",
        "spine-directory:level0,level3",
        "organisation-data-service:level0,level3",
    ],
    access: &["level0", "level3"],
}];

/// Registers everything that is missing; what is there already stays.
pub async fn register(client: &AdminClient, layout: &super::layout::Layout) -> Result<(), Failure> {
    for c in CLIENTS {
        let told = party::described(&layout.client(c.name).0)?;
        let fields = json!({
            "name": c.organisation, "asid": c.asid, "party_key": c.party_key,
            "certificate": told.fingerprint, "common_name": told.common_name,
        });
        PARTIES.put(client, c.ods, Mode::Put, &fields, false).await?;
    }
    for (id, name, ods) in MAILBOXES_OF_DEMO {
        let org = CLIENTS.iter().find(|c| c.ods == *ods).map_or("", |c| c.organisation);
        let fields = json!({
            "name": name, "ods": ods, "org_code": ods, "org_name": org, "billing_entity": "England", "password": PASSWORD,
        });
        MAILBOXES.put(client, id, Mode::Put, &fields, false).await?;
    }
    for (id, senders, receivers) in WORKFLOWS_OF_DEMO {
        let fields = json!({"senders": senders, "receivers": receivers});
        WORKFLOWS.put(client, id, Mode::Put, &fields, false).await?;
    }
    for a in APPLICATIONS {
        register_application(client, layout, a).await?;
    }
    Ok(())
}

/// Its key is made once and kept in the demo's folder.
async fn register_application(
    client: &AdminClient,
    layout: &super::layout::Layout,
    a: &Application,
) -> Result<(), Failure> {
    let path = layout.application_key(a.name);
    let public = match std::fs::read_to_string(&path) {
        Ok(pem) => {
            let trouble = |why| Failure::of(&codes::CLI_CERTIFICATE, "an application's key cannot be used", why);
            super::signer::Signer::of_pem(&pem).map_err(trouble)?.public(KID)
        }
        Err(_) => {
            let (pem, public) = app::made(KID)?;
            crate::cli::cert::write_private(&path, &pem)?;
            public
        }
    };
    let products = a.products.iter().map(|text| app::product(text)).collect::<Result<serde_json::Map<_, _>, _>>()?;
    let fields = json!({
        "name": a.name, "ods": a.ods, "products": products, "approved": true,
        "jwks": json!({"keys": [public]}).to_string(),
    });
    APPLICATIONS_REGISTER.put(client, a.client_id, Mode::Put, &fields, false).await?;
    Ok(())
}

/// An Authorization header's value, good for one request within two hours (mesh.md §3).
pub fn token(shared_key: &str, mailbox: &str, password: &str) -> String {
    let nonce = uuid::Uuid::new_v4();
    let minute = jiff::Timestamp::now().strftime("%Y%m%d%H%M").to_string();
    token_of(shared_key, mailbox, password, &nonce.to_string(), &minute)
}

fn token_of(shared_key: &str, mailbox: &str, password: &str, nonce: &str, minute: &str) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, shared_key.as_bytes());
    let tag = hmac::sign(&key, format!("{mailbox}:{nonce}:0:{password}:{minute}").as_bytes());
    format!("NHSMESH {mailbox}:{nonce}:0:{minute}:{}", crate::node::pki::hex(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_agree_with_the_published_vector() {
        let got =
            super::token_of("TestKey", "X26ABC1", "password", "bd0e2bd5-218e-41d0-83a9-73fdec414803", "202005041305");
        assert!(
            got.ends_with(":202005041305:1d7da1305d2c4f169b097f4e7fddbc8dfba024de2ea0fdee858b64536f2a90bc"),
            "{got}"
        );
    }
}
