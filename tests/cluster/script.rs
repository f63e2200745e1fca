//! Messages of prescribers and pharmacies, made from the published ones: with ids, dates, patient and pharmacy of their own.

use jiff::Timestamp;
use serde_json::{Value, json};
use spine::{model::NhsNumber, services::eps::ids};
use std::sync::LazyLock;

pub const ITEMS: usize = 4;
/// Issues of a repeat dispensing prescription.
pub const ISSUES: u64 = 3;
/// Who have prescriptions here.
const PATIENTS: u64 = 97;
/// Stands in a form for the number of an issue, from zero: a number no message has.
const ISSUED: u64 = 98_765_001;

/// What a form calls the ids of the published messages: (published, name).
type Named = &'static [(&'static str, &'static str)];

const SHORT: (&str, &str) = ("24F5DA-A83008-7EFE6Z", "@short@");
const LONG: (&str, &str) = ("20ba5fb5-cb58-462c-923e-22d180b09356", "@long@");
const PATIENT: (&str, &str) = ("9449304130", "@patient@");
const PHARMACY: (&str, &str) = ("VNE51", "@pharmacy@");
const GIVEN: (&str, &str) = ("a5d77265-8ba5-4c74-b8ce-ea0dbaafbdb8", "@response@");
const ITEM: [(&str, &str); ITEMS] = [
    ("a54219b8-f741-4c47-b662-e4f8dfa49ab6", "@item0@"),
    ("6989b7bd-8db6-428c-a593-4022e3044c00", "@item1@"),
    ("2868554c-5565-4d31-b92a-c5b8dab8b90a", "@item2@"),
    ("5cb17f5a-11ac-4e18-825f-6470467238b3", "@item3@"),
];

/// A published message with names where its ids were.
struct Form(String);

impl Form {
    fn of(published: &str, named: Named, edit: impl FnOnce(&mut Value)) -> Form {
        let mut root = serde_json::from_str(published).expect("a published message is JSON");
        edit(&mut root);
        // As long as they are sent: with their line breaks.
        let mut text = serde_json::to_string_pretty(&root).expect("JSON");
        for (id, name) in named {
            assert!(text.contains(id), "the published message has {id}");
            text = text.replace(id, name);
        }
        Form(text)
    }

    fn fill(&self, with: &[(&str, &str)]) -> String {
        let text = with.iter().fold(self.0.clone(), |text, (name, value)| text.replace(*name, value));
        assert!(!text.contains('@'), "every name has its value: {text}");
        text
    }
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

fn day(ahead: i64) -> String {
    let then = Timestamp::now() + jiff::SignedDuration::from_hours(24 * ahead);
    then.strftime("%Y-%m-%d").to_string()
}

fn each(root: &mut Value, kind: &str, mut edit: impl FnMut(&mut Value)) {
    let entries = root["entry"].as_array_mut().expect("a Bundle");
    entries.iter_mut().map(|e| &mut e["resource"]).filter(|r| r["resourceType"] == kind).for_each(&mut edit);
}

/// Which issue a message is about, counted from zero (spec/eps.md §5.5).
fn repeats() -> Value {
    json!({"url": "https://fhir.nhs.uk/StructureDefinition/Extension-EPS-RepeatInformation", "extension": [
        {"url": "numberOfRepeatsAllowed", "valueInteger": ISSUES - 1},
        {"url": "numberOfRepeatsIssued", "valueInteger": ISSUED},
    ]})
}

fn add(to: &mut Value, extension: Value) {
    to.as_array_mut().expect("extensions").push(extension);
}

/// The published acute order with four items; written today, or as repeat dispensing from today on.
fn order(erd: bool) -> Form {
    const NAMED: Named = &[
        ("46183abc-9fad-4673-85db-ce2cb6614732", "@message@"),
        SHORT,
        LONG,
        ("5839945242", "@patient@"),
        ("FA565", "@pharmacy@"),
        ITEM[0],
        ITEM[1],
        ITEM[2],
        ITEM[3],
    ];
    let published = include_str!("../data/eps/01-order-acute-nominated/order-request.json");
    Form::of(published, NAMED, |root| {
        each(root, "MedicationRequest", |item| {
            item["dispenseRequest"]["validityPeriod"] = json!({"start": day(0)});
            if erd {
                item["intent"] = json!("original-order");
                item["courseOfTherapyType"]["coding"] = json!([{
                    "system": "https://fhir.nhs.uk/CodeSystem/medicationrequest-course-of-therapy",
                    "code": "continuous-repeat-dispensing",
                }]);
                item["dispenseRequest"]["validityPeriod"]["end"] = json!(day(60));
                item["dispenseRequest"]["numberOfRepeatsAllowed"] = json!(ISSUES - 1);
                let review = json!({"url": "authorisationExpiryDate", "valueDateTime": day(60)});
                let url = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-MedicationRepeatInformation";
                add(&mut item["extension"], json!({"url": url, "extension": [review]}));
            }
        });
    })
}

/// The published first notification, of a prescription that is complete with it.
fn notification(erd: bool) -> Form {
    const NAMED: Named = &[
        ("b240434e-cb85-40bb-899c-1c61410c93a7", "@message@"),
        SHORT,
        LONG,
        PATIENT,
        PHARMACY,
        GIVEN,
        ITEM[0],
        ITEM[1],
        ITEM[2],
        ITEM[3],
    ];
    let published = include_str!("../data/eps/09-dispense-notification/acute-01-request.json");
    Form::of(published, NAMED, |root| {
        let mut place = 0;
        each(root, "MedicationDispense", |dispense| {
            dispense["type"]["coding"][0]["code"] = json!(format!("@status{place}@"));
            dispense["extension"][0]["valueCoding"]["code"] = json!("0006");
            dispense["whenHandedOver"] = json!("@now@");
            if erd {
                add(&mut dispense["extension"], repeats());
            }
            place += 1;
        });
    })
}

fn claim(erd: bool) -> Form {
    const NAMED: Named = &[("737dcf8d-fc7a-436d-b692-7d3c4f258083", "@message@"), SHORT, LONG, PATIENT, PHARMACY];
    Form::of(include_str!("../data/eps/12-claim/acute-request.json"), NAMED, |root| {
        root["created"] = json!("@now@");
        if erd {
            add(&mut root["item"][0]["extension"], repeats());
        }
    })
}

static ORDERS: LazyLock<[Form; 2]> = LazyLock::new(|| [false, true].map(order));
static NOTIFICATIONS: LazyLock<[Form; 2]> = LazyLock::new(|| [false, true].map(notification));
static CLAIMS: LazyLock<[Form; 2]> = LazyLock::new(|| [false, true].map(claim));
static CANCELLATION: LazyLock<Form> = LazyLock::new(|| {
    const NAMED: Named = &[
        ("22d28bbf-e9ed-4c77-8374-3aaf88596109", "@message@"),
        ("58E241-A83008-4E2F8R", "@short@"),
        ("942fd768-d9a6-4062-8768-6e2faa486c38", "@long@"),
        ("9990548609", "@patient@"),
        ("299c610b-f4f1-4eac-a7d7-4fb6b0556e11", "@item@"),
    ];
    Form::of(include_str!("../data/eps/07-cancel/acute-cancel-request.json"), NAMED, |_| {})
});
static NOMINATED: LazyLock<Form> =
    LazyLock::new(|| Form::of(include_str!("../data/eps/08-release/nominated-request.json"), &[PHARMACY], |_| {}));
static BY_ID: LazyLock<Form> = LazyLock::new(|| {
    const NAMED: Named = &[("A0548B-A99968-451485", "@short@"), PHARMACY];
    Form::of(include_str!("../data/eps/08-release/by-prescription-id-request.json"), NAMED, |_| {})
});
static RETURN: LazyLock<Form> = LazyLock::new(|| {
    const NAMED: Named = &[("ee1b55f8-113c-4725-99a3-25fbad366dd6", "@message@"), SHORT, PATIENT, PHARMACY, GIVEN];
    Form::of(include_str!("../data/eps/10-return/acute-request.json"), NAMED, |_| {})
});

/// A prescription, as who wrote it knows it.
#[derive(Clone, Debug)]
pub struct Script {
    pub n: usize,
    pub id: String,
    pub erd: bool,
    long: String,
    patient: String,
    items: [String; ITEMS],
}

/// An id that nothing else of a test has.
pub fn uuid(kind: u16, n: usize) -> String {
    format!("7b1d5e00-{kind:04x}-4c0d-8e5a-{n:012x}")
}

impl Script {
    pub fn new(n: usize, erd: bool) -> Script {
        // Random digits make keys fall all over the partitions.
        let random = (n as u32).wrapping_mul(2_654_435_761) >> 8;
        let id = ids::make(random, "A83008", n as u32).expect("an id of known parts");
        let patient = (999_000_000 + n as u64 % PATIENTS..).find_map(NhsNumber::from_nine).expect("a number");
        let items = [0, 1, 2, 3].map(|at| uuid(0x1000 + at, n));
        Script { n, id, erd, long: uuid(0x0001, n), patient: patient.digits(), items }
    }

    /// Which item an id names.
    pub fn place(&self, item: &str) -> Option<usize> {
        self.items.iter().position(|known| known.eq_ignore_ascii_case(item))
    }

    fn fill(&self, form: &Form, more: &[(&str, &str)]) -> String {
        let items = ITEM.iter().zip(&self.items).map(|((_, name), item)| (*name, item.as_str()));
        let own = [("@short@", self.id.as_str()), ("@long@", self.long.as_str()), ("@patient@", self.patient.as_str())];
        let all: Vec<_> = own.into_iter().chain(items).chain(more.iter().copied()).collect();
        form.fill(&all)
    }

    pub fn order(&self, message: &str, pharmacy: &str) -> String {
        self.fill(&ORDERS[usize::from(self.erd)], &[("@message@", message), ("@pharmacy@", pharmacy)])
    }

    pub fn cancellation(&self, message: &str, place: usize) -> String {
        self.fill(&CANCELLATION, &[("@message@", message), ("@item@", self.items[place].as_str())])
    }

    /// By its id.
    pub fn release(&self, pharmacy: &str) -> String {
        self.fill(&BY_ID, &[("@pharmacy@", pharmacy)])
    }

    pub fn give_back(&self, message: &str, pharmacy: &str, response: &str) -> String {
        self.fill(&RETURN, &[("@message@", message), ("@pharmacy@", pharmacy), ("@response@", response)])
    }

    /// All of it was dispensed but what is cancelled.
    pub fn notification(&self, message: &str, pharmacy: &str, given: &Given) -> String {
        let said = |cancelled: &bool| if *cancelled { "0005" } else { "0001" };
        let statuses = given.cancelled.each_ref().map(said);
        let issued = (given.issue - 1).to_string();
        let form = &NOTIFICATIONS[usize::from(self.erd)];
        let common = [("@message@", message), ("@pharmacy@", pharmacy), ("@response@", given.response.as_str())];
        let names = ["@status0@", "@status1@", "@status2@", "@status3@"];
        let mut all: Vec<_> = common.into_iter().chain(names.into_iter().zip(statuses)).collect();
        let (now, number) = (now(), ISSUED.to_string());
        all.extend([("@now@", now.as_str()), (number.as_str(), issued.as_str())]);
        self.fill(form, &all)
    }

    pub fn claim(&self, message: &str, pharmacy: &str, issue: u64) -> String {
        let (now, number, issued) = (now(), ISSUED.to_string(), (issue - 1).to_string());
        let times = [("@now@", now.as_str()), (number.as_str(), issued.as_str())];
        let with = [("@message@", message), ("@pharmacy@", pharmacy), times[0], times[1]];
        self.fill(&CLAIMS[usize::from(self.erd)], &with)
    }
}

/// What a pharmacy asks for that wants whatever is nominated to it.
pub fn nominated(pharmacy: &str) -> String {
    NOMINATED.fill(&[("@pharmacy@", pharmacy)])
}

/// A prescription in a release's answer.
#[derive(Clone, Debug)]
pub struct Given {
    pub id: String,
    /// Of the answer that it came in.
    pub response: String,
    pub issue: u64,
    /// Which of its items are.
    pub cancelled: [bool; ITEMS],
}

/// The prescriptions of a release's answer; an error where it is none.
pub fn given(answer: &Value, script: impl Fn(&str) -> Option<Script>) -> Result<Vec<Given>, String> {
    let passed = &answer["parameter"][0]["resource"];
    let failed = &answer["parameter"][1]["resource"];
    let text = |of: &Value, path: &str| of.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    if passed["resourceType"] != "Bundle" || failed["total"] != 0 {
        return Err(format!("no release's answer: {answer}").chars().take(500).collect());
    }
    let response = text(passed, "/identifier/value");
    let mut all = vec![];
    for bundle in passed["entry"].as_array().into_iter().flatten().map(|e| &e["resource"]) {
        let resources = bundle["entry"].as_array().into_iter().flatten().map(|e| &e["resource"]);
        let items: Vec<&Value> = resources.filter(|r| r["resourceType"] == "MedicationRequest").collect();
        let first = items.first().copied().unwrap_or(&Value::Null);
        let id = text(first, "/groupIdentifier/value");
        let script = script(&id).ok_or_else(|| format!("{id} was given out, and nobody wrote it"))?;
        let repeats = text(first, "/intent") == "reflex-order";
        let issue = first.pointer("/basedOn/0/extension/0/extension/1/valueInteger").and_then(Value::as_u64);
        let issue = if repeats { 1 + issue.ok_or("a repeat without its number")? } else { 1 };
        let mut given = Given { id, response: response.clone(), issue, cancelled: [false; ITEMS] };
        for item in &items {
            let place = script.place(&text(item, "/identifier/0/value")).ok_or("an item nobody wrote")?;
            given.cancelled[place] = item["status"] == "cancelled";
        }
        all.push(given);
    }
    Ok(all)
}
