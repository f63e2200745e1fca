//! The plain driver: replays corpora, and mutates the corpus without looking at coverage. It needs
//! nothing but cargo, and stands in where libFuzzer cannot be built.
//!
//! `plain replay TARGET FOLDER...` · `plain fuzz TARGET SECONDS FOLDER...`

use spine_fuzz::{run, target};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// An input that takes longer than this is a failure, as it is under libFuzzer.
const SLOWEST: Duration = Duration::from_secs(10);

/// What is being run, for the message of a panic.
static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["replay", name, folders @ ..] => {
            let corpus = corpus(folders);
            keep_the_input_of_a_panic(name);
            corpus.iter().for_each(|input| one(name, input));
            println!("{name}: {} inputs replayed", corpus.len());
        }
        ["fuzz", name, seconds, folders @ ..] => fuzz(name, seconds.parse().expect("SECONDS is a number"), folders),
        _ => panic!("plain replay TARGET FOLDER... | fuzz TARGET SECONDS FOLDER..."),
    }
}

fn corpus(folders: &[&str]) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = vec![];
    for folder in folders {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder}: {e}"));
        files.extend(entries.map(|e| e.expect("a folder can be listed").path()));
    }
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a corpus file can be read")).collect()
}

fn keep_the_input_of_a_panic(name: &str) {
    let (before, name) = (std::panic::take_hook(), name.to_owned());
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let file = std::env::temp_dir().join(format!("crash-{name}"));
        let input = INPUT.lock().unwrap_or_else(|e| e.into_inner());
        match std::fs::write(&file, &*input) {
            Ok(()) => eprintln!("the input is in {}", file.display()),
            Err(e) => eprintln!("the input could not be kept: {e}: {input:?}"),
        }
        std::process::abort();
    }));
}

fn one(name: &str, input: &[u8]) {
    INPUT.lock().expect("nobody panics with it").splice(.., input.iter().copied());
    let begun = Instant::now();
    run(target(name), input);
    assert!(begun.elapsed() < SLOWEST, "{name}: took {:?}", begun.elapsed());
}

fn fuzz(name: &str, seconds: u64, folders: &[&str]) {
    keep_the_input_of_a_panic(name);
    let corpus = corpus(folders);
    corpus.iter().for_each(|input| one(name, input));
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let mut luck = Luck(since | 1);
    let (begun, mut runs) = (Instant::now(), 0u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut input = luck.pick(&corpus).cloned().unwrap_or_default();
        for _ in 0..=luck.below(6) {
            luck.mutate(&mut input, &corpus);
        }
        input.truncate(target(name).longest);
        one(name, &input);
        runs += 1;
    }
    println!("{name}: {runs} inputs in {seconds} s without coverage, none failed");
}

/// xorshift64*: speed matters, quality does not.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, u64::MAX - 1, u64::MAX];
        let (at, to) = (self.below(input.len()), self.below(input.len() + 1));
        let (from, until) = (at.min(to), at.max(to));
        match self.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = self.next() as u8,
            2 => input.insert(at, self.next() as u8),
            3 => drop(input.drain(from..until)),
            4 => {
                let piece = input[from..until].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                input.splice(at..(at + width).min(input.len()), edge[..width].iter().copied());
            }
            6 => {
                let other = self.pick(corpus).cloned().unwrap_or_default();
                let (a, b) = (self.below(other.len()), self.below(other.len() + 1));
                input.splice(from..until, other[a.min(b)..a.max(b)].iter().copied());
            }
            _ => input.truncate(to),
        }
    }
}
