//! Batch trace: what each row is answered with, what each file; the cursor; whom the trail names (spec/pds.md §16).

use super::*;
use crate::{
    model::{MessageId, day},
    services::pds::trace::{
        self, Answer,
        code::{Code, Generation, MPT_REQUEST, PDS_MESH},
        command::{TraceChecked, TraceEnd, TraceFold, TracePiece, TraceReply},
        intake::{Intake, Row},
        layout,
        rows::{self as jobs},
    },
    store::tables::Table,
    wire::post::{self, Arrived, Dispatch, Taken},
};

const MAILBOX: &str = "X26TRACE1";
const SENDER: &str = "X26ABC1";
const MPT_NAME: &str = "MPTREQ_20261122005900.csv";
/// Columns of a PDS MESH request.
const COLUMNS: &str = "UNIQUE REFERENCE,NHS_NO,FAMILY_NAME,GIVEN_NAME,OTHER_GIVEN_NAME,GENDER,DATE_OF_BIRTH,POSTCODE,\
    DATE_OF_DEATH,ADDRESS_LINE1,ADDRESS_LINE2,ADDRESS_LINE3,ADDRESS_LINE4,ADDRESS_LINE5,ADDRESS_DATE,GP_PRACTICE_CODE,\
    GP_REGISTRATION_DATE,NHAIS_POSTING_ID,AS_AT_DATE,LOCAL_PATIENT_ID,INTERNAL_ID,TELEPHONE_NUMBER,MOBILE_NUMBER,EMAIL_ADDRESS";

fn id() -> MessageId {
    MessageId::mint(NOW, 1, 1, &[3; 16], 0)
}

fn message() -> Bytes {
    Bytes::copy_from_slice(&id().to_bytes())
}

fn sender() -> Caller {
    Caller { asid: "999000000026".into(), ods: "X26".into(), ..Default::default() }
}

/// A PDS MESH row of reference, number, family and given name, gender, birth date, postcode.
fn row(asked: [&str; 7]) -> String {
    let [reference, nhs, family, given, gender, born, postcode] = asked;
    format!("{reference},{nhs},{family},{given},,{gender},{born},{postcode},,,,,,,,,,,,,,,,")
}

impl Site {
    fn command(&mut self, command: impl Into<PdsCommand>) -> bool {
        let reply = self.decide(MAILBOX.as_bytes(), command.into().encode(), &sender());
        !TraceReply::decode(&reply).unwrap().stale
    }

    fn arrives(&mut self, workflow: &str, name: &str) {
        let arrived = Arrived {
            mailbox: MAILBOX.into(),
            message: message(),
            from: SENDER.into(),
            workflow: Bytes::copy_from_slice(workflow.as_bytes()),
            local_id: "local-1".into(),
            file_name: Bytes::copy_from_slice(name.as_bytes()),
            chunks: 1,
            at: NOW,
            ..Default::default()
        };
        assert!(self.command(arrived));
    }

    /// Traces rows as the node does.
    fn answers(&self, generation: Generation, rows: &[Row]) -> (String, Vec<u64>, Vec<u8>) {
        let views: Vec<&dyn Reader> = self.partitions.iter().map(|p| p as _).collect();
        let (mut text, mut subjects, mut codes) = (String::new(), vec![], vec![]);
        for row in rows {
            let (request, sound) = layout::request(generation, &row.fields, row.repeated);
            let answer = match sound {
                Ok(()) => trace::trace(&views, &request, day::of_millis(self.now)).unwrap(),
                Err(code) => Answer::refused(code),
            };
            layout::answer(&mut text, generation, &request, &answer);
            if answer.subject != 0 {
                subjects.push(answer.subject);
                codes.push(answer.code.0);
            }
        }
        (text, subjects, codes)
    }

    fn piece(&mut self, generation: Generation, from: u64, rows: &[Row]) -> bool {
        let (answer, subjects, codes) = self.answers(generation, rows);
        self.command(TracePiece {
            mailbox: MAILBOX.into(),
            message: message(),
            from,
            rows: rows.len() as u64,
            answer: answer.into(),
            subjects,
            codes: codes.into(),
            ..Default::default()
        })
    }

    fn checked(&mut self, code: Code, rows: u64) -> bool {
        let (mailbox, message) = (MAILBOX.into(), message());
        self.command(TraceChecked { mailbox, message, code: code.0, rows, ..Default::default() })
    }

    fn ended(&mut self) -> bool {
        self.command(TraceEnd { mailbox: MAILBOX.into(), message: message(), ..Default::default() })
    }

    /// A file from its arrival to its answer, in commits of two rows.
    fn traced(&mut self, workflow: &str, name: &str, text: &str) -> (Dispatch, String) {
        self.arrives(workflow, name);
        if let Some(generation) = Generation::of_workflow(workflow.as_bytes()) {
            match read(generation, name, text) {
                Ok(rows) => {
                    assert!(self.checked(Code::SUCCESS, rows.len() as u64));
                    for (n, rows) in rows.chunks(2).enumerate() {
                        assert!(self.piece(generation, 2 * n as u64, rows));
                    }
                    assert!(self.ended());
                }
                Err(code) => assert!(self.checked(code, 0)),
            }
        }
        self.answer()
    }

    /// What went to MESH: the answer, and that the request is done with.
    fn answer(&mut self) -> (Dispatch, String) {
        let posted = std::mem::take(&mut self.posted);
        let [sent, taken] = posted.as_slice() else { panic!("{} messages to MESH", posted.len()) };
        assert_eq!((sent[0], taken[0]), (post::MESH_DISPATCH, post::MESH_TAKEN));
        let taken = Taken::decode(&taken.slice(1..)).unwrap();
        assert_eq!((taken.mailbox.as_str(), &taken.message), (MAILBOX, &message()));
        let sent = Dispatch::decode(&sent.slice(1..)).unwrap();
        assert_eq!((sent.mailbox.as_str(), sent.to.as_str()), (MAILBOX, SENDER));
        let text = sent.parts.iter().flat_map(|part| part.inline.to_vec()).collect();
        (sent, String::from_utf8(text).unwrap())
    }

    /// One PDS MESH row's answer, as its fields.
    fn one(&mut self, asked: [&str; 7]) -> Vec<String> {
        let (_, text) =
            Site { posted: vec![], ..self.again() }.traced(PDS_MESH, "q.csv", &format!("{COLUMNS}\n{}\n", row(asked)));
        fields(&text).pop().unwrap()
    }

    /// The same rows, for a file of its own.
    fn again(&self) -> Site {
        let partitions = self.partitions.iter().map(|p| MapStore(p.0.clone())).collect();
        Site { partitions, ..Site::empty(self.partitions.len(), PdsOptions::default()) }
    }
}

fn read(generation: Generation, name: &str, text: &str) -> Result<Vec<Row>, Code> {
    let (mut intake, mut rows) = (Intake::new(generation, name, 6), vec![]);
    for piece in text.as_bytes().chunks(7) {
        intake.feed(piece, |row| rows.push(row))?;
    }
    let count = intake.finish(|row| rows.push(row))?;
    assert_eq!(count, rows.len() as u64);
    Ok(rows)
}

fn fields(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut all) = (crate::wire::csv::Rows::default(), vec![]);
    let take = |row| {
        all.push(row);
        Ok::<_, crate::wire::csv::Malformed>(())
    };
    rows.feed(text.as_bytes(), take).unwrap();
    all
}

/// Code, matched number, indicator, confidence.
fn told(fields: &[String]) -> (&str, &str, &str, &str) {
    assert_eq!(fields.len(), 29);
    (&fields[25], &fields[26], &fields[27], &fields[28])
}

#[test]
fn each_step_finds_whom_it_should() {
    for mut site in sites() {
        let mut one = |asked: [&str; 7]| site.one(asked);
        // Cross-check: number and birth date are enough.
        let jane = one(["1", JANE, "", "", "", "20101022", ""]);
        assert_eq!(told(&jane), ("00", JANE, "1", "100"));
        let shown: Vec<&str> = jane.iter().map(String::as_str).collect();
        assert_eq!(shown[1..8], [JANE, "Smith", "Jane", "", "2", "20101022", "20101022"]);
        assert_eq!(
            shown[8..16],
            [
                "1 Trevelyan Square",
                "Boar Lane",
                "City Centre",
                "Leeds",
                "West Yorkshire",
                "LS1 6AE",
                "Y12345",
                "20200101"
            ]
        );
        assert_eq!(shown[20..25], ["01632960587", "", "jane.smith@example.com", "", ""]);
        // Two parts of the date agree: only with a name.
        assert_eq!(told(&one(["1", JANE, "SMITH", "", "", "20111022", ""])), ("00", JANE, "1", "100"));
        assert_eq!(told(&one(["1", JANE, "", "", "", "20111022", ""])).0, "98");
        // A merged number: the survivor.
        assert_eq!(told(&one(["1", "5900053636", "", "", "", "19260107", ""])), ("90", "9732019395", "1", "100"));
        // Alphanumeric: one who is equal in everything given.
        assert_eq!(told(&one(["1", "", "garton", "", "2", "19551105", ""])), ("00", "9693632109", "3", "100"));
        assert_eq!(
            told(&one(["1", "", "GARTON", "bill", "2", "19551105", "dn185dw"])),
            ("00", "9693632109", "3", "100")
        );
        // Algorithmic: something differs.
        let garten = one(["1", "", "GARTEN", "BILL", "2", "19551105", "DN18 5DW"]);
        assert_eq!((told(&garten).0, told(&garten).1, told(&garten).2), ("00", "9693632109", "4"));
        let confidence: u32 = garten[28].parse().unwrap();
        assert!((90..100).contains(&confidence), "{confidence}");
        // Several that are alike; nobody; too little; nothing at all.
        let several = one(["1", "", "Smith", "Sam", "1", "20000505", ""]);
        assert_eq!(told(&several), ("97", "9999999999", "4", "0"));
        assert!(several[2..16].iter().all(String::is_empty), "nobody is shown");
        assert_eq!(told(&one(["1", "", "Nobody", "At", "1", "19010101", ""])), ("98", "0000000000", "4", "0"));
        assert_eq!(told(&one(["1", JANE, "Smith", "", "", "", ""])), ("96", "0000000000", "0", "0"));
        assert_eq!(told(&one(["1", "", "", "", "", "", ""])), ("15", "0000000000", "0", "0"));
    }
}

#[test]
fn labels_hide_what_they_must() {
    for mut site in sites() {
        // Restricted: name, gender, birth date and number, whatever else is stored.
        let janet = site.one(["1", RESTRICTED, "", "", "", "20050616", ""]);
        assert_eq!(told(&janet), ("92", RESTRICTED, "1", "100"));
        let shown: Vec<&str> = janet.iter().map(String::as_str).collect();
        assert_eq!(shown[2..8], ["Smythe", "Janet", "", "2", "20050616", ""]);
        assert!(shown[8..16].iter().chain(&shown[20..23]).all(|text| text.is_empty()), "{shown:?}");
        assert_eq!(shown[23], "S");
        // Never by the postcode that is hidden: neither does a wrong one harm.
        assert_eq!(told(&site.one(["1", "", "Smythe", "Janet", "2", "20050616", "LS1 6AE"])).0, "92");
        // Very restricted: as if not there.
        assert_eq!(told(&site.one(["1", "9727024610", "", "", "", "19800101", ""])).0, "98");
        // Invalidated.
        assert_eq!(told(&site.one(["1", "9990003343", "", "", "", "19800101", ""])).0, "91");
    }
}

#[test]
fn a_row_is_refused_for_the_first_thing_wrong_with_it() {
    let mut site = Site::new(3);
    let long = "X".repeat(36);
    for (asked, code) in [
        (["", JANE, "", "", "", "20101022", ""], "08"),
        (["a\u{1}b", JANE, "", "", "", "20101022", ""], "08"),
        (["1", "90000000099", "", "", "", "20101022", ""], "11"),
        (["1", "", &long, "", "1", "20101022", ""], "11"),
        (["1", "", "Smith", "", "3", "20101022", ""], "12"),
        (["1", "", "Smith", "", "M", "20101022", ""], "12"),
        (["1", JANE, "", "", "", "2010-10-22", ""], "13"),
        (["1", JANE, "", "", "", "20101322", ""], "13"),
        (["1", "90000009", "", "", "", "20101022", ""], "13"),
        (["1", "", "Sm*", "", "2", "20101022", ""], "13"),
    ] {
        assert_eq!(told(&site.one(asked)), (code, "0000000000", "0", "0"), "{asked:?}");
    }
    let text = format!(
        "{COLUMNS}\na,b\n{},more\n{}\n{}\n",
        row(["x"; 7]),
        row(["same", "", "", "", "", "", ""]),
        row(["same", "", "", "", "", "", ""])
    );
    let (_, text) = site.traced(PDS_MESH, "q.csv", &text);
    let codes: Vec<String> = fields(&text)[1..].iter().map(|row| row[25].clone()).collect();
    assert_eq!(codes, ["16", "17", "15", "08"]);
    assert_eq!(fields(&text)[1][0], "a", "the reference is told where there is one");
}

#[test]
fn a_pds_mesh_file_is_answered_row_by_row() {
    for mut site in sites() {
        let text = format!(
            "\u{feff}{}\r\n{}\r\n{}\r\n\r\n",
            COLUMNS.replace("UNIQUE REFERENCE", "UNIQUE_REFERENCE"),
            format_args!("\"r,1\",{JANE},,,,,20101022,,,,,,,,,,,NHAIS,20261122,\"loc \"\"1\"\"\",int,,,"),
            row(["r2", "", "Nobody", "", "1", "19010101", ""]),
        );
        let notes = site.notes.len();
        let (sent, answer) = site.traced(PDS_MESH, "mine.csv", &text);
        assert_eq!(
            (&sent.workflow[..], &sent.local_id[..], &sent.content_type[..]),
            (&b"SPINE_PDS_MESH_V1"[..], &b"local-1"[..], &b"text/csv"[..])
        );
        assert_eq!(
            (&sent.file_name[..], sent.subject.clone()),
            (&b"RESP_mine_20261122005933.csv"[..], Bytes::from(id().to_string()))
        );
        let rows = fields(&answer);
        assert_eq!(rows[0], layout::RESPONSE);
        assert_eq!(rows[1][25], "08", "a comma in a reference");
        assert_eq!(
            (rows[1][17].as_str(), rows[1][18].as_str(), rows[1][19].as_str()),
            ("20261122", "loc \"1\"", "int")
        );
        assert_eq!((rows[2][0].as_str(), rows[2][25].as_str(), rows.len()), ("r2", "98", 3));
        let notes: Vec<_> = site.notes[notes..]
            .iter()
            .map(|n| (n.interaction.as_str(), n.outcome.as_str(), n.subject.as_str()))
            .collect();
        assert_eq!(notes, [("pds.trace_received", "ok", ""), ("pds.trace_answered", "ok", "")]);
    }
}

#[test]
fn an_mpt_file_has_a_header_of_its_own_and_scores() {
    for mut site in sites() {
        let garten = "u1,,GARTEN,BILL,,2,19551105,DN18 5DW,,,,,,,,,,,,,,,";
        let jane = format!("u2,{JANE},,,,,20101022,,,,,,,,,,,,,,,,");
        let text = format!("MPTREQ_20261122005900,{MPT_REQUEST},20261122005900,2\n{garten}\n{jane}");
        let (sent, answer) = site.traced(MPT_REQUEST, MPT_NAME, &text);
        assert_eq!(
            (&sent.workflow[..], &sent.file_name[..]),
            (&b"SPINE_MPT_RESPONSE"[..], &b"RESP_MPTREQ_20261122005900_20261122005933.csv"[..])
        );
        let rows = fields(&answer);
        assert_eq!(rows[0], ["RESP_MPTREQ_20261122005900_20261122005933", "SPINE_MPT_RESPONSE", "2", "00"]);
        assert_eq!((rows[1].len(), rows[2].len(), rows.len()), (33, 33, 3), "28 columns and five scores");
        assert_eq!((rows[1][24].as_str(), rows[1][25].as_str(), rows[1][26].as_str()), ("00", "9693632109", "4"));
        assert_eq!(rows[1][28..], ["83", "100", "100", "100", "100"]);
        assert_eq!(rows[2][28..], ["0", "0", "0", "0", "0"], "found before the algorithmic step");
        let shown: Vec<_> = site
            .notes
            .iter()
            .filter(|n| n.interaction == "pds.trace")
            .map(|n| (n.subject.as_str(), n.outcome.as_str(), n.other.as_str()))
            .collect();
        assert_eq!(shown, [("9693632109", "ok", SENDER), (JANE, "ok", SENDER)]);
    }
}

#[test]
fn a_file_that_is_none_is_answered_with_its_code() {
    let site = Site::new(1);
    let header =
        |reference: &str, workflow: &str, stamp: &str, count: &str| format!("{reference},{workflow},{stamp},{count}\n");
    let good = ("MPTREQ_20261122005900", MPT_REQUEST, "20261122005900");
    let one = "u2,,Smith,,,1,19000101,,,,,,,,,,,,,,,,\n";
    let of = |name: &str, text: &str| {
        let mut file = site.again();
        let (_, answer) = file.traced(MPT_REQUEST, name, text);
        let row = fields(&answer).pop().unwrap();
        if row.len() == 4 { row[3].clone() } else { String::new() }
    };
    assert_eq!(of(MPT_NAME, "\"open"), "01");
    assert_eq!(of(MPT_NAME, ""), "01");
    assert_eq!(of(MPT_NAME, &header("MPTREQ_2026112200590", good.1, good.2, "0")), "02");
    assert_eq!(of(MPT_NAME, &header(good.0, "SPINE_OTHER", good.2, "0")), "03");
    assert_eq!(of(MPT_NAME, &(header(good.0, good.1, good.2, "2") + one)), "04");
    assert_eq!(of(MPT_NAME, &header(good.0, good.1, good.2, "x")), "04");
    assert_eq!(of(MPT_NAME, &header(good.0, good.1, good.2, "7")), "06", "six are the most here");
    assert_eq!(of("other.csv", &header(good.0, good.1, good.2, "0")), "07");
    assert_eq!(of(MPT_NAME, &header(good.0, good.1, "20261322005900", "0")), "09");
    assert_eq!(of(MPT_NAME, "MPTREQ_20261122005900\n"), "16");
    assert_eq!(of(MPT_NAME, &header(good.0, good.1, good.2, "0,0")), "17");
    assert_eq!(of(MPT_NAME, &header(good.0, good.1, good.2, "0")), "00", "no rows were announced, and none came");

    for (text, code) in
        [(one.to_owned(), "01"), (format!("{COLUMNS}\n"), "10"), (format!("{COLUMNS}\n{}", one.repeat(7)), "06")]
    {
        let (sent, answer) = site.again().traced(PDS_MESH, "q.csv", &text);
        let rows = fields(&answer);
        assert_eq!((rows[0].len(), rows[1][25].as_str(), rows.len()), (29, code, 2));
        assert_eq!(sent.parts.len(), 1);
    }
    let (sent, answer) = site.again().traced("SOMETHING_ELSE", "q.csv", "");
    assert_eq!((&sent.workflow[..], fields(&answer)[1][25].as_str()), (&b"SOMETHING_ELSE"[..], "03"));
}

#[test]
fn who_works_on_a_file_that_another_went_on_with_changes_nothing() {
    let mut site = Site::new(3);
    let text =
        format!("{COLUMNS}\n{}\n{}\n{}\n", row(["1", JANE, "", "", "", "20101022", ""]), row(["2"; 7]), row(["3"; 7]));
    let rows = read(Generation::Mesh, "q.csv", &text).unwrap();
    site.arrives(PDS_MESH, "q.csv");
    site.arrives(PDS_MESH, "q.csv");
    assert!(!site.piece(Generation::Mesh, 0, &rows[..1]), "not before it was checked");
    assert!(site.checked(Code::SUCCESS, 3) && !site.checked(Code::SUCCESS, 3));
    assert!(site.piece(Generation::Mesh, 0, &rows[..2]));
    let before = (site.partitions.iter().map(|p| p.0.clone()).collect::<Vec<_>>(), site.notes.len());
    assert!(
        !site.piece(Generation::Mesh, 0, &rows[..2]) && !site.piece(Generation::Mesh, 1, &rows[1..]) && !site.ended()
    );
    let part = |first, end| TraceFold {
        mailbox: MAILBOX.into(),
        message: message(),
        first,
        end,
        digest: Bytes::from(vec![7; 32]),
        len: 1,
        ..Default::default()
    };
    assert!(!site.command(part(1, 2)) && !site.command(part(0, 3)) && !site.command(part(0, 0)));
    assert!(before == (site.partitions.iter().map(|p| p.0.clone()).collect(), site.notes.len()), "nothing changed");

    assert!(site.command(part(0, 2)) && site.piece(Generation::Mesh, 2, &rows[2..]) && site.ended());
    let (sent, rest) = site.answer();
    assert_eq!((sent.parts[0].digest.as_ref(), fields(&rest).len()), ([7; 32].as_slice(), 1));
    assert!(!site.ended() && !site.checked(Code::SUCCESS, 3), "it is over");
    site.arrives(PDS_MESH, "q.csv");
    assert!(site.posted.is_empty(), "told of again, not answered again");
    let at = site.partition_of(MAILBOX.as_bytes());
    let left = |site: &Site, table: Table| site.partitions[at].scan(table.key().prefix(), false, 10).unwrap().len();
    assert_eq!(
        [Table::TraceJobs, Table::TracePieces, Table::TracesDone, Table::BlobRefs].map(|t| left(&site, t)),
        [0, 0, 1, 1]
    );
    let done = jobs::done(&site.partitions[at], MAILBOX, id()).unwrap().unwrap();
    assert_eq!((done.rows, done.matched, done.pieces), (3, 1, 3));
}
