//! The demo's prescriptions, one or more in every state that messages alone can reach (spec/eps.md §17), sent over HTTPS by the demo's
//! prescriber and pharmacist, who log in with their smartcards.
//!
//! Promise: what `demo.json` lists was answered as the standard says, or nothing is listed: a site that takes no prescriptions
//! (`--set eps.prescribing=false`) starts without them. They are made once for a folder.

use super::{
    data,
    layout::Layout,
    login, people,
    record::{Item, Prescription as Listed, Record},
};
use crate::{
    cli::{
        bench::{Known, client::Client, site::Site},
        failure::{Done, file},
        output::progress,
        prescriptions::{
            Course, MEDICINES, Prescription, Sender,
            dispensing::{self, Supply},
            order,
            signing::SigningKey,
        },
    },
    model::day,
    services::eps::ids,
};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the prescriptions are good for; repeat dispensing takes at most a year.
const DAYS: i32 = 180;

/// One message about a prescription.
#[derive(Clone, Copy)]
enum Does {
    Order,
    /// The first item, with the status that the answer must have.
    Cancel(u16),
    Release,
    /// Status of the prescription and of its items.
    Dispense(&'static str, &'static [&'static str]),
    Claim,
    Return,
}

/// A prescription of the demo: what is sent about it, in order, and what becomes of each of its issues.
struct Plan {
    items: usize,
    nominated: bool,
    course: Course,
    /// Days until it starts.
    ahead: i32,
    does: &'static [Does],
    states: &'static [&'static str],
    /// From one.
    issue: u32,
}

const ACUTE: Plan = Plan {
    items: 1,
    nominated: true,
    course: Course::Acute,
    ahead: 0,
    does: &[Does::Order],
    states: &["0001"],
    issue: 1,
};
const DISPENSING: Plan = Plan { course: Course::Dispensing(3), states: &["0001", "9000", "9000"], ..ACUTE };
const SUPPLIED: Does = Does::Dispense("0006", &["0001"]);

const PLANS: &[Plan] = &[
    ACUTE,
    Plan { items: 4, ..ACUTE },
    Plan { items: 2, course: Course::Repeat, ..ACUTE },
    Plan { nominated: false, ..ACUTE },
    // One item of three is cancelled.
    Plan { items: 3, does: &[Does::Order, Does::Cancel(200)], ..ACUTE },
    // Given back: the nomination is gone.
    Plan { does: &[Does::Order, Does::Release, Does::Return], ..ACUTE },
    Plan { items: 2, does: &[Does::Order, Does::Release], states: &["0002"], ..ACUTE },
    // The cancellation waits for the pharmacy to give it back.
    Plan { does: &[Does::Order, Does::Release, Does::Cancel(400)], states: &["0002"], ..ACUTE },
    Plan {
        items: 2,
        does: &[Does::Order, Does::Release, Does::Dispense("0003", &["0001", "0004"])],
        states: &["0003"],
        ..ACUTE
    },
    Plan { does: &[Does::Order, Does::Cancel(200)], states: &["0005"], ..ACUTE },
    Plan { does: &[Does::Order, Does::Release, SUPPLIED], states: &["0006"], ..ACUTE },
    Plan { does: &[Does::Order, Does::Release, Does::Dispense("0007", &["0002"])], states: &["0007"], ..ACUTE },
    Plan { does: &[Does::Order, Does::Release, SUPPLIED, Does::Claim], states: &["0008"], ..ACUTE },
    DISPENSING,
    // Its second issue waits until a week before the first is used up.
    Plan { does: &[Does::Order, Does::Release, SUPPLIED], states: &["0006", "0000", "9000"], issue: 2, ..DISPENSING },
    Plan { ahead: 10, states: &["9001"], ..ACUTE },
    Plan { does: &[Does::Cancel(400)], states: &["9005"], ..ACUTE },
];

/// What an earlier or this start of the folder has loaded.
pub fn loaded(layout: &Layout) -> Vec<Listed> {
    let text = std::fs::read_to_string(layout.prescriptions()).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Loads them for the first of `people`, but where they are there; none where there is nobody.
pub async fn load(layout: &Layout, nodes: u16, people: u64) -> Done {
    let path = layout.prescriptions();
    let patients = people::patients(people);
    if path.exists() || patients.is_empty() {
        return Ok(());
    }
    progress(&format!("sending {} prescriptions, and what became of them", PLANS.len()));
    match make(layout, nodes, &patients).await {
        Ok(made) => {
            let text = serde_json::to_string_pretty(&made).unwrap_or_default() + "\n";
            std::fs::write(&path, text).map_err(|e| file("the file cannot be written", &path, &e))
        }
        Err(why) => {
            progress(&format!("the site starts without prescriptions: {why}"));
            Ok(())
        }
    }
}

async fn make(layout: &Layout, nodes: u16, patients: &[Known]) -> Result<Vec<Listed>, String> {
    let mut desk = Desk::open(layout, nodes).await?;
    let mut made = vec![];
    for (plan, patient) in PLANS.iter().zip(patients.iter().cycle()) {
        let prescription = prescription(plan, patient, made.len() as u32)?;
        let mut response = String::new();
        for does in plan.does {
            let told = desk.send(plan, &prescription, *does, &response).await;
            let told = told.map_err(|why| format!("{}: {why}", prescription.id))?;
            if let Does::Release = does {
                response = released(&told).ok_or_else(|| format!("{}: the release gave nothing", prescription.id))?;
            }
        }
        made.push(listed(plan, &prescription));
    }
    Ok(made)
}

/// The id of a release's answer, which later messages name.
fn released(told: &Value) -> Option<String> {
    let passed = told["parameter"].as_array()?.iter().find(|p| p["name"] == "passedPrescriptions")?;
    passed["resource"]["identifier"]["value"].as_str().map(str::to_owned)
}

fn prescription(plan: &Plan, patient: &Known, number: u32) -> Result<Prescription, String> {
    let random = Uuid::new_v4().as_u128() as u32;
    let id = ids::make(random, data::PRACTICE, number + 1).ok_or("the practice's code makes no prescription id")?;
    let today = day::of_millis(now());
    let start = day::before(today, -plan.ahead);
    Ok(Prescription {
        id,
        long_id: new_id(),
        items: (0..plan.items).map(|_| new_id()).collect(),
        patient: patient.clone(),
        nominated: plan.nominated.then(|| data::PHARMACY.into()),
        course: plan.course,
        start: day::text(start),
        end: day::text(day::before(start, -DAYS)),
    })
}

fn listed(plan: &Plan, p: &Prescription) -> Listed {
    let given_back = plan.does.iter().any(|does| matches!(does, Does::Return));
    let item = |(id, of): (&String, &crate::cli::prescriptions::Medicine)| Item {
        id: id.clone(),
        code: of.code.into(),
        name: of.name.into(),
    };
    Listed {
        id: p.id.clone(),
        long_id: p.long_id.clone(),
        nhs_number: p.patient.nhs.clone(),
        state: plan.states.get(plan.issue as usize - 1).copied().unwrap_or_default().into(),
        states: plan.states.iter().map(|s| (*s).into()).collect(),
        issue: plan.issue,
        nominated: p.nominated.clone().filter(|_| !given_back),
        items: p.items.iter().zip(&MEDICINES).map(item).collect(),
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn now() -> u64 {
    jiff::Timestamp::now().as_millisecond().unsigned_abs()
}

/// Now, as messages write it.
fn moment() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// The two people at their systems.
struct Desk {
    client: Client,
    key: SigningKey,
    prescriber: (Sender, String),
    pharmacist: (Sender, String),
}

impl Desk {
    async fn open(layout: &Layout, nodes: u16) -> Result<Desk, String> {
        let record = Record::new(layout, &vec![0; usize::from(nodes)]);
        let site = Site::at(&[&layout.api_url_of(1)], &layout.ca(), vec![], None).map_err(|e| format!("{e:#}"))?;
        let (certificate, key) = layout.signing(data::PRESCRIBER);
        let key = SigningKey::read(&certificate, &key).map_err(|e| e.why)?;
        let log_in = async |id: &str| {
            let user = record.users.iter().find(|user| user.id == id).ok_or("there is no such user")?;
            let sender = data::sender(id).ok_or("the user has no role")?;
            let token = login::token(&record, layout, user).await.map_err(|e| format!("{}: {}", e.what, e.why))?;
            Ok::<_, String>((sender, format!("Bearer {token}")))
        };
        let prescriber = log_in(data::PRESCRIBER).await?;
        let pharmacist = log_in(data::PHARMACIST).await?;
        Ok(Desk { client: Client::new(&site, 0, PATIENCE), key, prescriber, pharmacist })
    }

    /// Sends one message; the answer, if its status is as it must be.
    async fn send(&mut self, plan: &Plan, p: &Prescription, does: Does, response: &str) -> Result<Value, String> {
        const PROCESS: &str = "$process-message";
        let message = new_id();
        let (doctor, pharmacist) = (&self.prescriber.0, &self.pharmacist.0);
        let at = moment();
        // Of repeat dispensing the first issue is dispensed.
        let supply = |status, items| Supply { status, items, issue: 1, at: &at };
        let (path, body, expected) = match does {
            Does::Order => {
                let mut order = order::order(p, doctor, &message);
                self.key.sign(&mut order, &new_id(), now())?;
                (PROCESS, order, 200)
            }
            Does::Cancel(status) => {
                let first = p.items.first().map(String::as_str).unwrap_or_default();
                (PROCESS, order::cancel(p, doctor, &message, first, ("0001", "Prescribing Error")), status)
            }
            Does::Release => ("Task/$release", dispensing::release(pharmacist, Some(&p.id)), 200),
            Does::Dispense(status, items) => {
                (PROCESS, dispensing::dispense(p, pharmacist, &message, response, &supply(status, items)), 200)
            }
            Does::Claim => {
                let dispensed = plan.does.iter().find_map(|d| match d {
                    Does::Dispense(status, items) => Some(supply(status, items)),
                    _ => None,
                });
                let supply = dispensed.ok_or("nothing was dispensed that could be claimed")?;
                ("Claim", dispensing::claim(p, pharmacist, &message, &supply), 200)
            }
            Does::Return => ("Task", dispensing::give_back(p, pharmacist, &message, response, &at), 200),
        };
        let prescribes = matches!(does, Does::Order | Does::Cancel(_));
        self.ask(prescribes, path, &body, expected).await
    }

    async fn ask(&mut self, prescribes: bool, path: &str, body: &Value, expected: u16) -> Result<Value, String> {
        let (base, token) = match prescribes {
            true => ("/fhir-prescribing", &self.prescriber.1),
            false => ("/fhir-dispensing", &self.pharmacist.1),
        };
        let request = http::Request::post(format!("{base}/FHIR/R4/{path}"))
            .header("host", self.client.authority())
            .header("authorization", token)
            .header("x-request-id", new_id())
            .header("content-type", "application/fhir+json")
            .body(Full::new(Bytes::from(serde_json::to_string_pretty(body).unwrap_or_default())))
            .map_err(|e| e.to_string())?;
        let answer = self.client.ask(request).await.map_err(|failure| failure.name().to_owned())?;
        let status = answer.status().as_u16();
        if status == expected {
            return serde_json::from_slice(answer.body()).map_err(|e| e.to_string());
        }
        let text: String = String::from_utf8_lossy(answer.body()).chars().take(400).collect();
        Err(format!("{path} was answered with {status} instead of {expected}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::eps::states::issue;

    #[test]
    fn every_state_that_messages_reach_is_there() {
        let reached: Vec<&str> = PLANS.iter().flat_map(|plan| plan.states).copied().collect();
        let by_clock_alone = [issue::EXPIRED, issue::NO_CLAIMED].map(|state| format!("{state:04}"));
        for state in
            ["0000", "0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "9000", "9001", "9005"]
        {
            let wanted = !by_clock_alone.iter().any(|s| s == state);
            assert_eq!(reached.contains(&state), wanted, "{state}");
        }
        for plan in PLANS {
            assert!((1..=MEDICINES.len()).contains(&plan.items));
            let issues = if let Course::Dispensing(issues) = plan.course { issues } else { 1 };
            assert_eq!((plan.states.len(), plan.issue <= issues), (issues as usize, true));
        }
    }

    #[test]
    fn there_are_patients_and_nobody_has_none() {
        assert!(people::patients(0).is_empty());
        let patients = people::patients(1_000);
        assert_eq!((patients.len(), people::patients(40).len()), (8, 8));
        assert!(patients.iter().all(|known| known.nhs.starts_with("999")));
    }
}
