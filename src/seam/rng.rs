//! Randomness as Spine sees it: ids, nonces, jitter. A simulation gives a seeded one.

pub trait Rng: Send + Sync + 'static {
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's generator through the TLS library's.
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, out: &mut [u8]) {
        // A machine without entropy cannot run TLS either; going on would hand out guessable ids.
        aws_lc_rs::rand::fill(out).expect("the system's random generator answers");
    }
}
