//! XML: the messages of the Mini Services on their whole way, each of the five operations, and any document. The first byte
//! chooses.
//!
//! What was read and is written reads the same; a message is answered by a document, whatever it held, and a good one leaves a
//! note in the trail.

use super::{MIB, Take, Target, deciding::Site, people};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use spine::access::caller::Caller;
use spine::services::pds::smsp::{Asked, Operation};
use spine::services::pds::{BodyIn, Pds, Step};
use spine::wire::ldif;
use spine::wire::xml::{Element, escaped, parse};

/// An element costs some hundred bytes, and four characters make one.
pub const TARGET: Target = Target { name: "xml", run, seeds, longest: 8 << 10, base: MIB, factor: 400 };

fn run(input: &[u8]) {
    let mut take = Take(input);
    let kind = usize::from(take.byte()) % 8;
    if let Some(operation) = Operation::ALL.get(kind) {
        return asked(*operation, take.0);
    }
    let Ok(text) = std::str::from_utf8(take.0) else { return };
    if kind == 7 {
        return entry(text);
    }
    if let Ok(root) = parse(text) {
        same(&root);
    }
}

/// What XML makes of blanks, and what it cannot hold, is so the first time only.
fn same(root: &Element) {
    let mut out = String::new();
    write(root, &mut out);
    let first = parse(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    let mut out = String::new();
    write(&first, &mut out);
    assert_eq!(parse(&out).as_ref(), Ok(&first));
    assert_eq!(shape(root), shape(&first));
}

fn shape(element: &Element) -> (String, String, usize, Vec<(String, String, usize)>) {
    let of = |e: &Element| (e.namespace.clone(), e.name.clone(), e.attributes.len());
    let (namespace, name, attributes) = of(element);
    (namespace, name, attributes, element.children.iter().map(of).collect())
}

fn write(element: &Element, out: &mut String) {
    // Names of namespaces are kept as they were written, entities and all.
    let quote = if element.namespace.contains('"') { '\'' } else { '"' };
    out.push_str(&format!("<{} xmlns={quote}{}{quote}", element.name, element.namespace));
    for (name, value) in &element.attributes {
        out.push_str(&format!(" {name}=\"{}\"", escaped(value)));
    }
    out.push('>');
    out.push_str(&escaped(&element.text));
    element.children.iter().for_each(|child| write(child, out));
    out.push_str(&format!("</{}>", element.name));
}

fn asked(operation: Operation, body: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/xml; charset=utf-8"));
    let action = format!("\"urn:nhs-itk:services:201005:{}-v1-0\"", operation.name());
    headers.insert("soapaction", HeaderValue::from_str(&action).expect("it is text"));
    let mut site = people::site();
    let mut asked = Asked::new("POST", &headers);
    assert!(asked.at_once().is_none() && asked.interaction() == operation.interaction());
    let mut step = asked.ask("200000000100", &headers, BodyIn::Bytes(Bytes::copy_from_slice(body)), 7);
    let good = matches!(step, Step::Look);
    if good {
        step = asked.looked(&[&site.rows]).unwrap_or_else(|fault| panic!("{fault}"));
    }
    let Step::Submit(calls) = step else { panic!("each request is decided") };
    for call in calls {
        noted(&mut site, &call.key, call.payload);
    }
    assert_eq!(site.notes.len(), 1, "it is in the trail (P4)");
    let response = asked.answer(&site.registry).unwrap_or_else(|fault| panic!("{fault}"));
    let text = std::str::from_utf8(&response.body).expect("it is text");
    let root = parse(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let within = root.child("Body").map(|body| body.children.as_slice()).unwrap_or_default();
    let fault = within.iter().any(|e| e.name == "Fault");
    assert_eq!(response.status, if fault { 500 } else { 200 });
    assert!(!within.is_empty() && !(good && fault), "{text}");
    if let Ok(read) = parse(&String::from_utf8_lossy(body)) {
        same(&read);
    }
}

fn noted(site: &mut Site, key: &[u8], payload: Bytes) {
    let caller = Caller { asid: "200000000100".into(), ods: "X26".into(), ..Default::default() };
    let before = site.rows.0.clone();
    site.decide(&Pds::default(), key, payload, &caller);
    assert!(site.rows.0 == before, "a question changes nothing");
}

/// An entry of a directory's export, written as it was read.
fn entry(text: &str) {
    let Ok(Some(read)) = ldif::entry(text) else { return };
    // A line of this name is that of the file's version, wherever it stands.
    if read.attributes.iter().any(|(name, _)| name == "version") {
        return;
    }
    let line = |name: &str, value: &str| format!("{name}:: {}\n", base64(value.as_bytes()));
    let mut out = line("dn", &read.dn);
    read.attributes.iter().for_each(|(name, value)| out.push_str(&line(name, value)));
    assert_eq!(ldif::entry(&out), Ok(Some(read)), "{out}");
}

fn base64(bytes: &[u8]) -> String {
    let text = spine::wire::jwt::to_base64url(bytes).replace('-', "+").replace('_', "/");
    format!("{text}{}", &"==="[..(4 - text.len() % 4) % 4])
}

fn message(operation: Operation, parameters: &[(&str, &str)]) -> String {
    let op = operation.name();
    let root =
        if operation == Operation::Details { "getPatientDetails-v1-0".into() } else { format!("{op}Request-v1-0") };
    let one = |(name, value): &(&str, &str)| {
        format!("<Person.{name}><value {value}<semanticsText>Person.{name}</semanticsText></Person.{name}>")
    };
    let parameters: String = parameters.iter().map(one).collect();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:w="http://www.w3.org/2005/08/addressing" xmlns:i="urn:nhs-itk:ns:201005"><s:Header><w:MessageID>4BEEA412-5FFA-48CC-A658-1236E0BC61C9</w:MessageID><w:Action>urn:nhs-itk:services:201005:{op}-v1-0</w:Action></s:Header><s:Body><i:DistributionEnvelope><i:header service="urn:nhs-itk:services:201005:{op}-v1-0" trackingid="0F8228B0-E251-40E2-82B5-88DF393FB0C5"><i:auditIdentity><i:id uri="200000000100"/></i:auditIdentity><i:manifest count="1"><i:manifestitem id="u1" profileid="urn:nhs-en:profile:{op}Request-v1-0" base64="false"/></i:manifest></i:header><i:payloads count="1"><i:payload id="u1"><{root} xmlns="urn:hl7-org:v3"><code code="{op}Request-v1-0" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.284"/><queryEvent>{parameters}</queryEvent></{root}></i:payload></i:payloads></i:DistributionEnvelope></s:Body></s:Envelope>"#
    )
}

fn seeds() -> Vec<Vec<u8>> {
    let born = ("DateOfBirth", r#"value="20101022"/>"#);
    let month = ("DateOfBirth", r#"value="201010"/>"#);
    let gender = ("Gender", r#"code="2" codeSystem="2.16.840.1.113883.2.1.3.2.4.16.25"/>"#);
    let local = ("LocalIdentifier", r#"root="1.2.3" extension="L1"/>"#);
    let number = ("NHSNumber", r#"root="2.16.840.1.113883.2.1.4.1" extension="9990000018"/>"#);
    let name = ("Name", "><given>Jane</given><family>Sm&#105;th</family></value>");
    let wild = ("Name", "><family><![CDATA[Sm*]]></family></value>");
    let postcode = ("Postcode", "><postalCode>LS1 6AE</postalCode></value>");
    let texts: [(u8, Vec<(&str, &str)>); 7] = [
        (0, vec![born, number]),
        (0, vec![born, number, name]),
        (1, vec![month, gender, name, postcode]),
        (2, vec![born, local, number]),
        (3, vec![born, gender, wild]),
        (4, vec![born, gender, number, name]),
        (4, vec![number, born]),
    ];
    let mut seeds: Vec<Vec<u8>> = vec![];
    for (which, parameters) in &texts {
        let text = message(Operation::ALL[usize::from(*which)], parameters);
        seeds.push([&[*which][..], text.as_bytes()].concat());
    }
    for text in [
        "<?xml version=\"1.0\"?><!-- c --><a:r xmlns:a='urn:a' xmlns='urn:b' x='1 &amp; 2' a:y=\"3\">t&#65;<b><![CDATA[<c>]]></b><d/> &lt;</a:r>",
        "<!DOCTYPE r [<!ENTITY a \"b\">]><r>&a;</r>",
        "<r xmlns=\"a&amp;b\"><r xmlns=''>\u{feff}\u{1}\r\n\t</r></r>",
    ] {
        seeds.push([&[5][..], text.as_bytes()].concat());
    }
    let entry = "version: 1\n# a comment\ndn: uid=1,\n ou=People\ncn:: w4VzZQ==\nnhsAsSvcIA;binary: urn:nhs:names:a:b\nnhsAsSvcIA: c\n";
    seeds.push([&[7][..], entry.as_bytes()].concat());
    seeds.push([&[5][..], "<a>".repeat(70).as_bytes()].concat());
    seeds
}
