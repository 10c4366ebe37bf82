//! The command line: parses the arguments, loads the configuration, and runs the command.
//! Runs on the main thread.
//! Never holds logic that the library could hold.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use luner::config::{self, Config, Listen, LogLevel, Problems};
use luner::coordinator::price_file::{self, PriceTable};
use luner::coordinator::{Pins, Source, Start, log_warnings};
use luner::demo::{self, Demo};
use luner::process::{self, Log, LogForm};
use luner::shard::DriverChoice;

// `luner health`.
mod health_cli;

// `luner policy test`.
mod policy_cli;

// mimalloc has a heap per thread, which suits one shard per thread. Not yet measured against the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration has mistakes (sysexits.h, EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// A fast AI gateway: checks every LLM request before it costs money, and accounts for it afterwards.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Option<Serve>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(Serve),
    /// Check a configuration and print every problem; exit code 0 or 78.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the health of a running gateway; exit code 0 if it serves requests, otherwise 1.
    Health(health_cli::HealthArguments),
    /// Run the gateway with a scripted provider: needs no file, no network and no key.
    Demo {
        /// Address to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: Listen,
        /// Number of traces in the sample history; a large number covers several days.
        #[arg(long, value_name = "N", default_value_t = demo::TRACES, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
        traces: u64,
        /// Keep the demo's database at the end, and print its path.
        #[arg(long)]
        keep: bool,
        /// Only write the sample history into a new database, for a gateway of your own. An existing file is not changed.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "keep"])]
        seed: Option<PathBuf>,
        /// Only send the demo's requests to a gateway that is already running.
        #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["listen", "keep", "traces", "seed"])]
        traffic: Option<String>,
    },
    /// Test policies.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Print the configuration's JSON Schema.
    Schema,
    /// Print the REST API's OpenAPI document.
    Openapi,
    /// Print a completion script for a shell.
    Completions {
        /// Name of the shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Evaluate an expression once and print true or false; exit code 1 if the evaluation fails, 2 if the expression is not
    /// valid in a policy. With --db, evaluate it on stored requests, and print how many match and what they cost.
    Test {
        /// Expression in CEL, such as 'cost_usd > 10.0'.
        #[arg(long, value_name = "EXPR")]
        expr: String,
        /// Variable of the request, such as model=gpt-4o. May be repeated; other variables have the value of a request without them.
        #[arg(long = "var", value_name = "NAME=VALUE")]
        vars: Vec<String>,
        /// Database of luner, which may be running.
        #[arg(long, value_name = "FILE", conflicts_with = "vars")]
        db: Option<PathBuf>,
        /// Number of stored requests to evaluate, newest first.
        #[arg(long, value_name = "N", requires = "db", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=1000))]
        last: u32,
    },
}

#[derive(clap::Args)]
struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Address to listen on, instead of `server.listen`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
    /// Number of shards, instead of `server.workers`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1024))]
    workers: Option<u32>,
    /// Format of log lines.
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: LogForm,
}

fn main() -> ExitCode {
    process::end_on_panic();
    let arguments = Arguments::parse();
    let result = match (arguments.command, arguments.serve) {
        (Some(Command::Serve(serve)), _) | (None, Some(serve)) => run(serve),
        (Some(Command::Check { config }), _) => Ok(check(&config)),
        (Some(Command::Health(arguments)), _) => Ok(health_cli::check(&arguments)),
        (Some(Command::Demo { seed: Some(database), traces, .. }), _) => seed(&database, traces),
        (Some(Command::Demo { traffic: Some(gateway), .. }), _) => demo::traffic(&gateway),
        (Some(Command::Demo { listen, traces, keep, .. }), _) => run_demo(listen, traces, keep),
        (Some(Command::Policy { command: PolicyCommand::Test { expr, vars, db, last } }), _) => Ok(match db {
            Some(db) => policy_cli::replay(&expr, &db, last),
            None => policy_cli::test(&expr, &vars),
        }),
        (Some(Command::Schema), _) => print(&format!("{}\n", config::schema().trim_end())),
        (Some(Command::Openapi), _) => print(luner::coordinator::openapi()),
        (Some(Command::Completions { shell }), _) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "luner", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        (None, None) => {
            // Exits with clap's code for wrong usage.
            Arguments::command()
                .error(clap::error::ErrorKind::MissingRequiredArgument, "--config FILE is required")
                .exit()
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("luner: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let Some((config, table)) = load(&serve.config) else {
        return Ok(ExitCode::from(EXIT_CONFIG));
    };
    let driver = driver()?;
    let log = Log::start(serve.log, config.telemetry.log);
    log_warnings(&config.warnings);
    let start = Start {
        source: Source::File(serve.config),
        pins: Pins { listen: serve.listen, workers: serve.workers },
        config,
        table,
        set_log_level: log.set_level(),
    };
    process::run(start, driver, |_| {})?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a document to stdout. The reader may stop early, as in `luner schema | head`.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("writing to stdout"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn check(path: &Path) -> ExitCode {
    let Some((config, table)) = load(path) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    for warning in &config.warnings {
        eprintln!("{}:{warning} (warning)", path.display());
    }
    let (providers, models) = (config.providers.len(), table.prices.len());
    println!("{} is valid: {providers} providers, prices for {models} models", path.display());
    ExitCode::SUCCESS
}

/// Loads the configuration and the prices that it names. Prints every problem to stderr and returns `None` if there is any.
fn load(path: &Path) -> Option<(Config, PriceTable)> {
    let loaded = config::load(path, &|name| std::env::var(name).ok()).and_then(|config| {
        let table = price_file::read(&config.pricing);
        let problems =
            |problem| Problems { source_name: path.display().to_string(), list: vec![problem], outline: None };
        table.map_err(problems).map(|table| (config, table))
    });
    loaded.map_err(|problems| eprintln!("{problems}")).ok()
}

fn run_demo(listen: Listen, traces: u64, keep: bool) -> anyhow::Result<ExitCode> {
    let driver = driver()?;
    let log = Log::start(LogForm::Text, LogLevel::Warn);
    demo::run(Demo { listen, traces, keep, driver, set_log_level: log.set_level() })?;
    Ok(ExitCode::SUCCESS)
}

fn seed(database: &Path, traces: u64) -> anyhow::Result<ExitCode> {
    let seeded = demo::seed_into(database, traces)?;
    println!(
        "{} {}",
        database.display(),
        if seeded { "now holds the sample history" } else { "already exists and was not changed" }
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads the I/O driver from `LUNER_IO`: auto, io_uring or epoll.
fn driver() -> anyhow::Result<DriverChoice> {
    let choice = std::env::var("LUNER_IO").unwrap_or_default();
    choice.parse().map_err(anyhow::Error::msg).context("LUNER_IO")
}
