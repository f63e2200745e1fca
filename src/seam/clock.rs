//! Wall-clock time as Spine sees it. Intervals and timeouts use `tokio::time`, which a simulation can pause.

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Millis;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.map(|d| d.as_millis() as u64).unwrap_or(0);
        #[cfg(debug_assertions)]
        let now = now.saturating_add_signed(development::ahead());
        Millis(now)
    }
}

/// A clock that a test sets wrong in one process of a development build: no tool can do that to a static program from
/// outside without setting the machine's own. Release builds do not know the variable; `tests/static` looks.
#[cfg(debug_assertions)]
mod development {
    use std::{path::PathBuf, sync::LazyLock};

    /// Names a file that holds by how many milliseconds the clock is ahead; read anew each time, so that a running node's
    /// clock can be set.
    const FILE: &str = "SPINE_TEST_CLOCK_FILE";

    pub fn ahead() -> i64 {
        static PATH: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(FILE).map(PathBuf::from));
        let text = PATH.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}
