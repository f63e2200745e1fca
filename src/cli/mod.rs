//! The operator's command line, one file per command group.

/// Parses the arguments and runs the command they name.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
