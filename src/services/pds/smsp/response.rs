//! Answers of the Mini Services (spec/pds.md §17.1, §17.3) and SOAP faults, as XML. Everything of a record goes out escaped.

use super::{Operation, find::Outcome, request::Request};
use crate::{
    engine::draft::Fault,
    model::NhsNumber,
    services::{
        directory::rows as registry,
        pds::{
            Response,
            fhir::{Object, items, text},
            rows::{CURRENT_NAMES, Sensitivity},
        },
    },
    store::Reader,
    wire::xml::escaped,
};
use bytes::Bytes;
use serde_json::Value;
use std::fmt::Write;

const NHS_NUMBER: &str = "2.16.840.1.113883.2.1.4.1";
const MESSAGE_CODES: &str = "2.16.840.1.113883.2.1.3.2.4.17.284";
const RESPONSE_CODES: &str = "2.16.840.1.113883.2.1.3.2.4.17.285";
const IDENTIFIER_CODES: &str = "2.16.840.1.113883.2.1.3.2.4.17.287";
const ERROR_CODES: &str = "2.16.840.1.113883.2.1.3.2.4.17.268";
const GENDERS: &str = "2.16.840.1.113883.2.1.3.2.4.16.25";
/// Root of ODS codes (ours, §17.3).
const ODS: &str = "2.16.840.1.113883.2.1.3.2.4.19.2";
/// Lines of an address, always.
const LINES: usize = 5;
const NAMESPACES: &str = r#"xmlns:itk="urn:nhs-itk:ns:201005" xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing""#;

/// The `nth` id of an answer: an upper-case UUID that no other answer of the site has.
fn uuid(attempt: u64, nth: u8) -> String {
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &[b"smsp", attempt.to_be_bytes().as_slice(), &[nth]].concat(),
    );
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string().to_uppercase()
}

fn soap(status: u16, text: String) -> Response {
    let headers = vec![("content-type", Bytes::from_static(b"text/xml; charset=utf-8"))];
    Response { status, headers, body: text.into() }
}

/// A payload in its envelopes.
fn envelope(operation: Operation, attempt: u64, payload: &str) -> Response {
    let (action, answer) = (format!("{}Response", operation.action()), operation.answer());
    let (id, tracking, part) = (uuid(attempt, 0), uuid(attempt, 1), uuid(attempt, 2));
    soap(
        200,
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><soap:Envelope {NAMESPACES}><soap:Header><wsa:MessageID>{id}</wsa:MessageID><wsa:Action>{action}</wsa:Action><wsa:To/></soap:Header><soap:Body><itk:DistributionEnvelope><itk:header service="{action}" trackingid="{tracking}"><itk:auditIdentity><itk:id uri="urn:nhs-uk:identity:spine:smsp"/></itk:auditIdentity><itk:manifest count="1"><itk:manifestitem id="uuid_{part}" mimetype="text/xml" profileid="urn:nhs-en:profile:{answer}"/></itk:manifest><itk:senderAddress uri="urn:nhs-uk:addressing:spine:smsp"/></itk:header><itk:payloads count="1"><itk:payload id="uuid_{part}">{payload}</itk:payload></itk:payloads></itk:DistributionEnvelope></soap:Body></soap:Envelope>"#
        ),
    )
}

fn payload(operation: Operation, attempt: u64, code: &str, content: &str) -> String {
    let (answer, id) = (operation.answer(), uuid(attempt, 3));
    format!(
        r#"<{answer} classCode="OBS" moodCode="EVN" xmlns="urn:hl7-org:v3"><id root="{id}"/><code code="{answer}" codeSystem="{MESSAGE_CODES}"/><value code="{code}" codeSystem="{RESPONSE_CODES}"/>{content}</{answer}>"#
    )
}

/// An answer without a person.
pub fn refused(operation: Operation, attempt: u64, code: &str) -> Response {
    envelope(operation, attempt, &payload(operation, attempt, code, ""))
}

/// A SOAP fault. `words` are ours, never the caller's.
pub fn fault(status: u16, code: &str, words: &str, attempt: u64) -> Response {
    let (id, words) = (uuid(attempt, 4), escaped(words));
    soap(
        status,
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><soap:Envelope {NAMESPACES}><soap:Body><soap:Fault><faultcode>{code}</faultcode><faultstring>{words}</faultstring><detail><itk:ToolkitErrorInfo><itk:ErrorID>{id}</itk:ErrorID><itk:ErrorCode codeSystem="{ERROR_CODES}">{number}</itk:ErrorCode><itk:ErrorText>{words}</itk:ErrorText></itk:ToolkitErrorInfo></detail></soap:Fault></soap:Body></soap:Envelope>"#,
            number = if code == "soap:Client" { "1000" } else { "2000" },
        ),
    )
}

/// The answer to a question that was understood.
pub fn answer(request: &Request, found: &Outcome, attempt: u64, site: &dyn Reader) -> Result<Response, Fault> {
    let operation = request.operation;
    let content = match (&found.person, operation) {
        (None, _) => String::new(),
        (Some((nhs, _)), Operation::Verify) => format!(
            r#"<component typeCode="COMP"><validIdentifier classCode="OBS" moodCode="EVN"><code code="VI" codeSystem="{IDENTIFIER_CODES}"/><value value="{}"/><subject typeCode="SBJ"><patient classCode="PAT">{}</patient></subject></validIdentifier></component>"#,
            found.valid,
            id(NHS_NUMBER, &asked_or_found(request, *nhs, found.valid)),
        ),
        (Some((nhs, _)), Operation::GetNumber) => subject(&ids(*nhs, request)),
        (Some((nhs, person)), _) => {
            let (stored, open) = (person.stored()?, person.sensitivity() == Sensitivity::Unrestricted);
            subject(&(ids(*nhs, request) + &details(&stored, open, site)?))
        }
    };
    Ok(envelope(operation, attempt, &payload(operation, attempt, found.code, &content)))
}

/// A number that does not belong to this birth date leads to no other number.
fn asked_or_found(request: &Request, found: NhsNumber, valid: bool) -> String {
    if valid { found.digits() } else { request.nhs.clone() }
}

fn subject(content: &str) -> String {
    format!(r#"<subject typeCode="SBJ"><patient classCode="PAT">{content}</patient></subject>"#)
}

fn id(root: &str, extension: &str) -> String {
    format!(r#"<id extension="{}" root="{}"/>"#, escaped(extension), escaped(root))
}

/// The NHS number, then the caller's own id where one was sent.
fn ids(nhs: NhsNumber, request: &Request) -> String {
    let local = request.local.as_ref().map(|(root, extension)| id(root, extension));
    id(NHS_NUMBER, &nhs.digits()) + &local.unwrap_or_default()
}

fn element(name: &str, text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!("<{name}>{}</{name}>", escaped(text)) }
}

/// Name, addresses, telecom, and the person with their practice; of a restricted record only what says not where they are.
fn details(stored: &Object, open: bool, site: &dyn Reader) -> Result<String, Fault> {
    let mut out = name(stored);
    if open {
        // Home, temporary, correspondence.
        for (of, code) in [("home", "H"), ("temp", "TMP"), ("billing", "PST")] {
            if let Some(found) = items(stored, "address").iter().find(|address| text(address, "use") == of) {
                out.push_str(&address(found, code));
            }
        }
        items(stored, "telecom").iter().for_each(|item| out.push_str(&telecom(item)));
    }
    out.push_str(r#"<patientPerson classCode="PSN" determinerCode="INSTANCE">"#);
    let member = |name: &str| stored.get(name).and_then(Value::as_str).unwrap_or_default();
    let gender = match member("gender") {
        "male" => "1",
        "female" => "2",
        "other" => "9",
        _ => "0",
    };
    let _ = write!(out, r#"<administrativeGenderCode code="{gender}" codeSystem="{GENDERS}"/>"#);
    for (name, value) in [("birthTime", member("birthDate")), ("deceasedTime", member("deceasedDateTime"))] {
        let digits: String = value.chars().take(10).filter(char::is_ascii_digit).collect();
        if !digits.is_empty() {
            let _ = write!(out, r#"<{name} value="{digits}"/>"#);
        }
    }
    if open {
        out.push_str(&practice(stored, site)?);
    }
    Ok(out + "</patientPerson>")
}

fn name(stored: &Object) -> String {
    let names = items(stored, "name");
    let usual = names.iter().find(|name| text(name, "use") == "usual");
    let Some(name) = usual.or_else(|| names.iter().find(|name| CURRENT_NAMES.contains(&text(name, "use")))) else {
        return String::new();
    };
    let all = |list: &str, most: usize| -> Vec<&str> {
        name[list].as_array().into_iter().flatten().filter_map(Value::as_str).take(most).collect()
    };
    let mut out = String::from("<name>");
    all("prefix", 1).iter().for_each(|prefix| out.push_str(&element("prefix", prefix)));
    all("given", 2).iter().for_each(|given| out.push_str(&element("given", given)));
    out.push_str(&element("family", text(name, "family")));
    out + "</name>"
}

fn address(address: &Value, code: &str) -> String {
    let mut out = format!(r#"<addr use="{code}">{}"#, element("postalCode", text(address, "postalCode")));
    let lines: Vec<&str> = address["line"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for n in 0..LINES {
        let line = lines.get(n).copied().unwrap_or_default();
        let _ = write!(out, "<streetAddressLine>{}</streetAddressLine>", escaped(line));
    }
    out + "</addr>"
}

/// Phones and e-mail as URLs.
fn telecom(item: &Value) -> String {
    let (value, of) = (text(item, "value"), text(item, "use"));
    let (scheme, plain) = match text(item, "system") {
        "phone" => ("tel", value.chars().filter(|c| !c.is_whitespace()).collect()),
        "email" => ("mailto", value.to_owned()),
        _ => return String::new(),
    };
    let code = match of {
        "mobile" => "MC",
        "work" => "WP",
        "temp" => "HV",
        _ => "H",
    };
    format!(r#"<telecom use="{code}" value="{scheme}:{}"/>"#, escaped(&plain))
}

/// The practice with what the directory says of it.
fn practice(stored: &Object, site: &dyn Reader) -> Result<String, Fault> {
    let code = items(stored, "generalPractitioner").first().and_then(|gp| gp.pointer("/identifier/value")?.as_str());
    let Some(code) = code.filter(|code| !code.is_empty()) else { return Ok(String::new()) };
    let known = registry::organisation(site, code)?.unwrap_or_default();
    let mut out = String::from(r#"<gPPractice classCode="SDLOC">"#);
    let place = &known.address;
    let lines: Vec<&str> = place.lines.iter().map(String::as_str).chain([place.town.as_str(), &place.county]).collect();
    if lines.iter().chain([&place.postcode.as_str()]).any(|line| !line.is_empty()) {
        out.push_str("<addr>");
        out.push_str(&element("postalCode", &place.postcode));
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        for n in 0..LINES {
            let line = lines.get(n).copied().unwrap_or_default();
            let _ = write!(out, "<streetAddressLine>{}</streetAddressLine>", escaped(line));
        }
        out.push_str("</addr>");
    }
    let _ = write!(
        out,
        r#"<locationOrganization classCode="ORG" determinerCode="INSTANCE">{}{}</locationOrganization></gPPractice>"#,
        id(ODS, code),
        element("name", &known.name),
    );
    Ok(out)
}
