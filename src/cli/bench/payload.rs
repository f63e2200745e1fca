//! Message bodies: JSON of clinical look (it compresses about as real messages do), or bytes that do not compress.
//! Every body is different, so that no compressor or cache meets one twice. All people in it are invented.

use super::Payload;
use bytes::Bytes;
use std::fmt::Write;

/// A small generator (splitmix64): same seed, same bodies; speed matters here, secrecy does not.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll() as usize % list.len()]
    }
}

/// A body of exactly `size` bytes.
pub fn body(kind: Payload, size: usize, dice: &mut Dice) -> Bytes {
    match kind {
        Payload::Random => {
            let mut bytes = Vec::with_capacity(size + 8);
            while bytes.len() < size {
                bytes.extend_from_slice(&dice.roll().to_le_bytes());
            }
            bytes.truncate(size);
            bytes.into()
        }
        Payload::Text => text(size, dice).into(),
    }
}

fn text(size: usize, dice: &mut Dice) -> Vec<u8> {
    let mut out = String::with_capacity(size + 64);
    let (a, b, when) = (dice.roll(), dice.roll(), dice.roll());
    let day = format_args!("{}-{:02}-{:02}", 1930 + when % 90, 1 + when / 90 % 12, 1 + when / 1080 % 28).to_string();
    // Writing to a String cannot fail. NHS numbers from 999 are never given to people.
    let _ = write!(
        out,
        "{{\"resourceType\":\"Bundle\",\"id\":\"{a:016x}{b:016x}\",\"type\":\"message\",\"entry\":[{{\"resource\":{{\
         \"resourceType\":\"Patient\",\"identifier\":[{{\"system\":\"https://fhir.nhs.uk/Id/nhs-number\",\"value\":\
         \"999{:07}\"}}],\"name\":[{{\"family\":\"{}\",\"given\":[\"{}\"]}}],\"birthDate\":\"{day}\"}}}},{{\"resource\":{{\
         \"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"coding\":[{{\"system\":\
         \"http://snomed.info/sct\",\"code\":\"{}\"}}]}},\"valueQuantity\":{{\"value\":{}.{},\"unit\":\"mmol/L\"}},\
         \"note\":[{{\"text\":\"",
        a % 10_000_000,
        dice.pick(FAMILY),
        dice.pick(GIVEN),
        100_000_000 + b % 900_000_000,
        b % 40,
        a % 10,
    );
    const END: &str = "\"}]}}]}";
    while out.len() + END.len() < size {
        out.push_str(dice.pick(WORDS));
        out.push(' ');
        // A figure now and then, as in real notes: it keeps the text from compressing too well.
        if dice.roll().is_multiple_of(4) {
            let _ = write!(out, "{} ", dice.roll() % 10_000);
        }
    }
    out.truncate(size.saturating_sub(END.len()));
    out.push_str(END);
    let mut bytes = out.into_bytes();
    bytes.truncate(size);
    bytes
}

const FAMILY: &[&str] = &[
    "ACKROYD",
    "BANNERMAN",
    "CRAVEN",
    "DUNMORE",
    "ELLERBY",
    "FAWCETT",
    "GARSIDE",
    "HOLROYD",
    "INGLEBY",
    "JAGGER",
    "KIRKBRIDE",
    "LAYCOCK",
    "MURGATROYD",
    "NETTLETON",
    "OLDROYD",
    "PICKERSGILL",
    "QUARMBY",
    "RAWNSLEY",
    "SUTCLIFFE",
    "THACKRAY",
    "UMPLEBY",
    "VARLEY",
    "WADSWORTH",
    "YEADON",
];
const GIVEN: &[&str] = &[
    "Agnes", "Bertram", "Clarice", "Desmond", "Edith", "Farida", "Gwilym", "Hamza", "Imogen", "Jarvis", "Keiko",
    "Leopold", "Maud", "Nadeem", "Orla", "Percy", "Quentin", "Rosalind", "Selwyn", "Tabitha", "Ursula", "Winston",
];
const WORDS: &[&str] = &[
    "patient",
    "reports",
    "no",
    "further",
    "episodes",
    "of",
    "chest",
    "pain",
    "since",
    "admission",
    "on",
    "examination",
    "abdomen",
    "soft",
    "and",
    "tender",
    "review",
    "in",
    "clinic",
    "six",
    "weeks",
    "started",
    "ramipril",
    "mg",
    "once",
    "daily",
    "blood",
    "pressure",
    "pulse",
    "regular",
    "oxygen",
    "saturation",
    "discharged",
    "with",
    "advice",
    "to",
    "return",
    "if",
    "symptoms",
    "worsen",
    "haemoglobin",
    "creatinine",
    "stable",
    "referred",
    "for",
    "ultrasound",
    "allergy",
    "penicillin",
    "wound",
    "healing",
    "well",
    "sutures",
    "removed",
    "mobile",
    "independently",
    "lives",
    "alone",
    "carer",
    "visits",
    "twice",
    "metformin",
    "increased",
    "inhaler",
    "technique",
    "checked",
    "vaccinated",
    "against",
    "influenza",
    "smoking",
    "cessation",
    "offered",
    "follow",
    "up",
    "arranged",
    "by",
    "telephone",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_size_and_are_all_different() {
        let mut dice = Dice(7);
        let (one, two) = (body(Payload::Text, 1024, &mut dice), body(Payload::Text, 1024, &mut dice));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (1024, 1024));
        serde_json::from_slice::<serde_json::Value>(&one).expect("text is JSON");
        assert_eq!(body(Payload::Random, 1001, &mut dice).len(), 1001);
        assert_eq!(body(Payload::Text, 3, &mut dice).len(), 3);
        assert_eq!(body(Payload::Text, 1024, &mut Dice(7)), one, "same seed, same bodies");
    }
}
