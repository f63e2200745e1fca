//! Where the world outside comes in: file system, network, clock and randomness, each behind a narrow trait.
//!
//! Nothing in `engine`, `consensus`, `log` or `store` reaches around these, so that a whole site can run in one
//! thread from one seed (`tests/sim`). Real implementations live beside the traits; simulated ones in `sim`.

pub mod clock;
pub mod fs;
pub mod fs_real;
pub mod net;
pub mod pace;
pub mod rng;
pub mod sim;
pub mod spans;
pub mod trouble;

use std::sync::Arc;

/// Everything non-deterministic a room may use. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub fs: Arc<dyn fs::Fs>,
    pub clock: Arc<dyn clock::Clock>,
    pub rng: Arc<dyn rng::Rng>,
}
