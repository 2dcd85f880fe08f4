//! `portcullis plugin`: everything between the idea of a policy and a component in a gate.
//!
//! Deliberately not here: what speaks to a running gate, which is in `live`. A
//! gate notices a new file by itself.
//!
//! Read [`Command`] first, one command a file.

mod ask;
mod bench;
mod build;
pub(super) mod cache;
mod host;
mod inspect;
mod install;
mod list;
mod new;
mod package;
mod questions;

mod sign;
mod test;
mod verdicts;
mod watch;
mod wit;

use std::path::PathBuf;
use std::process::ExitCode;

/// Makes plugins, looks at them, tries them out.
#[derive(Debug, clap::Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Starts a policy crate, ready to compile and test without network
    New {
        /// Folder to make; its name is the name of the policy
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Take the SDK of this version from the registry
        #[arg(long, value_name = "VERSION")]
        sdk: Option<String>,
    },
    /// Builds a policy crate into a component
    Build {
        /// Folder of the crate
        #[arg(value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// File to write; without it, NAME.wasm in the folder
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Builds after every change; a gate that uses the file swaps it in
    Watch {
        /// Folder of the crate
        #[arg(value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// File to write; without it, NAME.wasm in the folder
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Runs the golden cases natively and compiled; both must agree
    Test {
        /// Folder of the crate
        #[arg(value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Asks one policy about one statement
    Run(ask::Run),
    /// Measures nanoseconds per verdict
    Bench(bench::Bench),
    /// Shows its manifest, interface, capabilities, size and hash
    Inspect {
        /// A component file, or the name of a built-in plugin
        #[arg(value_name = "FILE|NAME")]
        plugin: String,
    },
    /// Lists what a configuration installs
    List {
        /// The configuration; else the default policies are shown
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// text or json
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: Format,
    },
    /// Writes the interface, for languages that have no SDK
    Wit {
        /// Folder to write policy.wit into
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Finishes a component of another language: puts its manifest in
    Package {
        /// The component, or a core module
        #[arg(value_name = "FILE")]
        plugin: PathBuf,
        /// The manifest
        #[arg(long, value_name = "FILE", default_value = "policy.toml")]
        manifest: PathBuf,
        /// File to write; without it, NAME.wasm beside the manifest
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Makes a pair of keys for signing
    Key {
        /// File for the private key; the public one lies beside it, in FILE.pub
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Signs a component
    Sign {
        /// The component
        #[arg(value_name = "FILE")]
        plugin: PathBuf,
        /// The private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File to write; without it, the component itself
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Says who signed a component
    Verify {
        /// The component
        #[arg(value_name = "FILE")]
        plugin: PathBuf,
        /// A public key, or its file: one of them must have signed
        #[arg(long = "key", value_name = "KEY|FILE")]
        keys: Vec<String>,
    },
    /// Puts a component into the folder of the plugins
    Install(install::Install),
    #[command(flatten)]
    Live(super::live::Live),
    /// Answers the native tests of a policy; the SDK starts it
    #[command(hide = true)]
    Host,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

pub(super) fn run(plugin: &Plugin) -> ExitCode {
    match &plugin.command {
        Command::New { dir, sdk } => new::run(dir, sdk.as_deref()),
        Command::Build { dir, out } => build::run(dir, out.as_deref()),
        Command::Watch { dir, out } => watch::run(dir, out.as_deref()),
        Command::Test { dir } => test::run(dir),
        Command::Run(arguments) => ask::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Inspect { plugin } => inspect::run(plugin),
        Command::List { config, format } => list::run(config.as_deref(), *format),
        Command::Wit { out } => wit::run(out),
        Command::Package {
            plugin,
            manifest,
            out,
        } => package::run(plugin, manifest, out.as_deref()),
        Command::Key { file } => sign::key(file),
        Command::Sign { plugin, key, out } => sign::sign(plugin, key, out.as_deref()),
        Command::Verify { plugin, keys } => sign::verify(plugin, keys),
        Command::Install(arguments) => install::run(arguments),
        Command::Live(command) => super::live::run(command),
        Command::Host => host::run(),
    }
}
