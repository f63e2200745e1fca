//! Commands on people → rows (spec/identity.md §6).

use super::{
    Authenticator, Coded, Kind, MAX_CODES, MAX_ROLES, OrgPerson, RoleProfile, State, User, authenticator_key,
    authenticators_of,
    command::{DropAuthenticator, EndRole, InvitePasskey, SetAuthenticator, SetRole, SetUser, StandUser},
    devices, is_id, lookups, open_roles, org_person, org_person_key, role, role_key, role_of_user_key, roles, roles_of,
    secrets, user, user_key,
};
use crate::{
    engine::draft::{Draft, Stamp},
    model::OdsCode,
    services::directory::{
        decide::{Done, No, invalid, keep},
        registration,
        rows::{self, NOTHING},
    },
    wire::record::Record,
};

/// Most professional ids of a person.
const MAX_PROFESSIONAL: usize = 16;
/// Longest name of a code, in characters.
const MAX_NAME: usize = 200;

fn missing(what: &str) -> No {
    No::Refused("not-found", format!("there is no such {what}"))
}

pub(super) fn conflict(text: impl Into<String>) -> No {
    No::Refused("conflict", text.into())
}

fn id(text: &str, what: &str) -> Result<String, No> {
    let text = text.trim();
    if is_id(text) { Ok(text.to_owned()) } else { Err(invalid(format!("{what} has twelve digits"))) }
}

/// The person, who is not closed.
fn living(draft: &Draft<'_>, uid: &str) -> Result<User, No> {
    let row = user(draft, uid)?.ok_or_else(|| missing("user"))?;
    if row.state() == State::Closed {
        return Err(conflict("the user is closed, for ever"));
    }
    Ok(row)
}

pub fn set(draft: &mut Draft<'_>, stamp: &Stamp, command: SetUser) -> Done {
    let uid = id(&command.uid, "a user id")?;
    let old = user(draft, &uid)?;
    if command.fresh && old.is_some() {
        return Err(conflict("somebody has this user id"));
    }
    if old.is_some() {
        living(draft, &uid)?;
    }
    let mut row = old.clone().unwrap_or_else(|| User { since: stamp.now, ..Default::default() });
    keep(&mut row.title, &command.title, "the title")?;
    keep(&mut row.given, &command.given, "the given name")?;
    keep(&mut row.middle, &command.middle, "the middle names")?;
    keep(&mut row.family, &command.family, "the family name")?;
    keep(&mut row.display, &command.display, "the display name")?;
    keep(&mut row.email, &command.email, "the address")?;
    if row.given.is_empty() || row.family.is_empty() {
        return Err(invalid("a new user needs a given name and a family name"));
    }
    if command.born != 0 {
        row.born = command.born;
    }
    if let Some(level) = command.identity_level.checked_sub(1) {
        if level > 3 {
            return Err(invalid("an identity level is 0 to 3"));
        }
        if level == 0 && row.state() != State::Applied {
            return Err(conflict("an identity that was verified has a level"));
        }
        row.identity_level = level;
    }
    if !command.professional.is_empty() {
        const KNOWN: [&str; 8] =
            ["gmc_id", "gmp_id", "gdc_id", "gdp_id", "nmc_id", "rcn_id", "gphc_id", "consultant_id"];
        let bad = |name: &str, value: &str| !KNOWN.contains(&name) || value.is_empty() || value.len() > 64;
        let all = &command.professional;
        if all.len() > MAX_PROFESSIONAL || all.iter().any(|a| bad(&a.name, &a.value)) {
            return Err(invalid(format!("professional ids are {}", KNOWN.join(", "))));
        }
        row.professional = command.professional;
    }
    row.generation = lookups::GENERATION;
    let changed = old.as_ref() != Some(&row);
    if changed {
        registration::reindex(draft, &uid, old.as_ref(), &row);
        lookups::reindex(draft, &uid, old.as_ref(), &row);
        if old.as_ref().is_some_and(|old| old.generation == 0) {
            lookups::adopt_roles(draft, &uid)?;
        }
        draft.put(user_key(&uid), row.encode());
    }
    Ok((changed, 0))
}

/// Whether a person may go from one state to another.
fn may_go(from: State, to: State) -> bool {
    use State as S;
    matches!(
        (from, to),
        (S::Applied, S::IdentityVerified)
            | (S::IdentityVerified | S::Suspended, S::Active)
            | (S::Active, S::Suspended)
            | (S::Applied | S::IdentityVerified | S::Active | S::Suspended, S::Closed)
    )
}

/// An operator's wish. Who is registered by steps is verified and let in by them, and by nothing else; others while the register is
/// open, or where they were in before.
pub fn stand(draft: &mut Draft<'_>, stamp: &Stamp, command: &StandUser) -> Done {
    let uid = id(&command.uid, "a user id")?;
    let from = user(draft, &uid)?.ok_or_else(|| missing("user"))?.state();
    let to = State::of(command.state);
    let steps = registration::registration(draft, &uid)?;
    let enters = (from, to) == (State::Applied, State::IdentityVerified)
        || (from, to) == (State::IdentityVerified, State::Active);
    match steps {
        Some(row) if enters && !row.is_complete() => {
            Err(conflict("the user's registration is not complete; see `spine registration show`"))
        }
        Some(_) => move_to(draft, stamp, command),
        None if enters => {
            // What is lacking is told first: the register is opened for nothing otherwise.
            let done = move_to(draft, stamp, command)?;
            registration::decide::must_be_open(draft, stamp)?;
            Ok(done)
        }
        None => move_to(draft, stamp, command),
    }
}

/// Moves a person to another state, where everything is there that it needs.
pub fn move_to(draft: &mut Draft<'_>, stamp: &Stamp, command: &StandUser) -> Done {
    let uid = id(&command.uid, "a user id")?;
    let mut row = user(draft, &uid)?.ok_or_else(|| missing("user"))?;
    let to = State::ALL.into_iter().find(|s| *s as u8 == command.state).ok_or_else(|| invalid("no such state"))?;
    let from = row.state();
    if from == to {
        return Ok((false, 0));
    }
    if !may_go(from, to) {
        return Err(conflict(format!("a user who is {} cannot become {}", from.word(), to.word())));
    }
    if to == State::IdentityVerified && row.identity_level == 0 {
        return Err(conflict("the identity has no level; verify it first"));
    }
    if to == State::Active {
        if open_roles(draft, &uid, stamp.now)?.is_empty() {
            return Err(conflict("the user has no open role profile"));
        }
        // Who is registered by steps is let in by the last of them, and by nothing else.
        if registration::registration(draft, &uid)?.is_some_and(|row| !row.is_complete()) {
            return Err(conflict("the user's registration is not complete; see `spine registration show`"));
        }
        if !authenticators_of(draft, &uid)?.iter().any(|(_, a)| a.is_good(stamp.now)) {
            return Err(conflict("the user has no authenticator"));
        }
    }
    if [State::Suspended, State::Closed].contains(&to) {
        // Nor does a link that went astray last longer.
        draft.delete(devices::invitation_key(&uid));
    }
    if to == State::Closed {
        for (serial, row) in authenticators_of(draft, &uid)? {
            devices::remove(draft, &uid, &serial, &row);
        }
        for (urp, mut role) in roles_of(draft, &uid)?.into_iter().filter(|(_, r)| r.closes == 0 || r.closes > stamp.now)
        {
            role.closes = stamp.now.max(1);
            draft.put(role_key(&urp), role.encode());
        }
    }
    (row.state, row.since) = (to as u8, stamp.now);
    draft.put(user_key(&uid), row.encode());
    Ok((true, 0))
}

/// An operator's wish: without steps, so that the register must be open.
pub fn enter_role(draft: &mut Draft<'_>, stamp: &Stamp, command: SetRole) -> Done {
    let done = set_role(draft, stamp, command)?;
    if done.0 {
        registration::decide::must_be_open(draft, stamp)?;
    }
    Ok(done)
}

pub fn set_role(draft: &mut Draft<'_>, stamp: &Stamp, command: SetRole) -> Done {
    let (urp, uid) = (id(&command.urp, "a role profile")?, id(&command.uid, "a user id")?);
    living(draft, &uid)?;
    let ods = OdsCode::parse(&command.ods)?.into_string();
    if rows::organisation(draft, &ods)?.is_none() {
        return Err(missing("organisation; register it with `spine party add`"));
    }
    let old = role(draft, &urp)?;
    if command.fresh && old.is_some() || old.as_ref().is_some_and(|row| row.uid != uid || row.ods != ods) {
        return Err(conflict("another person or organisation has this role profile"));
    }
    if old.is_none() && roles_of(draft, &uid)?.len() >= MAX_ROLES {
        return Err(invalid(format!("a user has at most {MAX_ROLES} role profiles, ended ones included")));
    }
    let role_code = command.role_code.trim().to_ascii_uppercase();
    if !roles::is_role_code(&role_code) {
        return Err(invalid("a job role is S####:G####:R####"));
    }
    let role_name = match command.role_name.trim() {
        "" => roles::name(&role_code).ok_or_else(|| invalid("this job role needs a name"))?,
        name if roles::is_role_name(name) => name.to_owned(),
        _ => return Err(invalid("a job role's name is \"GROUP\":\"SUB-GROUP\":\"ROLE\", the quotes included")),
    };
    let opened = match (command.opened, &old) {
        (0, Some(old)) => old.opened,
        (0, None) => stamp.now,
        (given, _) => given,
    };
    if command.closes != 0 && command.closes <= opened {
        return Err(invalid("a role profile closes after it opens"));
    }
    let person_org = match org_person(draft, &uid, &ods)? {
        Some(row) => row.id,
        None => {
            let row =
                OrgPerson { id: id(&command.person_org, "a person in an organisation")?, opened, ..Default::default() };
            draft.put(org_person_key(&uid, &ods), row.encode());
            row.id
        }
    };
    let row = RoleProfile {
        person_org,
        ods,
        role_code,
        role_name,
        activities: codes(command.activities, "activities", roles::is_activity)?,
        areas: codes(command.areas, "areas of work", roles::is_area)?,
        workgroups: codes(command.workgroups, "workgroups", is_id)?,
        opened,
        closes: command.closes,
        uid: uid.clone(),
        generation: lookups::GENERATION,
        ..old.clone().unwrap_or_default()
    };
    let changed = old.as_ref() != Some(&row);
    if changed {
        lookups::reindex_role(draft, &urp, old.as_ref(), &row);
        draft.put(role_of_user_key(&uid, &urp), NOTHING);
        draft.put(role_key(&urp), row.encode());
    }
    Ok((changed, 0))
}

fn codes(list: Vec<Coded>, what: &str, is: fn(&str) -> bool) -> Result<Vec<Coded>, No> {
    let good = |c: &Coded| is(&c.code) && c.name.chars().count() <= MAX_NAME && !c.name.contains(char::is_control);
    if list.len() > MAX_CODES || !list.iter().all(good) {
        return Err(invalid(format!("at most {MAX_CODES} {what}, each with a code of its form")));
    }
    let twice = |at: usize, c: &Coded| list[..at].iter().any(|other| other.code == c.code);
    if list.iter().enumerate().any(|(at, c)| twice(at, c)) {
        return Err(invalid(format!("one of the {what} is listed twice")));
    }
    Ok(list)
}

pub fn end_role(draft: &mut Draft<'_>, stamp: &Stamp, command: &EndRole) -> Done {
    let urp = id(&command.urp, "a role profile")?;
    let mut row = role(draft, &urp)?.ok_or_else(|| missing("role profile"))?;
    let at = if command.at == 0 { stamp.now.max(1) } else { command.at };
    // Once it is over it stays over, at the moment that the trail tells.
    if row.closes != 0 && row.closes <= stamp.now {
        return Ok((false, 0));
    }
    row.closes = at;
    draft.put(role_key(&urp), row.encode());
    Ok((true, 0))
}

pub fn set_authenticator(draft: &mut Draft<'_>, stamp: &Stamp, command: SetAuthenticator) -> Done {
    let uid = id(&command.uid, "a user id")?;
    living(draft, &uid)?;
    let mut row: Authenticator = command.authenticator;
    let Some(kind) = Kind::of(row.kind) else { return Err(invalid("no such kind of authenticator")) };
    let good = match kind {
        Kind::Password => {
            row.salt.len() >= 16
                && row.hash.len() == secrets::HASH_BYTES
                && (secrets::LEAST_ROUNDS..=secrets::MOST_ROUNDS).contains(&row.rounds)
        }
        Kind::OneTimeCode => secrets::totp_key(&row.secret.0).is_some(),
        Kind::Smartcard => return devices::set_smartcard(draft, stamp, &uid, row),
        // Its key is made in the person's hands.
        Kind::Passkey => return Err(conflict("a passkey is enrolled by its person; see `spine user passkey`")),
    };
    if !good {
        return Err(invalid("the authenticator is not of its kind's form"));
    }
    if row.issued == 0 {
        row.issued = stamp.now;
    }
    draft.put(authenticator_key(&uid, kind.serial()), row.encode());
    Ok((true, 0))
}

pub fn drop_authenticator(draft: &mut Draft<'_>, command: &DropAuthenticator) -> Done {
    let uid = id(&command.uid, "a user id")?;
    user(draft, &uid)?.ok_or_else(|| missing("user"))?;
    let there = authenticators_of(draft, &uid)?.into_iter().find(|(serial, _)| *serial == command.serial);
    if let Some((serial, row)) = &there {
        devices::remove(draft, &uid, serial, row);
        draft.delete(devices::invitation_key(&uid));
    }
    Ok((there.is_some(), 0))
}

pub fn invite_passkey(draft: &mut Draft<'_>, stamp: &Stamp, command: &InvitePasskey) -> Done {
    let uid = id(&command.uid, "a user id")?;
    let row = living(draft, &uid)?;
    if !devices::may_enrol(row.state()) {
        return Err(conflict(format!("a user who is {} enrols no passkey", row.state().word())));
    }
    if command.code.len() != 32 || !devices::CODE_LIFE_MS.contains(&command.life) {
        return Err(invalid("the enrolment code is not of its form"));
    }
    devices::room(draft, &uid)?;
    let row = devices::PasskeyInvitation {
        code: command.code.clone(),
        expires: stamp.now + command.life,
        ..Default::default()
    };
    draft.put(devices::invitation_key(&uid), row.encode());
    Ok((true, 0))
}
