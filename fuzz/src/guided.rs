//! The guided driver: libFuzzer over the target that `SPINE_FUZZ_TARGET` names. `SPINE_FUZZ_SEEDS=DIR` writes the seeds
//! of all targets instead, for the corpora.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spine_fuzz::targets::Target;
use std::sync::OnceLock;

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn begin() {
    if let Ok(dir) = std::env::var("SPINE_FUZZ_SEEDS") {
        spine_fuzz::write_seeds(std::path::Path::new(&dir));
        std::process::exit(0);
    }
    let name = std::env::var("SPINE_FUZZ_TARGET").expect("SPINE_FUZZ_TARGET names a target");
    CHOSEN.get_or_init(|| spine_fuzz::target(&name));
}

fuzz_target!(init: begin(), |input: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        spine_fuzz::run(target, input);
    }
});
