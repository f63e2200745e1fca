//! One step → rows (spec/identity.md §6.2).

use super::{
    AUTHORITY, MOST_STEPS, Registration, Step, What,
    command::{Apply, End, Grant, Issue, Pause, Sponsor, Verify},
    evidence, key, lookup_key, namesakes, ni_word, registration,
    rules::{Rules, reason},
    words,
};
use crate::{
    engine::draft::{Draft, Stamp},
    model::day,
    services::directory::{
        command::DirectoryCommand,
        decide::{Done, No, invalid},
        rows::{NOTHING, organisation},
        users::{
            self, RoleProfile, State, User, baseline,
            command::{EndRole, SetAuthenticator, SetRole, SetUser, StandUser},
            decide as register,
        },
    },
    wire::record::Record,
};

/// In the audit note of what was entered while the register was open.
const WITHOUT_STEPS: &str = "without a registration";

fn conflict(text: impl Into<String>) -> No {
    No::Refused("conflict", text.into())
}
fn forbidden(text: impl Into<String>) -> No {
    No::Refused("forbidden", text.into())
}

/// Who does a step: an active person in an open role profile of an organisation that is not switched off; and the operator account that
/// enters it, as the kernel told it.
struct Actor<'a> {
    urp: String,
    role: RoleProfile,
    /// Of the job role, and added to it.
    activities: Vec<String>,
    operator: &'a str,
}

impl<'a> Actor<'a> {
    fn of(draft: &Draft<'_>, stamp: &Stamp, operator: &'a str, urp: &str) -> Result<Actor<'a>, No> {
        let urp = urp.trim();
        let role = if users::is_id(urp) { users::role(draft, urp)? } else { None };
        let role = role.filter(|role| role.is_open(stamp.now));
        let role = role.ok_or_else(|| forbidden("who does the step has no such open role profile"))?;
        let active = users::user(draft, &role.uid)?.is_some_and(|user| user.is_active());
        let known = organisation(draft, &role.ods)?.is_some_and(|o| !o.disabled);
        match active && known {
            true => {
                let activities = baseline::effective(draft, &role)?;
                Ok(Actor { urp: urp.to_owned(), role, activities, operator })
            }
            false => Err(forbidden("who does the step is not active")),
        }
    }

    fn is_authority(&self) -> bool {
        let job = self.role.role_code.rsplit(':').next().unwrap_or_default();
        AUTHORITY.contains(&job)
    }
    fn has(&self, any_of: &[&str]) -> bool {
        any_of.iter().any(|code| self.activities.iter().any(|mine| mine == code))
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
            operator: self.operator.to_owned(),
            ..Default::default()
        }
    }
}

/// The person and how far the registration has come. Who was in without one goes on from there: the next position has its steps.
fn known(draft: &Draft<'_>, uid: &str) -> Result<(User, Registration), No> {
    let missing = || No::Refused("not-found", "there is no such registration".into());
    let user = users::user(draft, uid)?.ok_or_else(missing)?;
    let row = match registration(draft, uid)? {
        Some(row) => row,
        None if [State::Active, State::Suspended].contains(&user.state()) => {
            Registration { taken_over: true, ..Default::default() }
        }
        None => return Err(missing()),
    };
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

/// Two letters, six digits, a letter from A to D.
fn is_ni(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 9
        && b[..2].iter().all(u8::is_ascii_uppercase)
        && b[2..8].iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(&b[8])
}

pub fn apply(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: Apply) -> Done {
    let step = match c.by.is_empty() {
        true => Step { what: What::Applied as u8, at: stamp.now, operator: operator.to_owned(), ..Default::default() },
        false => Actor::of(draft, stamp, operator, &c.by)?.step(What::Applied, stamp, ""),
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

pub fn verify(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: Verify) -> Done {
    let (user, mut row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, operator, &c.by)?;
    by.not(&c.uid)?;
    let rules = Rules::of(draft)?;
    if !by.is_authority() && !by.has(&rules.checkers()) {
        let which = rules.checkers().join(", ");
        return Err(forbidden(format!(
            "only the registration authority (R5080, R5090) and identity checkers (activity {which}) do this"
        )));
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
    register::move_to(draft, stamp, &StandUser { uid: uid.to_owned(), state: state as u8, ..Default::default() })
}

pub fn sponsor(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: Sponsor) -> Done {
    let (_, mut row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, operator, &c.by)?;
    by.not(&c.uid)?;
    let rules = Rules::of(draft)?;
    if !by.has(&rules.sponsors()) {
        let which = rules.sponsors().join(", ");
        return Err(forbidden(format!("only a sponsor does this (activity {which})")));
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
    row.sponsor_operator = operator.to_owned();
    put(draft, &c.uid, row, by.step(What::Sponsored, stamp, &remark))
}

/// Whether an operator account has entered a step that the granter must not have done: whose identity check lets the person in, and
/// who sponsored what is to be granted.
fn is_alone(row: &Registration, operator: &str) -> bool {
    row.sponsor_operator == operator || row.last(What::Verified).is_some_and(|step| step.operator == operator)
}

pub fn grant(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: &Grant) -> Done {
    let (user, mut row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, operator, &c.by)?;
    by.must_be_authority(&c.uid)?;
    if user.state() == State::Applied {
        return Err(conflict("the identity is not verified yet"));
    }
    let Some(wanted) = row.wanted.take() else { return Err(conflict("no position is sponsored")) };
    if row.sponsor.is_empty() || row.sponsor_operator.is_empty() {
        return Err(forbidden("it is not known who sponsored this position; it must be sponsored again"));
    }
    if row.sponsor == by.role.uid {
        return Err(forbidden("who sponsored does not grant"));
    }
    let alone = is_alone(&row, operator);
    if alone && !Rules::of(draft)?.one_operator {
        return Err(forbidden(format!(
            "two operator accounts are needed: {operator} entered the identity check or the sponsor's step and does not enter the \
             grant; see `spine registration rules`"
        )));
    }
    for text in [&mut row.sponsor, &mut row.sponsored_by, &mut row.sponsor_operator] {
        text.clear();
    }
    let role = SetRole { urp: c.urp.clone(), person_org: c.person_org.clone(), fresh: true, ..wanted };
    register::set_role(draft, stamp, role)?;
    put(draft, &c.uid, row, Step { alone, ..by.step(What::Granted, stamp, &c.urp) })
}

pub fn issue(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: Issue) -> Done {
    let (user, row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, operator, &c.by)?;
    by.must_be_authority(&c.uid)?;
    if row.last(What::Granted).is_none() && !row.taken_over {
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

pub fn pause(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: &Pause) -> Done {
    let (_, row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, operator, &c.by)?;
    by.must_be_authority(&c.uid)?;
    let why = reason(&c.reason)?;
    let (to, what) = if c.resume { (State::Active, What::Resumed) } else { (State::Suspended, What::Suspended) };
    let (changed, _) = stand(draft, stamp, &c.uid, to)?;
    if changed { put(draft, &c.uid, row, by.step(what, stamp, why)) } else { Ok((false, 0)) }
}

pub fn end(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, c: &End) -> Done {
    let (_, row) = known(draft, &c.uid)?;
    let by = Actor::of(draft, stamp, operator, &c.by)?;
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

/// For the audit note: the role profiles of both people, who does the step and, at a grant, who sponsored, and the operator account that
/// entered that; words of one line, so that each is found.
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
        let row = registration(draft, uid)?.unwrap_or_default();
        let granted: String = c.urp.chars().take(12).collect();
        all = format!("{all} {} {granted} {}", row.sponsored_by, row.sponsor_operator).trim_end().to_owned();
    }
    Ok(Some(all))
}

/// For the audit note of what is done past a rule, as the site's rules allow it: purpose, and in which way.
pub fn remark(
    draft: &Draft<'_>,
    command: &DirectoryCommand,
    operator: &str,
) -> Result<Option<(String, String)>, crate::engine::draft::Fault> {
    use DirectoryCommand as C;
    Ok(match command {
        C::SetRules(c) => Some((c.reason.trim().chars().take(200).collect(), String::new())),
        C::Grant(c) => {
            let row = registration(draft, &c.uid)?.unwrap_or_default();
            is_alone(&row, operator).then(|| (String::new(), "one operator".to_owned()))
        }
        C::SetRole(_) => Some((String::new(), WITHOUT_STEPS.to_owned())),
        C::StandUser(c) if [State::IdentityVerified as u8, State::Active as u8].contains(&c.state) => {
            let steps = registration(draft, &c.uid)?.is_some();
            (!steps).then(|| (String::new(), WITHOUT_STEPS.to_owned()))
        }
        _ => None,
    })
}

/// Refuses what lets somebody in, or gives a role, without the steps, unless the register is open.
pub(in crate::services::directory) fn must_be_open(draft: &Draft<'_>, stamp: &Stamp) -> Result<(), No> {
    match Rules::of(draft)?.is_open(stamp.now) {
        true => Ok(()),
        false => Err(forbidden(
            "nobody is let in and no role profile is opened without a registration: use `spine registration`; `spine registration rules \
             --open-for` opens the register for the first people of a site or those of an older register",
        )),
    }
}
