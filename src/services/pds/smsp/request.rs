//! A SOAP message to what it asks (spec/pds.md §17.1, §17.2): envelope problems are faults, problems of the payload are SMSP-0001.

use super::{
    Operation,
    find::{AUTHOR, FAILED_VALIDATION},
};
use crate::{
    services::pds::query::{Days, real_day},
    wire::xml::{self, Element},
};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
const ITK: &str = "urn:nhs-itk:ns:201005";
const HL7: &str = "urn:hl7-org:v3";
const NHS_NUMBER: &str = "2.16.840.1.113883.2.1.4.1";
const REQUEST_CODES: &str = "2.16.840.1.113883.2.1.3.2.4.17.284";
/// Type of an id of `auditIdentity` that is an accredited system's.
const ACCREDITED_SYSTEM: &str = "1.2.826.0.1285.0.2.0.107";
const GENDERS: &str = "2.16.840.1.113883.2.1.3.2.4.16.25";
/// Longest texts of a payload.
const MAX_TEXT: usize = 100;

/// Why a message is not a question.
pub enum Bad {
    /// A SOAP fault, in words of ours.
    Fault(&'static str),
    /// An answer with this code and no person (§17.4); the message's id, and who its envelope says asks.
    Coded { code: &'static str, message: String, identity: String },
}

/// What is asked. Texts that are not given are empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub operation: Operation,
    /// `wsa:MessageID`.
    pub message: String,
    /// `auditIdentity` of the envelope.
    pub identity: String,
    /// Days of birth, from and to: a partial date is a range.
    pub born: Days,
    /// 0, 1, 2, 9.
    pub gender: String,
    pub nhs: String,
    /// Root and extension.
    pub local: Option<(String, String)>,
    pub family: String,
    pub given: String,
    pub postcode: String,
}

/// Reads a message of this operation, from the system with this ASID.
pub fn read(operation: Operation, body: &[u8], asid: &str) -> Result<Request, Bad> {
    let text = std::str::from_utf8(body).map_err(|_| Bad::Fault("the message is not UTF-8"))?;
    let root = xml::parse(text).map_err(|_| Bad::Fault("the message is not XML that is taken"))?;
    if root.namespace != SOAP || root.name != "Envelope" {
        return Err(Bad::Fault("the message is no SOAP 1.1 envelope"));
    }
    let header = root.of(SOAP, "Header").ok_or(Bad::Fault("the envelope has no header"))?;
    let action = header.of(ADDRESSING, "Action").map_or("", Element::trimmed);
    if action != operation.action() {
        return Err(Bad::Fault("wsa:Action is not the SOAPAction"));
    }
    let message = header.of(ADDRESSING, "MessageID").map(Element::trimmed).filter(|id| !id.is_empty());
    let message = message.ok_or(Bad::Fault("wsa:MessageID is missing"))?.to_owned();
    let envelope = root.of(SOAP, "Body").and_then(|body| body.of(ITK, "DistributionEnvelope"));
    let envelope = envelope.ok_or(Bad::Fault("the body holds no DistributionEnvelope"))?;
    let (payload, identity, foreign) = distribution(operation, envelope, asid)?;
    let bad = |code| Bad::Coded { code, message: message.clone(), identity: identity.clone() };
    if foreign {
        return Err(bad(AUTHOR));
    }
    query(operation, payload, message.clone(), identity.clone()).ok_or_else(|| bad(FAILED_VALIDATION))
}

/// The envelope's one payload, who it says asks, and whether that is a system other than the one that sends it: its certificate is
/// what proves a system, and nobody is named in the trail as another.
fn distribution<'a>(
    operation: Operation,
    envelope: &'a Element,
    asid: &str,
) -> Result<(&'a Element, String, bool), Bad> {
    let header = envelope.of(ITK, "header").ok_or(Bad::Fault("the DistributionEnvelope has no header"))?;
    if header.attribute("service") != operation.action() {
        return Err(Bad::Fault("the DistributionEnvelope's service is not the action"));
    }
    if !is_uuid(header.attribute("trackingid")) {
        return Err(Bad::Fault("the DistributionEnvelope's trackingid is no upper-case UUID"));
    }
    let manifest = header.of(ITK, "manifest").ok_or(Bad::Fault("the DistributionEnvelope has no manifest"))?;
    let payloads = envelope.of(ITK, "payloads").ok_or(Bad::Fault("the DistributionEnvelope has no payloads"))?;
    let (item, payload) = match (manifest.children.as_slice(), payloads.children.as_slice()) {
        ([item], [payload]) if manifest.attribute("count") == "1" && payloads.attribute("count") == "1" => {
            (item, payload)
        }
        _ => return Err(Bad::Fault("the DistributionEnvelope holds not one payload")),
    };
    if payload.attribute("id").is_empty() || item.attribute("id") != payload.attribute("id") {
        return Err(Bad::Fault("the manifest does not name the payload"));
    }
    if ["base64", "compressed", "encrypted"].iter().any(|flag| item.attribute(flag) == "true") {
        return Err(Bad::Fault("an encoded payload is not taken"));
    }
    if item.attribute("profileid") != format!("urn:nhs-en:profile:{}Request-v1-0", operation.name()) {
        return Err(Bad::Fault("the manifest's profile is not the action's"));
    }
    let [payload] = payload.children.as_slice() else { return Err(Bad::Fault("the payload is not one element")) };
    let ids = header.of(ITK, "auditIdentity").map_or(&[] as &[Element], |identity| &identity.children);
    let foreign = ids.iter().any(|id| id.attribute("type") == ACCREDITED_SYSTEM && id.attribute("uri").trim() != asid);
    let identity = ids.first().map_or("", |id| id.attribute("uri"));
    Ok((payload, identity.to_owned(), foreign))
}

fn is_uuid(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, len)| hex(part, len))
}

/// The payload's parameters, in their order, each once; `None` where anything is wrong.
fn query(operation: Operation, payload: &Element, message: String, identity: String) -> Option<Request> {
    let request = format!("{}Request-v1-0", operation.name());
    let root = match operation {
        Operation::Details => "getPatientDetails-v1-0",
        _ => request.as_str(),
    };
    let code = payload.of(HL7, "code")?;
    let named = payload.namespace == HL7 && payload.name == root;
    if !named || code.attribute("code") != request || code.attribute("codeSystem") != REQUEST_CODES {
        return None;
    }
    let mut read = Request {
        operation,
        message,
        identity,
        born: (0, 0),
        gender: String::new(),
        nhs: String::new(),
        local: None,
        family: String::new(),
        given: String::new(),
        postcode: String::new(),
    };
    let mut last = 0;
    for parameter in &payload.of(HL7, "queryEvent")?.children {
        let place = ORDER.iter().position(|name| *name == parameter.name)? + 1;
        let means = parameter.of(HL7, "semanticsText").map_or("", Element::trimmed);
        if place <= last || means != parameter.name || !permitted(operation)[place - 1].0 {
            return None;
        }
        last = place;
        take(&mut read, &parameter.name, parameter.of(HL7, "value")?)?;
    }
    complete(&read).then_some(read)
}

/// Parameters in their order (§17.2).
const ORDER: [&str; 6] = [
    "Person.DateOfBirth",
    "Person.Gender",
    "Person.LocalIdentifier",
    "Person.NHSNumber",
    "Person.Name",
    "Person.Postcode",
];

/// Whether a parameter may be there, and whether it must.
fn permitted(operation: Operation) -> [(bool, bool); 6] {
    const MUST: (bool, bool) = (true, true);
    const MAY: (bool, bool) = (true, false);
    const NOT: (bool, bool) = (false, false);
    match operation {
        Operation::Verify => [MUST, NOT, NOT, MUST, MAY, NOT],
        Operation::GetNumber | Operation::DetailsBySearch => [MUST, MUST, MAY, NOT, MUST, MAY],
        Operation::DetailsByNumber => [MUST, NOT, MAY, MUST, MAY, NOT],
        Operation::Details => [MUST, MAY, MAY, MAY, MAY, MAY],
    }
}

fn complete(read: &Request) -> bool {
    let there = [
        read.born != (0, 0),
        !read.gender.is_empty(),
        read.local.is_some(),
        !read.nhs.is_empty(),
        !read.family.is_empty(),
        !read.postcode.is_empty(),
    ];
    let all = permitted(read.operation).iter().zip(there).all(|((_, must), there)| there || !must);
    // Without a number it is a search, which needs a family name.
    all && (read.operation != Operation::Details || !read.nhs.is_empty() || !read.family.is_empty())
}

fn take(read: &mut Request, name: &str, value: &Element) -> Option<()> {
    let short = |text: &str| (text.chars().count() <= MAX_TEXT).then(|| text.trim().to_owned());
    match name {
        "Person.DateOfBirth" => read.born = days(value.attribute("value"))?,
        "Person.Gender" => {
            let code = value.attribute("code");
            let known = ["0", "1", "2", "9"].contains(&code) && value.attribute("codeSystem") == GENDERS;
            read.gender = known.then(|| code.to_owned())?;
        }
        "Person.LocalIdentifier" => {
            let (root, extension) = (short(value.attribute("root"))?, short(value.attribute("extension"))?);
            read.local = Some((root, extension)).filter(|(root, extension)| !root.is_empty() && !extension.is_empty());
            read.local.as_ref()?;
        }
        "Person.NHSNumber" => {
            let right = value.attribute("root") == NHS_NUMBER && !value.attribute("extension").is_empty();
            read.nhs = right.then(|| short(value.attribute("extension"))).flatten()?;
        }
        "Person.Name" => {
            read.family = short(value.of(HL7, "family").map_or("", Element::trimmed))?;
            read.given = short(value.of(HL7, "given").map_or("", Element::trimmed))?;
            // A wildcard needs two characters before it.
            let wild = |text: &str| text.chars().take(2).any(|c| c == '*');
            if read.family.is_empty() || wild(&read.family) || wild(&read.given) {
                return None;
            }
        }
        _ => {
            read.postcode = short(value.of(HL7, "postalCode").map_or("", Element::trimmed))?;
            if read.postcode.is_empty() || read.postcode.contains('*') {
                return None;
            }
        }
    }
    Some(())
}

/// `YYYYMMDD`, `YYYYMM` or `YYYY`.
fn days(text: &str) -> Option<Days> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u32 = text.parse().ok()?;
    match text.len() {
        8 => real_day(&format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..])).map(|day| (day, day)),
        6 => (1..=12).contains(&(number % 100)).then_some((number * 100, number * 100 + 99)),
        4 if number > 0 => Some((number * 10_000, number * 10_000 + 9_999)),
        _ => None,
    }
}
