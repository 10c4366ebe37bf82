//! `GET /api/config`: what runs, how it came to be, and what stands against the last change of the file. Secrets mask
//! themselves when they are written; nothing here can change anything.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::config::{Config, Difference, Problem};
use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::json;
use crate::link::ApiAnswer;

/// The answer's shape.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Config")]
pub(crate) struct Shown<'a> {
    /// As in the file, secrets masked.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    config: &'a Config,
    /// The version of the running plan; policies count it up as well.
    revision: u64,
    #[schemars(extend("format" = "date-time"))]
    loaded_at: String,
    source: String,
    /// Keys of the file that are not in force yet.
    needs_restart: Vec<&'static str>,
    warnings: &'a [Problem],
    /// The last change of the files, if it was refused and nothing good has come since.
    rejected: Option<Rejected<'a>>,
    prices: Prices<'a>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Rejected<'a> {
    #[schemars(extend("format" = "date-time"))]
    at: String,
    problems: &'a [Problem],
    /// How it differs from the file that runs, as both are written, secrets masked; `null` where it is not even YAML.
    differences: Option<Vec<Difference>>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Prices<'a> {
    source: String,
    /// How many the table knows.
    models: usize,
    /// Those that providers name exactly and the table has no price for.
    unpriced: Vec<&'a str>,
}

/// Answers from the coordinator's state.
pub(crate) fn answer(coordinator: &Coordinator) -> ApiAnswer {
    let running = &coordinator.running;
    let (config, prices) = (running.config(), &running.table().prices);
    let exact = config.providers.iter().flat_map(|provider| &provider.models).filter(|model| !model.ends_with('*'));
    let mut unpriced: Vec<&str> = exact.map(String::as_str).filter(|model| prices.find(model).is_none()).collect();
    unpriced.sort_unstable();
    unpriced.dedup();
    let file = &config.pricing.file;
    let source = if file.as_os_str().is_empty() { "built-in".to_owned() } else { file.display().to_string() };
    let rejected = running.rejected.as_ref();
    json(
        200,
        &Shown {
            config,
            revision: coordinator.plans.running().version,
            loaded_at: rfc3339(running.loaded_at_ms),
            source: running.source(),
            needs_restart: running.needs_restart(),
            warnings: running.warnings(),
            rejected: rejected.map(|it| Rejected {
                at: rfc3339(it.at_ms),
                problems: &it.problems.list,
                differences: running.differences(it),
            }),
            prices: Prices { source, models: prices.len(), unpriced },
        },
    )
}
