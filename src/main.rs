//! The program: arguments in, exit code out. Everything else is in the library.

/// mimalloc: static glibc malloc fragments and is several times slower under many threads (docs/decisions).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spine::cli::main()
}
