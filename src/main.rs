//! The program: arguments in, exit code out. Everything else is in the library.

/// jemalloc: static glibc malloc fragments and is several times slower under many threads (docs/decisions/allocator.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    spine::cli::main()
}
