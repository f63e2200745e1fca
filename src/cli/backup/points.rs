//! Moments between two backups, as operators ask for them and are told of them.

use super::{RealFs, World, moment, told as refused, world};
use crate::{
    audit::Ca,
    cli::failure::Failure,
    node::backup::{
        BackupError,
        archive::Archive,
        check,
        manifest::Manifest,
        points::{self, Point, Until},
    },
    seam::pace::Pace,
};
use serde_json::{Value, json};
use std::path::Path;

/// Reads what stands behind `--until`.
pub fn until(text: &str) -> Result<Until, String> {
    if text == "latest" {
        return Ok(Until::Latest);
    }
    let found = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    found.map(Until::At).ok_or_else(|| "it is neither a moment such as 2026-11-30T09:15:00Z nor latest".into())
}

/// What a restore would do: every file compared, and whether that moment can be had; nothing is written.
pub async fn could_be(
    world: &World,
    path: &Path,
    keys: super::Keys<'_>,
    until: Option<Until>,
) -> Result<(Manifest, Option<Point>, Archive), BackupError> {
    let pace = Pace::new(u64::MAX);
    let (manifest, _) = check::readable(&world.fs, path, keys, &pace).await?;
    let read = async {
        let archive = Archive::read(world.fs.as_ref(), path, &manifest, keys.0)?;
        archive.compare(&world.fs, path, &pace).await.map(|()| archive)
    };
    let archive = match read.await {
        // The backup by itself can be had all the same.
        Err(e @ BackupError::Archive { .. }) if until.is_none() => {
            crate::cli::output::progress(&format!("{e} ({}); the backup itself is as it was written", e.code().code));
            Archive::default()
        }
        read => read?,
    };
    let wanted = until.map(|until| points::moment(&manifest, &archive, until)).transpose()?;
    Ok((manifest, wanted.map(|moment| Point { moment, places: vec![], back: 0, absent: 0 }), archive))
}

/// The archive behind a backup, every file compared.
pub async fn compared(path: &Path, manifest: &Manifest, ca: Option<&Ca>) -> Result<Archive, Failure> {
    let read = || async {
        let archive = Archive::read(&RealFs, path, manifest, ca)?;
        archive.compare(&world().fs, path, &Pace::new(u64::MAX)).await?;
        Ok(archive)
    };
    read().await.map_err(|e: BackupError| refused("the backup's archive cannot be relied on", &e))
}

/// For programs: the moments that can be had; nothing where none can.
pub fn told(manifest: &Manifest, archive: &Archive) -> Value {
    match points::range(manifest, archive) {
        None => Value::Null,
        Some((first, last)) => json!({
            "from": moment(first), "until": moment(last), "pieces": archive.heads.len(), "bytes": archive.bytes(),
            "absent": absent(archive), "gap": archive.gap(),
        }),
    }
}

/// Bodies that entries name and no node had any more.
fn absent(archive: &Archive) -> u64 {
    archive.heads.iter().map(|head| head.absent.len() as u64).sum()
}

/// For people: a line of its own, or nothing.
pub fn line(manifest: &Manifest, archive: &Archive, replayed: bool) -> String {
    let Some((first, last)) = points::range(manifest, archive) else { return String::new() };
    let how = if replayed { ", replayed to its end" } else { "" };
    let gap = archive.gap().map_or_else(String::new, |why| format!("; it ends there: {why} (SPN-2208)"));
    format!(
        "\nmoments that can be had: {} to {}, {} of log{how}{gap}{}",
        moment(first),
        moment(last),
        super::size(archive.bytes()),
        super::lacking(absent(archive), "; ")
    )
}

/// One of a list, with how far its archive reaches.
pub fn in_list(path: &Path, manifest: &Manifest, mut value: Value) -> Value {
    match Archive::read(&RealFs, path, manifest, None) {
        Ok(archive) => {
            value["archive"] = told(manifest, &archive);
            value["until"] = points::range(manifest, &archive).map_or("-".into(), |(_, last)| moment(last).into());
            if archive.gap().is_some() {
                value["until"] = format!("{}, then a gap", value["until"].as_str().unwrap_or("-")).into();
            }
        }
        Err(e) => value["until"] = e.to_string().into(),
    }
    value
}

/// How this node's archive stands, behind `before`; nothing where it has none.
pub fn standing(archive: &Value, before: &str) -> String {
    let mut text = match archive["until"].as_str() {
        Some(until) => format!("{before}the log is archived until {until}"),
        None => String::new(),
    };
    if let Some(gap) = archive["gap"].as_str() {
        text += &format!("{before}the archive ended: {gap} (SPN-2208); make a backup");
    }
    if let Some(why) = archive["trouble"].as_str() {
        text += &format!("{before}the log is not archived now: {why}");
    }
    text
}

/// What a restore left out for the sake of places that fit.
pub fn went_back(point: Option<&Point>) -> String {
    match point.map_or(0, |point| point.back) {
        0 => String::new(),
        n => format!(
            "\n{n} entries from before that are not in it: what they follow from is stamped later, or not archived"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_people_write_it_and_nothing_else_is() {
        assert_eq!(until("latest"), Ok(Until::Latest));
        assert_eq!(until("1970-01-01T00:00:01.5Z"), Ok(Until::At(1500)));
        assert_eq!(until("1970-01-01T01:00:01+01:00"), Ok(Until::At(1000)));
        for text in ["", "now", "2026-11-30", "1969-12-31T23:59:59Z", "Latest"] {
            assert!(until(text).is_err(), "{text}");
        }
    }
}
