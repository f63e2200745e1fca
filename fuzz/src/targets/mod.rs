//! The targets, each with its bound of memory: `base` bytes and `factor` more for each byte of input.

mod block;
mod certificates;
mod config;
mod credentials;
mod deciding;
mod directory;
mod frames;
mod http;
mod json;
mod log;
mod papers;
mod paths;
mod people;
mod prescriptions;
mod records;
mod snapshot;
mod tokens;
mod xml;

/// One parser, or a family of them that read the same kind of input.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Real bytes from our own encoders, and hostile ones by hand: where mutation starts.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Longest input worth trying.
    pub longest: usize,
    pub base: usize,
    pub factor: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub const ALL: &[Target] = &[
    http::TARGET,
    paths::TARGET,
    tokens::TARGET,
    json::TARGET,
    certificates::TARGET,
    frames::TARGET,
    records::TARGET,
    log::TARGET,
    block::TARGET,
    snapshot::TARGET,
    config::TARGET,
    credentials::TARGET,
    directory::TARGET,
    people::TARGET,
    xml::TARGET,
    prescriptions::TARGET,
];

/// Input taken apart from the front; what is not there reads as zero.
struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
    fn u32(&mut self) -> u32 {
        self.bytes(4).iter().rev().fold(0, |n, b| n << 8 | u32::from(*b))
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
