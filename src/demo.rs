//! A first look without a file, a network or a key: the scripted provider and the gateway in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use mock_llm::{Mock, Options};

use crate::config::{self, Listen};
use crate::process::{self, Overrides};
use crate::shard::DriverChoice;

/// The scripted provider's pace: quick, yet slow enough to see a stream stream.
const CHUNK_DELAY: Duration = Duration::from_millis(40);

/// Runs until it is told to stop.
///
/// # Errors
/// An address cannot be bound, or the gateway cannot start.
pub fn run(listen: Listen, driver: DriverChoice) -> anyhow::Result<()> {
    let provider = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options { listen: provider, chunk_delay: CHUNK_DELAY, ..Options::default() };
    let mut mock = Mock::start(options).context("starting the scripted provider")?;
    let text = format!(
        "version: v1\n\
         providers:\n\
         \x20 - name: demo\n\
         \x20   base_url: \"http://{}\"\n\
         \x20   api_key: \"demo-key-of-the-provider\"\n\
         \x20   models: [gpt-4o, gpt-4o-mini, text-embedding-3-small, \"*\"]\n\
         storage: {{ backend: none }}\n",
        mock.addr()
    );
    let config = config::parse(&text, "demo", &|_| None).context("the demo's configuration")?;
    let overrides = Overrides { listen: Some(listen), workers: None, driver };
    process::run(&config, &overrides, |address| println!("{}", greeting(address)))?;
    mock.stop();
    Ok(())
}

fn greeting(address: SocketAddr) -> String {
    format!(
        "luner runs at http://{address}, with a scripted provider behind it. Try:\n\
         \n\
         curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\
         \n\
         curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n\
         \n\
         With an OpenAI SDK: base_url=\"http://{address}/v1\", and any api_key.\n\
         Health: http://{address}/api/health, metrics: http://{address}/metrics. Stop with ctrl-c."
    )
}
