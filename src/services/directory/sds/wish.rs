//! Query parameters of Device and Endpoint, and the exact words where they are wrong (directory.md §A.1, §A.2, §A.5).

use super::{Refused, resource::*};
use crate::services::directory::systems::By;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub organisation: Option<String>,
    pub interaction: Option<String>,
    pub party_key: Option<String>,
    pub manufacturer: Option<String>,
}

impl Wish {
    /// In the words of the look-up.
    pub fn words(&self) -> Vec<(By, &str)> {
        let all = [
            (By::Organisation, &self.organisation),
            (By::Interaction, &self.interaction),
            (By::PartyKey, &self.party_key),
        ];
        all.into_iter().filter_map(|(by, word)| word.as_deref().map(|word| (by, word))).collect()
    }
}

type Pairs = [(String, String)];

pub fn device(pairs: &Pairs) -> Result<Wish, Refused> {
    let wish = read(pairs, true)?;
    if wish.organisation.is_none() {
        return Err(missing("organization", ODS));
    }
    if wish.interaction.is_none() {
        return Err(missing("identifier", INTERACTION));
    }
    Ok(wish)
}

pub fn endpoint(pairs: &Pairs) -> Result<Wish, Refused> {
    let wish = read(pairs, false)?;
    match (&wish.organisation, &wish.interaction, &wish.party_key) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => Ok(wish),
        _ => Err(Refused::Bad(combinations())),
    }
}

fn read(pairs: &Pairs, device: bool) -> Result<Wish, Refused> {
    let known =
        |name: &str| matches!(name, "organization" | "identifier") || (device && name == "manufacturing-organization");
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !known(name)) {
        return Err(Refused::Bad(format!("Illegal query parameter '{name}'")));
    }
    let mut wish = Wish::default();
    for (name, value) in pairs {
        match name.as_str() {
            "organization" => wish.organisation = said(value, ODS).map_err(|()| missing(name, ODS))?,
            "manufacturing-organization" => wish.manufacturer = said(value, ODS).map_err(|()| missing(name, ODS))?,
            _ => match (said(value, INTERACTION), said(value, PARTY_KEY)) {
                (Ok(interaction), _) => wish.interaction = interaction,
                (_, Ok(party_key)) => wish.party_key = party_key,
                _ => return Err(Refused::Bad(foreign())),
            },
        }
    }
    // Said, but empty: the optional parameter is as bad as one of a wrong system.
    let empty = pairs.iter().any(|(name, _)| name == "manufacturing-organization") && wish.manufacturer.is_none();
    if empty { Err(missing("manufacturing-organization", ODS)) } else { Ok(wish) }
}

/// The value behind `system|`; `None` where it is blank, an error where the system is another.
fn said(value: &str, system: &str) -> Result<Option<String>, ()> {
    let value = value.strip_prefix(system).and_then(|rest| rest.strip_prefix('|')).ok_or(())?;
    Ok(Some(value.to_owned()).filter(|value| !value.trim().is_empty()))
}

fn missing(name: &str, system: &str) -> Refused {
    Refused::Bad(format!("Missing or invalid '{name}' query parameter. Should be '{name}={system}|value'"))
}

/// The closing bracket is missing in the reference server's words too.
fn foreign() -> String {
    format!(
        "Missing or invalid 'identifier' query parameter. Should be one or both of: \
         ['identifier={INTERACTION}|value', 'identifier={PARTY_KEY}|value'"
    )
}

/// The four are not separated in the reference server's words.
fn combinations() -> String {
    let organisation = format!("organization={ODS}|value");
    let (interaction, party) = (format!("identifier={INTERACTION}|value"), format!("identifier={PARTY_KEY}|value"));
    format!(
        "Missing or invalid query parameters. Should one of following combinations: \
         ['{organisation}&{interaction}&{party}''{organisation}&{interaction}''{organisation}&{party}'\
         '{interaction}&{party}']"
    )
}
