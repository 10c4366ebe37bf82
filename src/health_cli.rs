//! `luner health`: checks a running gateway, for containers and supervisors that have no curl.
//! Runs on the main thread of a process that does nothing else.
//! Never follows a redirect and never uses a proxy, so the answer comes from the address that was asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use luner::config::{self, Listen};
use serde::Deserialize;
use ureq::Agent;

/// Longest time from connecting to the end of the answer. Arbitrary: below the 5 s that the examples of Kubernetes and Docker
/// allow a probe.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The default address of luner.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Largest answer that is read. Arbitrary: a health answer has some hundred bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

#[derive(clap::Args)]
pub struct HealthArguments {
    /// URL of the gateway, without a path.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Check the gateway that runs with this configuration on this machine.
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Only check that it is alive; a draining gateway is alive.
    #[arg(long)]
    live: bool,
}

/// The fields of the answer of `/api/health` that are used here.
#[derive(Deserialize)]
struct Health {
    status: String,
    version: String,
    uptime_s: u64,
    io: String,
    storage: String,
}

/// Prints one line. Returns exit code 0 if the gateway serves requests (with `--live`, also if it is draining), otherwise 1.
pub fn check(arguments: &HealthArguments) -> ExitCode {
    match query(arguments) {
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

/// Returns whether the gateway is healthy, and a line that describes it.
fn query(arguments: &HealthArguments) -> Result<(bool, String), String> {
    let base = match (&arguments.url, &arguments.config) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(path)) => format!("http://{}", local_address(path)?),
        (None, None) => format!("http://{DEFAULT}"),
    };
    if !base.starts_with("http://") {
        return Err(format!("{base} does not begin with http://"));
    }
    let health = fetch(&base).map_err(|error| format!("{base}: {error}"))?;
    let Health { status, version, uptime_s, io, storage } = health;
    let good = matches!(status.as_str(), "ok" | "degraded") || (arguments.live && status == "draining");
    Ok((good, format!("{status}: luner {version} at {base}, up for {uptime_s} s, {io}, storage {storage}")))
}

/// Returns the address at which a gateway with this configuration is reachable from this machine.
fn local_address(path: &Path) -> Result<SocketAddr, String> {
    let config = config::load(path, &|name| std::env::var(name).ok()).map_err(|problems| problems.to_string())?;
    let Listen { host, port } = config.server.listen;
    let host = host.filter(|host| !host.is_unspecified()).unwrap_or(DEFAULT.ip());
    match port {
        0 => Err(format!("{} lets the system choose the port; pass the address with --url", path.display())),
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
    serde_json::from_slice(&body)
        .map_err(|_| format!("the answer (status {}) is not from luner", answer.status().as_u16()))
}
