//! What `spine bench eps` sends: prescriptions of its own, computed from their number, so that no phase has to remember what another did.

use super::{api_asks::Known, payload::Dice};
use crate::{
    cli::{
        demo::{self, PHARMACIST, PRESCRIBER},
        prescriptions::{
            Course, Prescription, Sender,
            dispensing::{self, Supply},
            order,
            signing::SigningKey,
        },
    },
    model::day,
    services::eps::ids,
};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

/// Days that a prescription is good for.
const DAYS: i32 = 180;
const MOST_ITEMS: u64 = 4;

/// A phase.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Orders, signed
    Order,
    /// Releases of what is nominated, up to 25 at a time
    Release,
    /// Releases for pharmacies that nothing waits for
    Poll,
    /// Dispense notifications: everything is supplied
    Dispense,
    /// Claims
    Claim,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Order => "order",
            Kind::Release => "release",
            Kind::Poll => "empty poll",
            Kind::Dispense => "dispense",
            Kind::Claim => "claim",
        }
    }
}

/// A run's prescriptions.
pub struct Work {
    seed: u64,
    count: u64,
    pharmacies: u64,
    people: Vec<Known>,
    prescriber: Sender,
    pharmacist: Sender,
    /// The orders, ready to be sent.
    orders: Vec<Bytes>,
    at: String,
    days: (String, String),
    released: AtomicU64,
}

impl Work {
    pub fn new(seed: u64, count: u32, pharmacies: u32, people: Vec<Known>) -> anyhow::Result<Work> {
        let now = jiff::Timestamp::now();
        let today = day::of_millis(now.as_millisecond().unsigned_abs());
        Ok(Work {
            seed,
            count: count.into(),
            pharmacies: pharmacies.max(1).into(),
            people,
            prescriber: demo::sender(PRESCRIBER).context("the demo has no prescriber")?,
            pharmacist: demo::sender(PHARMACIST).context("the demo has no pharmacist")?,
            orders: vec![],
            at: now.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            days: (day::text(today), day::text(day::before(today, -DAYS))),
            released: AtomicU64::new(0),
        })
    }

    /// Makes and signs the orders, on every processor: a signature costs the generator more than the node's work.
    pub fn make(&mut self, key: &SigningKey) -> anyhow::Result<()> {
        let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let piece = self.count.div_ceil(threads).max(1);
        let signed_at = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        let this = &*self;
        let made = thread::scope(|scope| {
            let run = |from: u64| {
                move || (from..this.count.min(from + piece)).map(|n| this.order(n, key, signed_at)).collect()
            };
            let starts = (0..this.count).step_by(piece as usize);
            let runs: Vec<thread::ScopedJoinHandle<'_, anyhow::Result<Vec<Bytes>>>> =
                starts.map(|from| scope.spawn(run(from))).collect();
            runs.into_iter().map(|r| r.join().map_err(|_| anyhow!("a thread panicked"))?).collect::<Vec<_>>()
        });
        self.orders = made.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
        Ok(())
    }

    fn order(&self, number: u64, key: &SigningKey, at: u64) -> anyhow::Result<Bytes> {
        let mut bundle =
            order::order(&self.prescription(number)?, &self.prescriber, &self.uuid(Some(Kind::Order), number));
        key.sign(&mut bundle, &self.uuid(None, number), at).map_err(|why| anyhow!(why))?;
        Ok(serde_json::to_string_pretty(&bundle)?.into())
    }

    /// How many requests a phase has.
    pub fn requests(&self, kind: Kind, together: u64) -> u64 {
        match kind {
            Kind::Poll => u64::MAX,
            Kind::Release => self.count.div_ceil(self.pharmacies).div_ceil(together) * self.pharmacies,
            Kind::Order | Kind::Dispense | Kind::Claim => self.count,
        }
    }

    pub fn released(&self) -> u64 {
        self.released.load(Relaxed)
    }

    pub fn mean_size(&self) -> u64 {
        let sum: u64 = self.orders.iter().map(|order| order.len() as u64).sum();
        sum.checked_div(self.orders.len() as u64).unwrap_or(0)
    }

    fn prescription(&self, number: u64) -> anyhow::Result<Prescription> {
        let patient = &self.people[(number % self.people.len() as u64) as usize];
        let id = ids::make(self.seed as u32, &self.prescriber.ods, number as u32);
        let item = |place: u64| self.uuid(None, (place + 1) << 32 | number);
        Ok(Prescription {
            id: id.context("the practice's code makes no prescription id")?,
            long_id: self.uuid(None, 9 << 32 | number),
            items: (0..1 + number % MOST_ITEMS).map(item).collect(),
            patient: patient.clone(),
            nominated: Some(self.pharmacy(number, 'V')),
            course: Course::Acute,
            start: self.days.0.clone(),
            end: self.days.1.clone(),
        })
    }

    /// A code that this run alone has.
    fn pharmacy(&self, number: u64, letter: char) -> String {
        format!("{letter}{:05X}{:02X}", self.seed & 0xf_ffff, number % self.pharmacies)
    }

    fn pharmacist(&self, number: u64, letter: char) -> Sender {
        let ods = self.pharmacy(number, letter);
        Sender { organisation: format!("Pharmacy {ods}"), ods, ..self.pharmacist.clone() }
    }

    /// The same for the same run, purpose and number.
    fn uuid(&self, kind: Option<Kind>, number: u64) -> String {
        let purpose = kind.map_or(0, |kind| kind as u64 + 1);
        let mut dice = Dice(self.seed ^ purpose << 48 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (a, b) = (dice.roll(), dice.roll());
        uuid::Builder::from_random_bytes(((u128::from(a) << 64) | u128::from(b)).to_be_bytes()).into_uuid().to_string()
    }

    /// The request of that number.
    pub fn ask(&self, kind: Kind, number: u64, host: &str, token: &str) -> Request<Full<Bytes>> {
        let (path, body) = match kind {
            Kind::Order => (
                "/fhir-prescribing/FHIR/R4/$process-message",
                self.orders.get(number as usize).cloned().unwrap_or_default(),
            ),
            Kind::Release | Kind::Poll => {
                let letter = if kind == Kind::Poll { 'W' } else { 'V' };
                let body = dispensing::release(&self.pharmacist(number, letter), None);
                ("/fhir-dispensing/FHIR/R4/Task/$release", pretty(&body))
            }
            Kind::Dispense => ("/fhir-dispensing/FHIR/R4/$process-message", self.told_of(kind, number)),
            Kind::Claim => ("/fhir-dispensing/FHIR/R4/Claim", self.told_of(kind, number)),
        };
        let request = Request::post(path)
            .header("host", host)
            .header("authorization", token)
            .header("x-request-id", self.uuid(Some(kind), number ^ 1 << 60))
            .header("content-type", "application/fhir+json")
            .body(Full::new(body));
        request.unwrap_or_default()
    }

    /// A message about a prescription whose every item is supplied.
    fn told_of(&self, kind: Kind, number: u64) -> Bytes {
        const SUPPLIED: [&str; MOST_ITEMS as usize] = ["0001"; MOST_ITEMS as usize];
        // Orders were made of it before.
        let Ok(p) = self.prescription(number) else { return Bytes::new() };
        let (by, message) = (self.pharmacist(number, 'V'), self.uuid(Some(kind), number));
        let supply = Supply { status: "0006", items: &SUPPLIED, issue: 1, at: &self.at };
        pretty(&match kind {
            Kind::Claim => dispensing::claim(&p, &by, &message, &supply),
            _ => dispensing::dispense(&p, &by, &message, &self.uuid(Some(Kind::Release), number), &supply),
        })
    }

    /// What an answer means: good, or what was wrong.
    pub fn told(&self, kind: Kind, status: u16, body: &Bytes) -> Result<(), String> {
        let code = |told: &Value| {
            let issue = &told["issue"][0];
            let code = issue["details"]["coding"][0]["code"].as_str().or(issue["diagnostics"].as_str());
            code.unwrap_or_default().chars().take(60).collect::<String>()
        };
        if status != 200 {
            return Err(format!("{status} {}", code(&serde_json::from_slice(body).unwrap_or_default())));
        }
        match kind {
            Kind::Release => {
                let told: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
                let parameters = told["parameter"].as_array().ok_or_else(|| code(&told))?;
                let passed = parameters.iter().find(|p| p["name"] == "passedPrescriptions");
                let total = passed.and_then(|p| p["resource"]["total"].as_u64()).unwrap_or(0);
                self.released.fetch_add(total, Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn pretty(body: &Value) -> Bytes {
    serde_json::to_string_pretty(body).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(seed: u64, count: u32) -> Work {
        let line = serde_json::json!({"nhsNumber": "9990000018", "resource": {
            "meta": {"versionId": "3", "security": [{"code": "U"}]}, "name": [{"family": "Bee", "given": ["Zoë"]}],
            "birthDate": "1970-01-02", "gender": "female", "address": [{"postalCode": "LS1 4AP"}]}});
        let people = vec![Known::of_line(&line.to_string()).unwrap()];
        Work::new(seed, count, 40, people).unwrap()
    }

    #[test]
    fn a_run_knows_its_prescriptions_by_their_number_and_no_two_are_alike() {
        let (one, other) = (work(7, 1_000), work(8, 1_000));
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..1_000 {
            for work in [&one, &other] {
                let p = work.prescription(number).unwrap();
                assert_eq!(work.prescription(number).unwrap().items, p.items);
                assert!(ids::ods(p.nominated.as_deref().unwrap()).is_some());
                for id in [p.id, p.long_id].into_iter().chain(p.items) {
                    assert!(seen.insert(id), "{number}");
                }
                assert!(seen.insert(work.uuid(Some(Kind::Order), number)));
            }
        }
    }

    #[test]
    fn as_many_releases_as_there_is_something_to_release() {
        for (count, requests) in [(0, 0), (1, 40), (1_000, 40), (1_001, 80), (4_000, 160)] {
            assert_eq!(work(1, count).requests(Kind::Release, 25), requests, "{count}");
        }
    }

    #[test]
    fn answers_are_counted_as_what_they_are() {
        let work = work(1, 1);
        let released = r#"{"parameter":[{"name":"passedPrescriptions","resource":{"total":25}}]}"#;
        assert_eq!(work.told(Kind::Release, 200, &released.into()), Ok(()));
        let nothing = r#"{"issue":[{"details":{"coding":[{"code":"NO_MORE_PRESCRIPTIONS"}]}}]}"#;
        assert_eq!(work.told(Kind::Release, 200, &nothing.into()), Err("NO_MORE_PRESCRIPTIONS".into()));
        assert_eq!(work.told(Kind::Poll, 200, &nothing.into()), Ok(()));
        assert_eq!(work.told(Kind::Order, 400, &nothing.into()), Err("400 NO_MORE_PRESCRIPTIONS".into()));
        assert_eq!(work.released(), 25);
    }
}
