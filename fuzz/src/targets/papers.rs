//! Other documents about people, for the target `people`: files of a batch trace, questions to the trail and events filed in
//! it, relationships, and rows of a CSV file.

use super::Take;
use super::deciding::{Site, told};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use spine::access::caller::Caller;
use spine::fuzz::trail;
use spine::model::NhsNumber;
use spine::services::pds::trace::code::{Code, Generation, MPT_REQUEST};
use spine::services::pds::trace::intake::Intake;
use spine::services::pds::trace::{Answer, layout, trace};
use spine::services::relationships::{Asked, BodyIn, Relationships, route};
use spine::wire::csv::{self, Malformed, Rows};

const TODAY: u32 = 20_261_122;
/// Rows of a file that are traced; reading goes on to its end.
const MOST_TRACED: usize = 40;

type Read = (Vec<(Vec<String>, bool)>, Result<u64, Code>);

fn read(generation: Generation, name: &str, file: &[u8], piece: usize) -> Read {
    let (mut rows, mut intake) = (vec![], Intake::new(generation, name, 1_000));
    for piece in file.chunks(piece) {
        if let Err(code) = intake.feed(piece, |row| rows.push((row.fields, row.repeated))) {
            return (rows, Err(code));
        }
    }
    let end = intake.finish(|row| rows.push((row.fields, row.repeated)));
    (rows, end)
}

/// A file means the same however it comes in pieces; each row is answered by one row, which says what it answers.
pub fn traced(take: &mut Take<'_>, site: &Site) {
    let (how, piece) = (take.byte(), usize::from(take.byte()) + 1);
    let generation = if how & 1 == 0 { Generation::Mesh } else { Generation::Mpt };
    let first = take.0.split(|b| *b == b',').next().unwrap_or_default();
    let name = format!("{}.csv", String::from_utf8_lossy(first));
    let (rows, end) = read(generation, &name, take.0, 1 << 20);
    let (in_pieces, same) = read(generation, &name, take.0, piece);
    assert!(rows == in_pieces && end == same, "read otherwise in pieces of {piece}");
    assert!(end != Err(Code::SUCCESS), "a refusal has a code");
    assert!(end.is_err() || end == Ok(rows.len() as u64), "every row is counted");
    let columns = if generation == Generation::Mesh { 29 } else { 32 };
    for (fields, repeated) in rows.iter().take(MOST_TRACED) {
        let (request, sound) = layout::request(generation, fields, *repeated);
        let answer = match sound {
            Ok(()) => trace(&[&site.rows], &request, TODAY).unwrap_or_else(|fault| panic!("{fault}")),
            Err(code) => {
                assert_ne!(code, Code::SUCCESS);
                Answer::refused(code)
            }
        };
        let mut out = layout::opening(generation, "RESP_1", 1, Code::SUCCESS);
        layout::answer(&mut out, generation, &request, &answer);
        let told = all(out.as_bytes(), 1 << 20).unwrap_or_else(|e| panic!("{e}: {out}"));
        assert_eq!(told.len(), 2, "{out}");
        assert!(told[1][0] == request.reference && told[1].len() >= columns, "{out}");
    }
    if let Err(code) = end {
        let refusal = layout::refusal(generation, &layout::answer_name(&name, "20220228174323222222_ABCDEF", 1), code);
        assert!(all(refusal.as_bytes(), 7).is_ok_and(|rows| !rows.is_empty()), "{refusal}");
    }
}

fn all(text: &[u8], piece: usize) -> Result<Vec<Vec<String>>, Malformed> {
    let (mut rows, mut all) = (Rows::default(), vec![]);
    for piece in text.chunks(piece) {
        rows.feed(piece, |row| {
            all.push(row);
            Ok::<_, Malformed>(())
        })?;
    }
    all.extend(rows.finish()?);
    Ok(all)
}

/// What was read and written reads the same.
pub fn csv_rows(take: &mut Take<'_>) {
    let piece = usize::from(take.byte()) + 1;
    let Ok(rows) = all(take.0, piece) else { return };
    let mut out = String::new();
    for row in &rows {
        csv::write(&mut out, &row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // A mark at a file's start is none of its text: behind it stands what was marked.
    if !out.starts_with('\u{feff}') {
        assert_eq!(all(out.as_bytes(), piece), Ok(rows));
    }
}

/// The link of a page says what its query said.
pub fn enquired(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match trail::Query::parse(text, None) {
        Err(problem) => assert!((400..500).contains(&problem.status) && !problem.code.is_empty()),
        Ok(query) => {
            let link = query.link(query.before);
            let again = trail::Query::parse(&link, None);
            assert!(again.as_ref() == Ok(&query), "{link}: {again:?}");
        }
    }
}

/// What is kept of an event is bounded, and would be taken again.
pub fn filed(input: &[u8]) {
    match trail::checked(input) {
        Err(problem) => assert!((400..500).contains(&problem.status) && !problem.code.is_empty()),
        Ok(filed) => {
            assert!(filed.event.len() <= 16 << 10 && "CRUDE".contains(&filed.action));
            let again = trail::checked(&filed.event).unwrap_or_else(|e| panic!("{e:?}"));
            assert!(again.subject == filed.subject && again.event == filed.event);
        }
    }
}

/// `METHOD path?query`, then the body: a refusal changes nothing, and each leaves its note.
pub fn related(take: &mut Take<'_>) {
    let who = take.byte();
    let at = take.0.iter().position(|b| *b == b'\n').unwrap_or(take.0.len());
    let (line, body) = take.0.split_at(at);
    let line = String::from_utf8_lossy(line);
    let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let staff = Caller {
        application: "portal".into(),
        ods: "A83001".into(),
        level: "aal3".into(),
        user: "555254240100".into(),
        role_profile: "555254241102".into(),
        activities: ["B0015", "B0016", "B0168", "B0340", "B0082", "B0020"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let system = Caller { level: "level3".into(), user: String::new(), role_profile: String::new(), ..staff.clone() };
    let caller = if who & 1 == 0 { staff } else { system };
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from_static("60e0b220-8136-4ca5-ae46-1d97ef59d068"));
    let mut site = Site::default();
    // Twice: what the first made is there for the second.
    for _ in 0..2 {
        let mut asked = Asked::new(route(method, &format!("/legitimate-relationships{path}"), query));
        let (before, notes) = (site.rows.0.clone(), site.notes.len());
        let body = if body.len() > 1 { BodyIn::Bytes(Bytes::copy_from_slice(&body[1..])) } else { BodyIn::None };
        let call = asked.ask(&caller, &headers, body);
        let reply = site.decide(&Relationships, &call.key, call.payload, &caller);
        let response = asked.answer(&reply).unwrap_or_else(|fault| panic!("{fault}"));
        told(response.status, &response.body);
        assert!(site.notes.len() > notes, "it is in the trail (P4)");
        assert!(response.status < 400 || site.rows.0 == before, "a refusal changes nothing");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let with = |head: &[u8], text: &str| [head, text.as_bytes()].concat();
    let nhs = NhsNumber::strict("9990000018").map(NhsNumber::digits).unwrap_or_default();
    let columns = layout::REQUEST.join(",");
    let rows = format!(
        "1,{nhs},Smith,Jane,,2,20101022,LS1 6AE,,,,,,,,,,,,,,,,\r\n2,,\"Smi\"\"th\",Jayne,,,20101022,,,,,,,,,,,,,,,,,\n2,x"
    );
    let header = format!("MPTREQ_20261122005900,{MPT_REQUEST},20261122005900,1\r\n");
    let short = format!("ref,{nhs},Smith,Jane,,2,20101022,LS1 6AE,,,,,,,,,,,,,,,\r\n");
    let kept = include_str!("../../../tests/data/identity/PARS-AuditEvent-app-restricted-fhir-pds-read-Example.json");
    let kept = serde_json::from_str::<serde_json::Value>(kept).map(|v| v.to_string()).unwrap_or_default();
    let room = format!("/patients/{nhs}/relationships");
    let made = r#"{"kind":"self-claimed","reason":"asked for","reference":"r","days":3,"organisation":"A83001"}"#;
    vec![
        with(&[6, 0, 8], &format!("{columns}\r\n{rows}\n")),
        with(&[6, 1, 0], &format!("{header}{short}")),
        with(&[7], &format!("patient={nhs}&date=ge2026-11-22&date=lt2026-11&_count=7&_cursor=9-2-4")),
        with(&[7], "agent:identifier=Practitioner/5552%7C54&date=sa2026-11-22T00:00:01.5Z"),
        with(&[8], &kept),
        with(&[9, 0], &format!("POST {room}\n{made}")),
        with(&[9, 0], &format!("GET {room}/check?user=555254240100\n")),
        with(&[9, 1], &format!("POST {room}\n{{\"kind\":\"registration\",\"holder\":{{\"workgroup\":\"w\"}}}}")),
        with(&[9, 0], "GET /alerts?state=all&after=x\n"),
        with(&[10, 3], "\u{feff}a,\"b, \"\"c\"\"\"\r\n\r\n\"two\r\nlines\",\u{e9}\nlast,"),
    ]
}
