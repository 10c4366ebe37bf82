//! `GET /api/traces/facets`: the most frequent values among the traces that pass a filter, to filter further by. Read on the
//! reader's thread.

use schemars::JsonSchema;
use serde::Serialize;

use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::identity::NamedWho;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::coordinator::store::reader::TraceFacets;

/// Most values of one facet. Arbitrary: a menu that a person can read.
const VALUES_MAX: usize = 20;

/// The most frequent values among the traces that pass the filter, most frequent first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Facets")]
pub(crate) struct FacetsAnswer {
    #[serde(flatten)]
    who: NamedWho<Vec<FacetValue>>,
    /// The model that was used.
    model: Vec<FacetValue>,
    provider: Vec<FacetValue>,
    /// HTTP.
    status: Vec<FacetValue>,
}

/// A value, and how many traces have it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Facet")]
struct FacetValue {
    value: String,
    count: u64,
}

/// `GET /api/traces/facets`.
pub(crate) fn answer(_: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let filter = filters::filter(&arguments.values)?;
    Ok(Reply::read(move |reader| {
        let TraceFacets { who, provider, model, status } = reader.trace_facets(&filter, VALUES_MAX)?;
        let values = |counts: Vec<(String, u64)>| -> Vec<FacetValue> {
            counts.into_iter().map(|(value, count)| FacetValue { value, count }).collect()
        };
        let status = status.into_iter().map(|(status, count)| (status.to_string(), count)).collect();
        let facets = FacetsAnswer {
            who: who.map(values).into(),
            model: values(model),
            provider: values(provider),
            status: values(status),
        };
        Ok(json(200, &facets))
    }))
}
