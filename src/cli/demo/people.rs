//! The demo's people: a made-up nation of the size asked for, and the published people of the national sandbox.

use super::layout::Layout;
use crate::{
    cli::{
        bench::Known,
        failure::{Done, failure, file},
        import_people::load_text,
        output::progress,
        people,
    },
    ops::{admin_client::AdminClient, codes},
    services::pds::fhir,
};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The published people, of whom the tests speak too (licence beside them).
const PUBLISHED: &str = include_str!("../../../tests/data/pds/people/seed.json");
/// The nation's seed: every demo has the same people.
const SEED: u64 = 1;
/// People held in memory at once.
const PIECE: usize = 10_000;

/// Loads `count` people and the published ones, but those that an earlier start of the same folder has loaded; nobody for 0.
pub async fn load(client: &AdminClient, layout: &Layout, count: u64) -> Done {
    let mark = layout.dir.join("people");
    let before = std::fs::read_to_string(&mark).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    if count <= before {
        return Ok(());
    }
    progress(&format!("loading {count} people, and the published ones"));
    let trouble = |why: String| failure(&codes::CLI_DEMO, "the people cannot be loaded", why, "report this");
    let published: Value = serde_json::from_str(PUBLISHED).map_err(|e| trouble(e.to_string()))?;
    let lines = published["people"].as_array().into_iter().flatten().map(Value::to_string).collect();
    load_text(client, "the published people", lines).await?;
    // Made by a thread of its own, a piece ahead at most.
    let (give, mut take) = tokio::sync::mpsc::channel(1);
    let made = std::thread::spawn(move || people::write(count, SEED, false, &mut Pieces { give, lines: vec![] }));
    while let Some(lines) = take.recv().await {
        load_text(client, "the demo's people", lines.into_iter().map(nominating).collect()).await?;
    }
    match made.join() {
        Ok(Ok(())) => {}
        Ok(Err(e)) => return Err(trouble(e.to_string())),
        Err(_) => return Err(trouble("the thread that makes them ended".into())),
    }
    std::fs::write(&mark, count.to_string()).map_err(|e| file("the file cannot be written", &mark, &e))
}

/// How many of the demo's people have prescriptions, and how many are looked at to find them.
const PATIENTS: usize = 8;
const LOOKED_AT: u64 = 40;

/// The people that the demo's prescriptions are for: the first who live and whose record is whole and open, out of `count`.
pub fn patients(count: u64) -> Vec<Known> {
    let mut lines: Vec<u8> = vec![];
    // Writing to memory cannot fail.
    let _ = people::write(count.min(LOOKED_AT), SEED, false, &mut lines);
    let text = String::from_utf8_lossy(&lines);
    text.lines().filter(|line| lives(line)).filter_map(Known::of_line).take(PATIENTS).collect()
}

/// Nobody prescribes for the dead.
fn lives(line: &str) -> bool {
    let person = serde_json::from_str::<Value>(line).unwrap_or_default();
    person["resource"].get("deceasedDateTime").is_none()
}

/// A person's line; of the demo's patients with the nomination of the demo's pharmacy.
fn nominating(line: String) -> String {
    static THEY: LazyLock<Vec<Known>> = LazyLock::new(|| patients(LOOKED_AT));
    let patient = Known::of_line(&line).filter(|known| THEY.iter().any(|patient| patient.nhs == known.nhs));
    let parsed = patient.and_then(|_| serde_json::from_str::<Value>(&line).ok());
    let Some(mut person) = parsed else { return line };
    let nomination = json!({"url": fhir::NOMINATED_PHARMACY,
        "valueReference": {"identifier": {"system": fhir::ODS, "value": super::data::PHARMACY}}});
    let Some(resource) = person["resource"].as_object_mut() else { return line };
    let extensions = resource.entry("extension").or_insert_with(|| json!([]));
    if let Some(extensions) = extensions.as_array_mut() {
        extensions.retain(|e| e["url"] != fhir::NOMINATED_PHARMACY);
        extensions.push(nomination);
    }
    person.to_string()
}

/// Collects what is written line by line, and passes it on in pieces.
struct Pieces {
    give: tokio::sync::mpsc::Sender<Vec<String>>,
    lines: Vec<String>,
}

impl Pieces {
    fn pass(&mut self) -> std::io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        self.give.blocking_send(lines).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

impl std::io::Write for Pieces {
    /// `writeln!` writes in parts: the text of a line may come in several.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for (n, part) in String::from_utf8_lossy(bytes).split('\n').enumerate() {
            if n > 0 {
                if self.lines.len() >= PIECE {
                    self.pass()?;
                }
                self.lines.push(String::new());
            }
            match self.lines.last_mut() {
                Some(line) => line.push_str(part),
                None => self.lines.push(part.to_owned()),
            }
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.lines.retain(|line| !line.is_empty());
        if !self.lines.is_empty() {
            // Nobody takes any more: the load has failed, and says so itself.
            let _ = self.pass();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_lives() {
        let mut lines: Vec<u8> = vec![];
        people::write(LOOKED_AT, SEED, false, &mut lines).unwrap();
        let text = String::from_utf8(lines).unwrap();
        let dead: Vec<&str> = text.lines().filter(|line| line.contains("deceasedDateTime")).collect();
        assert!(!dead.is_empty() && dead.iter().all(|line| !lives(line)));
        assert!(patients(LOOKED_AT).iter().all(|known| dead.iter().all(|line| !line.contains(&known.nhs))));
    }
}
