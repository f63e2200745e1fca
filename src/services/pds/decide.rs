//! One command to rows, audit notes and a reply: the order that holds for all.

use super::{
    Pds, answer, codec,
    command::{Create, Noted, PdsCommand, Reply, Retrieve, SetCard, Supersede, Update, kind},
    fhir::{self, Object},
    import, names, numbers, patch,
    refusal::{self, Problem},
    rows::{self, Actor, Card, Person},
    search, shapes, tell,
    trace::decide as trace,
};
use crate::{
    engine::{
        Command, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    model::NhsNumber,
    store::Reader,
    wire::record::Record,
};
use bytes::Bytes;
use serde_json::{Value, json};

/// Why a command is not carried out: in the caller's words, or our fault.
pub enum No {
    Refused(Problem),
    Fault(Fault),
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        No::Refused(problem)
    }
}
impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        No::Fault(fault)
    }
}
impl From<crate::store::StoreError> for No {
    fn from(error: crate::store::StoreError) -> Self {
        No::Fault(error.into())
    }
}

/// What a command is about, for its note.
struct About {
    interaction: &'static str,
    subject: u64,
    detail: String,
    request: String,
}

impl Decide for Pds {
    fn service(&self) -> ServiceId {
        services::PDS
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let by_operator = !command.caller.operator.is_empty();
        let reply = match PdsCommand::decode(&command.payload)? {
            PdsCommand::Noted(c) => noted(draft, stamp, &c),
            PdsCommand::Retrieve(c) => {
                let interaction = match c.kind {
                    kind::RELATED => "pds.related",
                    kind::COVERAGE => "pds.coverage",
                    _ => "pds.retrieve",
                };
                let about = About { interaction, subject: c.nhs, detail: c.detail.clone(), request: c.request.clone() };
                done(draft, stamp, about, |draft| retrieve(draft, &c))?
            }
            PdsCommand::Update(c) => {
                let about = about("pds.update", c.nhs, &c.detail, &c.by);
                done(draft, stamp, about, |draft| self.update(draft, stamp, &c))?
            }
            PdsCommand::Create(c) => {
                let interaction = if c.interaction == "pds.birth" { "pds.birth" } else { "pds.create" };
                let about = about(interaction, 0, &c.detail, &c.by);
                done(draft, stamp, about, |draft| self.create(draft, stamp, &c))?
            }
            PdsCommand::SetCard(c) => {
                let about = about("pds.coverage_set", c.nhs, &c.detail, &c.by);
                done(draft, stamp, about, |draft| set_card(draft, stamp, &c))?
            }
            PdsCommand::Import(c) if by_operator => import::write(draft, stamp, &c)?,
            PdsCommand::Import(_) => {
                draft.audit(AuditNote {
                    interaction: "pds.import".into(),
                    outcome: "forbidden".into(),
                    ..Default::default()
                });
                Reply::refused(stamp.now, &Problem::forbidden("only an operator imports people"))
            }
            PdsCommand::Supersede(c) => supersede(draft, stamp, &c)?,
            PdsCommand::Arrived(c) => return trace::arrived(draft, stamp, &c, &command.caller),
            PdsCommand::TraceChecked(c) => return trace::checked(draft, stamp, &c),
            PdsCommand::TracePiece(c) => return trace::piece(draft, &c),
            PdsCommand::TraceFold(c) => return trace::fold(draft, &c),
            PdsCommand::TraceEnd(c) => return trace::end(draft, stamp, &c),
        };
        Ok(Reply { at: stamp.now, ..reply }.encode())
    }

    fn may_when_full(&self, command: &Command) -> bool {
        matches!(PdsCommand::decode(&command.payload), Ok(PdsCommand::Noted(_) | PdsCommand::Retrieve(_)))
    }

    fn timer(&self, draft: &mut Draft<'_>, _: &Stamp, timer: &Timer) -> Result<(), Fault> {
        trace::timer(draft, &timer.payload)
    }
}

fn about(interaction: &'static str, subject: u64, detail: &str, by: &Actor) -> About {
    About { interaction, subject, detail: detail.to_owned(), request: by.request.clone() }
}

/// Does the work, undoes it where it is refused, and leaves the note.
fn done(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    about: About,
    work: impl FnOnce(&mut Draft<'_>) -> Result<Reply, No>,
) -> Result<Reply, Fault> {
    let (reply, outcome) = match work(draft) {
        Ok(reply) => (reply, "ok"),
        Err(No::Refused(problem)) => {
            draft.abort();
            let code = problem.row.code;
            (Reply { nhs: about.subject, ..Reply::refused(stamp.now, &problem) }, code)
        }
        Err(No::Fault(fault)) => return Err(fault),
    };
    let subject = if reply.nhs != 0 { reply.nhs } else { about.subject };
    draft.audit(AuditNote {
        interaction: about.interaction.into(),
        outcome: outcome.into(),
        object: about.request,
        subject: digits(subject),
        detail: about.detail,
        ..Default::default()
    });
    Ok(reply)
}

fn digits(number: u64) -> String {
    NhsNumber::of(number).filter(|_| number != 0).map(NhsNumber::digits).unwrap_or_default()
}

/// One note for each person shown; one without a person where nobody was.
fn noted(draft: &mut Draft<'_>, stamp: &Stamp, command: &Noted) -> Reply {
    let note = AuditNote {
        interaction: command.interaction.clone(),
        outcome: command.outcome.clone(),
        object: command.request.clone(),
        detail: command.detail.clone(),
        ..Default::default()
    };
    for subject in &command.subjects {
        draft.audit(AuditNote { subject: digits(*subject), ..note.clone() });
    }
    if command.subjects.is_empty() {
        draft.audit(note);
    }
    Reply { at: stamp.now, ..Default::default() }
}

fn number(value: u64) -> Result<NhsNumber, No> {
    NhsNumber::of(value).ok_or_else(|| Problem::plain(&refusal::INVALID_RESOURCE_ID).into())
}

/// A person who is there and not invalid (§6); where they were merged into another, that is for the caller to say.
fn known(draft: &Draft<'_>, nhs: NhsNumber) -> Result<Person, No> {
    let person = rows::person(draft, nhs)?.ok_or(Problem::plain(&refusal::RESOURCE_NOT_FOUND))?;
    if person.invalidated && person.superseded_by == 0 {
        return Err(Problem::plain(&refusal::INVALIDATED_RESOURCE).into());
    }
    Ok(person)
}

fn retrieve(draft: &mut Draft<'_>, command: &Retrieve) -> Result<Reply, No> {
    let nhs = number(command.nhs)?;
    let person = known(draft, nhs)?;
    let mut reply = Reply { nhs: command.nhs, superseded_by: person.superseded_by, ..Default::default() };
    if person.superseded_by != 0 {
        return Ok(reply);
    }
    let open = answer::open(&person);
    match command.kind {
        kind::RELATED => {
            let list = if open { rows::related(draft, nhs)? } else { vec![] };
            reply.extra = codec::pack(&Value::Array(list.into_iter().map(Value::Object).collect()));
        }
        kind::COVERAGE => {
            let card = if open { rows::card(draft, nhs)? } else { None };
            reply.extra = card.map(|card| card.encode()).unwrap_or_default();
        }
        _ => reply.person = person.encode(),
    }
    Ok(reply)
}

/// Refuses to write a record that was merged or is restricted (§6).
fn writable(person: &Person, back_office: bool) -> Result<(), No> {
    if person.superseded_by != 0 {
        let text = "Update Failed - NHS No. supplied has been superseded in a merge";
        return Err(Problem::forbidden(text).into());
    }
    if !answer::open(person) && !back_office {
        return Err(Problem::forbidden("source not permitted to update a restricted record").into());
    }
    Ok(())
}

impl Pds {
    fn update(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Update) -> Result<Reply, No> {
        let nhs = number(command.nhs)?;
        let old = known(draft, nhs)?;
        writable(&old, command.back_office)?;
        let body = codec::unpack(&command.body).map_err(|e| Fault::Other(format!("update: {e}")))?;
        let operations = patch::operations(&body)?;
        if command.version != old.version {
            return Err(Problem::plain(&refusal::VERSION_MISMATCH).into());
        }
        let context = patch::Context::of(command, stamp, &self.options, draft.site());
        let (stored, history) = patch::updated(nhs, &old, operations, &context)?;
        let new = Person {
            version: old.version + 1,
            resource: codec::pack(&Value::Object(stored.clone())),
            history: if history.is_empty() { Bytes::new() } else { codec::pack(&Value::Object(history)) },
            at: stamp.now,
            by: command.by.clone(),
            ..old.clone()
        };
        rows::keep_version(draft, nhs, &old, &new, &stored)?;
        rows::put(draft, nhs, Some(&old), &new)?;
        tell::prescriptions(draft, stamp, nhs, &old.stored()?, &stored);
        Ok(Reply { nhs: command.nhs, version: new.version, ..Default::default() })
    }

    fn create(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Create) -> Result<Reply, No> {
        let mut resource = rows::object(&command.resource)?;
        let born = resource.get("birthDate").and_then(Value::as_str).unwrap_or_default();
        if *born > *fhir::day(stamp.now) {
            let at = if command.interaction == "pds.birth" { "entry/0/resource/birthDate" } else { "birthDate" };
            return Err(Problem::invalid(born, at).into());
        }
        let today = names::day_number(&fhir::day(stamp.now)).unwrap_or(u32::MAX);
        let at = if command.interaction == "pds.birth" { "entry/0/resource/" } else { "" };
        shapes::begun(&resource, today, at)?;
        // Once more here: a person made since the look at all partitions is in this one.
        let here = search::same_people(&[&*draft as &dyn Reader], &resource, command.identical_only)?;
        let mut same: Vec<u64> = here.iter().map(|nhs| nhs.value()).chain(command.matches.iter().copied()).collect();
        same.sort_unstable();
        same.dedup();
        match same.as_slice() {
            [] => {}
            same => return Err(there_already(same).into()),
        }
        let nhs = numbers::next(draft, stamp, &self.options.ranges)?.ok_or_else(Problem::unavailable)?;
        rows::give_ids(&mut resource, &stamp.entropy);
        let person = Person {
            version: 1,
            resource: codec::pack(&Value::Object(resource)),
            at: stamp.now,
            by: command.by.clone(),
            ..Default::default()
        };
        rows::put(draft, nhs, None, &person)?;
        if let Some(mother) = NhsNumber::of(command.mother).filter(|_| command.mother != 0) {
            let id = rows::object_id(&stamp.entropy, u64::MAX);
            let row = mother_row(&id, mother);
            draft.insert(rows::related_key(nhs, &id), codec::pack(&Value::Object(row)));
        }
        Ok(Reply { nhs: nhs.value(), version: 1, ..Default::default() })
    }
}

/// What a caller learns of the people whom a new one is (§10). The number alone, whatever the label: who has all of name, gender,
/// birth date and postcode right has the person before them, and without the number would be unable to look after them under
/// it. A restricted and a very restricted person's record shows nothing more for it.
fn there_already(same: &[u64]) -> Problem {
    match same {
        [one] => {
            let number = digits(*one);
            let text =
                format!("Unable to create new patient. NHS number {number} found for supplied demographic data.");
            Problem::says(&refusal::SINGLE_MATCH, text)
        }
        _ => {
            let text = "Unable to create new patient. Multiple matches found for supplied demographic data.";
            Problem::says(&refusal::MULTIPLE_MATCHES, text)
        }
    }
}

/// The mother as a related person of her child (§12).
fn mother_row(id: &str, mother: NhsNumber) -> Object {
    let row = json!({
        "id": id,
        "active": true,
        "patient": {
            "type": "Patient",
            "identifier": {"system": fhir::NHS_NUMBER, "value": mother.digits()},
            "reference": format!("Patient/{}", mother.digits()),
        },
        "relationship": [{"coding": [
            {"system": "https://fhir.nhs.uk/R4/CodeSystem/UKCore-AdditionalRelatedPersonRole", "code": "Personal",
             "display": "Personal relationship with the patient"},
            {"system": "http://hl7.org/fhir/ValueSet/relatedperson-relationshiptype", "code": "MTH", "display": "mother"},
        ]}],
    });
    row.as_object().cloned().unwrap_or_default()
}

fn set_card(draft: &mut Draft<'_>, stamp: &Stamp, command: &SetCard) -> Result<Reply, No> {
    let nhs = number(command.nhs)?;
    writable(&known(draft, nhs)?, false)?;
    let old = rows::card(draft, nhs)?;
    let version = old.map_or(1, |card| card.version);
    if command.version != version {
        return Err(Problem::plain(&refusal::VERSION_MISMATCH).into());
    }
    let card = Card {
        version: version + 1,
        resource: command.resource.clone(),
        at: stamp.now,
        by: command.by.clone(),
        ..Default::default()
    };
    draft.put(rows::card_key(nhs), card.encode());
    Ok(Reply { nhs: command.nhs, extra: card.encode(), ..Default::default() })
}

/// The other half of a merge: the old number points to the new one. Its own data stay, and so does what finds them.
/// A merge is a change of the record, but where all that is known of it came from files: there it is part of what they say.
fn supersede(draft: &mut Draft<'_>, stamp: &Stamp, command: &Supersede) -> Result<Reply, Fault> {
    let (Some(old), Some(_)) = (NhsNumber::of(command.old), NhsNumber::of(command.new)) else {
        return Err(Fault::Other("a merge of numbers that are none".into()));
    };
    let row = rows::person(draft, old)?;
    if row.as_ref().is_some_and(|row| row.superseded_by == command.new) {
        return Ok(Reply::default());
    }
    let mut new = row.clone().unwrap_or(Person { version: 1, at: stamp.now, ..Default::default() });
    new.superseded_by = command.new;
    if let Some(row) = row.as_ref().filter(|row| row.by != Actor::default()) {
        new = Person { version: row.version + 1, at: stamp.now, by: Actor::default(), ..new };
        rows::keep_version(draft, old, row, &new, &row.stored()?)?;
    }
    rows::put(draft, old, row.as_ref(), &new)?;
    draft.audit(AuditNote {
        interaction: "pds.supersede".into(),
        outcome: "ok".into(),
        subject: old.digits(),
        other: digits(command.new),
        ..Default::default()
    });
    Ok(Reply::default())
}
