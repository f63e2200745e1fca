//! Where a node keeps the backups that it makes by itself, how many, and whom they are encrypted for.

use super::{ConfigError, Settings};
use std::{path::PathBuf, time::Duration};

/// How seldom the log may be archived: a body whose message was collected stays on the nodes for an hour, and no longer.
const SELDOM: Duration = Duration::from_secs(30 * 60);

/// Less than this of the log is held for no archive.
const LEAST_HELD: u64 = 1 << 20;

/// Settings of backups, named after their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub dir: PathBuf,
    /// Whole backups of this node that stay there.
    pub keep: usize,
    /// File of public keys. None: not encrypted.
    pub recipient: Option<PathBuf>,
    /// How often the log behind the newest backup is archived. None: it is not.
    pub archive_every: Option<Duration>,
    /// Log bytes that are kept for it at most.
    pub archive_hold: u64,
}

impl Settings {
    /// A backup that goes away with the data, or lies wherever the daemon was started, is none.
    pub(super) fn check_backup(&self, place: impl Fn(&str) -> String) -> Result<(), ConfigError> {
        let dir = &self.backup.dir;
        let wrong = |problem: String| {
            let fix = "name a folder outside node.data, from the root on, such as \"/var/lib/spine-backup\"";
            Err(ConfigError::new(place("backup.dir"), problem, fix))
        };
        if !dir.is_absolute() {
            return wrong(format!("backup.dir is {:?}, not a whole path", dir.display().to_string()));
        }
        if dir.starts_with(&self.node.data) {
            return wrong(format!(
                "{} lies inside node.data: a disk that is lost would take the backups along",
                dir.display()
            ));
        }
        match self.backup.archive_every {
            Some(every) if every < Duration::from_secs(1) || every > SELDOM => Err(ConfigError::new(
                place("backup.archive_every"),
                "backup.archive_every is shorter than a second or longer than half an hour",
                "write a duration such as \"1m\", or \"0s\" for no archive",
            )),
            Some(_) if self.backup.archive_hold < LEAST_HELD => Err(ConfigError::new(
                place("backup.archive_hold"),
                "backup.archive_hold is less than 1 MiB: the archive would end at once",
                "write a size that the log written while a backup is made is well below, such as \"1GiB\"",
            )),
            _ => Ok(()),
        }
    }
}
