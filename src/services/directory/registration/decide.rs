//! One step → rows (spec/identity.md §6.2).

use super::{
    AUTHORITY, IDENTITY_CHECKER, MOST_STEPS, Registration, SPONSOR, Step, What,
    command::{Apply, End, Grant, Issue, Pause, Sponsor, Verify},
    evidence, key, lookup_key, namesakes, ni_word, registration, words,
};
use crate::{
    engine::draft::{Draft, Stamp},
    model::day,
    services::directory::{
        command::DirectoryCommand,
        decide::{Done, No, invalid},
        rows::{NOTHING, organisation},
        users::{
            self, RoleProfile, State, User,
            command::{EndRole, SetAuthenticator, SetRole, SetUser, StandUser},
            decide as register,
        },
    },
    wire::record::Record,
};

/// Longest reason, in characters.
const MAX_REASON: usize = 200;

fn conflict(text: impl Into<String>) -> No {
    No::Refused("conflict", text.into())
}
fn forbidden(text: impl Into<String>) -> No {
    No::Refused("forbidden", text.into())
}

/// Who does a step: an active person in an open role profile of an organisation that is not switched off.
struct Actor {
    urp: String,
    role: RoleProfile,
}

impl Actor {
    fn of(draft: &Draft<'_>, stamp: &Stamp, urp: &str) -> Result<Actor, No> {
        let urp = urp.trim();
        let role = if users::is_id(urp) { users::role(draft, urp)? } else { None };
        let role = role.filter(|role| role.is_open(stamp.now));
        let role = role.ok_or_else(|| forbidden("who does the step has no such open role profile"))?;
        let active = users::user(draft, &role.uid)?.is_some_and(|user| user.is_active());
        let known = organisation(draft, &role.ods)?.is_some_and(|o| !o.disabled);
        match active && known {
            true => Ok(Actor { urp: urp.to_owned(), role }),
            false => Err(forbidden("who does the step is not active")),
        }
    }

    fn is_authority(&self) -> bool {
        let job = self.role.role_code.rsplit(':').next().unwrap_or_default();
        AUTHORITY.contains(&job)
    }
    fn has(&self, activity: &str) -> bool {
        self.role.activities.iter().any(|a| a.code == activity)
    }
    /// Nobody does a step for himself.
    fn not(&self, uid: &str) -> Result<(), No> {
        if self.role.uid == uid { Err(forbidden("nobody does a step of his own registration")) } else { Ok(()) }
    }
    fn must_be_authority(&self, uid: &str) -> Result<(), No> {
        self.not(uid)?;
        match self.is_authority() {
            true => Ok(()),
            false => Err(forbidden("only the registration authority does this (R5080, R5090)")),
        }
    }
    fn step(&self, what: What, stamp: &Stamp, remark: &str) -> Step {
        Step {
            what: what as u8,
            by: self.urp.clone(),
            uid: self.role.uid.clone(),
            at: stamp.now,
            remark: remark.to_owned(),
            ..Default::default()
        }
    }
}

/// The person and how far the registration has come.
fn known(draft: &Draft<'_>, uid: &str) -> Result<(User, Registration), No> {
    let missing = || No::Refused("not-found", "there is no such registration".into());
    let user = users::user(draft, uid)?.ok_or_else(missing)?;
    let row = registration(draft, uid)?.ok_or_else(missing)?;
    match user.state() {
        State::Closed => Err(conflict("the user is closed, for ever")),
        _ => Ok((user, row)),
    }
}

fn put(draft: &mut Draft<'_>, uid: &str, mut row: Registration, step: Step) -> Done {
    row.steps.push(step);
    if row.steps.len() > MOST_STEPS {
        // The newest of each kind stays, so that nobody is let in or kept out by what was forgotten.
        let newest = |at: usize| !row.steps[at + 1..].iter().any(|later| later.what == row.steps[at].what);
        if let Some(oldest) = (0..row.steps.len()).find(|at| !newest(*at)) {
            row.steps.remove(oldest);
        }
    }
    draft.put(key(uid), row.encode());
    Ok((true, 0))
}

fn reason(text: &str) -> Result<&str, No> {
    let text = text.trim();
    let good = !text.is_empty() && text.chars().count() <= MAX_REASON && !text.contains(char::is_control);
    if good { Ok(text) } else { Err(invalid(format!("a reason is needed, of at most {MAX_REASON} characters"))) }
}

/// Two letters, six digits, a letter from A to D.
fn is_ni(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 9
        && b[..2].iter().all(u8::is_ascii_uppercase)
        && b[2..8].iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(&b[8])
}

pub fn apply(draft: &mut Draft<'_>, stamp: &Stamp, c: Apply) -> Done {
    let step = match c.by.is_empty() {
        true => Step { what: What::Applied as u8, at: stamp.now, ..Default::default() },
        false => Actor::of(draft, stamp, &c.by)?.step(What::Applied, stamp, ""),
    };
    let person = SetUser { fresh: true, identity_level: 0, ..c.person };
    if person.born == 0 {
        return Err(invalid("an applicant needs a birth date"));
    }
    let ni: String = c.ni.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    if !ni.is_empty() && !is_ni(&ni) {
        return Err(invalid("a National Insurance number has two letters, six digits and a letter"));
    }
    let uid = person.uid.trim().to_owned();
    let said = User {
        given: person.given.trim().into(),
        family: person.family.trim().into(),
        email: person.email.trim().into(),
        born: person.born,
        ..Default::default()
    };
    let mut words = words(&said);
    if !ni.is_empty() {
        words.push(ni_word(&ni));
    }
    let same = namesakes(draft, &words)?;
    if let Some(other) = same.iter().find(|other| !c.others.contains(other)) {
        return Err(conflict(format!("user {other} looks the same; say so if it is another person")));
    }
    register::set(draft, stamp, person)?;
    if !ni.is_empty() {
        draft.put(lookup_key(&ni_word(&ni), &uid), NOTHING);
    }
    put(draft, &uid, Registration { ni, ..Default::default() }, step)
}

pub fn verify(draft: &mut Draft<'_>, stamp: &Stamp, c: Verify) -> Done {
    let (user, mut row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, &c.by)?;
    by.not(&c.uid)?;
    if !by.is_authority() && !by.has(IDENTITY_CHECKER) {
        return Err(forbidden("only the registration authority and identity checkers do this"));
    }
    if user.state() != State::Applied {
        return Err(conflict(format!("the user is {}", user.state().word())));
    }
    let today = day::of_millis(stamp.now);
    if let Some(why) = evidence::lacking(&c.evidence, today) {
        return Err(invalid(why));
    }
    // Level 3, "high".
    register::set(draft, stamp, SetUser { uid: c.uid.clone(), identity_level: 4, ..Default::default() })?;
    stand(draft, stamp, &c.uid, State::IdentityVerified)?;
    row.evidence = c.evidence;
    put(draft, &c.uid, row, by.step(What::Verified, stamp, ""))
}

fn stand(draft: &mut Draft<'_>, stamp: &Stamp, uid: &str, state: State) -> Done {
    register::stand(draft, stamp, &StandUser { uid: uid.to_owned(), state: state as u8, ..Default::default() })
}

pub fn sponsor(draft: &mut Draft<'_>, stamp: &Stamp, c: Sponsor) -> Done {
    let (_, mut row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, &c.by)?;
    by.not(&c.uid)?;
    if !by.has(SPONSOR) {
        return Err(forbidden(format!("only a sponsor does this (activity {SPONSOR})")));
    }
    let ods = c.position.ods.trim().to_ascii_uppercase();
    if by.role.ods != ods {
        return Err(forbidden("a sponsor speaks for his own organisation"));
    }
    if !users::roles::is_role_code(&c.position.role_code.trim().to_ascii_uppercase()) {
        return Err(invalid("a job role is S####:G####:R####"));
    }
    let remark = format!("{} in {ods}", c.position.role_code);
    row.wanted = Some(SetRole { uid: c.uid.clone(), ods, ..c.position });
    (row.sponsor, row.sponsored_by) = (by.role.uid.clone(), by.urp.clone());
    put(draft, &c.uid, row, by.step(What::Sponsored, stamp, &remark))
}

pub fn grant(draft: &mut Draft<'_>, stamp: &Stamp, c: &Grant) -> Done {
    let (user, mut row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, &c.by)?;
    by.must_be_authority(&c.uid)?;
    if user.state() == State::Applied {
        return Err(conflict("the identity is not verified yet"));
    }
    let Some(wanted) = row.wanted.take() else { return Err(conflict("no position is sponsored")) };
    let (sponsor, _) = (std::mem::take(&mut row.sponsor), std::mem::take(&mut row.sponsored_by));
    if sponsor.is_empty() {
        return Err(forbidden("it is not known who sponsored this position; it must be sponsored again"));
    }
    if sponsor == by.role.uid {
        return Err(forbidden("who sponsored does not grant"));
    }
    let role = SetRole { urp: c.urp.clone(), person_org: c.person_org.clone(), fresh: true, ..wanted };
    register::set_role(draft, stamp, role)?;
    put(draft, &c.uid, row, by.step(What::Granted, stamp, &c.urp))
}

pub fn issue(draft: &mut Draft<'_>, stamp: &Stamp, c: Issue) -> Done {
    let (user, row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, &c.by)?;
    by.must_be_authority(&c.uid)?;
    if row.last(What::Granted).is_none() {
        return Err(conflict("no position is granted yet"));
    }
    if !c.terms {
        return Err(conflict("the person has not accepted the terms"));
    }
    if c.authenticator.kind == 0 {
        let held = users::authenticators_of(draft, &c.uid)?;
        if !held.iter().any(|(_, row)| users::devices::is_device(row) && row.is_good(stamp.now)) {
            return Err(conflict("the person has no passkey or smartcard yet; see `spine user passkey`"));
        }
    } else {
        let set = SetAuthenticator { uid: c.uid.clone(), authenticator: c.authenticator, ..Default::default() };
        register::set_authenticator(draft, stamp, set)?;
    }
    put(draft, &c.uid, row, by.step(What::Issued, stamp, ""))?;
    if user.state() == State::IdentityVerified {
        stand(draft, stamp, &c.uid, State::Active)?;
    }
    Ok((true, 0))
}

pub fn pause(draft: &mut Draft<'_>, stamp: &Stamp, c: &Pause) -> Done {
    let (_, row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, &c.by)?;
    by.must_be_authority(&c.uid)?;
    let why = reason(&c.reason)?;
    let (to, what) = if c.resume { (State::Active, What::Resumed) } else { (State::Suspended, What::Suspended) };
    let (changed, _) = stand(draft, stamp, &c.uid, to)?;
    if changed { put(draft, &c.uid, row, by.step(what, stamp, why)) } else { Ok((false, 0)) }
}

pub fn end(draft: &mut Draft<'_>, stamp: &Stamp, c: &End) -> Done {
    let (_, row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, &c.by)?;
    by.must_be_authority(&c.uid)?;
    let why = reason(&c.reason)?;
    if c.leaving && (!c.urp.is_empty() || c.at != 0) {
        return Err(invalid("who leaves, leaves all positions at once"));
    }
    let mut changed = false;
    for (urp, role) in users::roles_of(draft, &c.uid)? {
        let over = role.closes != 0 && role.closes <= stamp.now;
        if !over && (c.urp.is_empty() || c.urp == urp) {
            changed |= register::end_role(draft, stamp, &EndRole { urp, at: c.at, ..Default::default() })?.0;
        }
    }
    if !changed && !c.leaving {
        return Err(No::Refused("not-found", "the user has no such open role profile".into()));
    }
    if c.leaving {
        stand(draft, stamp, &c.uid, State::Closed)?;
    }
    put(draft, &c.uid, row, by.step(What::Ended, stamp, why))
}

/// For the audit note: the role profiles of both people, who does the step and, at a grant, who sponsored; words of one line,
/// so that each is found.
pub fn people(draft: &Draft<'_>, command: &DirectoryCommand) -> Result<Option<String>, crate::engine::draft::Fault> {
    use DirectoryCommand as C;
    let (uid, by) = match command {
        C::Apply(c) => (&c.person.uid, &c.by),
        C::Verify(c) => (&c.uid, &c.by),
        C::Sponsor(c) => (&c.uid, &c.by),
        C::Grant(c) => (&c.uid, &c.by),
        C::Issue(c) => (&c.uid, &c.by),
        C::Pause(c) => (&c.uid, &c.by),
        C::End(c) => (&c.uid, &c.by),
        _ => return Ok(None),
    };
    let mut all: String = by.chars().take(12).collect();
    if let C::Grant(c) = command {
        let sponsor = registration(draft, uid)?.map(|row| row.sponsored_by);
        let granted: String = c.urp.chars().take(12).collect();
        all = format!("{all} {} {granted}", sponsor.unwrap_or_default());
    }
    Ok(Some(all))
}
