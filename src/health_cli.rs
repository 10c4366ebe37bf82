//! `luner health`: asks a running gateway how it is, for containers and supervisors that have no curl. On the main thread of
//! a process that does nothing else. It never follows a redirect or a proxy: who answers is who was asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use luner::config::{self, Listen};
use serde::Deserialize;
use ureq::Agent;

/// From the connection to the answer's end. Arbitrary: below the 5 s that Kubernetes' and Docker's examples give a probe.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Where luner listens unless it is told otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// An answer is some hundred bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is asked.
#[derive(clap::Args)]
pub struct HealthArguments {
    /// Where the gateway is, without a path.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Ask the gateway that runs with this configuration on this machine.
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Only whether it lives: draining is good enough.
    #[arg(long)]
    live: bool,
}

/// What is looked at in the answer of `/api/health`.
#[derive(Deserialize)]
struct Health {
    status: String,
    version: String,
    uptime_s: u64,
    io: String,
    storage: String,
}

/// Prints one line and tells the exit code: 0 while it serves (with `--live`, while it answers), else 1.
pub fn ask(question: &HealthArguments) -> ExitCode {
    match told(question) {
        Ok((good, line)) => {
            println!("{line}");
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("unreachable: {error}");
            ExitCode::FAILURE
        }
    }
}

fn told(question: &HealthArguments) -> Result<(bool, String), String> {
    let base = match (&question.url, &question.config) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(path)) => format!("http://{}", listening(path)?),
        (None, None) => format!("http://{DEFAULT}"),
    };
    if !base.starts_with("http://") {
        return Err(format!("{base} does not begin with http://"));
    }
    let health = fetch(&base).map_err(|error| format!("{base}: {error}"))?;
    let Health { status, version, uptime_s, io, storage } = health;
    let good = matches!(status.as_str(), "ok" | "degraded") || (question.live && status == "draining");
    Ok((good, format!("{status}: luner {version} at {base}, up for {uptime_s} s, {io}, storage {storage}")))
}

/// Where a gateway with this configuration is reached from this machine.
fn listening(path: &Path) -> Result<SocketAddr, String> {
    let config = config::load(path, &|name| std::env::var(name).ok()).map_err(|problems| problems.to_string())?;
    let Listen { host, port } = config.server.listen;
    let host = host.filter(|host| !host.is_unspecified()).unwrap_or(DEFAULT.ip());
    match port {
        0 => Err(format!("{} lets the system choose the port: name it with --url", path.display())),
        port => Ok(SocketAddr::new(host, port)),
    }
}

fn fetch(base: &str) -> Result<Health, String> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("luner/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(TIMEOUT))
        .build()
        .new_agent();
    let mut answer = agent.get(format!("{base}/api/health")).call().map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(|e| e.to_string())?;
    serde_json::from_slice(&body).map_err(|_| format!("what answers there ({}) is no luner", answer.status().as_u16()))
}
