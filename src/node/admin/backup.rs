//! Backups as operators ask for them: begin one, see how far it is and how the last one went, note that one was verified.

use super::{Told, moment, rooms, unavailable};
use crate::{
    engine::{Command, services},
    node::{
        Node,
        backup::{BackupError, desk},
    },
    ops::admin::{AdminError, AdminRequest},
    services::trail::command::{Shown, TrailCommand},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

/// Bytes a second that a backup reads, hashes and writes at most, where nothing else is asked for.
const RATE: u64 = 64 << 20;

#[derive(Deserialize)]
struct Input {
    dir: PathBuf,
    /// Bytes a second; 0 for as fast as it goes.
    rate: Option<u64>,
}

fn told(e: &BackupError) -> AdminError {
    AdminError::of(e.code(), e.code().words, e.to_string())
}

/// `POST /v1/backups`: `{"dir", "rate"}` → `{"number"}`. The site's records leave it: that is in the trail first (P4).
pub async fn begin(node: Arc<Node>, r: AdminRequest) -> Told {
    let Input { dir, rate } = r.input()?;
    if !dir.is_absolute() {
        return Err(AdminError::bad_input("the folder is not named by its whole path"));
    }
    let shown = Shown {
        interaction: "backup.create".into(),
        outcome: "ok".into(),
        event: dir.display().to_string(),
        ..Default::default()
    };
    let command = Command {
        service: services::TRAIL.0,
        key: "audit".into(),
        payload: TrailCommand::from(shown).encode(),
        caller: r.caller.clone(),
        ..Default::default()
    };
    rooms(&node)?.engine.submit(command).await.map_err(unavailable)?;
    let rate = match rate.unwrap_or(RATE) {
        0 => u64::MAX,
        rate => rate,
    };
    let number = node.backups.begin(&node, dir, rate).map_err(|e| told(&e))?;
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
                "absent": made.absent, "fitted": made.fitted, "mb_per_second": rate(made.bytes, ended.seconds),
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
}

/// `POST /v1/backups/verified`: `{"cluster"}`, one of this site was found whole now.
pub async fn verified(node: Arc<Node>, r: AdminRequest) -> Told {
    let Verified { cluster } = r.input()?;
    let own = &rooms(&node)?.identity.cluster;
    if cluster != *own {
        return Err(AdminError::bad_input(format!("the backup is of site {cluster}, this node of site {own}")));
    }
    let now = node.world.clock.now().0;
    desk::note(&node, |kept| kept.verified = now);
    Ok(kept(&node))
}

/// When the last one was made and verified; nothing for never.
pub fn kept(node: &Node) -> Value {
    let kept = desk::kept(&node.settings.node.data);
    let at = |millis: u64| (millis > 0).then(|| moment(millis));
    let age = (kept.made > 0).then(|| node.world.clock.now().0.saturating_sub(kept.made) / 1000);
    json!({"made": at(kept.made), "age_seconds": age, "verified": at(kept.verified), "path": kept.path})
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    (bytes as f64 / 1e5 / seconds.max(0.001)).round() / 10.0
}
