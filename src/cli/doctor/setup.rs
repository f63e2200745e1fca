//! Which configuration is examined: that of the node that answers on the socket, so that a node started with other files
//! than the package's is judged by its own; and whether those files still say what the node runs with.

use super::Finding;
use crate::{
    cli::{
        args::Globals,
        failure::{self, Failure},
    },
    config::{Running, Settings},
};

const CHECK: &str = "configuration";

/// The settings to examine, and what is to be said of them. What `--config` and `--set` say wins over the
/// node's.
pub async fn settle(globals: &Globals) -> Result<(Settings, Finding), Failure> {
    match globals.running().await {
        Ok(running) if globals.config.is_none() && globals.set.is_empty() => {
            let settings = running.settings().map_err(failure::config)?;
            Ok((settings, compared(&running)))
        }
        answer => {
            let settings = globals.settings()?;
            let own = settings.told.file.display().to_string();
            let finding = match answer {
                Ok(running) if running.file != settings.told.file => Finding::warn(
                    CHECK,
                    format!("{own}, but the node runs with {}", running.file.display()),
                    "leave --config out to check what the node runs with",
                ),
                Ok(running) => compared(&running),
                Err(_) if settings.told.read => Finding::ok(CHECK, format!("{own} can be used")),
                Err(_) => Finding::ok(CHECK, format!("every default, as there is no {own}")),
            };
            Ok((settings, finding))
        }
    }
}

/// What the node would start with next time, against what it runs with.
fn compared(running: &Running) -> Finding {
    let file = running.file.display();
    let now = running.sources().read().and_then(|layers| Settings::from_layers(&layers).map(|_| layers));
    match now {
        Err(e) => Finding::fail(CHECK, format!("the node would not start again: {e}"), e.fix),
        Ok(layers) => match running.differing(&layers) {
            keys if keys.is_empty() => Finding::ok(CHECK, format!("the node runs with {file}")),
            keys => Finding::warn(
                CHECK,
                format!("{file} and its drop-ins say otherwise than the node runs with: {}", keys.join(", ")),
                "restart the node to take it, or take it back",
            ),
        },
    }
}
