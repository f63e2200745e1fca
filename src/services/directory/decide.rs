//! One command on the registry to rows, an audit note and a reply.

use super::{
    Directory, applications, arrival,
    command::{
        Batch, DirectoryCommand, DirectoryReply, Disable, Kind, MAX_BATCH, RemoveNode, SERVED, SetInvitation,
        SetMailbox, SetNode, SetOrganisation, SetSystem, SetWorkflow, UseInvitation,
    },
    issuers, level, notice, organisations, registration,
    rows::{self, Invitation, Mailbox, Member, NOTHING, System, Workflow},
    signing, sites, systems,
    users::{self, devices},
};
use crate::{
    engine::{
        Command, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    model::{Asid, MailboxId, OdsCode, WorkflowId, ids::BadId},
    store::{Reader, StoreError},
    wire::record::Record,
};
use bytes::Bytes;

/// Longest name, party key or password.
const MAX_TEXT: usize = 200;
/// Most senders or receivers of a workflow: England's practices three times over.
const MAX_MEMBERS: usize = 20_000;
/// Most certificates of a system: renewals overlap, estates do not share one system.
const MAX_CERTIFICATES: usize = 64;

/// Why a command is not carried out.
pub(super) enum No {
    Refused(&'static str, String),
    Fault(Fault),
}

impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        No::Fault(fault)
    }
}
impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        No::Fault(error.into())
    }
}
impl From<BadId> for No {
    fn from(bad: BadId) -> Self {
        No::Refused("invalid", bad.to_string())
    }
}

pub(super) fn invalid(text: impl Into<String>) -> No {
    No::Refused("invalid", text.into())
}

/// `changed`, and a node's number where one was given.
pub(super) type Done = Result<(bool, u16), No>;

impl Decide for Directory {
    fn service(&self) -> ServiceId {
        services::DIRECTORY
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        match DirectoryCommand::decode(&command.payload)? {
            DirectoryCommand::Batch(batch) => decide_batch(draft, stamp, command, &batch),
            wanted => Ok(decide_one(draft, stamp, command, wanted)?.encode()),
        }
    }

    fn timer(&self, draft: &mut Draft<'_>, stamp: &Stamp, _: &Timer) -> Result<(), Fault> {
        signing::timer(draft, stamp)
    }
}

/// Each command of a batch as if it had come alone; what was done stays when a later one is refused.
fn decide_batch(draft: &mut Draft<'_>, stamp: &Stamp, command: &Command, batch: &Batch) -> Result<Bytes, Fault> {
    let mut reply = DirectoryReply::default();
    if batch.commands.len() > MAX_BATCH {
        (reply.refusal, reply.text) = ("invalid".into(), format!("a batch has at most {MAX_BATCH} commands"));
        draft.audit(note("directory.batch", String::new(), &reply));
        return Ok(reply.encode());
    }
    for payload in &batch.commands {
        let one = match DirectoryCommand::decode(payload)? {
            DirectoryCommand::Batch(_) => return Err(Fault::Other("a batch in a batch".into())),
            wanted => decide_one(draft, stamp, command, wanted)?,
        };
        draft.settle();
        reply.changed |= one.changed;
        reply.each.push(one);
    }
    Ok(reply.encode())
}

fn decide_one(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    command: &Command,
    wanted: DirectoryCommand,
) -> Result<DirectoryReply, Fault> {
    let (name, object) = name_and_object(&wanted);
    let whom = registration::decide::people(draft, &wanted)?.unwrap_or_else(|| whom(&wanted));
    let remark = registration::decide::remark(draft, &wanted, &command.caller.operator)?;
    let remark = remark.or_else(|| sites::remark(&wanted));
    let by_token = matches!(wanted, DirectoryCommand::UseInvitation(_));
    let done = if command.caller.operator.is_empty() && !by_token {
        Err(No::Refused("forbidden", "only an operator changes the registry".into()))
    } else {
        carry_out(draft, stamp, &command.caller.operator, wanted)
    };
    let reply = match done {
        Ok((changed, node)) => DirectoryReply { changed, node, ..Default::default() },
        Err(No::Refused(refusal, text)) => {
            draft.abort();
            DirectoryReply { refusal: refusal.into(), text, ..Default::default() }
        }
        Err(No::Fault(fault)) => return Err(fault),
    };
    let mut note = AuditNote { other: whom, ..note(name, object, &reply) };
    if let (Some((purpose, detail)), true) = (remark, reply.changed) {
        (note.purpose, note.detail) = (purpose, detail);
    }
    draft.audit(note);
    Ok(reply)
}

/// Beside the object: the person a role profile is of, or the state a person is put into.
fn whom(command: &DirectoryCommand) -> String {
    match command {
        DirectoryCommand::StandUser(c) => users::State::of(c.state).word().into(),
        DirectoryCommand::SetRole(c) => c.uid.chars().take(MAX_TEXT).collect(),
        _ => String::new(),
    }
}

pub(super) fn note(interaction: &str, object: String, reply: &DirectoryReply) -> AuditNote {
    AuditNote {
        interaction: interaction.into(),
        outcome: if reply.is_done() { "ok".into() } else { reply.refusal.clone() },
        object: object.chars().take(MAX_TEXT).collect(),
        detail: if reply.is_done() && !reply.changed { "unchanged".into() } else { String::new() },
        ..Default::default()
    }
}

fn name_and_object(command: &DirectoryCommand) -> (&'static str, String) {
    use DirectoryCommand as C;
    match command {
        C::SetOrganisation(c) => ("directory.organisation.set", c.ods.clone()),
        C::SetSystem(c) => ("directory.system.set", c.asid.clone()),
        C::SetMailbox(c) => ("directory.mailbox.set", c.mailbox.clone()),
        C::SetWorkflow(c) => ("directory.workflow.set", c.workflow.clone()),
        C::Disable(c) if c.enable => ("directory.enable", c.id.clone()),
        C::Disable(c) => ("directory.disable", c.id.clone()),
        C::SetNode(c) => ("directory.node.set", c.node.to_string()),
        C::RemoveNode(c) => ("directory.node.remove", c.node.to_string()),
        C::SetInvitation(_) => ("directory.invitation.set", String::new()),
        C::UseInvitation(c) => ("directory.invitation.use", c.member.name.clone()),
        C::SetApplication(c) => ("directory.application.set", c.client.clone()),
        C::PutOrganisation(c) => ("directory.organisation.put", c.ods.clone()),
        C::PutSystem(c) => ("directory.system.put", c.asid.clone()),
        C::PutEndpoint(c) => ("directory.endpoint.put", c.id.clone()),
        C::Batch(_) => ("directory.batch", String::new()),
        C::SetUser(c) => ("directory.user.set", c.uid.clone()),
        C::StandUser(c) => ("directory.user.state", c.uid.clone()),
        C::SetRole(c) => ("directory.role.set", c.urp.clone()),
        C::EndRole(c) => ("directory.role.end", c.urp.clone()),
        C::SetAuthenticator(c) => ("directory.authenticator.set", c.uid.clone()),
        C::AddSigningKey(c) => ("directory.signing_key.add", signing::thumbprint(&c.key.modulus, &c.key.exponent)),
        C::DropAuthenticator(c) => ("directory.authenticator.drop", c.uid.clone()),
        C::Apply(c) => ("registration.apply", c.person.uid.clone()),
        C::Verify(c) => ("registration.verify", c.uid.clone()),
        C::Sponsor(c) => ("registration.sponsor", c.uid.clone()),
        C::Grant(c) => ("registration.grant", c.uid.clone()),
        C::Issue(c) => ("registration.issue", c.uid.clone()),
        C::Pause(c) if c.resume => ("registration.resume", c.uid.clone()),
        C::Pause(c) => ("registration.suspend", c.uid.clone()),
        C::End(c) => ("registration.end", c.uid.clone()),
        C::SetRules(c) => ("registration.rules", registration::rules::told(c)),
        C::SetIssuer(c) => ("directory.issuer.set", c.issuer.clone()),
        C::SetArrival(c) => ("directory.arrival.set", arrival::told(c)),
        C::SetServing(c) => ("directory.site.serve", c.site.clone()),
        C::RaiseLevel(c) => ("directory.level.raise", c.level.to_string()),
        C::Promote(c) => ("directory.site.promote", c.site.clone()),
        C::SetBaseline(c) => ("directory.baseline.set", format!("{} {}", c.job, c.area)),
        C::InvitePasskey(c) => ("directory.passkey.invite", c.uid.clone()),
    }
}

fn carry_out(draft: &mut Draft<'_>, stamp: &Stamp, operator: &str, command: DirectoryCommand) -> Done {
    use DirectoryCommand as C;
    match command {
        C::SetOrganisation(c) => set_organisation(draft, stamp, &c),
        C::SetSystem(c) => set_system(draft, &c),
        C::SetMailbox(c) => set_mailbox(draft, c),
        C::SetWorkflow(c) => set_workflow(draft, &c),
        C::Disable(c) => disable(draft, &c),
        C::SetNode(c) => set_node(draft, c),
        C::RemoveNode(c) => remove_node(draft, &c),
        C::SetInvitation(c) => set_invitation(draft, &c),
        C::UseInvitation(c) => use_invitation(draft, stamp, c),
        C::SetApplication(c) => applications::set(draft, c),
        C::PutOrganisation(c) => organisations::put(draft, stamp, &c.ods, c.organisation),
        C::PutSystem(c) => systems::put(draft, &c.asid, c.system),
        C::PutEndpoint(c) => systems::put_endpoint(draft, &c.id, c.endpoint),
        C::SetUser(c) => users::decide::set(draft, stamp, c),
        C::StandUser(c) => users::decide::stand(draft, stamp, &c),
        C::SetRole(c) => users::decide::enter_role(draft, stamp, c),
        C::EndRole(c) => users::decide::end_role(draft, stamp, &c),
        C::SetAuthenticator(c) => users::decide::set_authenticator(draft, stamp, c),
        C::AddSigningKey(c) => signing::add(draft, stamp, c),
        C::SetIssuer(c) => issuers::set(draft, c),
        C::SetArrival(c) => arrival::set(draft, &c),
        C::SetServing(c) => sites::set(draft, stamp.now, c),
        C::RaiseLevel(c) => level::raise(draft, stamp.now, &c),
        C::Promote(c) => sites::promote(draft, stamp.now, &c),
        C::SetBaseline(c) => users::baseline::set(draft, c),
        C::DropAuthenticator(c) => users::decide::drop_authenticator(draft, &c),
        C::Apply(c) => registration::decide::apply(draft, stamp, operator, c),
        C::Verify(c) => registration::decide::verify(draft, stamp, operator, c),
        C::Sponsor(c) => registration::decide::sponsor(draft, stamp, operator, c),
        C::Grant(c) => registration::decide::grant(draft, stamp, operator, &c),
        C::Issue(c) => registration::decide::issue(draft, stamp, operator, c),
        C::Pause(c) => registration::decide::pause(draft, stamp, operator, &c),
        C::End(c) => registration::decide::end(draft, stamp, operator, &c),
        C::SetRules(c) => registration::rules::set(draft, stamp, c),
        C::InvitePasskey(c) => users::decide::invite_passkey(draft, stamp, &c),
        C::Batch(_) => Err(invalid("a batch in a batch")),
    }
}

/// The new text where there is one, the stored one otherwise.
pub(super) fn keep(stored: &mut String, new: &str, what: &str) -> Result<(), No> {
    let new = new.trim();
    if new.chars().count() > MAX_TEXT || new.chars().any(char::is_control) {
        return Err(invalid(format!("{what} has more than {MAX_TEXT} characters, or control characters")));
    }
    if !new.is_empty() {
        *stored = new.to_owned();
    }
    Ok(())
}

fn set_organisation(draft: &mut Draft<'_>, stamp: &Stamp, command: &SetOrganisation) -> Done {
    let ods = OdsCode::parse(&command.ods)?;
    let old = rows::organisation(draft, ods.as_str())?;
    let mut row = old.clone().unwrap_or_default();
    let stood = std::mem::take(&mut row.name);
    keep(&mut row.name, &command.name, "the name")?;
    if row.name.is_empty() {
        row.name = stood.clone();
    }
    if row.name.is_empty() {
        return Err(invalid("an organisation needs a name"));
    }
    if row.name != stood {
        row.last_change = 0;
    }
    organisations::store(draft, stamp, ods.as_str(), old, row)
}

/// A switch as commands have it: 0 keeps what is stored, 1 is on, 2 is off.
pub(super) fn switch(stored: &mut bool, word: u8, what: &str) -> Result<(), No> {
    *stored = match word {
        0 => *stored,
        1 => true,
        2 => false,
        other => return Err(invalid(format!("{what} is on or off, not {other}"))),
    };
    Ok(())
}

fn set_system(draft: &mut Draft<'_>, command: &SetSystem) -> Done {
    let asid = Asid::parse(&command.asid)?;
    let old = rows::system(draft, asid.as_str())?;
    let mut row: System = old.clone().unwrap_or_default();
    if !command.ods.trim().is_empty() {
        row.ods = OdsCode::parse(&command.ods)?.into_string();
    }
    if row.ods.is_empty() {
        return Err(invalid("a system needs the ODS code of its organisation"));
    }
    keep(&mut row.party_key, &command.party_key, "the party key")?;
    keep(&mut row.name, &command.name, "the name")?;
    let mut certificates = if command.add { row.certificates.clone() } else { vec![] };
    for certificate in &command.certificates {
        let certificate = certificate.trim().to_ascii_lowercase().replace(':', "");
        if certificate.len() != 64 || !certificate.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid("a certificate is named by its SHA-256, 64 hex digits"));
        }
        if !certificates.contains(&certificate) {
            certificates.push(certificate);
        }
    }
    if certificates.len() > MAX_CERTIFICATES {
        return Err(invalid(format!("a system has at most {MAX_CERTIFICATES} certificates")));
    }
    // A command without certificates changes other things of a system that has some.
    if !command.certificates.is_empty() || old.is_none() {
        row.certificates = certificates;
    }
    switch(&mut row.emergency, command.emergency, "emergency care")?;
    if old.as_ref() == Some(&row) {
        return Ok((false, 0));
    }
    let certificates = old.as_ref().map(|o| o.certificates.clone()).unwrap_or_default();
    point_certificates(draft, asid.as_str(), &certificates, &row.certificates)?;
    systems::replace(draft, asid.as_str(), old.as_ref(), &row);
    Ok((true, 0))
}

/// Makes the certificates' rows point to the system, and no others.
fn point_certificates(draft: &mut Draft<'_>, asid: &str, old: &[String], new: &[String]) -> Result<(), No> {
    for gone in old.iter().filter(|c| !new.contains(c)) {
        draft.delete(rows::certificate_key(gone));
    }
    for certificate in new.iter().filter(|c| !old.contains(c)) {
        let key = rows::certificate_key(certificate);
        if draft.get(&key.clone().build())?.is_some_and(|owner| owner != asid.as_bytes()) {
            return Err(No::Refused("conflict", "a certificate belongs to another system".into()));
        }
        if devices::holder_of_certificate(draft, certificate)?.is_some() {
            return Err(No::Refused("conflict", "a certificate is somebody's smartcard".into()));
        }
        draft.put(key, Bytes::copy_from_slice(asid.as_bytes()));
    }
    Ok(())
}

fn set_mailbox(draft: &mut Draft<'_>, command: SetMailbox) -> Done {
    let id = MailboxId::parse(&command.mailbox)?.into_string();
    let old = rows::mailbox(draft, &id)?;
    let mut row: Mailbox = old.clone().unwrap_or_default();
    if !command.ods.trim().is_empty() {
        row.ods = OdsCode::parse(&command.ods)?.into_string();
    }
    keep(&mut row.name, &command.name, "the name")?;
    keep(&mut row.org_code, &command.org_code, "the organisation's code")?;
    keep(&mut row.org_name, &command.org_name, "the organisation's name")?;
    keep(&mut row.billing, &command.billing, "the billing entity")?;
    keep(&mut row.password.0, &command.password.0, "the password")?;
    if row.ods.is_empty() || row.password.0.is_empty() {
        return Err(invalid("a new mailbox needs an ODS code and a password"));
    }
    match command.active {
        0 => {}
        1 => row.inactive = false,
        2 => row.inactive = true,
        _ => return Err(invalid("active is 0, 1 or 2")),
    }
    row.internal |= command.internal;
    match command.service.as_str() {
        "" => {}
        "none" => row.service = 0,
        word => {
            let of = SERVED.iter().find(|(known, _)| *known == word);
            row.service = of.ok_or_else(|| invalid("no service of that name takes messages"))?.1.0;
        }
    }
    put_mailbox(draft, &id, old, row)
}

fn put_mailbox(draft: &mut Draft<'_>, id: &str, old: Option<Mailbox>, row: Mailbox) -> Done {
    if old.as_ref() == Some(&row) {
        return Ok((false, 0));
    }
    if let Some(old) = &old
        && old.ods != row.ods
    {
        draft.delete(rows::mailbox_by_ods_key(&old.ods, id));
    }
    draft.put(rows::mailbox_by_ods_key(&row.ods, id), NOTHING);
    draft.put(rows::mailbox_key(id), row.encode());
    if row.inactive && old.is_some_and(|old| !old.inactive) {
        draft.send(Bytes::copy_from_slice(id.as_bytes()), services::MESH, notice::mailbox_closed(id));
    }
    Ok((true, 0))
}

fn set_workflow(draft: &mut Draft<'_>, command: &SetWorkflow) -> Done {
    let id = WorkflowId::parse(&command.workflow)?.into_string();
    let old = rows::workflow(draft, id.as_bytes())?;
    let (senders, sent) = wanted(&command.senders, rows::senders(draft, id.as_bytes(), MAX_MEMBERS)?, command.add)?;
    let (receivers, received) =
        wanted(&command.receivers, rows::receivers(draft, id.as_bytes(), MAX_MEMBERS)?, command.add)?;
    for (change, key) in [(&senders, rows::sender_key as fn(&[u8], &str) -> _), (&receivers, rows::receiver_key)] {
        for mailbox in &change.gone {
            draft.delete(key(id.as_bytes(), mailbox));
        }
        for mailbox in &change.new {
            draft.put(key(id.as_bytes(), mailbox), NOTHING);
        }
    }
    let mut row: Workflow = old.clone().unwrap_or_default();
    (row.open, row.senders, row.receivers) = (command.open, sent, received);
    let changed = old.as_ref() != Some(&row) || !senders.is_empty() || !receivers.is_empty();
    if changed {
        draft.put(rows::workflow_key(id.as_bytes()), row.encode());
    }
    Ok((changed, 0))
}

/// What a list of mailboxes gains and loses.
struct Change {
    new: Vec<String>,
    gone: Vec<String>,
}

impl Change {
    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

fn wanted(list: &[String], old: Vec<String>, add: bool) -> Result<(Change, u32), No> {
    let mut wanted = std::collections::BTreeSet::new();
    for mailbox in list {
        wanted.insert(MailboxId::parse(mailbox)?.into_string());
    }
    if add {
        wanted.extend(old.iter().cloned());
    }
    if wanted.len() > MAX_MEMBERS {
        return Err(invalid(format!("a workflow has at most {MAX_MEMBERS} senders and as many receivers")));
    }
    let gone = old.iter().filter(|m| !wanted.contains(*m)).cloned().collect();
    let count = wanted.len() as u32;
    let old: std::collections::BTreeSet<String> = old.into_iter().collect();
    Ok((Change { new: wanted.difference(&old).cloned().collect(), gone }, count))
}

fn disable(draft: &mut Draft<'_>, command: &Disable) -> Done {
    let off = !command.enable;
    let missing = |what| No::Refused("not-found", format!("there is no such {what}"));
    let id = command.id.trim();
    let upper = id.to_ascii_uppercase();
    let kinds = [Kind::Organisation, Kind::System, Kind::Mailbox, Kind::Workflow, Kind::Application, Kind::Endpoint];
    match kinds.into_iter().find(|k| *k as u8 == command.kind) {
        Some(Kind::Organisation) => {
            let mut row = rows::organisation(draft, &upper)?.ok_or_else(|| missing("organisation"))?;
            let changed = std::mem::replace(&mut row.disabled, off) != off;
            draft.put(rows::organisation_key(&upper), row.encode());
            Ok((changed, 0))
        }
        Some(Kind::System) => {
            let mut row = rows::system(draft, &upper)?.ok_or_else(|| missing("system"))?;
            let changed = std::mem::replace(&mut row.disabled, off) != off;
            draft.put(rows::system_key(&upper), row.encode());
            Ok((changed, 0))
        }
        Some(Kind::Mailbox) => {
            let old = rows::mailbox(draft, &upper)?.ok_or_else(|| missing("mailbox"))?;
            let row = Mailbox { inactive: off, ..old.clone() };
            put_mailbox(draft, &upper, Some(old), row)
        }
        Some(Kind::Application) => {
            let changed = applications::stand(draft, id, command.enable)?.ok_or_else(|| missing("application"))?;
            Ok((changed, 0))
        }
        Some(Kind::Workflow) => {
            let mut row = rows::workflow(draft, id.as_bytes())?.ok_or_else(|| missing("workflow"))?;
            let changed = std::mem::replace(&mut row.disabled, off) != off;
            draft.put(rows::workflow_key(id.as_bytes()), row.encode());
            Ok((changed, 0))
        }
        Some(Kind::Endpoint) => {
            let mut row = rows::endpoint(draft, id)?.ok_or_else(|| missing("endpoint"))?;
            let changed = std::mem::replace(&mut row.disabled, off) != off;
            draft.put(rows::endpoint_key(id), row.encode());
            Ok((changed, 0))
        }
        None => Err(invalid("kind is 1 to 5")),
    }
}

/// The number after the highest ever given: a removed node's number never comes again.
fn next_number(draft: &Draft<'_>) -> Result<u16, No> {
    let highest = rows::members(draft)?.last().map_or(0, |(number, _)| *number);
    highest.checked_add(1).ok_or_else(|| invalid("no node number is left"))
}

fn set_node(draft: &mut Draft<'_>, command: SetNode) -> Done {
    let number = if command.node == 0 { next_number(draft)? } else { command.node };
    let old = rows::member(draft, number)?;
    let changed = old.as_ref() != Some(&command.member);
    if changed {
        draft.put(rows::member_key(number), command.member.encode());
    }
    Ok((changed, number))
}

fn remove_node(draft: &mut Draft<'_>, command: &RemoveNode) -> Done {
    let found = rows::member(draft, command.node)?;
    let mut row: Member = found.ok_or_else(|| No::Refused("not-found", "there is no such node".into()))?;
    let changed = !std::mem::replace(&mut row.removed, true);
    // A certificate that was made anew for the same key, before or since, opens no door either.
    for print in [&row.certificate, &row.key].into_iter().filter(|print| !print.is_empty()) {
        draft.put(rows::expelled_key(print), NOTHING);
    }
    draft.put(rows::member_key(command.node), row.encode());
    Ok((changed, command.node))
}

fn set_invitation(draft: &mut Draft<'_>, command: &SetInvitation) -> Done {
    if command.token_hash.len() != 64 {
        return Err(invalid("a token is named by its SHA-256, 64 hex digits"));
    }
    draft.put(rows::invitation_key(&command.token_hash), command.invitation.encode());
    Ok((true, command.invitation.node))
}

fn use_invitation(draft: &mut Draft<'_>, stamp: &Stamp, command: UseInvitation) -> Done {
    let refused = || No::Refused("not-found", "the invitation is unknown".into());
    let mut row: Invitation = rows::invitation(draft, &command.token_hash)?.ok_or_else(refused)?;
    if row.used || row.expires <= stamp.now {
        return Err(No::Refused("expired", "the invitation was used or is too old; ask for a new one".into()));
    }
    if let Some(why) = level::refuses(draft, &command.member)? {
        return Err(No::Refused("level", why));
    }
    let number = if row.node == 0 { next_number(draft)? } else { row.node };
    row.used = true;
    let member = Member { joined: stamp.now, ..command.member };
    draft.put(rows::invitation_key(&command.token_hash), row.encode());
    draft.put(rows::member_key(number), member.encode());
    Ok((true, number))
}
