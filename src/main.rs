//! Arguments in, exit code out.

/// A session makes and frees a few small things for every statement: this
/// allocator does that in half the instructions of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    portcullis::cli::main()
}
