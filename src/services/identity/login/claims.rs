//! What the provider tells: discovery, key set, ID token, user-info (spec/identity.md §2.1, §2.2, §2.4).

use super::{
    command::LoginReply,
    means::{self, Wanted},
    page::{self, Content, Page},
    routes as paths,
    rows::sid,
};
use crate::{
    engine::draft::Fault,
    services::{
        directory::{
            rows::org_name,
            signing,
            users::{self, Coded, RoleProfile, User},
        },
        identity::Identity,
    },
    store::Reader,
    wire::jwt::to_base64url,
};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

/// Life of an ID token, in seconds.
const ID_TOKEN_S: u64 = 3_600;

pub const SCOPES: &[&str] = &[
    "openid",
    "profile",
    "email",
    "nhsperson",
    "associatedorgs",
    "nationalrbacaccess",
    "organisationalmemberships",
    "professionalmemberships",
    "selectedrole",
];

impl Identity {
    pub(super) fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer());
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": at(paths::AUTHORIZE),
            "token_endpoint": at(paths::TOKEN),
            "userinfo_endpoint": at(paths::USERINFO),
            "jwks_uri": at(paths::KEYS),
            "end_session_endpoint": at(paths::END_SESSION),
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS512"],
            "scopes_supported": SCOPES,
            "acr_values_supported": means::supported(),
            "code_challenge_methods_supported": ["S256"],
        })
    }

    /// Puts what only the registry knows into an answer. `sign` makes a JWT of claims.
    pub fn finish(
        &self,
        page: Page,
        site: &dyn Reader,
        sign: &mut dyn FnMut(&Value) -> Result<String, Fault>,
    ) -> Result<Page, Fault> {
        let body = match page.body {
            Content::Roles { ticket, action, uid, roles } => {
                let mut shown = vec![];
                for (urp, row) in users::roles_of(site, &uid)?.into_iter().filter(|(urp, _)| roles.contains(urp)) {
                    shown.push((urp, last_part(&row.role_name), org_name(site, &row.ods)?));
                }
                Content::Html(page::roles(&ticket, &action, &shown))
            }
            Content::UserInfo { uid, scope, now } => Content::Json(user_info(site, &uid, &scope, now)?),
            Content::Signed { mut body, mut id_token, uid } => {
                let level = users::user(site, &uid)?.map_or(0, |user| user.identity_level);
                id_token["id_assurance_level"] = json!(level.to_string());
                body["id_token"] = json!(sign(&id_token)?);
                Content::Json(body)
            }
            Content::Keys => Content::Json(key_set(site)?),
            other => other,
        };
        Ok(Page { body, ..page })
    }

    /// Claims of the ID token for a redeemed code.
    pub(super) fn id_token(&self, reply: &LoginReply, client: &str, code: &str, attempt: u64) -> Value {
        let grant = reply.grant.clone().unwrap_or_default();
        let request = grant.request.unwrap_or_default();
        let now = reply.now / 1_000;
        let acr = met(&request.acr, &grant.amr, grant.level);
        let mut claims = json!({
            "iss": self.issuer(), "sub": grant.user, "aud": client, "azp": client, "iat": now,
            "exp": now + ID_TOKEN_S, "auth_time": grant.auth_time / 1_000, "acr": acr, "amr": grant.amr,
            "authentication_assurance_level": grant.level.to_string(),
            "at_hash": half(&reply.secret.0), "c_hash": half(code), "sid": sid(&reply.session),
            "auditTrackingId": format!("{attempt:016x}"), "realm": "/NHSIdentity/Healthcare",
            "tokenName": "id_token", "tokenType": "JWTToken",
        });
        if !request.nonce.is_empty() {
            claims["nonce"] = json!(request.nonce);
        }
        if !request.state.is_empty() {
            claims["s_hash"] = json!(half(&request.state));
        }
        if !grant.role.is_empty() {
            claims["selected_roleid"] = json!(grant.role);
        }
        claims
    }
}

/// Which of the values that a client asked for a log-in met (spec/identity.md §2.4); where it met none, what there was.
fn met(asked: &str, amr: &[String], level: u8) -> &'static str {
    Wanted::of(asked).met(level, amr).unwrap_or(match level {
        0 | 1 => "AAL1_USERPASS",
        2 => "AAL2_ANY",
        _ => "AAL3_ANY",
    })
}

/// The left half of a SHA-256, as hashes in ID tokens are (OpenID Connect Core §3.1.3.6).
fn half(text: &str) -> String {
    to_base64url(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}

fn key_set(site: &dyn Reader) -> Result<Value, Fault> {
    let key = |(kid, key): (String, signing::SigningKey)| {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": to_base64url(&key.modulus),
            "e": to_base64url(&key.exponent),
        })
    };
    Ok(json!({"keys": signing::keys(site)?.into_iter().map(key).collect::<Vec<_>>()}))
}

/// `Nurse Access Role` of a name in three quoted parts.
fn last_part(role_name: &str) -> String {
    role_name.rsplit(":").next().unwrap_or_default().trim_matches('"').to_owned()
}

/// What the scopes ask for, of a person and the role profiles that are open at a moment.
pub fn user_info(site: &dyn Reader, uid: &str, scope: &str, now: u64) -> Result<Value, Fault> {
    let has = |name: &str| scope.split(' ').any(|s| s == name);
    let Some(user) = users::user(site, uid)? else { return Ok(json!({"sub": uid})) };
    let mut info = Map::new();
    info.insert("sub".into(), json!(uid));
    if has("profile") {
        let facts = [("name", user.name()), ("family_name", user.family.clone()), ("given_name", user.given.clone())];
        put(&mut info, facts);
        info.insert("uid".into(), json!(uid));
    }
    if has("email") {
        put(&mut info, [("email", user.email.clone())]);
    }
    if has("nhsperson") {
        info.insert("nhsid_useruid".into(), json!(uid));
        info.insert("idassurancelevel".into(), json!(user.identity_level.to_string()));
        let facts = [
            ("title", user.title.clone()),
            ("initials", initials(&user)),
            ("middle_names", user.middle.clone()),
            ("display_name", user.shown()),
        ];
        put(&mut info, facts);
    }
    if has("professionalmemberships") {
        info.extend(user.professional.iter().map(|a| (a.name.clone(), json!(a.value))));
    }
    let open = users::open_roles(site, uid, now)?;
    if has("nationalrbacaccess") {
        info.insert("nhsid_nrbac_roles".into(), open.iter().map(|(urp, row)| role(urp, row)).collect());
    }
    let mut organisations: Vec<(String, String)> = vec![];
    for (_, row) in &open {
        if !organisations.iter().any(|(id, _)| *id == row.person_org) {
            organisations.push((row.person_org.clone(), row.ods.clone()));
        }
    }
    let named = |ods: &str| org_name(site, ods);
    if has("associatedorgs") {
        let all: Result<Vec<Value>, Fault> =
            organisations.iter().map(|(_, ods)| Ok(json!({"org_name": named(ods)?, "org_code": ods}))).collect();
        info.insert("nhsid_user_orgs".into(), json!(all?));
    }
    if has("organisationalmemberships") {
        let all: Result<Vec<Value>, Fault> = organisations
            .iter()
            .map(|(id, ods)| Ok(json!({"person_orgid": id, "org_name": named(ods)?, "org_code": ods})))
            .collect();
        info.insert("nhsid_org_memberships".into(), json!(all?));
    }
    Ok(Value::Object(info))
}

fn put<const N: usize>(info: &mut Map<String, Value>, facts: [(&str, String); N]) {
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        info.insert(name.into(), json!(value));
    }
}

fn initials(user: &User) -> String {
    let words = [&user.given, &user.middle].into_iter().flat_map(|n| n.split_whitespace());
    words.filter_map(|word| word.chars().next()).collect()
}

/// An item of `nhsid_nrbac_roles`. Names and codes are parallel lists.
fn role(urp: &str, row: &RoleProfile) -> Value {
    let mut item = json!({
        "person_orgid": row.person_org, "person_roleid": urp, "org_code": row.ods, "role_name": row.role_name,
        "role_code": row.role_code,
    });
    let mut lists = |names: &str, codes: &str, list: &[Coded]| {
        if !list.is_empty() {
            let name = |c: &Coded| if c.name.is_empty() { c.code.clone() } else { c.name.clone() };
            item[names] = list.iter().map(name).collect();
            item[codes] = list.iter().map(|c| c.code.clone()).collect();
        }
    };
    lists("activities", "activity_codes", &row.activities);
    lists("aow", "aow_codes", &row.areas);
    lists("workgroups", "workgroups_codes", &row.workgroups);
    item
}
