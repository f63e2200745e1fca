//! Where a node keeps the backups that it makes by itself, how many, and whom they are encrypted for.

use super::{ConfigError, Settings};
use std::path::PathBuf;

/// Settings of backups, named after their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub dir: PathBuf,
    /// Whole backups of this node that stay there.
    pub keep: usize,
    /// File of public keys. None: not encrypted.
    pub recipient: Option<PathBuf>,
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
        Ok(())
    }
}
