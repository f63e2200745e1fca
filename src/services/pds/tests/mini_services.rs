//! The Mini Services: each operation over the published open test data, and the published answer to the letter (spec/pds.md §17).

use super::*;
use crate::{
    services::pds::smsp::{Asked as Mini, Operation},
    wire::{
        csv,
        xml::{self, Element},
    },
};

const DATA: &str = include_str!("../../../../tests/data/smsp/open_test_data.csv");
const PUBLISHED: &str = include_str!("../../../../tests/data/smsp/verifyNHSNumber-response.xml");

/// A person of the published data.
struct Known {
    nhs: String,
    born: String,
    family: String,
    given: String,
    gender: String,
    postcode: String,
    sensitive: bool,
}

/// The published people, as far as a record can be made of them, and a site that has them.
fn loaded(partitions: usize) -> (Site, Vec<Known>) {
    let (mut site, mut known) = (Site::empty(partitions, PdsOptions::default()), vec![]);
    let mut rows: Vec<Vec<String>> = vec![];
    let take = |row| {
        rows.push(row);
        Ok::<_, csv::Malformed>(())
    };
    csv::Rows::default().feed(DATA.as_bytes(), take).unwrap();
    for row in rows.iter().skip(1).filter(|row| row.len() >= 19) {
        let [nhs, born, family, given] = [1, 2, 4, 5].map(|at| row[at].trim().to_owned());
        let gender = if row[8] == "Male" { "male" } else { "female" };
        if NhsNumber::strict(&nhs).is_none() || born.len() != 8 || family.is_empty() || given.is_empty() {
            continue;
        }
        let iso = format!("{}-{}-{}", &born[..4], &born[4..6], &born[6..]);
        let lines: Vec<&str> = (9..14).map(|at| row[at].as_str()).collect();
        let person = json!({"nhsNumber": nhs, "resource": {
            "name": [{"use": "usual", "family": family, "given": [given], "prefix": [row[7]], "period": {"start": "2000-01-01"}}],
            "gender": gender, "birthDate": iso,
            "meta": {"versionId": "1", "security": [{"code": if row[15].trim().is_empty() { "U" } else { "R" }}]},
            "address": [{"use": "home", "line": lines, "postalCode": row[18], "period": {"start": "2000-01-01"}}],
            "generalPractitioner": [{"type": "Organization", "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": row[16]}}],
        }});
        if known.iter().any(|k: &Known| k.nhs == nhs) {
            continue;
        }
        site.import(&person.to_string()).unwrap();
        let code = if gender == "male" { "1" } else { "2" };
        let (postcode, sensitive) = (row[18].clone(), !row[15].trim().is_empty());
        known.push(Known { nhs, born, family, given, gender: code.into(), postcode, sensitive });
    }
    (site, known)
}

const NUMBER: &str = "2.16.840.1.113883.2.1.4.1";

fn parameter(name: &str, value: &str) -> String {
    format!("<Person.{name}>{value}<semanticsText>Person.{name}</semanticsText></Person.{name}>")
}
fn born(day: &str) -> String {
    parameter("DateOfBirth", &format!(r#"<value value="{day}"/>"#))
}
fn gender(code: &str) -> String {
    parameter("Gender", &format!(r#"<value code="{code}" codeSystem="2.16.840.1.113883.2.1.3.2.4.16.25"/>"#))
}
fn local(id: &str) -> String {
    parameter("LocalIdentifier", &format!(r#"<value root="1.2.3" extension="{id}"/>"#))
}
fn number(nhs: &str) -> String {
    parameter("NHSNumber", &format!(r#"<value root="{NUMBER}" extension="{nhs}"/>"#))
}
fn name(family: &str, given: &str) -> String {
    let given = if given.is_empty() { String::new() } else { format!("<given>{given}</given>") };
    parameter("Name", &format!("<value>{given}<family>{family}</family></value>"))
}
fn postcode(code: &str) -> String {
    parameter("Postcode", &format!("<value><postalCode>{code}</postalCode></value>"))
}

/// A whole message around parameters.
fn message(operation: Operation, parameters: &str) -> String {
    let op = operation.name();
    let root =
        if operation == Operation::Details { "getPatientDetails-v1-0".into() } else { format!("{op}Request-v1-0") };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:itk="urn:nhs-itk:ns:201005">
 <soap:Header>
  <wsa:MessageID>4BEEA412-5FFA-48CC-A658-1236E0BC61C9</wsa:MessageID>
  <wsa:Action>urn:nhs-itk:services:201005:{op}-v1-0</wsa:Action>
  <wsa:To>https://spine/smsp/pds</wsa:To>
 </soap:Header>
 <soap:Body>
  <itk:DistributionEnvelope>
   <itk:header service="urn:nhs-itk:services:201005:{op}-v1-0" trackingid="0F8228B0-E251-40E2-82B5-88DF393FB0C5">
    <itk:auditIdentity><itk:id type="1.2.826.0.1285.0.2.0.107" uri="200000000100"/></itk:auditIdentity>
    <itk:manifest count="1"><itk:manifestitem id="uuid_1AC2CB5C-8E94-4024-8C9E-548BB7B3CAF5" mimetype="text/xml" profileid="urn:nhs-en:profile:{op}Request-v1-0" base64="false" compressed="false" encrypted="false"/></itk:manifest>
   </itk:header>
   <itk:payloads count="1"><itk:payload id="uuid_1AC2CB5C-8E94-4024-8C9E-548BB7B3CAF5">
    <{root} xmlns="urn:hl7-org:v3" classCode="CACT" moodCode="EVN">
     <id root="7C81FCC1-E13A-4615-8DC6-B1E435BA0472"/>
     <code code="{op}Request-v1-0" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.284"/>
     <queryEvent>{parameters}</queryEvent>
    </{root}>
   </itk:payload></itk:payloads>
  </itk:DistributionEnvelope>
 </soap:Body>
</soap:Envelope>"#
    )
}

impl Site {
    fn soap(&mut self, operation: Operation, body: &str) -> (u16, Element) {
        let action = format!("\"urn:nhs-itk:services:201005:{}-v1-0\"", operation.name());
        let mut headers = HeaderMap::new();
        headers.insert("soapaction", HeaderValue::from_str(&action).unwrap());
        headers.insert("content-type", HeaderValue::from_static("text/xml; charset=utf-8"));
        let mut asked = Mini::new("POST", &headers);
        assert_eq!(asked.interaction(), operation.interaction());
        self.count += 1;
        let body = BodyIn::Bytes(Bytes::copy_from_slice(body.as_bytes()));
        let (notes, mut step) = (self.notes.len(), asked.ask("200000000100", &headers, body, self.count));
        if matches!(step, Step::Look) {
            let views: Vec<&dyn Reader> = self.partitions.iter().map(|p| p as _).collect();
            step = asked.looked(&views).unwrap();
        }
        let Step::Submit(calls) = step else { panic!("an interaction leaves a note (P4)") };
        let caller = Caller { asid: "200000000100".into(), ..Default::default() };
        for call in calls {
            self.submit(call, &caller);
        }
        assert_eq!(self.notes.len(), notes + 1);
        let answer = asked.answer(&MapStore::default()).unwrap();
        assert_eq!(header(&answer, "content-type"), "text/xml; charset=utf-8");
        (answer.status, xml::parse(std::str::from_utf8(&answer.body).unwrap()).unwrap())
    }

    /// The payload of an answer, and its code.
    fn told(&mut self, operation: Operation, parameters: &str) -> (String, Element) {
        let (status, root) = self.soap(operation, &message(operation, parameters));
        assert_eq!(status, 200);
        let payload = down(&root, &["Body", "DistributionEnvelope", "payloads", "payload", operation.answer()]);
        (down(payload, &["value"]).attribute("code").to_owned(), payload.clone())
    }
}

fn down<'a>(mut element: &'a Element, path: &[&str]) -> &'a Element {
    for name in path {
        element = element.child(name).unwrap_or_else(|| panic!("no {name} in {}", element.name));
    }
    element
}

/// Names, namespaces and attribute names of a tree, without what is another's each time.
fn shape(element: &Element) -> Vec<String> {
    let mut own = element.attributes.clone();
    own.sort();
    let fixed = |(name, value): &(String, String)| match name.as_str() {
        "id" | "trackingid" | "uri" => format!("{name}=…"),
        "root" if value.len() == 36 => format!("{name}=…"),
        _ => format!("{name}={value}"),
    };
    let line =
        format!("{} {} {}", element.namespace, element.name, own.iter().map(fixed).collect::<Vec<_>>().join(" "));
    std::iter::once(line).chain(element.children.iter().flat_map(shape)).collect()
}

#[test]
fn the_published_answer_is_made_to_the_letter() {
    let mut site = Site::empty(1, PdsOptions::default());
    let person = json!({"nhsNumber": "9449310092", "resource": {"birthDate": "1980-01-02",
        "name": [{"use": "usual", "family": "ONE", "given": ["A"], "period": {"start": "2000-01-01"}}]}});
    site.import(&person.to_string()).unwrap();
    let asked = message(Operation::Verify, &(born("19800102") + &number("9449310092")));
    let (status, answer) = site.soap(Operation::Verify, &asked);
    let published = xml::parse(PUBLISHED).unwrap();
    assert_eq!((status, shape(&answer)), (200, shape(&published)));
    let header = down(&answer, &["Header"]);
    assert_eq!(down(header, &["Action"]).trimmed(), down(&published, &["Header", "Action"]).trimmed());
    let envelope = down(&answer, &["Body", "DistributionEnvelope"]);
    let item = down(envelope, &["header", "manifest", "manifestitem"]).attribute("id").to_owned();
    assert_eq!(item, down(envelope, &["payloads", "payload"]).attribute("id"));
    assert!(item.starts_with("uuid_"));
}

#[test]
fn everyone_of_the_published_data_is_verified_found_and_shown() {
    for partitions in [1, 3] {
        let (mut site, known) = loaded(partitions);
        assert!(known.len() > 500, "{} people", known.len());
        let mut unique = 0;
        for person in known.iter().step_by(7) {
            let (code, payload) = site.told(Operation::Verify, &(born(&person.born) + &number(&person.nhs)));
            let valid = down(&payload, &["component", "validIdentifier"]);
            assert_eq!((code.as_str(), down(valid, &["value"]).attribute("value")), ("SMSP-0000", "true"));
            assert_eq!(down(valid, &["subject", "patient", "id"]).attribute("extension"), person.nhs);
            assert_eq!(site.last_note(), ("smsp.verify_nhs_number", "SMSP-0000", person.nhs.as_str()));

            let asked = born(&person.born)
                + &gender(&person.gender)
                + &local("L1")
                + &name(&xml::escaped(&person.family), &xml::escaped(&person.given));
            let (code, payload) = site.told(Operation::GetNumber, &asked);
            match code.as_str() {
                "SMSP-0000" => {
                    let ids: Vec<_> = down(&payload, &["subject", "patient"])
                        .children
                        .iter()
                        .map(|id| id.attribute("extension"))
                        .collect();
                    assert_eq!(ids, [person.nhs.as_str(), "L1"]);
                    unique += 1;
                }
                other => assert!(
                    ["DEMOG-0007", "DEMOG-0001"].contains(&other) && payload.child("subject").is_none(),
                    "{other}"
                ),
            }

            let (code, payload) = site.told(Operation::DetailsByNumber, &(born(&person.born) + &number(&person.nhs)));
            let patient = down(&payload, &["subject", "patient"]);
            assert_eq!(
                (code.as_str(), down(patient, &["name", "family"]).trimmed()),
                ("SMSP-0000", person.family.as_str())
            );
            let whole = down(patient, &["patientPerson"]);
            assert_eq!(down(whole, &["birthTime"]).attribute("value"), person.born);
            assert_eq!(down(whole, &["administrativeGenderCode"]).attribute("code"), person.gender);
            match person.sensitive {
                true => assert!(
                    patient.child("addr").is_none() && whole.child("gPPractice").is_none(),
                    "nothing says where"
                ),
                false => {
                    let address = down(patient, &["addr"]);
                    assert_eq!(
                        (address.children.len(), address.attribute("use")),
                        (6, "H"),
                        "a postcode and five lines"
                    );
                    assert_eq!(down(address, &["postalCode"]).trimmed(), person.postcode);
                    assert!(
                        !down(whole, &["gPPractice", "locationOrganization", "id"]).attribute("extension").is_empty()
                    );
                }
            }
        }
        assert!(unique > 50, "{unique} are found by what they are called");
    }
}

#[test]
fn each_code_has_its_case() {
    for mut site in sites() {
        let mut code = |operation, asked: String| site.told(operation, &asked).0;
        use Operation::*;
        assert_eq!(code(Verify, born("20101022") + &number(JANE)), "SMSP-0000");
        assert_eq!(code(Verify, born("20101022") + &number("9000000000")), "DEMOG-0042");
        assert_eq!(code(Verify, born("20101022") + &number("9434765919")), "DEMOG-0040");
        assert_eq!(code(Verify, born("19260107") + &number("5900053636")), "DEMOG-0017");
        assert_eq!(code(Verify, born("19800101") + &number("9990003343")), "DEMOG-0022");
        assert_eq!(code(DetailsByNumber, born("20101023") + &number(JANE)), "DEMOG-0040");
        assert_eq!(code(DetailsByNumber, born("20101022") + &number("9434765919")), "DEMOG-0001");
        assert_eq!(code(DetailsBySearch, born("20000505") + &gender("1") + &name("Smith", "Sam")), "DEMOG-0007");
        assert_eq!(code(DetailsBySearch, born("20000505") + &gender("1") + &name("Nobody", "")), "DEMOG-0001");
        assert_eq!(
            code(GetNumber, born("19551105") + &gender("2") + &name("GART*", "BI*") + &postcode("DN18 5DW")),
            "SMSP-0000"
        );
        assert_eq!(code(Details, born("195511") + &name("GARTON", "")), "SMSP-0000");
        assert_eq!(code(Details, born("20101022") + &number(JANE)), "SMSP-0000");
        // What the payload must not be.
        for asked in [
            number(JANE),
            number(JANE) + &born("20101022"),
            born("20101322") + &number(JANE),
            born("20101022") + &born("20101022") + &number(JANE),
            born("20101022") + &gender("1") + &number(JANE),
            born("20101022") + &number(JANE).replace("<semanticsText>Person.N", "<semanticsText>Person.X"),
            born("20101022") + &number(JANE) + &name("S*", ""),
        ] {
            assert_eq!(code(Verify, asked), "SMSP-0001");
        }
        assert_eq!(code(Details, born("20101022")), "SMSP-0001");

        // A number of another birth date leads to nobody else.
        let (_, payload) = site.told(Operation::Verify, &(born("20111022") + &number(JANE)));
        let valid = down(&payload, &["component", "validIdentifier"]);
        assert_eq!(
            (
                down(valid, &["value"]).attribute("value"),
                down(valid, &["subject", "patient", "id"]).attribute("extension")
            ),
            ("false", JANE)
        );
        // A merged number: the survivor's, in the answer and in the trail.
        let (_, payload) = site.told(Operation::DetailsByNumber, &(born("19260107") + &number("5900053636")));
        assert_eq!(down(&payload, &["subject", "patient", "id"]).attribute("extension"), "9732019395");
        assert_eq!(site.last_note(), ("smsp.get_patient_details_by_nhs_number", "DEMOG-0017", "9732019395"));
        // A restricted one says not where she is; a very restricted one is not there.
        let (_, payload) = site.told(Operation::DetailsByNumber, &(born("20050616") + &number(RESTRICTED)));
        let patient = down(&payload, &["subject", "patient"]);
        assert!(["addr", "telecom"].iter().all(|name| patient.child(name).is_none()));
        assert_eq!(site.told(Operation::Verify, &(born("19800101") + &number("9727024610"))).0, "DEMOG-0040");
    }
}

#[test]
fn nobody_asks_as_another_system() {
    let mut site = Site::new(1);
    let good = message(Operation::Verify, &(born("20101022") + &number(JANE)));
    let own = r#"<itk:id type="1.2.826.0.1285.0.2.0.107" uri="200000000100"/>"#;
    let user = r#"<itk:id type="1.2.826.0.1285.0.2.0.65" uri="555254240100"/>"#;
    let other = own.replace("100\"", "101\"");
    for (ids, code) in [
        (own.to_owned(), "SMSP-0000"),
        (format!("{user}{own}"), "SMSP-0000"),
        // Who says nothing of a system is the one that sends.
        (user.to_owned(), "SMSP-0000"),
        (other.clone(), "SMSP-0005"),
        (format!("{own}{other}"), "SMSP-0005"),
        (own.replace("200000000100", ""), "SMSP-0005"),
    ] {
        let (status, root) = site.soap(Operation::Verify, &good.replace(own, &ids));
        let payload = ["Body", "DistributionEnvelope", "payloads", "payload", Operation::Verify.answer()];
        let payload = down(&root, &payload);
        let shown = payload.child("component").is_some();
        assert_eq!(
            (status, down(payload, &["value"]).attribute("code"), shown),
            (200, code, code == "SMSP-0000"),
            "{ids}"
        );
        let note = site.notes.last().unwrap();
        assert_eq!((note.outcome.as_str(), note.subject.is_empty()), (code, code != "SMSP-0000"), "{ids}");
    }
}

#[test]
fn envelope_problems_are_faults() {
    let mut site = Site::new(1);
    let good = message(Operation::Verify, &(born("20101022") + &number(JANE)));
    for (from, to) in [
        ("soap:Envelope", "soap:Envelop"),
        ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"),
        ("<wsa:MessageID>", "<wsa:MessageID/><wsa:Other>"),
        ("<wsa:Action>urn:nhs-itk:services:201005:verify", "<wsa:Action>urn:nhs-itk:services:201005:get"),
        ("itk:DistributionEnvelope", "itk:Envelope"),
        ("trackingid=\"0F", "trackingid=\"0f"),
        ("payloads count=\"1\"", "payloads count=\"2\""),
        ("base64=\"false\"", "base64=\"true\""),
        ("profile:verifyNHSNumberRequest", "profile:getNHSNumberRequest"),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>"),
    ] {
        let (status, answer) = site.soap(Operation::Verify, &good.replace(from, to));
        let fault = down(&answer, &["Body", "Fault"]);
        assert_eq!((status, down(fault, &["faultcode"]).trimmed()), (500, "soap:Client"), "{from}");
        let info = down(fault, &["detail", "ToolkitErrorInfo"]);
        assert_eq!(down(info, &["ErrorCode"]).attribute("codeSystem"), "2.16.840.1.113883.2.1.3.2.4.17.268");
        assert!(!down(info, &["ErrorText"]).trimmed().is_empty());
        assert_eq!(
            (site.notes.last().unwrap().outcome.as_str(), site.notes.last().unwrap().subject.as_str()),
            ("fault", "")
        );
    }
}
