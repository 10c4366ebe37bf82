//! `GET /api/config`: the configuration in force, where it came from, and the problems of a rejected change. Secrets mask
//! themselves when they are serialised. It changes nothing.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::config::{Config, Difference, Problem};
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;

/// The configuration in force and where it came from.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Config")]
pub(crate) struct ConfigAnswer<'a> {
    /// The keys of the file, with secrets masked.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    config: &'a Config,
    /// Version of the running plan. Changes of policies raise it too.
    revision: u64,
    #[schemars(extend("format" = "date-time"))]
    loaded_at: String,
    source: String,
    /// Keys of the file that take effect after a restart.
    needs_restart: Vec<&'static str>,
    warnings: &'a [Problem],
    /// The last change of the files, if it was rejected and no good one has followed.
    rejected: Option<RejectedChange<'a>>,
    prices: PricesInfo<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rejected")]
struct RejectedChange<'a> {
    #[schemars(extend("format" = "date-time"))]
    at: String,
    problems: &'a [Problem],
    /// Differences between the rejected file and the last good one, with secrets masked; `null` if the file is not even YAML.
    differences: Option<Vec<Difference>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Prices")]
struct PricesInfo<'a> {
    source: String,
    /// Number of models that have a price.
    models: usize,
    /// Models that providers list by their exact name and that have no price.
    unpriced: Vec<&'a str>,
}

/// `GET /api/config`.
pub(crate) fn answer(state: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    let running = &state.running;
    let (config, prices) = (running.config(), &running.table().prices);
    let exact = config.providers.iter().flat_map(|provider| &provider.models).filter(|model| !model.ends_with('*'));
    let mut unpriced: Vec<&str> = exact.map(String::as_str).filter(|model| prices.find(model).is_none()).collect();
    unpriced.sort_unstable();
    unpriced.dedup();
    let file = &config.pricing.file;
    let source = if file.as_os_str().is_empty() { "built-in".to_owned() } else { file.display().to_string() };
    let rejected = running.rejected.as_ref().map(|reload| RejectedChange {
        at: rfc3339(reload.at_ms),
        problems: &reload.problems.list,
        differences: running.differences(reload),
    });
    let answer = ConfigAnswer {
        config,
        revision: state.plans.running().version,
        loaded_at: rfc3339(running.loaded_at_ms),
        source: running.source(),
        needs_restart: running.needs_restart(),
        warnings: running.warnings(),
        rejected,
        prices: PricesInfo { source, models: prices.len(), unpriced },
    };
    Ok(json(200, &answer).into())
}
