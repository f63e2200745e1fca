//! Fuzz targets for every parser of Spine: what reaches the program from outside, from peers and from its own disk.
//!
//! A target asserts more than "no panic": what decodes encodes again to the same (P8), and no input makes the program
//! take memory beyond a bound (P6), which stands with each target in [`targets`]. Two drivers run them: libFuzzer,
//! which follows coverage (`guided`), and plain mutation of the corpus where no C++ compiler is to be had (`plain`).

pub mod memory;
pub mod targets;

use std::path::Path;
use targets::Target;

/// Runs a target on one input and holds its bound of memory.
pub fn run(target: &Target, input: &[u8]) {
    let before = memory::mark();
    (target.run)(input);
    let most = memory::peak().saturating_sub(before);
    let bound = target.base + target.factor * input.len();
    assert!(most <= bound, "{}: {most} bytes taken for an input of {}; at most {bound}", target.name, input.len());
}

/// The target of this name; panics with a list where there is none.
pub fn target(name: &str) -> &'static Target {
    let known = || targets::ALL.iter().map(|t| t.name).collect::<Vec<_>>().join(" ");
    targets::ALL.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no target {name}; there are: {}", known()))
}

/// Writes what our own encoders make, and hand-made hostile input, as the corpus of each target.
pub fn write_seeds(dir: &Path) {
    for target in targets::ALL {
        let folder = dir.join(target.name);
        std::fs::create_dir_all(&folder).expect("the corpus folder can be made");
        for (number, seed) in (target.seeds)().iter().enumerate() {
            assert!(seed.len() <= target.longest, "{}: seed {number} is too long", target.name);
            std::fs::write(folder.join(format!("seed-{number:03}")), seed).expect("a seed can be written");
        }
    }
}
