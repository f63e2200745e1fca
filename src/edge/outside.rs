//! Questions that requests have for addresses outside the site, such as what a citizen's log-in at their provider was: a few at once,
//! and of these no more than a handful for one share, so that a provider that is slow holds no more than its part of the turns (P6).
//! Time and size of each are the backend's to bound.

use super::backend::Backend;
use super::protocol::{Heard, Question};
use super::tenant::CertificateHash;
use super::thoughts::Crowd;

/// On one listener: each of them holds one of its turns, of which there are several times as many.
const MOST: usize = 16;
/// Of one share: many citizens come from behind one address, and each is there for the time of one answer.
const MOST_OF_SHARE: usize = 4;

/// A listener's.
pub struct Outside(Crowd);

impl Default for Outside {
    fn default() -> Self {
        Outside(Crowd::new(MOST, MOST_OF_SHARE))
    }
}

impl Outside {
    /// The answer. Where too many ask already, that is told at once.
    pub async fn ask(&self, backend: &dyn Backend, share: CertificateHash, question: &Question) -> Heard {
        let Some(_here) = self.0.enter(share) else { return Err("busy") };
        backend.ask(question).await
    }
}
