//! The operator's command line, one file per command group.

pub mod bench;

/// Parses the arguments and runs the command they name.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
