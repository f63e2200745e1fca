//! Backups as operators ask for them: begin one, see how far it is and how the last one went, note that one was verified.

use super::{Told, moment, rooms};
use crate::{
    engine::{Command, services},
    node::{
        Node,
        backup::{BackupError, create::Wish, desk},
    },
    ops::admin::{AdminError, AdminRequest},
    services::trail::command::{Shown, TrailCommand},
    wire::age::Recipient,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

/// Bytes a second that a backup reads, hashes and writes at most, where nothing else is asked for.
const RATE: u64 = 64 << 20;

#[derive(Deserialize)]
struct Input {
    /// Where the settings say, if not here; and only there old ones are removed.
    dir: Option<PathBuf>,
    /// Bytes a second; 0 for as fast as it goes.
    rate: Option<u64>,
    /// Public keys, as they stand in a file; whose file the settings name, if not here.
    recipients: Option<String>,
    /// An earlier backup, by its whole path.
    since: Option<PathBuf>,
}

impl Input {
    fn wish(self, node: &Node) -> Result<Wish, AdminError> {
        let settings = &node.settings.backup;
        let keep = self.dir.is_none().then_some(settings.keep);
        let dir = self.dir.unwrap_or_else(|| settings.dir.clone());
        if !dir.is_absolute() || self.since.as_ref().is_some_and(|since| !since.is_absolute()) {
            return Err(AdminError::bad_input("a folder is not named by its whole path"));
        }
        let named = |path: PathBuf| move |why: String| told(&BackupError::Recipients { path, why });
        let recipients = match (self.recipients, &settings.recipient) {
            (Some(text), _) => Recipient::all(&text).map_err(named("recipients".into()))?,
            (None, None) => vec![],
            // What cannot be encrypted is not written: nobody would notice in time.
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|e| e.to_string())
                .and_then(|text| Recipient::all(&text))
                .map_err(named(path.clone()))?,
        };
        let rate = match self.rate.unwrap_or(RATE) {
            0 => u64::MAX,
            rate => rate,
        };
        Ok(Wish { dir, rate, recipients, keep, since: self.since })
    }
}

fn told(e: &BackupError) -> AdminError {
    AdminError::of(e.code(), e.code().words, e.to_string())
}

/// `POST /v1/backups`: `{"dir", "rate", "recipients", "since"}` → `{"number"}`. The site's records leave it: that is in the trail first (P4).
pub async fn begin(node: Arc<Node>, r: AdminRequest) -> Told {
    let wish = r.input::<Input>()?.wish(&node)?;
    let shown = Shown {
        interaction: "backup.create".into(),
        outcome: "ok".into(),
        event: wish.dir.display().to_string(),
        ..Default::default()
    };
    let command = Command {
        service: services::TRAIL.0,
        key: "audit".into(),
        payload: TrailCommand::from(shown).encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    // Where no majority answers there is no record, and without one no backup.
    let recorded = rooms(&node)?.engine.submit(command).await;
    recorded.map_err(|e| told(&BackupError::Unrecorded(e.to_string())))?;
    let number = node.backups.begin(&node, wish).map_err(|e| told(&e))?;
    Ok(json!({"number": number}))
}

/// `GET /v1/backups`: what is being made, and how the last one ended.
pub async fn show(node: Arc<Node>, _: AdminRequest) -> Told {
    let (running, last) = node.backups.told();
    let running = running.map(|progress| {
        let (phase, done, total) = progress.told();
        json!({"phase": phase, "done_bytes": done, "total_bytes": total})
    });
    let last = last.map(|ended| {
        let mut value = match &ended.outcome {
            Ok(made) => json!({
                "path": made.path, "made": moment(made.made), "bytes": made.bytes, "files": made.files, "rows": made.rows,
                "linked_bytes": made.linked, "recipients": made.recipients, "removed": made.removed, "absent": made.absent, "fitted": made.fitted, "mb_per_second": rate(made.bytes, ended.seconds),
            }),
            Err(e) => json!({"error": told(e)}),
        };
        (value["number"], value["seconds"]) = (ended.number.into(), round(ended.seconds).into());
        value
    });
    Ok(json!({"running": running, "last": last, "kept": kept(&node)}))
}

#[derive(Deserialize)]
struct Verified {
    cluster: String,
    /// When the backup was made, and by which node: it is kept then, if it is of this one.
    made: u64,
    node: u16,
}

/// `POST /v1/backups/verified`: `{"cluster", "made", "node"}`, one of this site was found whole now.
pub async fn verified(node: Arc<Node>, r: AdminRequest) -> Told {
    let Verified { cluster, made, node: by } = r.input()?;
    let own = &rooms(&node)?.identity.cluster;
    if cluster != *own {
        return Err(AdminError::bad_input(format!("the backup is of site {cluster}, this node of site {own}")));
    }
    let now = node.world.clock.now().0;
    let own = by == node.settings.node.number;
    desk::note(&node, |kept| {
        kept.verified = now;
        kept.verified_made = if own { made } else { kept.verified_made };
    });
    Ok(kept(&node))
}

/// When the last one was made and verified; nothing for never.
pub fn kept(node: &Node) -> Value {
    let kept = desk::kept(&node.settings.node.data);
    let at = |millis: u64| (millis > 0).then(|| moment(millis));
    let age = (kept.made > 0).then(|| node.world.clock.now().0.saturating_sub(kept.made) / 1000);
    json!({"made": at(kept.made), "age_seconds": age, "verified": at(kept.verified), "path": kept.path, "archive": archive(node)})
}

/// How the archive of the log stands; nothing where the settings ask for none.
fn archive(node: &Node) -> Value {
    if node.settings.backup.archive_every.is_none() {
        return Value::Null;
    }
    let (stand, trouble) = node.archive.told();
    let until = stand.as_ref().map_or(0, |stand| stand.until);
    let age = (until > 0).then(|| node.world.clock.now().0.saturating_sub(until) / 1000);
    json!({
        "backup": stand.as_ref().map(|stand| &stand.backup), "until": (until > 0).then(|| moment(until)), "age_seconds": age,
        "gap": stand.as_ref().and_then(|stand| stand.gap.as_ref()), "trouble": trouble,
    })
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    (bytes as f64 / 1e5 / seconds.max(0.001)).round() / 10.0
}
