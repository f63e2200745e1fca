//! The demo's organisations, systems, mailboxes and workflows, registered as an operator would.

use crate::{
    cli::{
        app::{self, APPLICATIONS as APPLICATIONS_REGISTER},
        failure::Failure,
        mailbox::MAILBOXES,
        party::{self, PARTIES},
        prescriptions::Sender,
        registry::Mode,
        user::{USERS as USERS_REGISTER, smartcard},
        workflow::WORKFLOWS,
    },
    node::pki::hex,
    ops::{admin_client::AdminClient, codes},
};
use aws_lc_rs::digest::{SHA256, digest};
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

/// The mailbox whose files PDS traces. It is in no listing of `mailboxes`: nobody but the service collects from it.
pub const TRACE_MAILBOX: &str = "X26TRACE1";

/// (id, senders, receivers)
pub const WORKFLOWS_OF_DEMO: &[(&str, &[&str], &[&str])] = &[
    ("TEST_WORKFLOW", &["X26ABC1"], &["X26ABC2"]),
    ("TEST_WORKFLOW_ACK", &["X26ABC2"], &["X26ABC1", "X26ABC3"]),
    ("TEST_WORKFLOW2", &["X26ABC1"], &["X26ABC1", "X26ABC2", "X26ABC3"]),
];

/// Requests a second of each demo application: enough for tests and measurements to go at their own speed.
const QUOTA: u32 = 20_000;

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

pub const APPLICATIONS: &[Application] = &[
    Application {
        name: "demo-app",
        client_id: "spine-demo-app",
        ods: "X26",
        products: &[
            "personal-demographics-service:level0,level3,aal1,aal2,aal3,P0,P5,P9",
            "spine-directory:level0,level3",
            "organisation-data-service:level0,level3",
            "healthcare-worker:level3,aal2,aal3",
            "legitimate-relationships:level3,aal2,aal3",
            "patient-audit:level3,aal3,P9",
            "electronic-prescription-service-api:prescribing:level3,aal3",
            "electronic-prescription-service-api:dispensing:level3,aal3",
            "electronic-prescription-service-api:tracker:level3,aal3",
        ],
        access: &["level0", "level3"],
    },
    Application {
        name: "demo-pharmacy",
        client_id: "spine-demo-pharmacy",
        ods: "FA565",
        products: &[
            "electronic-prescription-service-api:dispensing:level3,aal3",
            "electronic-prescription-service-api:tracker:level3,aal3",
            "prescription-status-update:level3",
        ],
        access: &["level3"],
    },
];

/// Organisations without a client certificate: a practice that prescribes, and pharmacies.
pub const ORGANISATIONS: &[(&str, &str)] =
    &[(PRACTICE, "Demo Surgery"), (PHARMACY, "Demo Pharmacy"), ("VNCEL", "Other Pharmacy")];

/// The demo application's secret and the address that a browser is sent back to: nothing needs to listen there.
pub const CLIENT_SECRET: &str = "demo-app-secret-0001";
pub const REDIRECT_URI: &str = "http://localhost/callback";

/// A person who works in the demo's organisations. They log in with password and one-time code.
pub struct User {
    pub id: &'static str,
    pub given: &'static str,
    pub family: &'static str,
    pub password: &'static str,
    pub totp_secret: &'static str,
    /// Has a smartcard too, and so proves level 3: what prescriptions ask for.
    pub smartcard: bool,
    /// (role profile, organisation, job role, activities)
    pub roles: &'static [(&'static str, &'static str, &'static str, &'static [&'static str])],
}

const CLINICAL: &[&str] = &["B0820=View Patient Demographics", "B0825=Amend Patient Demographics"];
const PRESCRIBING: &[&str] = &[
    "B0820=View Patient Demographics",
    "B0825=Amend Patient Demographics",
    "B0278=Perform Prescription Preparation",
    "B0420=Independent Prescribing",
    "B0468=Cancel/Discontinue Medication",
];
const DISPENSING: &[&str] = &["B0570=Perform Pharmacy Activities", "B0572=Manage Pharmacy Activities"];

pub const USERS: &[User] = &[
    User {
        id: "656005750109",
        given: "Nina",
        family: "Nurse",
        password: "demo-nurse-password",
        totp_secret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        smartcard: false,
        roles: &[("656014452109", "X26", "S8000:G8000:R8001", CLINICAL)],
    },
    User {
        id: "656005750107",
        given: "Dora",
        family: "Doctor",
        password: "demo-doctor-password",
        totp_secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        smartcard: true,
        roles: &[
            ("656014452107", "X26", "S8000:G8000:R8000", PRESCRIBING),
            ("656014452108", "X27", "S8000:G8000:R8000", CLINICAL),
        ],
    },
    User {
        id: PHARMACIST,
        given: "Philip",
        family: "Pharmacist",
        password: "demo-pharmacist-password",
        totp_secret: "NBSWY3DPO5XXE3DENBSWY3DPO5XXE3DE",
        smartcard: true,
        roles: &[("656014452105", PHARMACY, "S8000:G8000:R8003", DISPENSING)],
    },
    // At the desk, with a role that opens nothing of PDS: what a refusal looks like.
    User {
        id: "656005750106",
        given: "Rita",
        family: "Reception",
        password: "demo-desk-password",
        totp_secret: "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK",
        smartcard: false,
        roles: &[("656014452106", "X26", "S8000:G8000:R8009", &[])],
    },
    // With one role, so that requests need no NHSD-Session-URID.
    User {
        id: PRESCRIBER,
        given: "Petra",
        family: "Prescriber",
        password: "demo-prescriber-password",
        totp_secret: "ONYGS3TFEBSGK3LPONYGS3TFEBSGK3LP",
        smartcard: true,
        roles: &[("656014452103", PRACTICE, "S8000:G8000:R8000", PRESCRIBING)],
    },
];

/// Who signs the demo's prescriptions, and who dispenses them; each has one role.
pub const PRESCRIBER: &str = "656005750103";
pub const PHARMACIST: &str = "656005750105";
pub const PRACTICE: &str = "A83008";
/// Where the demo's patients have their medicines from.
pub const PHARMACY: &str = "FA565";

/// One of the demo's people as messages name them, in their first role.
pub fn sender(id: &str) -> Option<Sender> {
    let user = USERS.iter().find(|user| user.id == id)?;
    let (role, ods, job, _) = user.roles.first()?;
    let organisation = ORGANISATIONS.iter().find(|(code, _)| code == ods)?.1;
    Some(Sender {
        user: user.id.into(),
        role: (*role).into(),
        job: (*job).into(),
        given: user.given.into(),
        family: user.family.into(),
        ods: (*ods).into(),
        organisation: organisation.into(),
    })
}

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
    for (ods, name) in ORGANISATIONS {
        PARTIES.put(client, ods, Mode::Put, &json!({ "name": name }), false).await?;
    }
    for (id, name, ods) in MAILBOXES_OF_DEMO {
        let org = CLIENTS.iter().find(|c| c.ods == *ods).map_or("", |c| c.organisation);
        let fields = json!({
            "name": name, "ods": ods, "org_code": ods, "org_name": org, "billing_entity": "England", "password": PASSWORD,
        });
        MAILBOXES.put(client, id, Mode::Put, &fields, false).await?;
    }
    let fields = json!({
        "name": "PDS batch trace", "ods": "X26", "org_code": "X26", "org_name": "Demo Hospital", "billing_entity": "England",
        "password": PASSWORD, "service": "pds-trace",
    });
    MAILBOXES.put(client, TRACE_MAILBOX, Mode::Put, &fields, false).await?;
    for (id, senders, receivers) in WORKFLOWS_OF_DEMO {
        let fields = json!({"senders": senders, "receivers": receivers});
        WORKFLOWS.put(client, id, Mode::Put, &fields, false).await?;
    }
    for a in APPLICATIONS {
        register_application(client, layout, a).await?;
    }
    open_register(client).await?;
    for user in USERS {
        register_user(client, layout, user).await?;
    }
    Ok(())
}

/// A demo is of one operator who enters people as it pleases; its rules say so, as a site's would.
async fn open_register(client: &AdminClient) -> Result<(), Failure> {
    const PATH: &str = "/v1/registration-rules";
    const YEARS: u64 = 50 * 365 * 86_400;
    if client.get(PATH).await?["open"] != true {
        let rules = json!({"open_for": YEARS, "one_operator": true, "reason": "a demo, of made-up people"});
        client.call(http::Method::PUT, PATH, &rules).await?;
    }
    Ok(())
}

/// Step by step, as an operator would; one who is there already stays as they are, suspended ones too.
async fn register_user(client: &AdminClient, layout: &super::layout::Layout, user: &User) -> Result<(), Failure> {
    if let Ok(told) = client.get(&format!("/v1/users/{}", user.id)).await
        && told["state"] != "applied"
    {
        return Ok(());
    }
    let person = json!({"given": user.given, "family": user.family});
    USERS_REGISTER.put(client, user.id, Mode::Put, &person, false).await?;
    for (urp, ods, role_code, activities) in user.roles {
        let path = format!("/v1/users/{}/roles/{urp}?mode=put", user.id);
        let role = json!({"ods": ods, "role_code": role_code, "activities": activities});
        client.call(http::Method::PUT, &path, &role).await?;
    }
    let proofs = json!({"password": user.password, "totp_secret": user.totp_secret});
    USERS_REGISTER.put(client, user.id, Mode::Set, &proofs, false).await?;
    if user.smartcard {
        let card = serde_json::Value::Object(smartcard(&layout.smartcard(user.id).0)?.0);
        USERS_REGISTER.put(client, user.id, Mode::Set, &card, false).await?;
    }
    let verified = json!({"identity_level": 3, "state": "identity-verified"});
    USERS_REGISTER.put(client, user.id, Mode::Set, &verified, false).await?;
    USERS_REGISTER.put(client, user.id, Mode::Set, &json!({"state": "active"}), false).await?;
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
    // Always the same, so that a second start changes nothing.
    const SALT: &[u8] = b"spine demo salt!";
    let secret = digest(&SHA256, &[SALT, CLIENT_SECRET.as_bytes()].concat());
    let fields = json!({
        "name": a.name, "ods": a.ods, "products": products, "approved": true, "quota": QUOTA,
        "jwks": json!({"keys": [public]}).to_string(), "redirect_uris": [REDIRECT_URI],
        "secret_salt": hex(SALT), "secret_hash": hex(secret.as_ref()),
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
