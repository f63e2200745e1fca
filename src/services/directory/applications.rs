//! Applications: clients of the HTTP APIs (spec/identity.md §1, §3), as rows of the registry. Any service may read
//! them; a command of an operator changes them.
//!
//! Invariants: key ids of an application are distinct and each key is strong enough ([`Jwk::check`]); a client secret is
//! kept as a salted hash only; nothing is granted before an operator has approved the application.

use super::{
    decide::{Done, No, invalid, keep, switch},
    rows::read,
};
use crate::{
    engine::draft::{Draft, Fault},
    model::OdsCode,
    record,
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::{
        jwt::{Jwk, MAX_KEYS},
        record::Record,
    },
};
use bytes::Bytes;

/// Most products of an application, scopes of a product, redirect addresses and attributes.
const MAX_LIST: usize = 64;
/// Longest text of such a list.
const MAX_TEXT: usize = 512;
/// Most requests a second that a quota may allow on each node.
pub const MAX_QUOTA: u32 = 1_000_000;

/// The client id under which the token service itself asks the provider of staff; no application has it.
pub const OWN_CLIENT: &str = "spine-apis";
/// The word that takes an address away.
pub const NONE: &str = "none";

/// How an application stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Registered, not yet approved.
    Pending = 0,
    Approved = 1,
    Revoked = 2,
}

record! {
    /// An application, under its client id, which is its API key too.
    pub struct Application v1 {
        1 => name: String,
        /// ODS code of the organisation that answers for it.
        2 => ods: String,
        3 => products: Vec<Product>,
        /// Its public keys, for signed JWTs.
        4 => keys: Vec<PublicKey>,
        5 => redirect_uris: Vec<String>,
        6 => attributes: Vec<Attribute>,
        /// Requests a second on each node; 0 leaves it to the listener.
        7 => quota: u32,
        /// A [`State`].
        8 => state: u8,
        /// The client id alone opens nothing, not even what an API key is enough for.
        9 => key_off: bool,
        /// Of the client secret; the salt is empty where there is none.
        10 => secret_salt: Bytes,
        /// SHA-256 of salt and secret. The secret is made by us, of 256 random bits, so that no slow hash is needed.
        11 => secret_hash: Bytes,
        /// Where it is told that somebody has logged out (OpenID Connect Back-Channel Logout 1.0); empty where it is not.
        12 => backchannel_logout_uri: String,
        /// Emergency care: served also where there is no room for others, within its quota.
        13 => emergency: bool,
        /// Where it publishes its keys itself; empty where an operator gives them.
        14 => jwks_uri: String,
    }
}

record! {
    /// An API that the application may use, with the scopes that say how.
    pub struct Product v1 {
        1 => name: String,
        2 => scopes: Vec<String>,
    }
}

record! {
    /// A public RSA key, its parts big-endian.
    pub struct PublicKey v1 {
        1 => kid: String,
        2 => modulus: Bytes,
        3 => exponent: Bytes,
    }
}

record! {
    pub struct Attribute v1 {
        1 => name: String,
        2 => value: String,
    }
}

record! {
    /// Makes or changes an application. Empty texts and lists keep what is stored; lists replace the stored ones.
    pub struct SetApplication v1 {
        1 => client: String,
        2 => name: String,
        3 => ods: String,
        4 => products: Vec<Product>,
        5 => keys: Vec<PublicKey>,
        6 => redirect_uris: Vec<String>,
        7 => attributes: Vec<Attribute>,
        /// 0 keeps what is stored.
        8 => quota: u32,
        /// 0 keeps what is stored, 1 the API key is good, 2 it is not.
        9 => api_key: u8,
        10 => secret_salt: Bytes,
        11 => secret_hash: Bytes,
        /// The keys are added to those that are there; one of a known id takes its place.
        12 => add_keys: bool,
        /// Ids of keys that are taken away.
        13 => drop_keys: Vec<String>,
        /// [`NONE`] takes the stored one away.
        14 => backchannel_logout_uri: String,
        /// 0 keeps what is stored, 1 emergency care, 2 not.
        15 => emergency: u8,
        /// [`NONE`] takes the stored one away.
        16 => jwks_uri: String,
    }
}

impl Application {
    pub fn is_approved(&self) -> bool {
        self.state == State::Approved as u8
    }

    pub fn state(&self) -> &'static str {
        match self.state {
            1 => "approved",
            2 => "revoked",
            _ => "pending",
        }
    }

    /// Scopes of all products at a level, which stands in them as `:app:level3:` or `:user-nhs-id:aal3:`.
    pub fn scopes(&self, level: &str) -> Vec<String> {
        let all = self.products.iter().flat_map(|product| &product.scopes);
        all.filter(|scope| scope.contains(level)).cloned().collect()
    }

    pub fn key(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// Names of the attributes that are `true`, in the order of the registry.
    pub fn switched_on(&self) -> Vec<String> {
        self.attributes.iter().filter(|a| a.value == "true").map(|a| a.name.clone()).collect()
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.name == name).map(|a| a.value.as_str())
    }
}

impl From<Jwk> for PublicKey {
    fn from(key: Jwk) -> Self {
        let Jwk { kid, modulus, exponent } = key;
        PublicKey { kid, modulus: modulus.into(), exponent: exponent.into(), ..Default::default() }
    }
}

pub fn application_key(client: &str) -> Key {
    Table::Applications.key().text(client)
}

pub fn application(site: &dyn Reader, client: &str) -> Result<Option<Application>, Fault> {
    read(site, Table::Applications, application_key(client))
}

/// A client id: what may stand in a header, a form and a file name as it is.
fn is_client_id(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

pub(super) fn set(draft: &mut Draft<'_>, command: SetApplication) -> Done {
    let client = command.client.trim().to_owned();
    if !is_client_id(&client) {
        return Err(invalid("a client id has 8 to 64 letters, digits, '-', '_' and '.'"));
    }
    if client == OWN_CLIENT {
        return Err(invalid(format!("{OWN_CLIENT} is the token service's own client id")));
    }
    let old = application(draft, &client)?;
    let mut row = old.clone().unwrap_or_default();
    keep(&mut row.name, &command.name, "the name")?;
    if !command.ods.trim().is_empty() {
        row.ods = OdsCode::parse(&command.ods)?.into_string();
    }
    if row.name.is_empty() || row.ods.is_empty() {
        return Err(invalid("a new application needs a name and the ODS code of its organisation"));
    }
    if !command.products.is_empty() {
        row.products = products(command.products)?;
    }
    if !command.redirect_uris.is_empty() {
        row.redirect_uris = short("redirect addresses", command.redirect_uris)?;
        if let Some(bad) = row.redirect_uris.iter().find(|uri| !is_redirect(uri)) {
            return Err(invalid(format!("{bad} cannot be redirected to: https (or http to localhost), no fragment")));
        }
    }
    address(&mut row.backchannel_logout_uri, &command.backchannel_logout_uri, "told")?;
    address(&mut row.jwks_uri, &command.jwks_uri, "asked for keys")?;
    if !command.attributes.is_empty() {
        let texts = command.attributes.iter().flat_map(|a| [a.name.clone(), a.value.clone()]).collect::<Vec<_>>();
        if command.attributes.len() > MAX_LIST || texts.iter().any(|text| !is_text(text)) {
            return Err(invalid(format!("at most {MAX_LIST} attributes of {MAX_TEXT} plain characters")));
        }
        row.attributes = command.attributes;
    }
    keys(&mut row, command.keys, command.add_keys, &command.drop_keys)?;
    if command.quota > MAX_QUOTA {
        return Err(invalid(format!("a quota is at most {MAX_QUOTA} requests a second")));
    }
    row.quota = if command.quota == 0 { row.quota } else { command.quota };
    let mut key_on = !row.key_off;
    switch(&mut key_on, command.api_key, "the API key")?;
    row.key_off = !key_on;
    switch(&mut row.emergency, command.emergency, "emergency care")?;
    if !command.secret_hash.is_empty() {
        if command.secret_hash.len() != 32 || command.secret_salt.len() < 16 {
            return Err(invalid("a client secret is kept as SHA-256 with a salt of 16 bytes or more"));
        }
        (row.secret_salt, row.secret_hash) = (command.secret_salt, command.secret_hash);
    }
    let changed = old.as_ref() != Some(&row);
    if changed {
        draft.put(application_key(&client), row.encode());
    }
    Ok((changed, 0))
}

/// An address outside the site: kept, taken away or replaced.
fn address(stored: &mut String, wanted: &str, what: &str) -> Result<(), No> {
    match wanted.trim() {
        "" => {}
        NONE => stored.clear(),
        uri if is_redirect(uri) && uri.len() <= MAX_TEXT => *stored = uri.to_owned(),
        bad => return Err(invalid(format!("{bad} cannot be {what}: https (or http to localhost), no fragment"))),
    }
    Ok(())
}

/// Approves or revokes; `None` where there is no such application.
pub(super) fn stand(draft: &mut Draft<'_>, client: &str, approved: bool) -> Result<Option<bool>, No> {
    let Some(mut row) = application(draft, client)? else { return Ok(None) };
    let state = if approved { State::Approved } else { State::Revoked } as u8;
    let changed = std::mem::replace(&mut row.state, state) != state;
    if changed {
        draft.put(application_key(client), row.encode());
    }
    Ok(Some(changed))
}

fn keys(row: &mut Application, new: Vec<PublicKey>, add: bool, gone: &[String]) -> Result<(), No> {
    for (at, key) in new.iter().enumerate() {
        let PublicKey { kid, modulus, exponent, .. } = key;
        let jwk = Jwk { kid: kid.clone(), modulus: modulus.to_vec(), exponent: exponent.to_vec() };
        jwk.check().map_err(|bad| invalid(bad.to_string()))?;
        if new[..at].iter().any(|k| k.kid == *kid) {
            return Err(invalid(format!("two keys have the kid {kid}")));
        }
    }
    if let Some(unknown) = gone.iter().find(|kid| row.key(kid).is_none()) {
        return Err(No::Refused("not-found", format!("the application has no key {unknown}")));
    }
    row.keys.retain(|key| !gone.contains(&key.kid));
    if !new.is_empty() {
        row.keys.retain(|key| add && !new.iter().any(|n| n.kid == key.kid));
        row.keys.extend(new);
    }
    if row.keys.len() > MAX_KEYS {
        return Err(invalid(format!("an application has at most {MAX_KEYS} keys")));
    }
    Ok(())
}

fn products(wanted: Vec<Product>) -> Result<Vec<Product>, No> {
    if wanted.len() > MAX_LIST {
        return Err(invalid(format!("an application has at most {MAX_LIST} products")));
    }
    for (at, product) in wanted.iter().enumerate() {
        let name = &product.name;
        if !is_text(name) || wanted[..at].iter().any(|p| p.name == *name) {
            return Err(invalid("each product has a name of its own"));
        }
        short("scopes", product.scopes.clone())?;
        // Anything else could never be granted, and would only look as if it were.
        if let Some(bad) = product.scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(invalid(format!("{bad} is no scope, such as urn:nhsd:apim:app:level3:{name}")));
        }
    }
    Ok(wanted)
}

/// The levels a scope may name (spec/identity.md §1), with the kind of caller before them.
pub const LEVELS: &[&str] = &[
    "app:level0",
    "app:level3",
    "user-nhs-id:aal1",
    "user-nhs-id:aal2",
    "user-nhs-id:aal3",
    "user-nhs-cis2:aal2",
    "user-nhs-cis2:aal3",
    "user-nhs-login:P0",
    "user-nhs-login:P5",
    "user-nhs-login:P9",
];

fn is_scope(scope: &str) -> bool {
    let Some(rest) = scope.strip_prefix("urn:nhsd:apim:") else { return false };
    let api = LEVELS.iter().find_map(|level| rest.strip_prefix(level)?.strip_prefix(':'));
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    api.is_some_and(|api| api.split(':').count() <= 2 && api.split(':').all(word))
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_TEXT && !text.contains(char::is_control)
}

/// An address that a browser is sent to, or that the site asks: over TLS, but for this machine.
pub(super) fn is_redirect(uri: &str) -> bool {
    let local = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
    let local =
        local.iter().any(|l| uri.strip_prefix(l).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
    (uri.strip_prefix("https://").is_some_and(|rest| !rest.is_empty()) || local) && !uri.contains(['#', ' '])
}

fn short(what: &str, list: Vec<String>) -> Result<Vec<String>, No> {
    if list.len() > MAX_LIST || list.iter().any(|text| !is_text(text)) {
        return Err(invalid(format!("at most {MAX_LIST} {what} of {MAX_TEXT} plain characters")));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::super::{
        Directory,
        command::{DirectoryCommand, DirectoryReply, Disable, Kind},
    };
    use super::*;
    use crate::access::caller::Caller;
    use crate::engine::draft::{Decide, MapStore, Overlay, Stamp};
    use crate::engine::{Command, SITE};
    use crate::wire::jwt::{self, key_set};

    fn ask(store: &mut MapStore, command: DirectoryCommand) -> DirectoryReply {
        let overlay = Overlay::default();
        let copy = MapStore(store.0.clone());
        let mut draft = Draft::new(&copy, &overlay, &copy);
        let stamp = Stamp { now: 1, partition: SITE, partitions: 1, sequence: 1, entropy: [0; 16] };
        let caller = Caller { operator: "uid:0".into(), ..Default::default() };
        let command = Command { payload: command.encode(), caller, ..Default::default() };
        let reply = Directory.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        assert_eq!(decided.audit.len(), 1);
        store.apply(decided.rows);
        DirectoryReply::of(&reply).unwrap()
    }

    fn some() -> SetApplication {
        SetApplication { client: "my-client-1".into(), name: "Mine".into(), ods: "X26".into(), ..Default::default() }
    }

    fn keys_of(kids: &[&str]) -> Vec<PublicKey> {
        let keys: Vec<_> = kids.iter().map(|kid| jwt::tests::key(kid).1).collect();
        let keys = key_set(&serde_json::json!({"keys": keys}).to_string()).unwrap();
        keys.into_iter().map(PublicKey::from).collect()
    }

    #[test]
    fn an_application_is_pending_until_it_is_approved_and_refused_once_revoked() {
        let mut store = MapStore::default();
        assert!(ask(&mut store, some().into()).changed);
        assert!(!ask(&mut store, some().into()).changed, "the same once more");
        let state = |store: &MapStore| application(store, "my-client-1").unwrap().unwrap().state();
        assert_eq!(state(&store), "pending");
        let switch =
            |enable| Disable { kind: Kind::Application as u8, id: "my-client-1".into(), enable, ..Default::default() };
        assert!(ask(&mut store, switch(true).into()).changed);
        assert_eq!(state(&store), "approved");
        assert!(ask(&mut store, switch(false).into()).changed);
        assert_eq!(state(&store), "revoked");
        // Changing other things does not approve it again.
        ask(&mut store, SetApplication { quota: 7, ..some() }.into());
        assert_eq!(state(&store), "revoked");
        let none = Disable { kind: Kind::Application as u8, id: "nobody-at-all".into(), ..Default::default() };
        assert_eq!(ask(&mut store, none.into()).refusal, "not-found");
    }

    #[test]
    fn emergency_care_is_a_mark_that_stays_until_it_is_taken_away() {
        let mut store = MapStore::default();
        let marked = |store: &MapStore| application(store, "my-client-1").unwrap().unwrap().emergency;
        ask(&mut store, some().into());
        assert!(!marked(&store));
        assert!(ask(&mut store, SetApplication { emergency: 1, ..some() }.into()).changed);
        ask(&mut store, SetApplication { quota: 7, ..some() }.into());
        assert!(marked(&store), "other things change without it");
        assert_eq!(ask(&mut store, SetApplication { emergency: 3, ..some() }.into()).refusal, "invalid");
        assert!(ask(&mut store, SetApplication { emergency: 2, ..some() }.into()).changed);
        assert!(!marked(&store));
    }

    #[test]
    fn keys_rotate_one_by_one_and_weak_ones_stay_out() {
        let mut store = MapStore::default();
        ask(&mut store, SetApplication { keys: keys_of(&["a"]), ..some() }.into());
        ask(&mut store, SetApplication { keys: keys_of(&["b"]), add_keys: true, ..some() }.into());
        ask(&mut store, SetApplication { drop_keys: vec!["a".into()], ..some() }.into());
        let row = application(&store, "my-client-1").unwrap().unwrap();
        assert_eq!(row.keys.iter().map(|k| k.kid.as_str()).collect::<Vec<_>>(), ["b"]);
        let mut weak = keys_of(&["w"]);
        weak[0].modulus = Bytes::from(vec![0x81; 128]);
        let refused = ask(&mut store, SetApplication { keys: weak, ..some() }.into());
        assert!(refused.refusal == "invalid" && refused.text.contains("1024 bits"), "{}", refused.text);
        let mut twice = keys_of(&["c", "d"]);
        twice[1].kid = "c".into();
        assert!(ask(&mut store, SetApplication { keys: twice, ..some() }.into()).text.contains("two keys"));
        assert_eq!(
            ask(&mut store, SetApplication { drop_keys: vec!["z".into()], ..some() }.into()).refusal,
            "not-found"
        );
    }

    #[test]
    fn bad_input_is_refused_with_what_is_wrong() {
        let mut store = MapStore::default();
        let mut told = |command: SetApplication| ask(&mut store, command.into()).text;
        assert!(told(SetApplication { client: "a b".into(), ..some() }).contains("client id"));
        assert!(told(SetApplication { name: String::new(), ..some() }).contains("needs a name"));
        let product = |scope: &str| Product { name: "x".into(), scopes: vec![scope.into()], ..Default::default() };
        for bad in ["level3", "urn:nhsd:apim:app:level9:x", "urn:nhsd:apim:app:level3:"] {
            assert!(told(SetApplication { products: vec![product(bad)], ..some() }).contains("is no scope"), "{bad}");
        }
        for bad in ["http://evil.test/", "https://a.test/#x", "http://localhost.evil.test/"] {
            assert!(told(SetApplication { redirect_uris: vec![bad.into()], ..some() }).contains("redirected"), "{bad}");
        }
        assert_eq!(told(SetApplication { products: vec![product("urn:nhsd:apim:app:level3:x")], ..some() }), "");
    }
}
