//! Look-up rows of people who work here: by name, professional id, organisation and workgroup. The directory's faces find people by them.
//!
//! Invariants: they change in the decision that changes the row they point to, by `decide` alone; a row of before there were look-ups
//! (generation 0) gets its own at its next change. A look-up may promise too much (names are folded and cut), never too little.

use super::{OrgPerson, RoleProfile, User, role, role_key, roles_of};
use crate::{
    engine::draft::{Draft, Fault},
    services::directory::{
        index::{cut, fold, last_text},
        rows::{NOTHING, read},
    },
    store::{
        Reader,
        tables::{Key, Parts, Table, after_prefix},
    },
    wire::record::Record,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Of rows that have look-up rows.
pub const GENERATION: u8 = 1;
/// Names are cut to this in look-up rows, in bytes.
const LONGEST_NAME: usize = 120;
/// Role profiles of a workgroup that are read for its name.
const MOST_NAMING: usize = 16;

/// What a look-up row is about. Numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum By {
    /// Folded family and given name → user id.
    FamilyName = 1,
    /// Folded given and family name → user id.
    GivenName = 2,
    /// `gmc_id|C4428981` → user id.
    Professional = 3,
    /// Person-in-organisation id → membership.
    PersonOrg = 4,
    /// ODS code → memberships.
    MembersOf = 5,
    /// ODS code → role profiles.
    RolesAt = 6,
    /// Workgroup → role profiles.
    Workgroup = 7,
    /// ODS code, `/` and workgroup → role profiles.
    WorkgroupAt = 8,
}

/// All rows for a word: the id follows as the last part.
pub fn key(by: By, word: &str) -> Key {
    Table::StaffLookups.key().fixed(&[by as u8]).text(word)
}

/// How a membership is called among ids: the order of its texts is that of its keys, since user ids have one length.
pub fn membership_id(uid: &str, ods: &str) -> String {
    format!("{uid}/{ods}")
}

/// Family name first and given name first.
fn names(user: &User) -> [(By, String); 2] {
    let (family, given) = (fold(&user.family), fold(&user.given));
    let joined = |a: &str, b: &str| cut(format!("{a} {b}").trim(), LONGEST_NAME).to_owned();
    [(By::FamilyName, joined(&family, &given)), (By::GivenName, joined(&given, &family))]
}

fn professional(name: &str, value: &str) -> String {
    format!("{name}|{}", value.trim().to_uppercase())
}

type Rows = BTreeMap<Bytes, Key>;

fn rows(id: &str, words: impl IntoIterator<Item = (By, String)>) -> Rows {
    words.into_iter().map(|(by, word)| key(by, &word).text(id)).map(|key| (key.clone().build(), key)).collect()
}

fn of_user(uid: &str, row: &User) -> Rows {
    let professional = row.professional.iter().map(|a| (By::Professional, professional(&a.name, &a.value)));
    rows(uid, names(row).into_iter().chain(professional))
}

fn of_role(urp: &str, row: &RoleProfile) -> Rows {
    let workgroups = row.workgroups.iter().flat_map(|group| {
        [(By::Workgroup, group.code.clone()), (By::WorkgroupAt, format!("{}/{}", row.ods, group.code))]
    });
    rows(urp, [(By::RolesAt, row.ods.clone())].into_iter().chain(workgroups))
}

fn step(draft: &mut Draft<'_>, before: &Rows, after: Rows) {
    for (_, key) in before.iter().filter(|(built, _)| !after.contains_key(*built)) {
        draft.delete(key.clone());
    }
    for (built, key) in after {
        if !before.contains_key(&built) {
            draft.put(key, NOTHING);
        }
    }
}

/// Keeps what finds a person in step with the person's row.
pub(super) fn reindex(draft: &mut Draft<'_>, uid: &str, old: Option<&User>, new: &User) {
    let before = old.filter(|row| row.generation != 0).map(|row| of_user(uid, row)).unwrap_or_default();
    step(draft, &before, of_user(uid, new));
}

/// Keeps what finds a role profile, and the membership that it is of, in step with its row.
pub(super) fn reindex_role(draft: &mut Draft<'_>, urp: &str, old: Option<&RoleProfile>, new: &RoleProfile) {
    let old = old.filter(|row| row.generation != 0);
    let before = old.map(|row| of_role(urp, row)).unwrap_or_default();
    step(draft, &before, of_role(urp, new));
    if old.is_none() {
        let id = membership_id(&new.uid, &new.ods);
        let words = [(By::PersonOrg, new.person_org.clone()), (By::MembersOf, new.ods.clone())];
        step(draft, &Rows::new(), rows(&id, words));
    }
}

/// Gives role profiles of before there were look-ups theirs.
pub(super) fn adopt_roles(draft: &mut Draft<'_>, uid: &str) -> Result<(), Fault> {
    for (urp, mut row) in roles_of(draft, uid)?.into_iter().filter(|(_, row)| row.generation == 0) {
        row.generation = GENERATION;
        reindex_role(draft, &urp, None, &row);
        draft.put(role_key(&urp), row.encode());
    }
    Ok(())
}

/// Rows of everybody whose family or given name is this (`whole`), or whose name begins so; `None` where nothing of it can be looked up.
pub fn named(by: By, text: &str, whole: bool) -> Option<Range<Bytes>> {
    let folded = fold(text);
    if folded.is_empty() {
        return None;
    }
    let word = if whole { format!("{folded} ") } else { folded };
    let prefix = Table::StaffLookups.key().fixed(&[by as u8]).build();
    let from: Bytes = [prefix.as_ref(), cut(&word, LONGEST_NAME).as_bytes()].concat().into();
    let to = after_prefix(&from);
    Some(from..to)
}

/// Rows of who has a professional id, named as a person's row names them (`gmc_id`).
pub fn with_professional(name: &str, value: &str) -> Range<Bytes> {
    key(By::Professional, &professional(name, value)).prefix()
}

/// Ids of look-up rows, in order; `None` where they are more than `most`.
pub fn ids(site: &dyn Reader, range: Range<Bytes>, most: usize) -> Result<Option<BTreeSet<String>>, Fault> {
    let rows = site.scan(range, false, most + 1)?;
    Ok((rows.len() <= most).then(|| rows.iter().filter_map(|(key, _)| last_text(key)).collect()))
}

/// Where a person belongs, in order of ODS code.
pub fn memberships(site: &dyn Reader, uid: &str) -> Result<Vec<(String, OrgPerson)>, Fault> {
    let rows = site.scan(Table::OrgPersons.key().text(uid).prefix(), false, super::MAX_ROLES)?;
    let mut all = vec![];
    for (key, value) in rows {
        let row = OrgPerson::decode(&value).map_err(|e| Fault::Row(Table::OrgPersons, e))?;
        all.extend(last_text(&key).map(|ods| (ods, row)));
    }
    Ok(all)
}

/// Workgroups whose look-up rows are in a range, each once, in order: one jump for each, however many work in it.
pub fn workgroups(site: &dyn Reader, mut range: Range<Bytes>, most: usize) -> Result<Vec<String>, Fault> {
    let mut found = vec![];
    while found.len() < most {
        let rows = site.scan(range.clone(), false, 1)?;
        let Some((row, _)) = rows.first() else { break };
        let word = Parts::of(&row.slice(1..)).text();
        let Some(word) = word else { break };
        let by = if row.get(1) == Some(&(By::WorkgroupAt as u8)) { By::WorkgroupAt } else { By::Workgroup };
        range.start = key(by, &word).prefix().end;
        found.push(word.rsplit('/').next().unwrap_or_default().to_owned());
    }
    Ok(found)
}

/// Where the rows of all workgroups stand.
pub fn all_workgroups() -> Key {
    Table::StaffLookups.key().fixed(&[By::Workgroup as u8])
}

/// Rows of all workgroups of an organisation.
pub fn workgroups_at(ods: &str) -> Range<Bytes> {
    let prefix = Table::StaffLookups.key().fixed(&[By::WorkgroupAt as u8]).build();
    let from: Bytes = [prefix.as_ref(), ods.as_bytes(), b"/"].concat().into();
    let to = after_prefix(&from);
    from..to
}

/// Name and organisation of a workgroup, as the role profiles say that work in it: nothing else is known of one. A name that none of
/// them says is the workgroup's id.
pub fn workgroup(site: &dyn Reader, id: &str) -> Result<Option<(String, String)>, Fault> {
    let mut told: Option<(String, String)> = None;
    for (key, _) in site.scan(key(By::Workgroup, id).prefix(), false, MOST_NAMING)? {
        let Some(row) = last_text(&key).map(|urp| role(site, &urp)).transpose()?.flatten() else { continue };
        let Some(group) = row.workgroups.iter().find(|group| group.code == id) else { continue };
        if !group.name.is_empty() {
            return Ok(Some((group.name.clone(), row.ods)));
        }
        told.get_or_insert((id.to_owned(), row.ods));
    }
    Ok(told)
}

/// A person whom the directory shows: whose identity was verified once. An applicant is nobody yet.
pub fn listed(site: &dyn Reader, uid: &str) -> Result<Option<User>, Fault> {
    let row: Option<User> = read(site, Table::Users, super::user_key(uid))?;
    Ok(row.filter(|row| row.state() != super::State::Applied))
}
