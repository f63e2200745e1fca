//! The columns of requests and answers (spec/pds.md §16.3, §16.4). A row is read into what it asks, with the first thing wrong with
//! it as a code; an answer becomes a row. Nothing of a row stands in an error (P10).

use super::{
    code::{Code, Generation},
    find::Answer,
};
use crate::{
    model::{day, time},
    wire::csv,
};

/// Columns of a PDS MESH request; MPT has no `GP_REGISTRATION_DATE`.
pub const REQUEST: [&str; 24] = [
    "UNIQUE REFERENCE",
    "NHS_NO",
    "FAMILY_NAME",
    "GIVEN_NAME",
    "OTHER_GIVEN_NAME",
    "GENDER",
    "DATE_OF_BIRTH",
    "POSTCODE",
    "DATE_OF_DEATH",
    "ADDRESS_LINE1",
    "ADDRESS_LINE2",
    "ADDRESS_LINE3",
    "ADDRESS_LINE4",
    "ADDRESS_LINE5",
    "ADDRESS_DATE",
    "GP_PRACTICE_CODE",
    "GP_REGISTRATION_DATE",
    "NHAIS_POSTING_ID",
    "AS_AT_DATE",
    "LOCAL_PATIENT_ID",
    "INTERNAL_ID",
    "TELEPHONE_NUMBER",
    "MOBILE_NUMBER",
    "EMAIL_ADDRESS",
];
const REGISTRATION: usize = 16;

/// Columns of a PDS MESH answer.
pub const RESPONSE: [&str; 29] = [
    "UNIQUE REFERENCE",
    "REQ_NHS_NUMBER",
    "FAMILY_NAME",
    "GIVEN_NAME",
    "OTHER_GIVEN_NAME",
    "GENDER",
    "DATE_OF_BIRTH",
    "DATE_OF_DEATH",
    "ADDRESS_LINE1",
    "ADDRESS_LINE2",
    "ADDRESS_LINE3",
    "ADDRESS_LINE4",
    "ADDRESS_LINE5",
    "POSTCODE",
    "GP_PRACTICE_CODE",
    "GP_REGISTRATION_DATE",
    "NHAIS_POSTING_ID",
    "AS_AT_DATE",
    "LOCAL_PATIENT_ID",
    "INTERNAL_ID",
    "TELEPHONE_NUMBER",
    "MOBILE_NUMBER",
    "EMAIL_ADDRESS",
    "SENSITIVITY_FLAG",
    "MPS_ID",
    "ERROR/SUCCESS_CODE",
    "MATCHED_NHS_NO",
    "MATCHED_ALGORITHM_INDICATOR",
    "MATCHED_CONFIDENCE_PERCENTAGE",
];
const ANSWERED_REGISTRATION: usize = 15;
const CODE: usize = 25;

/// Longest names.
const MAX_NAME: usize = 35;

/// Whether a first row is the list of column names, in order.
pub fn names_columns(fields: &[String]) -> bool {
    let same = |given: &str, name: &str| given.trim().replace('_', " ").eq_ignore_ascii_case(&name.replace('_', " "));
    fields.len() == REQUEST.len() && fields.iter().zip(REQUEST).all(|(given, name)| same(given, name))
}

/// What a row asks. Texts are trimmed; what is not given is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub reference: String,
    pub nhs: String,
    pub family: String,
    pub given: String,
    pub other_given: String,
    pub gender: String,
    /// `YYYYMMDD` as a number; 0 for none.
    pub born: u32,
    pub postcode: String,
    pub as_at: u32,
    posting: String,
    as_at_text: String,
    local: String,
    internal: String,
    /// Whether anything is given that a person could be found by.
    pub traceable: bool,
}

/// Reads a row. What is wrong with it comes with what can be told of it.
pub fn request(generation: Generation, fields: &[String], repeated: bool) -> (Request, Result<(), Code>) {
    let missing = generation == Generation::Mpt;
    let count = REQUEST.len() - usize::from(missing);
    let at = |column: usize| {
        let place = if missing && column > REGISTRATION { column - 1 } else { column };
        let there = !(missing && column == REGISTRATION);
        fields.get(place).filter(|_| there).map_or("", |text| text.trim())
    };
    let mut request = Request { reference: at(0).chars().filter(|c| !c.is_control()).collect(), ..Default::default() };
    if fields.len() != count {
        return (request, Err(if fields.len() < count { Code::TOO_FEW_FIELDS } else { Code::TOO_MANY_FIELDS }));
    }
    let text = |column: usize| at(column).to_owned();
    (request.nhs, request.family, request.given) = (text(1), text(2), text(3));
    (request.other_given, request.gender, request.postcode) = (text(4), text(5), text(7));
    (request.posting, request.as_at_text, request.local, request.internal) = (text(17), text(18), text(19), text(20));
    request.traceable = (1..=8).any(|column| !at(column).is_empty());
    let sound = sound(&mut request, at, repeated);
    (request, sound)
}

/// The first thing wrong with a row of the right number of fields.
fn sound<'a>(request: &mut Request, at: impl Fn(usize) -> &'a str, repeated: bool) -> Result<(), Code> {
    let reference = at(0);
    if reference.is_empty() || repeated || reference.chars().any(|c| c.is_control() || c == ',' || c == '"') {
        return Err(Code::BAD_UNIQUE_REFERENCE);
    }
    let long = |text: &str| text.chars().count() > MAX_NAME;
    if at(1).len() > 10 || long(at(2)) || long(at(3)) {
        return Err(Code::TOO_LONG);
    }
    if !matches!(at(5), "" | "0" | "1" | "2" | "9") {
        return Err(Code::BAD_GENDER);
    }
    let mut dates = [0; 5];
    for (date, column) in dates.iter_mut().zip([6, 8, 14, REGISTRATION, 18]) {
        *date = match at(column) {
            "" => 0,
            text => Some(text).filter(|t| t.len() == 8).and_then(day::parse).ok_or(Code::BAD_FORMAT)?,
        };
    }
    (request.born, request.as_at) = (dates[0], dates[4]);
    let number = at(1).is_empty() || (at(1).len() == 10 && at(1).bytes().all(|b| b.is_ascii_digit()));
    // A trace knows no wildcards: an asterisk would look for others than were asked for.
    let wild = [2, 3, 4, 7].into_iter().any(|column| at(column).contains('*'));
    if number && !wild { Ok(()) } else { Err(Code::BAD_FORMAT) }
}

/// Appends the row of an answer.
pub fn answer(out: &mut String, generation: Generation, request: &Request, answer: &Answer) {
    let shown = &answer.shown;
    let code = answer.code.to_string();
    let (indicator, confidence) = (answer.indicator.to_string(), answer.confidence.to_string());
    let mut fields: Vec<&str> = vec![
        &request.reference,
        &request.nhs,
        &shown.family,
        &shown.given,
        &shown.other_given,
        &shown.gender,
        &shown.born,
        &shown.died,
    ];
    fields.extend(shown.lines.iter().map(String::as_str));
    fields.extend([shown.postcode.as_str(), &shown.practice, &shown.registered]);
    fields.extend([request.posting.as_str(), &request.as_at_text, &request.local, &request.internal]);
    fields.extend([shown.telephone.as_str(), &shown.mobile, &shown.email]);
    fields.extend([if answer.sensitive { "S" } else { "" }, "", &code, &answer.matched, &indicator, &confidence]);
    let scores = answer.scores.map(|score| score.to_string());
    if generation == Generation::Mpt {
        fields.remove(ANSWERED_REGISTRATION);
        fields.extend(scores.iter().map(String::as_str));
    }
    csv::write(out, &fields);
}

/// What stands before the rows of an answer. `name`: the answer's file, without its ending.
pub fn opening(generation: Generation, name: &str, rows: u64, code: Code) -> String {
    let mut out = String::new();
    match generation {
        Generation::Mpt => {
            csv::write(&mut out, &[name, generation.response(), &rows.to_string(), &code.to_string()]);
        }
        Generation::Mesh => csv::write(&mut out, &RESPONSE),
    }
    out
}

/// The answer to a file that is refused as a whole. PDS MESH has no header row to say so in: one row holds the code (ours).
pub fn refusal(generation: Generation, name: &str, code: Code) -> String {
    let mut out = opening(generation, name, 0, code);
    if generation == Generation::Mesh {
        let (mut fields, code) = ([""; RESPONSE.len()], code.to_string());
        fields[CODE] = &code;
        csv::write(&mut out, &fields);
    }
    out
}

/// The answer's file name without its ending: `RESP_`, the request's name, the moment of the answer (§16.1).
pub fn answer_name(request: &str, message: &str, now: u64) -> String {
    let stem = request.strip_suffix(".csv").unwrap_or(request);
    let fits =
        !stem.is_empty() && stem.len() <= 100 && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    format!("RESP_{}_{}", if fits { stem } else { message }, time::compact(now))
}
