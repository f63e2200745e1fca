//! The reference data's published CSV files (`epraccur`, `etr`, `ets`…): 27 columns without a heading, one kind of
//! organisation a file. One line becomes a line of our own import shape (docs/formats.md, "Import files").
//!
//! Columns (from 1): code, name, national grouping, high level health geography, five lines of address (the fourth is the
//! town, the fifth the county), postcode, open date, close date, status, sub-type, parent or commissioner, joined,
//! left, telephone, (nothing) ×3, amended, (nothing), provider, (nothing), prescribing setting, (nothing).

use super::code_lists;
use serde_json::{Map, Value, json};

/// Columns of a published file.
pub const COLUMNS: usize = 27;

/// The primary role of a file's organisations, by the file's name without its ending.
const FILES: &[(&str, &str)] = &[
    ("epraccur", "RO177"),
    ("ebranchs", "RO96"),
    ("edispensary", "RO182"),
    ("epharmacyhq", "RO181"),
    ("etr", "RO197"),
    ("ets", "RO198"),
    ("ect", "RO107"),
    ("ectsite", "RO108"),
    ("eccg", "RO98"),
    ("eccgsite", "RO99"),
    ("ecsu", "RO213"),
    ("ecsusite", "RO214"),
    ("ecarehomehq", "RO104"),
    ("ecarehomesite", "RO101"),
    ("egdpprac", "RO110"),
    ("eopthq", "RO166"),
    ("eoptsite", "RO167"),
    ("ephp", "RO172"),
    ("ephpsite", "RO176"),
    ("enonnhs", "RO157"),
    ("eprison", "RO175"),
    ("ensa", "RO161"),
    ("espha", "RO189"),
    ("ewlhb", "RO144"),
    ("ewlhbsite", "RO149"),
    ("eschools", "RO221"),
    ("elaa", "RO141"),
    ("elaasite", "RO222"),
];

/// The non-primary role that a prescribing setting stands for (epraccur, column 26).
const SETTINGS: &[(&str, &str)] = &[
    ("0", "RO72"),
    ("1", "RO87"),
    ("2", "RO80"),
    ("4", "RO76"),
    ("8", "RO255"),
    ("9", "RO247"),
    ("10", "RO250"),
    ("11", "RO252"),
    ("12", "RO259"),
    ("13", "RO249"),
    ("14", "RO246"),
    ("16", "RO260"),
    ("17", "RO257"),
    ("18", "RO256"),
    ("19", "RO251"),
    ("22", "RO258"),
    ("25", "RO82"),
];

/// The role of the organisations in a file of this name.
pub fn role_of_file(stem: &str) -> Option<&'static str> {
    let stem = stem.to_ascii_lowercase();
    FILES.iter().find(|(name, _)| *name == stem).map(|(_, role)| *role)
}

/// One line of a published file as an object of our own shape. `role`: what its organisations primarily are.
pub fn object(cells: &[String], role: &str) -> Result<Map<String, Value>, String> {
    if cells.len() != COLUMNS {
        return Err(format!("{} columns, a published file has {COLUMNS}", cells.len()));
    }
    let cell = |column: usize| match cells[column - 1].trim() {
        "NULL" | "Null" | "null" => "",
        text => text,
    };
    let coded = code_lists::role(role).ok_or_else(|| format!("{role} is no organisation role"))?;
    let active = match (cell(13), cell(12)) {
        ("A" | "D", _) | ("", "") => true,
        ("C" | "P", _) | ("", _) => false,
        _ => return Err("the status is none of A, C, D, P".into()),
    };
    let status = if active { "Active" } else { "Inactive" };
    let period = json!({"start": cell(11), "end": cell(12)});
    let mut roles = vec![json!({"code": role, "primary": true, "status": status, "operational": period})];
    let setting = SETTINGS.iter().find(|(number, _)| role == "RO177" && *number == cell(26));
    roles.extend(setting.map(|(_, role)| json!({"code": role, "status": status, "operational": period})));
    let mut relationships = vec![];
    if !cell(15).is_empty() {
        // A site is operated by its trust; a practice is commissioned by its commissioner.
        let code = if is_site(coded) { "RE6" } else { "RE4" };
        let since = json!({"start": cell(16), "end": cell(17)});
        let now = if cell(17).is_empty() { "Active" } else { "Inactive" };
        relationships.push(json!({"code": code, "target": cell(15), "status": now, "operational": since}));
    }
    for grouping in [cell(3), cell(4)].into_iter().filter(|g| !g.is_empty() && *g != cell(15)) {
        relationships.push(json!({"code": "RE5", "target": grouping, "status": status}));
    }
    let lines: Vec<&str> = (5..=7).map(cell).filter(|line| !line.is_empty()).collect();
    let address = json!({"lines": lines, "town": cell(8), "county": cell(9), "postcode": cell(10)});
    let mut contacts = vec![];
    if !cell(18).is_empty() {
        contacts.push(json!({"type": "tel", "value": cell(18)}));
    }
    let whole = json!({
        "ods_code": cell(1), "name": cell(2), "record_class": if is_site(coded) { "RC2" } else { "RC1" },
        "status": status, "operational": period, "roles": roles, "relationships": relationships, "address": address,
        "contacts": contacts,
    });
    match whole {
        Value::Object(object) => Ok(object),
        _ => Err("no object".into()),
    }
}

/// Branch surgeries are sites too, whatever their name.
fn is_site(role: &code_lists::Coded) -> bool {
    role.name.ends_with("SITE") || role.number == 96
}
