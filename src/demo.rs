//! A first look without a file, a network or a key: the scripted provider and the gateway in one process, with a made-up past
//! in its database and a few requests a second passing through. For people; nothing else uses it.

mod seed; // some hours or days of requests that were never made
mod traffic; // a few that are made now

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

/// The scripted provider's pace: quick, yet slow enough to see a stream stream.
const CHUNK_DELAY: Duration = Duration::from_millis(40);
/// Its provider has a limit that one can reach by hand; nothing of the past or the present asks for it.
const LIMITED_MODEL: &str = "gpt-4.1-nano";

pub use seed::RUNS as TRACES;

/// What the demo is asked for.
pub struct Demo {
    pub listen: Listen,
    /// How many traces its past has.
    pub traces: u64,
    /// The database stays when it ends.
    pub keep: bool,
    pub driver: DriverChoice,
    pub set_log_level: SetLogLevel,
}

/// Runs until it is told to stop.
///
/// # Errors
/// An address cannot be bound, no temporary folder can be made, or the gateway cannot start.
pub fn run(demo: Demo) -> anyhow::Result<()> {
    let Demo { listen, traces, keep, driver, set_log_level } = demo;
    // For the owner alone, and gone with this function unless it is to stay.
    let mut folder = tempfile::Builder::new().prefix("luner-demo-").tempdir().context("making a temporary folder")?;
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
            eprintln!("luner demo: no traffic: {error}");
        }
    })?;
    mock.stop();
    if keep {
        println!("The demo's database stays: {}", database.display());
    }
    Ok(())
}

/// Writes a past of so many traces alone, for a gateway that runs elsewhere. Whether it was written: a database that exists is left as it is.
///
/// # Errors
/// The folder or the database cannot be written.
pub fn seed_into(database: &Path, traces: u64) -> anyhow::Result<bool> {
    if database.try_exists().context("looking for the database")? {
        return Ok(false);
    }
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    // A past that is cut short is never found under the database's name.
    let scratch = tempfile::Builder::new().prefix(".seed-").tempdir_in(folder).context("making a temporary folder")?;
    let written = scratch.path().join("luner.db");
    seed::seed(&written, traces, Clock::start().now().wall_ms)?;
    fs::rename(&written, database).context("putting the database in its place")?;
    Ok(true)
}

/// Sends the present alone to a gateway that runs elsewhere, `HOST:PORT`, until the process is stopped. While the gateway
/// cannot be reached, it says so once and goes on trying.
pub fn traffic(gateway: &str) -> ! {
    let mut fails = false;
    traffic::send(gateway, |outcome| {
        if let Err(error) = &outcome
            && !fails
        {
            eprintln!("luner demo: {gateway}: {error}; trying again");
        }
        fails = outcome.is_err();
    })
}

fn greeting(address: SocketAddr) -> String {
    format!(
        "luner runs at http://{address}, with a scripted provider behind it and some traffic through it.\n\
         \n\
         \x20 Console    http://{address}/\n\
         \x20 Python     OpenAI(base_url=\"http://{address}/v1\", api_key=\"any\")\n\
         \x20 Health     http://{address}/api/health\n\
         \x20 Metrics    http://{address}/metrics\n\
         \n\
         An answer, and one as a stream:\n\
         \n\
         curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\
         \n\
         curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\
         \n\
         A policy that moves all callers to a cheaper model, from the next request on:\n\
         \n\
         curl http://{address}/api/policies -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"name\":\"mini for all\",\"expression\":\"model == \\\"gpt-4o\\\"\",\"action\":\"downgrade\",\"target_model\":\"gpt-4o-mini\"}}'\n\
         \n\
         The model {LIMITED_MODEL} lets three requests pass at once, then one every two seconds: the next is answered with 429.\n\
         Stop with ctrl-c."
    )
}
