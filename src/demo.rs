//! `luner demo`: the gateway and a scripted provider in one process, with a sample history in its database and a few requests
//! a second. It needs no file, no network and no key.
//! Runs on the main thread, which becomes the coordinator.
//! Never used by the gateway itself.

// Writes a sample history of hours or days into a database.
mod seed;

// Sends a few requests a second through the gateway.
mod traffic;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mock_llm::{Mock, Options};

use crate::clock::Clock;
use crate::config::{self, Listen};
use crate::coordinator::price_file::PriceTable;
use crate::coordinator::{Pins, SetLogLevel, Source, Start};
use crate::process;
use crate::shard::DriverChoice;

/// Pause between the chunks of the scripted provider's streams. Arbitrary: short, yet long enough to watch a stream.
const CHUNK_DELAY: Duration = Duration::from_millis(40);
/// Model of a provider whose rate limit is low enough to reach by hand. The sample history and traffic do not use it.
const LIMITED_MODEL: &str = "gpt-4.1-nano";

pub use seed::RUNS as TRACES;

/// The options of the demo.
pub struct Demo {
    pub listen: Listen,
    /// Number of traces in the sample history.
    pub traces: u64,
    /// Keep the database at the end.
    pub keep: bool,
    pub driver: DriverChoice,
    pub set_log_level: SetLogLevel,
}

/// Runs until a signal stops it.
///
/// # Errors
/// An address cannot be bound, the temporary folder cannot be created, or the gateway cannot start.
pub fn run(demo: Demo) -> anyhow::Result<()> {
    let Demo { listen, traces, keep, driver, set_log_level } = demo;
    // Readable by its owner only, and deleted at the end of this function unless it is to be kept.
    let mut folder = tempfile::Builder::new().prefix("luner-demo-").tempdir().context("creating a temporary folder")?;
    folder.disable_cleanup(keep);
    let database = folder.path().join("luner.db");
    let provider = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options { listen: provider, chunk_delay: CHUNK_DELAY, ..Options::default() };
    let mut mock = Mock::start(options).context("starting the scripted provider")?;
    let text = format!(
        "version: v1\n\
         providers:\n\
         \x20 - name: openai\n\
         \x20   base_url: \"http://{0}\"\n\
         \x20   api_key: \"demo-key-of-the-provider\"\n\
         \x20   models: [gpt-4o, gpt-4o-mini, text-embedding-3-small, \"*\"]\n\
         \x20   downgrade: {{ gpt-4o: gpt-4o-mini }}\n\
         \x20 - name: anthropic\n\
         \x20   base_url: \"http://{0}\"\n\
         \x20   api_key: \"demo-key-of-the-provider\"\n\
         \x20   models: [claude-sonnet-4-5, claude-haiku-4-5]\n\
         \x20 - name: openai-trial\n\
         \x20   base_url: \"http://{0}\"\n\
         \x20   api_key: \"demo-key-of-the-provider\"\n\
         \x20   models: [{LIMITED_MODEL}]\n\
         rate_limit: {{ providers: [{{ name: openai-trial, qps: 0.5, burst: 3 }}] }}\n\
         storage: {{ capture: all, sqlite: {{ path: {database:?} }} }}\n",
        mock.addr()
    );
    seed::seed(&database, traces, Clock::start().now().wall_ms)?;
    let config = config::parse(&text, "demo", &|_| None).context("the demo's configuration")?;
    let start = Start {
        source: Source::Program("demo"),
        pins: Pins { listen: Some(listen), workers: None },
        config,
        table: PriceTable::built_in(),
        set_log_level,
    };
    process::run(start, driver, |address| {
        println!("{}", greeting(address));
        if let Err(error) = traffic::start(address) {
            eprintln!("luner demo: sample traffic could not be started: {error}");
        }
    })?;
    mock.stop();
    if keep {
        println!("The demo's database is kept at {}", database.display());
    }
    Ok(())
}

/// Writes a sample history of `traces` traces into a new database, for another gateway. Returns false if the database already
/// exists; it is not changed then.
///
/// # Errors
/// The folder or the database cannot be written.
pub fn seed_into(database: &Path, traces: u64) -> anyhow::Result<bool> {
    if database.try_exists().context("checking whether the database exists")? {
        return Ok(false);
    }
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    // Written under another name first, so that an interrupted run never leaves half a history under the final name.
    let scratch =
        tempfile::Builder::new().prefix(".seed-").tempdir_in(folder).context("creating a temporary folder")?;
    let written = scratch.path().join("luner.db");
    seed::seed(&written, traces, Clock::start().now().wall_ms)?;
    fs::rename(&written, database).context("renaming the database")?;
    Ok(true)
}

/// Sends sample traffic to another gateway at `HOST:PORT` until the process is stopped. If the gateway is unreachable, it
/// prints one message and keeps trying.
pub fn traffic(gateway: &str) -> ! {
    let mut is_failing = false;
    traffic::send(gateway, |outcome| {
        if let Err(error) = &outcome
            && !is_failing
        {
            eprintln!("luner demo: {gateway}: {error}; retrying");
        }
        is_failing = outcome.is_err();
    })
}

fn greeting(address: SocketAddr) -> String {
    format!(
        "luner runs at http://{address}, with a scripted provider and sample traffic.\n\
         \n\
         \x20 Console    http://{address}/\n\
         \x20 Python     OpenAI(base_url=\"http://{address}/v1\", api_key=\"any\")\n\
         \x20 Health     http://{address}/api/health\n\
         \x20 Metrics    http://{address}/metrics\n\
         \n\
         An answer, and a streamed answer:\n\
         \n\
         curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\
         \n\
         curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\
         \n\
         A policy that downgrades all callers to a cheaper model, from the next request on:\n\
         \n\
         curl http://{address}/api/policies -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"name\":\"mini for all\",\"expression\":\"model == \\\"gpt-4o\\\"\",\"action\":\"downgrade\",\"target_model\":\"gpt-4o-mini\"}}'\n\
         \n\
         The model {LIMITED_MODEL} has a rate limit: three requests at once, then one every two seconds. Others get a 429.\n\
         Stop with ctrl-c."
    )
}
