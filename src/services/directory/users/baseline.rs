//! Activities that a job role has by itself, its baseline (spec/identity.md §6.4): a role profile's effective activities are these and
//! those added to it. The national list is not public in full; the pieces that are stand here, and operators set the rest, as
//! rows of the registry that take the place of a piece of the same job role and area.

use super::{
    Coded, MAX_CODES, RoleProfile,
    roles::{is_activity, is_area, is_job_role},
};
use crate::{
    engine::draft::{Draft, Fault},
    record,
    services::directory::decide::{Done, invalid},
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::record::{Malformed, Record},
};

/// A published piece.
pub struct Piece {
    /// `R8003`.
    pub job: &'static str,
    /// As [`Baseline`]'s key has it.
    pub area: &'static str,
    pub activities: &'static [&'static str],
}

/// (D) The code of the pharmacy area of work is not public: it is known by its name, which a role profile carries with the code.
const PHARMACY: &str = "Pharmacy";

/// What is public of the national list (spec/identity.md §6.4). R1290, which has nothing of its own, stands there so that nobody
/// looks for it.
pub const PUBLISHED: &[Piece] = &[
    Piece { job: "R8003", area: PHARMACY, activities: &["B0068", "B0572"] },
    Piece { job: "R8004", area: PHARMACY, activities: &["B0570"] },
    Piece { job: "R8008", area: PHARMACY, activities: &["B0572"] },
    Piece { job: "R1290", area: PHARMACY, activities: &[] },
];

/// Most areas of one job role that have a baseline.
const MAX_AREAS: usize = 64;
/// Longest name of an area.
const MAX_AREA: usize = 100;

record! {
    /// A baseline that an operator has set, under (job role, area of work: its code, one of the three parts of its name, or empty for
    /// any).
    pub struct Baseline v1 {
        1 => activities: Vec<String>,
    }
}

record! {
    /// Sets a baseline.
    pub struct SetBaseline v1 {
        1 => job: String,
        2 => area: String,
        3 => activities: Vec<String>,
        /// Takes the row away: what is published holds again.
        4 => reset: bool,
    }
}

fn key(job: &str, area: &str) -> Key {
    Table::Baselines.key().text(job).text(area)
}

/// Rows of one job role, or of all: (job role, area, activities).
pub fn rows(site: &dyn Reader, job: Option<&str>, most: usize) -> Result<Vec<(String, String, Vec<String>)>, Fault> {
    let range = match job {
        Some(job) => Table::Baselines.key().text(job).prefix(),
        None => Table::Baselines.key().build()..Table::Baselines.end(),
    };
    let read = |(key, value): (bytes::Bytes, bytes::Bytes)| {
        let mut parts = Parts::of(&key);
        let names = parts.text().zip(parts.text());
        let (job, area) = names.ok_or(Fault::Row(Table::Baselines, Malformed::Truncated))?;
        let row = Baseline::decode(&value).map_err(|e| Fault::Row(Table::Baselines, e))?;
        Ok((job, area, row.activities))
    };
    site.scan(range, false, most)?.into_iter().map(read).collect()
}

/// Whether a baseline's area is this one.
fn is_of(wanted: &str, area: &Coded) -> bool {
    let named = |part: &str| part.trim_matches('"').eq_ignore_ascii_case(wanted);
    area.code == wanted || area.name.split("\":\"").any(named)
}

/// Everything that a role profile may do: the baseline of its job role in its areas of work, and what was added to it. Codes, each
/// once.
pub fn effective(site: &dyn Reader, role: &RoleProfile) -> Result<Vec<String>, Fault> {
    let job = role.role_code.rsplit(':').next().unwrap_or_default();
    let mut all: Vec<String> = role.activities.iter().map(|a| a.code.clone()).collect();
    let in_area = |area: &str| area.is_empty() || role.areas.iter().any(|mine| is_of(area, mine));
    let set = rows(site, Some(job), MAX_AREAS)?;
    let mut add = |code: &str| {
        if !all.iter().any(|known| known == code) {
            all.push(code.to_owned());
        }
    };
    for (_, _, activities) in set.iter().filter(|(_, area, _)| in_area(area)) {
        activities.iter().for_each(|code| add(code));
    }
    for piece in PUBLISHED.iter().filter(|piece| piece.job == job && in_area(piece.area)) {
        if !set.iter().any(|(_, area, _)| area.eq_ignore_ascii_case(piece.area)) {
            piece.activities.iter().for_each(|code| add(code));
        }
    }
    Ok(all)
}

pub(in crate::services::directory) fn set(draft: &mut Draft<'_>, command: SetBaseline) -> Done {
    let job = command.job.trim().to_ascii_uppercase();
    if !is_job_role(&job) {
        return Err(invalid("a job role is R and four digits"));
    }
    let area = command.area.trim();
    let upper = area.to_ascii_uppercase();
    let area = if is_area(&upper) { upper } else { area.to_owned() };
    if area.chars().count() > MAX_AREA
        || area.contains(['"', ':']) && !is_area(&area)
        || area.contains(char::is_control)
    {
        return Err(invalid("an area of work is P####:Q####:T####, or one part of its name"));
    }
    let known = rows(draft, Some(&job), MAX_AREAS)?.into_iter().find(|(_, a, _)| a.eq_ignore_ascii_case(&area));
    let area = known.as_ref().map_or(area, |(_, area, _)| area.clone());
    if command.reset {
        draft.delete(key(&job, &area));
        return Ok((known.is_some(), 0));
    }
    let twice = |at: usize, code: &String| command.activities[..at].contains(code);
    let bad = command.activities.iter().enumerate().any(|(at, code)| !is_activity(code) || twice(at, code));
    if bad || command.activities.len() > MAX_CODES {
        return Err(invalid(format!("at most {MAX_CODES} activities, each B and four digits, each once")));
    }
    if known.is_none() && rows(draft, Some(&job), MAX_AREAS)?.len() >= MAX_AREAS {
        return Err(invalid(format!("a job role has baselines in at most {MAX_AREAS} areas")));
    }
    let changed = known.is_none_or(|(_, _, activities)| activities != command.activities);
    if changed {
        let row = Baseline { activities: command.activities, ..Default::default() };
        draft.put(key(&job, &area), row.encode());
    }
    Ok((changed, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::draft::{MapStore, Overlay};

    const PHARMACY_AREA: &str = "P9990:Q9990:T9990";

    fn role(job: &str, area: Option<(&str, &str)>) -> RoleProfile {
        let coded = |code: &str, name: &str| Coded { code: code.into(), name: name.into(), ..Default::default() };
        RoleProfile {
            role_code: format!("S8000:G8000:{job}"),
            activities: vec![coded("B0278", "")],
            areas: area.map(|(code, name)| coded(code, name)).into_iter().collect(),
            ..Default::default()
        }
    }

    fn run(site: &mut MapStore, command: SetBaseline) -> Result<bool, String> {
        let (copy, overlay) = (MapStore(site.0.clone()), Overlay::default());
        let mut draft = Draft::new(&copy, &overlay, &copy);
        let done = set(&mut draft, command);
        let rows = draft.finish().rows;
        match done {
            Ok((changed, _)) => {
                site.apply(rows);
                Ok(changed)
            }
            Err(crate::services::directory::decide::No::Refused(_, why)) => Err(why),
            Err(_) => panic!("a fault"),
        }
    }

    fn baseline(job: &str, area: &str, activities: &[&str]) -> SetBaseline {
        let activities = activities.iter().map(|a| (*a).to_owned()).collect();
        SetBaseline { job: job.into(), area: area.into(), activities, ..Default::default() }
    }

    #[test]
    fn what_a_job_role_has_by_itself_holds_in_its_area_alone() {
        let site = MapStore::default();
        let pharmacy = Some((PHARMACY_AREA, "\"Clinical Support\":\"Pharmacy\":\"Community Pharmacy\""));
        assert_eq!(effective(&site, &role("R8003", pharmacy)).unwrap(), ["B0278", "B0068", "B0572"]);
        assert_eq!(effective(&site, &role("R8004", pharmacy)).unwrap(), ["B0278", "B0570"]);
        assert_eq!(effective(&site, &role("R1290", pharmacy)).unwrap(), ["B0278"]);
        assert_eq!(effective(&site, &role("R8003", None)).unwrap(), ["B0278"]);
        let other = Some(("P0010:Q0050:T0210", "\"Medicine\":\"Respiratory Medicine\":\"Respiratory Medicine\""));
        assert_eq!(effective(&site, &role("R8003", other)).unwrap(), ["B0278"]);
    }

    #[test]
    fn what_an_operator_sets_takes_the_place_of_what_is_published() {
        let mut site = MapStore::default();
        let pharmacy = Some((PHARMACY_AREA, "\"A\":\"Pharmacy\":\"B\""));
        assert_eq!(run(&mut site, baseline("r8003", "pharmacy", &["B0570"])), Ok(true));
        assert_eq!(run(&mut site, baseline("R8003", "Pharmacy", &["B0570"])), Ok(false));
        assert_eq!(effective(&site, &role("R8003", pharmacy)).unwrap(), ["B0278", "B0570"]);
        assert_eq!(run(&mut site, baseline("R8003", "", &["B0278", "B0820"])), Ok(true));
        assert_eq!(run(&mut site, baseline("R8003", "p9990:q9990:t9990", &["B0825"])), Ok(true));
        assert_eq!(effective(&site, &role("R8003", pharmacy)).unwrap(), ["B0278", "B0820", "B0825", "B0570"]);
        assert_eq!(effective(&site, &role("R8003", None)).unwrap(), ["B0278", "B0820"]);
        let reset = SetBaseline { reset: true, ..baseline("R8003", "Pharmacy", &[]) };
        assert_eq!(run(&mut site, reset.clone()), Ok(true));
        assert_eq!(run(&mut site, reset), Ok(false));
        assert!(effective(&site, &role("R8003", pharmacy)).unwrap().contains(&"B0572".to_owned()));
        for bad in [baseline("8003", "", &[]), baseline("R8003", "", &["0570"]), baseline("R8003", "\"A\":\"B\"", &[])]
        {
            assert!(run(&mut site, bad).is_err());
        }
    }
}
