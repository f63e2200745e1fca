//! Who this node is: its certificate says node and site, a small file in the data folder says which incarnation.
//!
//! The file is gone with the data; then the node asks its peers for its next incarnation (`docs/decisions`), so that a
//! lost log never takes back a vote or an acknowledgement (P1, P9).

use crate::config::Settings;
use crate::node::pki;
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The format of everything in the data folder. A release that writes any file there in a form that releases before it
/// cannot read says a higher number here first, so that those leave the folder alone (P8).
pub const FORMAT: u32 = 1;

/// What `node.data/identity.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// See [`FORMAT`].
    pub format: u32,
    pub cluster: String,
    pub node: u16,
    pub incarnation: u16,
    /// Partitions of the services' data, fixed when the site was made.
    pub partitions: u16,
    /// This node made the site, and its groups have yet to be started with itself as the only voter.
    pub founder: bool,
    /// The log has held something since: an empty one has lost it.
    pub settled: bool,
}

/// Why a node cannot tell who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path}: {why}")]
    Malformed { path: PathBuf, why: String },
    /// Written by a newer release.
    #[error("{path}: format {format} is newer than this program reads")]
    Newer { path: PathBuf, format: u64 },
    /// The file is there and is not what was written: who this node was is lost.
    #[error("{path} is damaged: {why}")]
    Damaged { path: PathBuf, why: String },
    /// No certificate of a site: neither `init` nor `join` was run.
    #[error("{0} does not exist")]
    NoCertificate(PathBuf),
    #[error("{path} is of node {found}, the configuration says node {wanted}")]
    OtherNode { path: PathBuf, found: String, wanted: String },
}

impl Identity {
    pub fn path(data: &Path) -> PathBuf {
        data.join("identity.json")
    }

    /// `None` where the data folder holds none: new or wiped.
    pub fn read(data: &Path) -> Result<Option<Identity>, IdentityError> {
        let path = Self::path(data);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IdentityError::Io { path, error }),
        };
        let damaged = |why: String| IdentityError::Damaged { path: path.clone(), why };
        let text = String::from_utf8(bytes).map_err(|e| damaged(e.to_string()))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if !whole(&text) {
            return Err(damaged("its checksum is another".into()));
        }
        // The format alone first: a newer one may hold other things.
        match value["format"].as_u64() {
            Some(format) if format > FORMAT.into() => Err(IdentityError::Newer { path, format }),
            Some(_) => serde_json::from_value(value).map(Some).map_err(|e| damaged(e.to_string())),
            None => Err(damaged("it names no format".into())),
        }
    }

    /// Durable when it returns: file synced, renamed, folder synced.
    pub fn write(&self, data: &Path) -> Result<(), IdentityError> {
        let path = Self::path(data);
        let wrap = |error: io::Error| IdentityError::Io { path: path.clone(), error };
        // Messages and passwords lie in there: nobody else may look.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(wrap)?;
        let text = sealed(&serde_json::to_string_pretty(self).unwrap_or_default());
        let temporary = path.with_extension("tmp");
        let write = || -> io::Result<()> {
            use std::io::Write;
            let mut file = std::fs::File::create(&temporary)?;
            // As all else in the folder, whatever the umask of whoever runs this.
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            give_to_owner(&file, data)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(data)?.sync_all()
        };
        write().map_err(wrap)
    }
}

/// The oldest release that reads what this one writes whatever the site's level. Raised with a stored format that older ones
/// cannot read and that does not wait for a level.
const OLDEST_READER: &str = "0.1.0";
/// For each level, from 1 on, the first release that knows it. A release adds a line where it has something that earlier ones
/// cannot read or would decide otherwise, and uses that only where `level::allows` says that the whole site knows it (P8).
const LEVELS: &[&str] = &["0.1.0"];
/// The highest level that this program knows.
pub const LEVEL: u32 = LEVELS.len() as u32;
/// Read by the package, which refuses to go below it, and by the node before it opens anything.
const NEEDS_RELEASE: &str = "needs-release";

/// The release that data of a site of this level need at least.
fn needed(level: u32) -> &'static str {
    let first = LEVELS.get(level.max(1) as usize - 1).copied().unwrap_or(OLDEST_READER);
    if numbers(first) > numbers(OLDEST_READER) { first } else { OLDEST_READER }
}

/// A release as what can be compared.
fn numbers(release: &str) -> Vec<u64> {
    release.trim().split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The release that the data say they need, where that is later than `program`: this one must leave them alone.
pub fn needs_later(data: &Path, program: &str) -> Option<String> {
    let noted = std::fs::read_to_string(data.join(NEEDS_RELEASE)).ok()?;
    (numbers(&noted) > numbers(program)).then(|| noted.trim().to_owned())
}

/// Leaves word beside the data which release they need, of a site of this level. Never lowered: what a later release wrote is
/// still there.
pub fn note_release(data: &Path, level: u32) -> Result<(), IdentityError> {
    note_needed(data, needed(level))
}

fn note_needed(data: &Path, needed: &str) -> Result<(), IdentityError> {
    let path = data.join(NEEDS_RELEASE);
    let noted = std::fs::read_to_string(&path).unwrap_or_default();
    if numbers(&noted) >= numbers(needed) {
        return Ok(());
    }
    let temporary = path.with_extension("tmp");
    let text = format!("{needed}\n");
    let wrote = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &path));
    wrote.map_err(|error| IdentityError::Io { path, error })
}

/// A file made by root in a folder that belongs to the daemon belongs to the daemon, too: `init` and `join` are root's.
fn give_to_owner(file: &std::fs::File, folder: &Path) -> io::Result<()> {
    match owner(folder)? {
        Some((uid, gid)) => std::os::unix::fs::fchown(file, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Likewise of a folder and all that is in it: `backup restore` is root's, too. Whatever the umask of whoever restores, nobody
/// but the daemon may look into it. No link is followed.
pub fn give_tree_to_owner(top: &Path, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let owner = owner(folder)?;
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let kind = std::fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
        if !kind.is_symlink() {
            let mode = if kind.is_dir() { 0o700 } else { 0o600 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::lchown(&path, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// Whom a folder belongs to, where that is not root and root asks.
fn owner(folder: &Path) -> io::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(folder)?;
    let other = nix::unistd::geteuid().is_root() && owner.uid() != 0;
    Ok(other.then(|| (owner.uid(), owner.gid())))
}

/// Beside `peer.ca`: authorities of sites that this one was restored from. They prove the older signatures of the audit trail and
/// nothing else: nobody gets in with a certificate of theirs.
pub fn trail_authorities(settings: &Settings) -> PathBuf {
    settings.peer.ca.with_file_name("trail-authorities.pem")
}

/// Their certificates, PEM; empty where there are none.
pub fn read_trail_authorities(settings: &Settings) -> io::Result<String> {
    match std::fs::read_to_string(trail_authorities(settings)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The last field: CRC-32C of the text with zeroes in its place, in eight hex digits.
const CHECK: &str = "\"check\": \"";
const ZEROES: &str = "00000000";

/// An object's text with its checksum.
fn sealed(object: &str) -> String {
    let open = object.trim_end().trim_end_matches('}').trim_end();
    let text = format!("{open},\n  {CHECK}{ZEROES}\"\n}}\n");
    let check = format!("{:08x}", crc32c::crc32c(text.as_bytes()));
    text.replace(&format!("{CHECK}{ZEROES}"), &format!("{CHECK}{check}"))
}

/// Whether a text is as it was sealed. One of a release that did not seal has no checksum, and is taken as it is.
fn whole(text: &str) -> bool {
    let Some(at) = text.find(CHECK).map(|at| at + CHECK.len()) else { return true };
    let (Some(check), Some(rest)) = (text.get(at..at + ZEROES.len()), text.get(at + ZEROES.len()..)) else {
        return false;
    };
    let blank = format!("{}{ZEROES}{rest}", &text[..at]);
    check == format!("{:08x}", crc32c::crc32c(blank.as_bytes()))
}

/// The site that this node's certificate names, checked against its number.
pub fn cluster_of(settings: &Settings) -> Result<String, IdentityError> {
    let path = settings.peer.cert.clone();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IdentityError::NoCertificate(path)),
        Err(error) => return Err(IdentityError::Io { path, error }),
    };
    let told = pki::describe(&text).map_err(|e| IdentityError::Malformed { path: path.clone(), why: e.to_string() })?;
    let name = told.into_iter().next().map(|d| d.common_name).unwrap_or_default();
    match pki::parse_node_common_name(&name) {
        Some((number, cluster)) if number == settings.node.number => Ok(cluster.to_owned()),
        Some((number, _)) => {
            Err(IdentityError::OtherNode { path, found: number.to_string(), wanted: settings.node.number.to_string() })
        }
        None => Err(IdentityError::Malformed { path, why: format!("{name} is no node's name") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_and_its_absence_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert_eq!(Identity::read(&data).unwrap(), None);
        let identity = Identity {
            format: FORMAT,
            cluster: "c".into(),
            node: 2,
            incarnation: 3,
            partitions: 4,
            founder: false,
            settled: true,
        };
        identity.write(&data).unwrap();
        assert_eq!(Identity::read(&data).unwrap(), Some(identity.clone()));
        Identity { format: 9, ..identity }.write(&data).unwrap();
        assert!(Identity::read(&data).unwrap_err().to_string().contains("newer"));
        std::fs::write(Identity::path(&data), "{\"format\": 2, \"site\": {}}").unwrap();
        assert!(matches!(Identity::read(&data), Err(IdentityError::Newer { format: 2, .. })), "whatever else it holds");
    }

    /// `init` is root's, the data are the daemon's. Only root can give files away, so only root can test it.
    #[test]
    fn what_root_makes_in_the_daemons_folder_is_the_daemons() {
        use std::os::unix::fs::{MetadataExt, chown};
        let dir = tempfile::tempdir().unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(dir.path(), Some(12_345), Some(12_346)).unwrap();
        }
        let folder = std::fs::metadata(dir.path()).unwrap();
        let identity = Identity {
            format: FORMAT,
            cluster: "c".into(),
            node: 1,
            incarnation: 1,
            partitions: 1,
            founder: true,
            settled: false,
        };
        identity.write(dir.path()).unwrap();
        let made = std::fs::metadata(Identity::path(dir.path())).unwrap();
        assert_eq!((made.uid(), made.gid()), (folder.uid(), folder.gid()));
    }

    #[test]
    fn what_root_restores_into_the_daemons_folder_is_the_daemons_whole() {
        use std::os::unix::fs::{MetadataExt, chown, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (data, outside) = (dir.path().join("data"), dir.path().join("outside"));
        std::fs::create_dir_all(data.join("stage/store/p0")).unwrap();
        std::fs::write(data.join("stage/store/p0/a.snap"), "x").unwrap();
        std::fs::write(&outside, "x").unwrap();
        symlink(&outside, data.join("stage/link")).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(&data, Some(12_345), Some(12_346)).unwrap();
        }
        give_tree_to_owner(&data.join("stage"), &data).unwrap();
        let of = |path: &Path| std::fs::symlink_metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        for made in ["stage", "stage/store", "stage/store/p0", "stage/store/p0/a.snap", "stage/link"] {
            assert_eq!(of(&data.join(made)), of(&data), "{made}");
        }
        assert_eq!(of(&outside), of(dir.path()), "no link is followed");
    }

    #[test]
    fn the_release_that_data_need_is_noted_and_never_lowered() {
        let dir = tempfile::tempdir().unwrap();
        let noted = || std::fs::read_to_string(dir.path().join(NEEDS_RELEASE)).unwrap();
        assert_eq!(needs_later(dir.path(), "0.1.0"), None, "new");
        note_release(dir.path(), 1).unwrap();
        assert_eq!(noted(), format!("{OLDEST_READER}\n"));
        std::fs::write(dir.path().join(NEEDS_RELEASE), "0.0.9\n").unwrap();
        note_release(dir.path(), LEVEL).unwrap();
        assert_eq!(noted(), format!("{}\n", needed(LEVEL)));
        note_needed(dir.path(), "0.9.0").unwrap();
        assert_eq!(noted(), "0.9.0\n", "a level was raised that 0.9.0 is the first to know");
        assert_eq!(needs_later(dir.path(), "0.8.12"), Some("0.9.0".into()));
        assert_eq!((needs_later(dir.path(), "0.9.0"), needs_later(dir.path(), "0.10.0")), (None, None));
        std::fs::write(dir.path().join(NEEDS_RELEASE), "12.0.0\n").unwrap();
        note_release(dir.path(), LEVEL).unwrap();
        assert_eq!(noted(), "12.0.0\n", "a later release was here");
    }

    /// The table of levels is what the package and older programs go by.
    #[test]
    fn each_level_has_the_release_that_knows_it_first_and_this_one_knows_all() {
        assert!(LEVELS.is_sorted_by_key(|release| numbers(release)), "{LEVELS:?}");
        let this = numbers(crate::ops::recorder::VERSION);
        assert!(LEVELS.iter().chain([&OLDEST_READER]).all(|release| numbers(release) <= this), "{LEVELS:?}");
    }

    #[test]
    fn no_damage_passes_for_another_identity() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let identity = Identity {
            format: 1,
            cluster: "c".into(),
            node: 2,
            incarnation: 3,
            partitions: 4,
            founder: false,
            settled: true,
        };
        identity.write(data).unwrap();
        let path = Identity::path(data);
        let good = std::fs::read(&path).unwrap();
        let named = good.windows(7).position(|w| w == b"\"check\"").unwrap();
        let read_with = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Identity::read(data)
        };
        let damaged = |bytes: &[u8]| matches!(read_with(bytes), Err(IdentityError::Damaged { .. }));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Without the name of the checksum it passes for a file of an earlier release, whole as it is.
            let unnamed = (named..named + 10).contains(&(bit / 8));
            let still = unnamed && read_with(&bad).is_ok_and(|read| read == Some(identity.clone()));
            assert!(still || damaged(&bad), "bit {bit}");
        }
        assert!((0..good.len() - 2).all(|len| damaged(&good[..len])), "cut off");
        assert!(damaged(&vec![0; good.len()]), "zeroed");
        let older = serde_json::to_string_pretty(&identity).unwrap();
        assert_eq!(read_with(older.as_bytes()).unwrap(), Some(identity));
    }
}
