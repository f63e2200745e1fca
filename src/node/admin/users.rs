//! The register of people who work here, their roles and authenticators: wishes become the registry's commands, as for the
//! other registers. Passwords are hashed here, on a thread that may be slow, and travel no further.

use super::{
    Told, fault,
    registers::{Plan, Wish, carry_out, found, fresh, page},
};
use crate::{
    model::day,
    node::Node,
    ops::admin::{AdminError, AdminRequest},
    services::{
        directory::{
            applications::Attribute,
            rows::Secret,
            users::{
                self, Authenticator, Coded, Kind, RoleProfile, State, User,
                command::{DropAuthenticator, EndRole, InvitePasskey, SetAuthenticator, SetRole, SetUser, StandUser},
                devices, secrets,
            },
        },
        identity::login::routes as paths,
    },
    store::{Reader, tables::Table},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Fields that are about the person themself.
const OF_THE_PERSON: [&str; 9] =
    ["title", "given", "middle", "family", "display", "email", "born", "identity_level", "professional"];

pub async fn list(node: Arc<Node>, r: AdminRequest) -> Told {
    page(&fresh(&node).await?, &r, Table::Users, |uid, row: User| short(uid, &row))
}

pub async fn show_one(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    let uid = r.path("id").trim();
    found("user", uid, show(&site, uid, now(&node))?)
}

/// A new person: under the id that was given, which an older register gave once, or under a drawn one.
pub async fn add(node: Arc<Node>, r: AdminRequest) -> Told {
    let mut wish = Wish::of(&r)?;
    let given = wish.text("uid");
    let uid = if given.is_empty() { drawn(&node) } else { given };
    wish.fields.remove("uid");
    write(&node, &r, &uid, wish, true).await
}

pub async fn put(node: Arc<Node>, r: AdminRequest) -> Told {
    let (uid, wish) = (r.path("id").trim().to_owned(), Wish::of(&r)?);
    write(&node, &r, &uid, wish, false).await
}

async fn write(node: &Arc<Node>, r: &AdminRequest, uid: &str, wish: Wish, new: bool) -> Told {
    let site = fresh(node).await?;
    let old = users::user(&site, uid).map_err(fault)?;
    let mut plan = Plan { existed: old.is_some(), commands: vec![] };
    if OF_THE_PERSON.iter().any(|name| wish.fields.contains_key(*name)) || old.is_none() {
        plan.commands.push(person(uid, &wish, new && r.query("mode") == Some("add"))?.into());
    }
    let mut told = Map::new();
    for authenticator in authenticators(node, uid, &wish, &mut told).await? {
        plan.commands.push(SetAuthenticator { uid: uid.into(), authenticator, ..Default::default() }.into());
    }
    let dropped = wish.text("drop_authenticator");
    if !dropped.is_empty() {
        plan.commands.push(DropAuthenticator { uid: uid.into(), serial: dropped, ..Default::default() }.into());
    }
    let state = wish.text("state");
    if !state.is_empty() {
        let state = State::named(&state).ok_or_else(|| AdminError::bad_input(format!("{state} is no state")))?;
        plan.commands.push(StandUser { uid: uid.into(), state: state as u8, ..Default::default() }.into());
    }
    let (now, dry_run) = (now(node), r.flag("dry_run"));
    let show = |site: &dyn Reader| show(site, uid, now);
    let mut answer = carry_out(node, r, &site, "user", uid, wish, plan, &show).await?;
    if let (Some(answer), false) = (answer.as_object_mut(), dry_run) {
        answer.extend(told);
    }
    Ok(answer)
}

pub(super) fn person(uid: &str, wish: &Wish, fresh: bool) -> Result<SetUser, AdminError> {
    let born = match wish.text("born") {
        text if text.is_empty() => 0,
        text => day::parse(&text).ok_or_else(|| AdminError::bad_input("a birth date is YYYY-MM-DD"))?,
    };
    let level = match wish.fields.get("identity_level") {
        None => 0,
        Some(level) => {
            let level = level.as_u64().filter(|level| *level <= 3);
            1 + level.ok_or_else(|| AdminError::bad_input("an identity level is 0 to 3"))? as u8
        }
    };
    let professional = wish.fields.get("professional").and_then(Value::as_object).cloned().unwrap_or_default();
    let attribute = |(name, value): (&String, &Value)| Attribute {
        name: name.clone(),
        value: value.as_str().unwrap_or_default().to_owned(),
        ..Default::default()
    };
    Ok(SetUser {
        uid: uid.to_owned(),
        title: wish.text("title"),
        given: wish.text("given"),
        middle: wish.text("middle"),
        family: wish.text("family"),
        display: wish.text("display"),
        email: wish.text("email"),
        born,
        identity_level: level,
        professional: professional.iter().map(attribute).collect(),
        fresh,
        ..Default::default()
    })
}

/// New authenticators; what the person must be given goes into `told`.
pub(super) async fn authenticators(
    node: &Node,
    uid: &str,
    wish: &Wish,
    told: &mut Map<String, Value>,
) -> Result<Vec<Authenticator>, AdminError> {
    let mut new = vec![];
    let password = wish.text("password");
    if !password.is_empty() {
        if let Some(why) = secrets::weakness(&password) {
            return Err(AdminError::bad_input(why));
        }
        let mut salt = [0; 16];
        node.world.rng.fill(&mut salt);
        let hashed = tokio::task::spawn_blocking(move || secrets::hash(&password, salt)).await;
        new.push(hashed.map_err(fault)?);
    }
    let given = wish.text("totp_secret");
    if !given.is_empty() {
        if secrets::totp_key(&given).is_none() {
            return Err(AdminError::bad_input("a shared secret is base32 of 16 to 64 bytes"));
        }
        new.push(Authenticator { kind: Kind::OneTimeCode as u8, secret: Secret(given), ..Default::default() });
    } else if wish.fields.get("totp").and_then(Value::as_bool) == Some(true) {
        let mut random = [0; 20];
        node.world.rng.fill(&mut random);
        let row = secrets::one_time(random);
        let secret = &row.secret.0;
        told.insert("totp_secret".into(), json!(secret));
        let uri = format!("otpauth://totp/Spine:{uid}?secret={secret}&issuer=Spine&algorithm=SHA1&digits=6&period=30");
        told.insert("otpauth".into(), json!(uri));
        new.push(row);
    }
    new.extend(smartcard(wish));
    Ok(new)
}

/// A client certificate that shall be the person's smartcard: the decider checks it.
fn smartcard(wish: &Wish) -> Option<Authenticator> {
    let certificate = wish.text("smartcard");
    let expires = wish.fields.get("smartcard_expires").and_then(Value::as_u64).unwrap_or_default();
    let (kind, name) = (Kind::Smartcard as u8, wish.text("smartcard_name"));
    (!certificate.is_empty()).then(|| Authenticator { kind, certificate, name, expires, ..Default::default() })
}

/// How long the code for enrolling a passkey is good, in milliseconds.
const CODE_MS: u64 = 30 * 60_000;

/// Issues a one-time code for enrolling a passkey, and the link that holds it.
pub async fn invite_passkey(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, uid) = (fresh(&node).await?, r.path("id").trim().to_owned());
    let mut random = [0; 10];
    node.world.rng.fill(&mut random);
    let plain = secrets::to_base32(&random);
    let code = [&plain[..4], &plain[4..8], &plain[8..12], &plain[12..]].join("-");
    let hash = Bytes::copy_from_slice(&devices::code_hash(&code));
    let command = InvitePasskey { uid: uid.clone(), code: hash, life: CODE_MS, ..Default::default() };
    let existed = users::user(&site, &uid).map_err(fault)?.is_some();
    let plan = Plan { existed, commands: vec![command.into()] };
    let (now, dry_run) = (now(&node), r.flag("dry_run"));
    let show = |site: &dyn Reader| show(site, &uid, now);
    let wish = Wish::of(&r)?;
    carry_out(&node, &r, &site, "user", &uid, wish, plan, &show).await?;
    let api = &node.settings.api;
    let link = format!("{}{}{}?user={uid}&code={code}", api.url, api.issuer_path, paths::ENROL);
    let link = if api.url.is_empty() { String::new() } else { link };
    let (code, link) = if dry_run { Default::default() } else { (code, link) };
    Ok(json!({"uid": uid, "code": code, "link": link, "expires": super::moment(now + CODE_MS), "dry_run": dry_run}))
}

/// Opens a role profile under a drawn id, or writes the one of the path.
pub async fn put_role(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, uid, wish) = (fresh(&node).await?, r.path("id").trim().to_owned(), Wish::of(&r)?);
    let given = r.path("urp").trim().to_owned();
    let given = if given.is_empty() { wish.text("urp") } else { given };
    let fresh = given.is_empty();
    let urp = if fresh { drawn(&node) } else { given };
    let moment = |name: &str| match wish.text(name) {
        text if text.is_empty() => Ok(0),
        text => millis(&text).ok_or_else(|| AdminError::bad_input(format!("{name} is not a day, YYYY-MM-DD"))),
    };
    let old = users::role(&site, &urp).map_err(fault)?;
    let command = SetRole {
        urp: urp.clone(),
        uid: uid.clone(),
        ods: wish.text("ods"),
        person_org: drawn(&node),
        role_code: wish.text("role_code"),
        role_name: wish.text("role_name"),
        activities: coded(&wish, "activities"),
        areas: coded(&wish, "areas"),
        workgroups: coded(&wish, "workgroups"),
        opened: moment("opens")?,
        closes: moment("closes")?,
        fresh,
        ..Default::default()
    };
    let plan = Plan { existed: old.is_some(), commands: vec![command.into()] };
    let now = now(&node);
    let show = |site: &dyn Reader| Ok(users::role(site, &urp).map_err(fault)?.map(|row| role_json(&urp, &row, now)));
    carry_out(&node, &r, &site, "role", &urp, wish, plan, &show).await
}

/// Ends a role profile of the person, now or on a day.
pub async fn end_role(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, wish) = (fresh(&node).await?, Wish::of(&r)?);
    let (uid, urp) = (r.path("id").trim().to_owned(), r.path("urp").trim().to_owned());
    let old = users::role(&site, &urp).map_err(fault)?.filter(|row| row.uid == uid);
    found("role", &urp, old.map(|_| json!(null)))?;
    let at = match wish.text("closes") {
        text if text.is_empty() => 0,
        text => millis(&text).ok_or_else(|| AdminError::bad_input("closes is not a day, YYYY-MM-DD"))?,
    };
    let command = EndRole { urp: urp.clone(), at, ..Default::default() };
    let plan = Plan { existed: true, commands: vec![command.into()] };
    let now = now(&node);
    let show = |site: &dyn Reader| Ok(users::role(site, &urp).map_err(fault)?.map(|row| role_json(&urp, &row, now)));
    carry_out(&node, &r, &site, "role", &urp, wish, plan, &show).await
}

/// `["B0825", "B0820=View Patient Demographics"]`
pub(super) fn coded(wish: &Wish, name: &str) -> Vec<Coded> {
    let one = |text: String| {
        let (code, name) = text.split_once('=').unwrap_or((text.as_str(), ""));
        Coded { code: code.trim().into(), name: name.trim().into(), ..Default::default() }
    };
    wish.list(name).into_iter().map(one).collect()
}

pub(super) fn drawn(node: &Node) -> String {
    let mut random = [0; 8];
    node.world.rng.fill(&mut random);
    users::draw_id(random)
}

fn now(node: &Node) -> u64 {
    node.world.clock.now().0
}

/// The first moment of a day, UTC.
pub(super) fn millis(text: &str) -> Option<u64> {
    let day = day::text(day::parse(text)?);
    let moment: jiff::Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok()
}

fn short(uid: &str, row: &User) -> Value {
    json!({"uid": uid, "name": row.shown(), "state": row.state().word(), "identity_level": row.identity_level})
}

/// Nothing of an authenticator but that it is there ever leaves the registry.
fn show(site: &dyn Reader, uid: &str, now: u64) -> Result<Option<Value>, AdminError> {
    let Some(row) = users::user(site, uid).map_err(fault)? else { return Ok(None) };
    let professional: Map<String, Value> = row.professional.iter().map(|a| (a.name.clone(), json!(a.value))).collect();
    let roles = users::roles_of(site, uid).map_err(fault)?;
    let roles: Vec<Value> = roles.iter().map(|(urp, role)| role_json(urp, role, now)).collect();
    let authenticators = users::authenticators_of(site, uid).map_err(fault)?;
    let devices: Vec<Value> = authenticators.iter().filter_map(|(serial, row)| device_json(serial, row)).collect();
    let authenticators: Vec<String> = authenticators.into_iter().map(|(serial, _)| serial).collect();
    Ok(Some(json!({
        "uid": uid, "name": row.shown(), "title": row.title, "given": row.given, "middle": row.middle,
        "family": row.family, "email": row.email, "born": day::text(row.born), "identity_level": row.identity_level,
        "state": row.state().word(), "since": super::moment(row.since), "professional": professional,
        "authenticators": authenticators, "devices": devices, "roles": roles,
    })))
}

/// A passkey or smartcard, as operators tell them apart.
fn device_json(serial: &str, row: &Authenticator) -> Option<Value> {
    let level = match Kind::of(row.kind)? {
        Kind::Smartcard => 3,
        Kind::Passkey if row.copied => 2,
        Kind::Passkey => 3,
        _ => return None,
    };
    let expires = if row.expires == 0 { String::new() } else { super::moment(row.expires) };
    Some(json!({
        "serial": serial, "level": level, "issued": super::moment(row.issued), "expires": expires, "name": row.name,
        "certificate": row.certificate,
    }))
}

fn role_json(urp: &str, row: &RoleProfile, now: u64) -> Value {
    let codes = |list: &[Coded]| list.iter().map(|c| c.code.clone()).collect::<Vec<_>>();
    let closes = if row.closes == 0 { String::new() } else { super::moment(row.closes) };
    json!({
        "urp": urp, "uid": row.uid, "person_org": row.person_org, "ods": row.ods, "role_code": row.role_code,
        "role_name": row.role_name, "activities": codes(&row.activities), "areas": codes(&row.areas),
        "workgroups": codes(&row.workgroups), "opens": super::moment(row.opened), "closes": closes,
        "open": row.is_open(now),
    })
}
