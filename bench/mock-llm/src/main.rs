//! The `mock-llm` command: parses arguments into [`Options`] and serves until it is killed.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use mock_llm::{CATALOGUE, Mock, Options};

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("mock-llm: {e}; --help explains");
            return ExitCode::from(2);
        }
    };
    let mock = match Mock::start(options) {
        Ok(mock) => mock,
        Err(e) => {
            eprintln!("mock-llm: cannot listen: {e}");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on http://{}", mock.addr());
    let _ = std::io::stdout().flush();
    loop {
        std::thread::park();
    }
}

/// Returns `None` after `--help` or `--version`.
fn parse(mut args: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options::default();
    while let Some(arg) = args.next()? {
        match arg {
            Long("listen") => options.listen = args.value()?.parse()?,
            Long("latency") => options.latency = Duration::from_millis(args.value()?.parse()?),
            Long("chunk-delay") => options.chunk_delay = Duration::from_millis(args.value()?.parse()?),
            Long("fault") => options.fault = Some(args.value()?.parse()?),
            Long("words") => options.words = Some(args.value()?.parse()?),
            Long("require-key") => options.require_key = Some(args.value()?.string()?),
            Long("events-per-write") => options.events_per_write = args.value()?.parse()?,
            Long("no-ledger") => options.ledger = false,
            Long("bodies") => options.bodies = true,
            Long("version") => {
                println!("mock-llm {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Short('h') | Long("help") => {
                help();
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn help() {
    println!("{USAGE}");
    for (name, arg, effect) in CATALOGUE {
        println!("  {:<28} {effect}", format!("{name}{arg}"));
    }
}

const USAGE: &str = "\
mock-llm: a scripted provider that speaks the OpenAI API

usage: mock-llm [--listen ADDR] [options]      prints \"listening on http://…\" once bound

  --listen ADDR            default 127.0.0.1:0, a free port
  --latency MS             delay before the first byte of an answer
  --chunk-delay MS         delay between the writes of a stream
  --words N                number of words in each answer
  --fault NAME[=ARG]       fault for every request; see below
  --require-key KEY        answer 401 to requests without this key
  --events-per-write N     number of a stream's events per write (default 1)
  --no-ledger              keep totals only
  --bodies                 keep request bodies in the ledger

Settings of a single request: headers x-mock-fault, x-mock-latency, x-mock-chunk-delay, x-mock-words, x-mock-cached,
or a suffix of the model name: gpt-4o+fault=reset-before+words=8. A fault for the next N requests of any client:
POST /mock/fault {\"fault\": \"…\", \"times\": N}; DELETE clears it. GET /mock/ledger[?after=ID] lists requests; DELETE resets.

faults:";
