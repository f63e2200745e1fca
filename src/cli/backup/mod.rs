//! `spine backup`: a whole site into a folder while it serves, checked anywhere, restored as the first node of a new site.

mod keys;
mod points;

pub use points::standing as archive;

use super::{
    args::Globals,
    cert::write_private,
    client,
    failure::{Done, Failure, failure, file as trouble},
    init, output,
};
use crate::{
    audit::{Ca, Verdict},
    config::Settings,
    node::{
        backup::{
            BackupError,
            archive::Archive,
            check, create,
            manifest::{Manifest, authority},
            points::Until,
            restore::{self, Wanted},
        },
        identity,
    },
    ops::{admin_client::AdminClient, codes},
    seam::{World, clock::SystemClock, fs_real::RealFs, pace::Pace, rng::SystemRng},
    wire::age::Identity,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two looks at how far a backup is.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines that tell it.
const TELL: Duration = Duration::from_secs(2);

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine backup create /srv/backup\n  spine backup verify /srv/backup/site-20261130T020000000Z"
)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Back the whole site up into a new folder below DIR, while it serves
    #[command(
        after_help = "Examples:\n  spine backup create /srv/backup\n  spine backup create --recipient backup-key.pub --rate 200"
    )]
    Create {
        /// Where the node writes it: a path of the node's machine. None: the
        /// node's backup.dir, and older ones beyond backup.keep are removed
        dir: Option<PathBuf>,
        /// Encrypt it for the public keys in FILE, in the place of the node's
        /// backup.recipient
        #[arg(long, value_name = "FILE")]
        recipient: Option<PathBuf>,
        /// Write only what this earlier backup on the same disk does not hold
        #[arg(long, value_name = "BACKUP")]
        since: Option<PathBuf>,
        /// MB a second to read and write at most; 0: as fast as it goes
        #[arg(long, value_name = "MB", default_value_t = 64)]
        rate: u64,
    },
    /// List the backups below DIR
    #[command(after_help = "Examples:\n  spine backup list\n  spine backup list /srv/backup --output json")]
    List {
        /// Where `create` wrote them; none: backup.dir
        dir: Option<PathBuf>,
    },
    /// Make a pair of keys for encrypted backups
    #[command(
        after_help = "Examples:\n  spine backup key --out backup-key\n  spine backup key --out /media/safe/backup-key --output json"
    )]
    Key {
        /// New file for the private key; the public one goes to FILE.pub
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a backup: signature, files, rows, deliveries, audit trail
    #[command(
        after_help = "Examples:\n  spine backup verify /srv/backup/site-20261130T020000000Z\n  spine backup verify PATH --ca ca.pem --scratch /var/tmp"
    )]
    Verify {
        /// The backup's own folder
        path: PathBuf,
        /// The site's authority (else the one that the backup names)
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Where it is replayed; wants as much room as the backup takes (else
        /// beside it, if it is not encrypted)
        #[arg(long, value_name = "DIR")]
        scratch: Option<PathBuf>,
        /// Private key of an encrypted backup; without, files are compared
        /// and not replayed
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Make this machine the first node of a new site, from a backup
    #[command(
        after_help = "Examples:\n  spine backup restore /srv/backup/site-20261130T020000000Z --ca ca.pem\n  spine backup restore PATH --ca ca.pem --until 2026-11-30T09:15:00Z"
    )]
    Restore {
        /// The backup's own folder
        path: PathBuf,
        /// The old site's authority, kept elsewhere: tells whose backup it is
        #[arg(long, value_name = "FILE", required_unless_present = "any_authority")]
        ca: Option<PathBuf>,
        /// Take a backup of whoever signed it: it may be anybody's
        #[arg(long, conflicts_with = "ca")]
        any_authority: bool,
        /// Private key of an encrypted backup
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// Go on to a moment behind the backup, along the log that was archived
        /// behind it: 2026-11-30T09:15:00Z, or latest
        #[arg(long, value_name = "TIME", value_parser = points::until)]
        until: Option<Until>,
        /// Check signature, key and files (not what they hold), tell which moments
        /// can be had, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let Some(verb) = verb else { return last(globals).await };
    match verb {
        Verb::Create { dir, recipient, since, rate } => {
            let places = (dir.as_deref(), since.as_deref());
            make(globals, places, recipient.as_deref(), rate).await
        }
        Verb::List { dir: Some(dir) } => list(globals, &dir),
        Verb::List { dir: None } => list(globals, &globals.settings()?.backup.dir),
        Verb::Key { out } => keys::make(globals, &out),
        Verb::Verify { path, ca, scratch, identity } => {
            let (ca, identities) = (ca.as_deref().map(read_ca).transpose()?, keys::identities(identity.as_deref())?);
            verify(globals, &path, (ca.as_ref(), &identities), scratch.as_deref()).await
        }
        Verb::Restore { path, ca, dry_run, identity, until, .. } => {
            let (ca, identities) = (ca.as_deref().map(read_ca).transpose()?, keys::identities(identity.as_deref())?);
            restored(globals, &path, (ca.as_ref(), &identities), (until, dry_run)).await
        }
    }
}

/// When this node last made one, and when one was last verified.
async fn last(globals: &Globals) -> Done {
    let told = client(globals)?.get("/v1/backups").await?;
    let kept = &told["kept"];
    globals.out().one("BackupStatus", &told, "kept.path", || match kept["made"].as_str() {
        Some(made) => format!(
            "the last was made at {made}: {}\none was verified at {}{}",
            output::text(kept, "path"),
            kept["verified"].as_str().unwrap_or("-"),
            points::standing(&kept["archive"], "\n")
        ),
        None => "this node has made none".into(),
    });
    globals.out().next("spine backup create");
    Ok(())
}

fn told(what: &str, e: &BackupError) -> Failure {
    Failure::of(e.code(), what, e.to_string())
}

async fn make(
    globals: &Globals,
    (dir, since): (Option<&Path>, Option<&Path>),
    recipient: Option<&Path>,
    rate: u64,
) -> Done {
    let absolute = |dir: &Path| std::path::absolute(dir).map_err(|e| trouble("the folder cannot be named", dir, &e));
    let (dir, since) = (dir.map(absolute).transpose()?, since.map(absolute).transpose()?);
    let recipients = recipient.map(keys::recipients).transpose()?;
    let client = client(globals)?;
    let asked = json!({"dir": dir, "rate": rate.saturating_mul(1_000_000), "recipients": recipients, "since": since});
    let number = client.post("/v1/backups", &asked).await?["number"].clone();
    let ended = ended(globals, &client, &number).await?;
    if let Ok(failed) = serde_json::from_value::<Failure>(ended["error"].clone()) {
        return Err(failed);
    }
    let t = |path: &str| output::text(&ended, path);
    globals.out().one("Backup", &ended, "path", || {
        let bytes = ended["bytes"].as_u64().unwrap_or_default();
        let recipients: Vec<String> = serde_json::from_value(ended["recipients"].clone()).unwrap_or_default();
        let known = match ended["linked_bytes"].as_u64().unwrap_or_default() {
            0 => String::new(),
            linked => format!("; {} of it were there already", size(linked)),
        };
        let removed = ended["removed"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let removed: String = removed.map(|path| format!("\nremoved {path}")).collect();
        format!(
            "{}\n{} rows in {} files, {}, in {} s: {} MB/s, {}{known}{}{removed}",
            t("path"),
            t("rows"),
            t("files"),
            size(bytes),
            t("seconds"),
            t("mb_per_second"),
            keys::told(&recipients),
            lacking(ended["absent"].as_u64().unwrap_or_default(), "\n")
        )
    });
    globals.out().next(&format!("spine backup verify {}, and copy it to another place", t("path")));
    Ok(())
}

/// Waits until the backup has ended, and tells meanwhile how far it is.
async fn ended(globals: &Globals, client: &AdminClient, number: &Value) -> Result<Value, Failure> {
    let mut spoken = Instant::now();
    loop {
        let told = client.get("/v1/backups").await?;
        if told["last"]["number"] == *number {
            return Ok(told["last"].clone());
        }
        let running = &told["running"];
        // A node that was started again knows nothing of it, and one that made another since has forgotten it.
        if !running.is_object() || told["last"]["number"].as_u64() > number.as_u64() {
            let why = "the node was started again, or has made another meanwhile";
            let fix = "`spine backup` tells when the last one was made; else repeat the command";
            return Err(failure(&codes::BACKUP_FAILED, "how the backup went is not known", why, fix));
        }
        if spoken.elapsed() >= TELL && running.is_object() {
            spoken = Instant::now();
            let bytes = |name: &str| size(running[name].as_u64().unwrap_or_default());
            let phase = output::text(running, "phase");
            keys::progress(globals, &format!("{phase}: {} of {}", bytes("done_bytes"), bytes("total_bytes")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn list(globals: &Globals, dir: &Path) -> Done {
    let found = create::list(dir).map_err(|e| trouble("the folder cannot be read", dir, &e))?;
    let one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match Manifest::read(&RealFs, path, None) {
            Ok(manifest) => points::in_list(
                path,
                &manifest,
                json!({
                    "name": name, "site": manifest.site, "made": moment(manifest.made), "bytes": manifest.bytes(),
                    "size": size(manifest.bytes()), "rows": manifest.parts.iter().map(|part| part.rows).sum::<u64>(),
                    "release": manifest.release, "absent": manifest.absent.len(),
                    "recipients": manifest.recipients, "encrypted": keys::told(&manifest.recipients),
                    "result": format!("signed{}", lacking(manifest.absent.len() as u64, "; ")),
                }),
            ),
            Err(e) => json!({"name": name, "result": e.to_string()}),
        }
    };
    let items: Vec<Value> = found.iter().map(one).collect();
    let columns = [
        ("name", "name"),
        ("site", "site"),
        ("made", "made"),
        ("size", "size"),
        ("rows", "rows"),
        ("points until", "until"),
        ("encrypted", "encrypted"),
        ("manifest", "result"),
    ];
    globals.out().list("BackupList", &items, &columns, "name");
    match items.is_empty() {
        true => globals.out().next(&format!("spine backup create {}", dir.display())),
        false => globals.out().next(&format!("spine backup verify {}/NAME", dir.display())),
    }
    Ok(())
}

type Keys<'a> = (Option<&'a Ca>, &'a [Identity]);

async fn verify(globals: &Globals, path: &Path, keys: Keys<'_>, scratch: Option<&Path>) -> Done {
    let ca = keys.0;
    let read = Manifest::read(&RealFs, path, ca).map_err(|e| told("the backup cannot be relied on", &e))?;
    if !read.recipients.is_empty() {
        match (keys.1.is_empty(), scratch) {
            (true, _) => return compared(globals, path, ca).await,
            (false, None) => return Err(keys::no_place()),
            (false, Some(_)) => {}
        }
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = scratch.unwrap_or(parent);
    let scratch = check::scratch(above).map_err(|e| trouble("there is no place to replay it", above, &e))?;
    let begun = Instant::now();
    let checked = check::check(&world(), path, keys, &scratch, &Pace::new(u64::MAX)).await;
    let removed = std::fs::remove_dir_all(&scratch);
    let checked = checked.map_err(|e| told("the backup cannot be relied on", &e))?;
    removed.map_err(|e| trouble("the scratch folder cannot be removed", &scratch, &e))?;
    let one = |(partition, verdict): &(u16, Verdict)| json!({"partition": partition, "first": verdict.first, "told_by": verdict.told_by, "result": verdict.line()});
    let shortened: Vec<Value> = checked.shortened.iter().map(one).collect();
    let (manifest, seconds) = (&checked.manifest, begun.elapsed().as_secs_f64());
    // A node that runs here tells when a backup was last verified; where none does, nobody is told.
    if let Ok(client) = client(globals) {
        let told = json!({"cluster": manifest.cluster, "made": manifest.made, "node": manifest.node});
        let _ = client.post("/v1/backups/verified", &told).await;
    }
    let value = json!({
        "path": path, "site": manifest.site, "cluster": manifest.cluster, "made": moment(manifest.made),
        "partitions": manifest.parts.len(), "rows": checked.rows, "bodies": manifest.bodies.len(),
        "absent": manifest.absent.len(),
        "audit_shortened": shortened, "audit_records": checked.records, "audit_heads": checked.heads, "bytes": manifest.bytes(),
        "replayed": true, "archive": points::told(manifest, &checked.archive), "seconds": (seconds * 1000.0).round() / 1000.0, "authority": ca.as_ref().map_or("its own", |_| "the one given"),
    });
    let t = |path: &str| output::text(&value, path);
    globals.out().one("BackupVerified", &value, "path", || {
        format!(
            "whole: site {}, made {}\n{} rows, {} bodies, {} audit records with {} signed heads, {}, in {} s{}",
            t("site"),
            t("made"),
            t("rows"),
            t("bodies"),
            t("audit_records"),
            t("audit_heads"),
            size(manifest.bytes()),
            t("seconds"),
            lacking(manifest.absent.len() as u64, "\n")
                + &points::line(manifest, &checked.archive, true)
                + &shortened
                    .iter()
                    .map(|one| format!("\ntrail of partition {}: {}", one["partition"], output::text(one, "result")))
                    .collect::<String>()
        )
    });
    if ca.is_none() {
        globals.out().next("repeat with --ca and the site's own ca.pem: it also tells who signed it");
    }
    Ok(())
}

/// What can be told of an encrypted backup without its key: no node remembers that as a verification.
async fn compared(globals: &Globals, path: &Path, ca: Option<&Ca>) -> Done {
    let manifest = check::files(&world().fs, path, ca, &Pace::new(u64::MAX)).await;
    let manifest = manifest.map_err(|e| told("the backup cannot be relied on", &e))?;
    let archive = points::compared(path, &manifest, ca).await?;
    let (made, files) = (moment(manifest.made), manifest.files().count());
    let value = json!({
        "path": path, "site": manifest.site, "cluster": manifest.cluster, "made": made, "replayed": false,
        "files": files, "bytes": manifest.bytes(), "recipients": manifest.recipients,
        "archive": points::told(&manifest, &archive), "authority": ca.map_or("its own", |_| "the one given"),
    });
    globals.out().one("BackupCompared", &value, "path", || {
        format!(
            "as it was written: site {}, made {made}\n{files} files, {}{}\n{}",
            manifest.site,
            size(manifest.bytes()),
            points::line(&manifest, &archive, false),
            keys::unread(&manifest.recipients)
        )
    });
    globals.out().next("repeat with --identity and the private key, on a machine that may read what is in it");
    Ok(())
}

async fn restored(
    globals: &Globals,
    path: &Path,
    (ca, identities): Keys<'_>,
    (until, dry_run): (Option<Until>, bool),
) -> Done {
    let what = "nothing was restored";
    let settings = globals.settings()?;
    if let Ok(cluster) = identity::cluster_of(&settings) {
        let why = format!("{} is of site {cluster}", settings.peer.cert.display());
        return Err(Failure::of(&codes::RESTORE_OVER, what, why));
    }
    init::addressed(&settings)?;
    restore::room(&settings.node.data).map_err(|e| told(what, &e))?;
    let world = world();
    let begun = Instant::now();
    let restored = match dry_run {
        true => points::could_be(&world, path, (ca, identities), until).await,
        false => {
            let operator = format!("uid:{}", nix::unistd::getuid().as_raw());
            let (node, address) = (settings.node.number, settings.peer.advertise);
            let wanted = Wanted { data: &settings.node.data, node, address, operator, identities, until };
            let made = restore::prepare(&world, path, ca, &wanted).await;
            made.map(|(manifest, point)| (manifest, point, Archive::default()))
        }
    };
    let (manifest, point, archive) = restored.map_err(|e| told(what, &e))?;
    let cluster = match dry_run {
        true => String::new(),
        false => found(&world, &settings, &manifest).await?,
    };
    let seconds = (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    let partitions = manifest.parts.len().saturating_sub(1);
    let as_of = moment(point.as_ref().map_or(manifest.made, |point| point.moment));
    // What a point lacks is known when it is there.
    let absent = point.as_ref().filter(|_| !dry_run).map_or(manifest.absent.len() as u64, |point| point.absent);
    let value = json!({
        "cluster": cluster, "from": manifest.cluster, "site": manifest.site, "made": moment(manifest.made), "as_of": as_of,
        "went_back": point.as_ref().map_or(0, |point| point.back), "archive": points::told(&manifest, &archive),
        "node": settings.node.number, "partitions": partitions, "absent": absent, "dry_run": dry_run,
        "seconds": seconds,
    });
    let lacking = lacking(absent, "\n");
    globals.out().one("Restored", &value, "cluster", || match dry_run {
        true => format!(
            "would restore site {} as of {as_of}: signed, and every file is as it was written{}\nwhat the files hold was not replayed: `spine backup verify` does that{lacking}",
            manifest.site,
            points::line(&manifest, &archive, false),
        ),
        false => format!(
            "restored site {} as of {as_of} in {seconds} s{}\nit is the new site {cluster}; this is its node {}{lacking}",
            manifest.site,
            points::went_back(point.as_ref()),
            settings.node.number
        ),
    });
    globals.out().next(match dry_run {
        true => "repeat without --dry-run",
        false => "`spine serve` (or `systemctl start spine`), `spine audit verify`, then `spine cluster invite`",
    });
    Ok(())
}

/// Makes the new site's authority, then puts the data in their place, then makes this node's identity. The old authority's
/// certificate goes into a file of its own, which only a verification of the trail reads: who holds the old key gets in nowhere.
async fn found(world: &World, settings: &Settings, manifest: &Manifest) -> Result<String, Failure> {
    let cluster = uuid::Uuid::new_v4().to_string();
    let (ca, node) = init::authority(settings, &cluster)?;
    write_private(&settings.peer.ca_key, ca.key())?;
    write_private(&settings.peer.ca, ca.cert())?;
    write_private(&identity::trail_authorities(settings), &manifest.ca)?;
    write_private(&settings.peer.key, &node.key)?;
    restore::settle(world, &settings.node.data).await.map_err(|e| told("nothing was restored", &e))?;
    let partitions = u16::try_from(manifest.parts.len().saturating_sub(1)).unwrap_or(u16::MAX);
    init::first_node(settings, &cluster, &node, (partitions, false))?;
    Ok(cluster)
}

/// Bodies that rows name and no node had whole when the backup was made; nothing where it holds all.
fn lacking(absent: u64, before: &str) -> String {
    match absent {
        0 => String::new(),
        n => format!("{before}{n} bodies are not in it: rows name them, and no node had them whole"),
    }
}

fn read_ca(path: &Path) -> Result<Ca, Failure> {
    let pem = std::fs::read(path).map_err(|e| trouble("the authority cannot be read", path, &e))?;
    authority(&pem).map_err(|why| {
        let why = format!("{}: {why}", path.display());
        failure(&codes::CLI_CERTIFICATE, "the authority cannot be read", why, "name the site's peer.ca file (ca.pem)")
    })
}

fn world() -> World {
    World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) }
}

fn moment(millis: u64) -> String {
    jiff::Timestamp::from_millisecond(millis as i64).map(|t| t.to_string()).unwrap_or_default()
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
