//! EPS: a body as every message that there is, an order's signature, a stored document, numbers that keep their digits, status
//! updates. The first byte chooses.
//!
//! What refuses a message says why, and never more than a bounded number of reasons; a document is stored without losing
//! anything but blanks; a signature that nobody's key has made never passes.

use super::{MIB, Take, Target};
use serde_json::Value;
use spine::model::NhsNumber;
use spine::services::eps::{
    packed, read,
    show::exact,
    sign::{Checked, Mode, Trust, check},
    status,
};

/// Values of JSON cost some hundred bytes for each character; the compressor takes a MiB or two at once.
pub const TARGET: Target = Target { name: "prescriptions", run, seeds, longest: 16 << 10, base: 8 * MIB, factor: 900 };

/// Some moment, after the published examples.
const NOW: u64 = 1_795_309_173_579;

fn run(input: &[u8]) {
    let mut take = Take(input);
    match take.byte() % 5 {
        0 => {
            for problems in read::parsers::anything(take.0, NOW) {
                assert!((1..=100).contains(&problems.issues.len()));
                assert!(matches!(problems.status(), 400 | 403));
                assert_eq!(problems.outcome(&Value::Null, NOW)["resourceType"], "OperationOutcome");
            }
        }
        1 => {
            let trust = Trust::default();
            if let Checked::Signed(failures) = check(take.0, Mode::Verify, &trust) {
                assert!(!failures.is_empty(), "nobody is trusted");
            }
            check(take.0, Mode::Sample, &trust);
        }
        2 => stored(take.0),
        3 => digits(take.0),
        _ => {
            if let Err((status, body)) = status::read(take.0, Some("60e0b220-8136-4ca5-ae46-1d97ef59d068"), NOW) {
                assert!(matches!(status, 200 | 400) && body["type"] == "transaction-response");
            }
        }
    }
}

fn stored(text: &[u8]) {
    let packed = packed::pack(text).expect("there is memory");
    let back = packed::unpack(&packed).expect("what was packed is unpacked");
    assert_eq!(back, packed::minified(text));
    if let Ok(value) = serde_json::from_slice::<Value>(text) {
        assert_eq!(serde_json::from_slice::<Value>(&back).expect("still JSON"), value);
    }
}

fn digits(text: &[u8]) {
    let Some(value) = exact::read(text) else { return };
    let written = exact::write(&value);
    let again = exact::read(written.as_bytes()).unwrap_or_else(|| panic!("written and not read: {written}"));
    assert_eq!(exact::write(&again), written);
}

/// The text with a number of the test range for each NHS number.
fn nobodys(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive('"') {
        let inner = part.trim_end_matches('"');
        match NhsNumber::strict(inner) {
            Some(_) => out.push_str(&part.replace(inner, "9990000018")),
            None => out.push_str(part),
        }
    }
    out.into_bytes()
}

fn seeds() -> Vec<Vec<u8>> {
    macro_rules! example {
        ($path:literal) => {
            nobodys(&packed::minified(include_bytes!(concat!("../../../tests/data/eps/", $path))))
        };
    }
    let messages = [
        example!("02-order-acute-no-nomination/prepare-request.json"),
        example!("07-cancel/acute-cancel-2-request.json"),
        example!("08-release/by-prescription-id-request.json"),
        example!("09-dispense-notification/acute-05-request.json"),
        example!("10-return/erd-request.json"),
        example!("11-withdraw/erd-request.json"),
        example!("12-claim/acute-request.json"),
    ];
    let signed = example!("02-order-acute-no-nomination/order-request.json");
    let with = |kind: u8, text: &[u8]| [&[kind], text].concat();
    let mut all: Vec<Vec<u8>> = messages.iter().map(|text| with(0, text)).collect();
    all.push(with(1, &signed));
    all.push(with(2, b"{ \"a\" : 1.50, \"b\\\"\" : [ \"\\\\\" ] }"));
    all.push(with(3, b"[63.0,1.50,1e3,-0.0,12345678901234567890.5]"));
    all.push(with(4, &example!("16-status-update/request-multiple-items.json")));
    all
}
