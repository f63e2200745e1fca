//! OrganizationAffiliation: relationships by either end, with the organisations included on request (directory.md §C.1).
//!
//! The published example counts included organisations in `total`; so do we, for those of the page.

use super::{
    fhir::{Not, Refused, bundle, control},
    resource::{self, INSTANCE_SYSTEM, ODS},
    search::{AFFILIATION_PARAMETERS, CONTROLS, changed, token},
};
use crate::{
    engine::draft::Fault,
    services::directory::{
        find::Term,
        http::Asked,
        organisation::Relationship,
        rows::{self, Organisation},
    },
    store::{
        Reader,
        tables::{Parts, Table},
    },
    wire::tree::Node,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most relationships looked through for one question: a region has some ten thousand.
const MOST: usize = 25_000;
const KIND: &str = "OrganizationAffiliation";

pub fn read(site: &dyn Reader, id: &str) -> Result<Node, Not> {
    let unknown = || Refused::unknown(KIND, id);
    let number: u64 = id.parse().map_err(|_| unknown())?;
    let source = rows::relationship_source(site, number)?.ok_or_else(unknown)?;
    let row = rows::organisation(site, &source)?.ok_or_else(unknown)?;
    let found = row.relationships.iter().find(|r| r.id == number).ok_or_else(unknown)?;
    Ok(resource::affiliation(&source, found))
}

/// What is looked for.
#[derive(Default)]
struct Wanted {
    primary: Option<BTreeSet<String>>,
    participating: Option<BTreeSet<String>>,
    ids: Option<BTreeSet<u64>>,
    active: Option<bool>,
    changed: Vec<Term>,
}

impl Wanted {
    fn of(pairs: &[(String, String)]) -> Result<Wanted, Refused> {
        let mut wanted = Wanted::default();
        for (name, value) in
            pairs.iter().filter(|(name, value)| !CONTROLS.contains(&name.as_str()) && !value.is_empty())
        {
            let codes = || value.split(',').filter_map(party).collect::<BTreeSet<String>>();
            let ids = |v: &str| token(v, &[INSTANCE_SYSTEM]).and_then(|v| v.parse().ok());
            match name.as_str() {
                "primary-organization" => narrow(&mut wanted.primary, codes()),
                "participating-organization" => narrow(&mut wanted.participating, codes()),
                "_id" | "identifier" => narrow(&mut wanted.ids, value.split(',').filter_map(ids).collect()),
                "active" => wanted.active = Some(value == "true"),
                "_lastUpdated" => wanted.changed.push(changed(value)?),
                _ => return Err(Refused::unknown_parameter(name, KIND, AFFILIATION_PARAMETERS)),
            }
        }
        Ok(wanted)
    }

    fn holds(&self, relationship: &Relationship, row: &Organisation) -> bool {
        let (active, day) = (!relationship.inactive, row.last_change);
        self.active.is_none_or(|wanted| wanted == active)
            && self.participating.as_ref().is_none_or(|codes| codes.contains(&relationship.target))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&relationship.id))
            && self.changed.iter().all(|term| matches!(term, Term::Changed(a, b) if (*a..=*b).contains(&day)))
    }
}

/// The same parameter twice: both must hold.
fn narrow<T: Ord>(so_far: &mut Option<BTreeSet<T>>, more: BTreeSet<T>) {
    *so_far = Some(match so_far.take() {
        Some(before) => before.into_iter().filter(|item| more.contains(item)).collect(),
        None => more,
    });
}

/// `X26`, `Organization/X26` or `system|X26`.
fn party(value: &str) -> Option<String> {
    let code = token(value.trim(), &[ODS])?;
    Some(code.strip_prefix("Organization/").unwrap_or(code).to_ascii_uppercase())
}

pub fn search(site: &dyn Reader, asked: &Asked) -> Result<Node, Not> {
    let pairs = asked.pairs();
    let control = control(&pairs)?;
    let wanted = Wanted::of(&pairs)?;
    let sources = match (&wanted.primary, &wanted.ids, &wanted.participating) {
        (Some(sources), ..) => sources.clone(),
        (None, Some(ids), _) => {
            let sources: Result<Vec<_>, Fault> = ids.iter().map(|id| rows::relationship_source(site, *id)).collect();
            sources?.into_iter().flatten().collect()
        }
        (None, None, Some(targets)) => sources_of(site, targets)?,
        // Whether a relationship is active, or changed of late, is a question of its own (§C.1).
        (None, None, None) if wanted.active.is_some() || !wanted.changed.is_empty() => every_source(site)?,
        (None, None, None) => return Err(Refused::too_broad().into()),
    };
    if sources.len() > MOST {
        return Err(Refused::too_broad().into());
    }
    let (mut matches, mut page) = (0, vec![]);
    for source in sources {
        let Some(row) = rows::organisation(site, &source)? else { continue };
        for relationship in row.relationships.iter().filter(|r| wanted.holds(r, &row)) {
            if matches >= control.offset && page.len() < control.count && !control.only_count {
                page.push((source.clone(), relationship.clone()));
            }
            matches += 1;
        }
    }
    let included = include(site, &control.includes, &page)?;
    let found = page.iter().map(|(source, r)| (format!("{KIND}/{}", r.id), resource::affiliation(source, r))).collect();
    Ok(bundle(asked, &control, matches + included.len(), matches, found, included))
}

fn sources_of(site: &dyn Reader, targets: &BTreeSet<String>) -> Result<BTreeSet<String>, Not> {
    let mut sources = BTreeSet::new();
    for target in targets {
        let rows = site.scan(Table::RelationshipTargets.key().text(target).prefix(), false, MOST + 1);
        for (key, _) in rows.map_err(Fault::from)? {
            let mut parts = Parts::of(&key);
            parts.text();
            sources.extend(parts.text());
        }
    }
    Ok(sources)
}

/// Every organisation that has a relationship, in order; more than can be looked through are too many.
fn every_source(site: &dyn Reader) -> Result<BTreeSet<String>, Not> {
    let mut sources = BTreeSet::new();
    let rows = site.scan(Table::RelationshipTargets.key().prefix(), false, 2 * MOST + 1).map_err(Fault::from)?;
    if rows.len() > 2 * MOST {
        return Err(Refused::too_broad().into());
    }
    for (key, _) in rows {
        let mut parts = Parts::of(&key);
        parts.text();
        sources.extend(parts.text());
    }
    Ok(sources)
}

/// The organisations at the ends that `_include` names, each once.
fn include(
    site: &dyn Reader,
    includes: &[String],
    page: &[(String, Relationship)],
) -> Result<Vec<(String, Node)>, Not> {
    let mut codes: BTreeMap<String, ()> = BTreeMap::new();
    for path in includes.iter().flat_map(|i| i.split(',')) {
        match path {
            "OrganizationAffiliation:primary-organization" => {
                codes.extend(page.iter().map(|(source, _)| (source.clone(), ())));
            }
            "OrganizationAffiliation:participating-organization" => {
                codes.extend(page.iter().map(|(_, r)| (r.target.clone(), ())));
            }
            _ => {
                let valid = "OrganizationAffiliation:participating-organization, \
                             OrganizationAffiliation:primary-organization";
                let text =
                    format!("HAPI-2015: Invalid _include parameter value: \"{path}\". Valid values are: [{valid}]");
                return Err(Refused::invalid(text).into());
            }
        }
    }
    let mut included = vec![];
    for ods in codes.into_keys() {
        if let Some(row) = rows::organisation(site, &ods)? {
            included.push((format!("Organization/{ods}"), resource::organization(&ods, &row)));
        }
    }
    Ok(included)
}
