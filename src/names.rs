//! The names that users see: headers, metrics, a cookie, and the label values that are not from the configuration.
//! Constants, used on every thread.
//! Never holds state.

/// Response header: the id of the trace that the request belongs to, 32 hex digits.
pub const TRACE_ID: &str = "X-Luner-Trace-Id";
/// Response header: the provider that answered.
pub const PROVIDER: &str = "X-Luner-Provider";
/// Response header: the model that was used, percent-encoded where it is not visible ASCII.
pub const MODEL: &str = "X-Luner-Model";
/// Response header: HIT, MISS, or BYPASS if the request was not eligible for caching.
pub const CACHE: &str = "X-Luner-Cache";
/// Response header: the cost of the request in dollars. Absent from streams.
pub const COST_USD: &str = "X-Luner-Cost-Usd";
/// Response header: the policy that blocked the request or downgraded its model.
pub const POLICY: &str = "X-Luner-Policy";
/// Response header that tells OpenAI's SDKs whether to retry.
pub const SHOULD_RETRY: &str = "x-should-retry";
/// Response header: the request's id. Taken from the caller if it is well-formed, otherwise generated.
pub const REQUEST_ID: &str = "X-Request-Id";

/// Request header that names the user; takes precedence over [`USER_ID`].
pub const LUNER_USER: &str = "x-luner-user";
/// Request header that names the user.
pub const USER_ID: &str = "x-user-id";
/// Request header that names the tenant; takes precedence over [`TENANT_ID`].
pub const LUNER_TENANT: &str = "x-luner-tenant";
/// Request header that names the tenant.
pub const TENANT_ID: &str = "x-tenant-id";
/// Request header that names the agent.
pub const LUNER_AGENT: &str = "x-luner-agent";

/// Counter `{provider, model, status}`.
pub const REQUESTS_TOTAL: &str = "luner_requests_total";
/// Histogram in seconds `{provider, model}`.
pub const REQUEST_DURATION: &str = "luner_request_duration_seconds";
/// Histogram in seconds `{provider, model}`.
pub const TIME_TO_FIRST_BYTE: &str = "luner_time_to_first_byte_seconds";
/// Histogram in seconds.
pub const OVERHEAD: &str = "luner_overhead_seconds";
/// Counter `{provider, model, type}`.
pub const TOKENS_TOTAL: &str = "luner_tokens_used_total";
/// Counter `{fault, code}`.
pub const REFUSALS_TOTAL: &str = "luner_refusals_total";
/// Counter `{provider, outcome}`.
pub const ATTEMPTS_TOTAL: &str = "luner_upstream_attempts_total";
/// Counter `{provider, model}`, in dollars.
pub const COST_USD_TOTAL: &str = "luner_cost_usd_total";
/// Counter `{policy, action, mode}`.
pub const POLICY_MATCHES_TOTAL: &str = "luner_policy_matches_total";
/// Counter `{policy}`.
pub const POLICY_ERRORS_TOTAL: &str = "luner_policy_errors_total";
/// Counter `{result}`.
pub const CONFIG_RELOADS_TOTAL: &str = "luner_config_reloads_total";
/// Counter `{result}`.
pub const HANDOVERS_TOTAL: &str = "luner_handovers_total";
/// Counter.
pub const CACHE_HITS_TOTAL: &str = "luner_cache_hits_total";
/// Counter.
pub const CACHE_MISSES_TOTAL: &str = "luner_cache_misses_total";
/// Counter `{reason}`.
pub const CACHE_EVICTIONS_TOTAL: &str = "luner_cache_evictions_total";
/// Gauge.
pub const CACHE_SIZE: &str = "luner_cache_size";
/// Counter, in dollars.
pub const SAVED_USD_TOTAL: &str = "luner_saved_usd_total";
/// Gauge `{provider, state}`: 1 for the current state of the provider's circuit breaker, 0 for the other states.
pub const BREAKER_STATE: &str = "luner_breaker_state";
/// Counter `{reason}`.
pub const TRACES_DROPPED_TOTAL: &str = "luner_traces_dropped_total";
/// Gauge `{state}`: 1 for the current state of the storage, 0 for the other states.
pub const STORAGE_STATE: &str = "luner_storage_state";
/// Gauge: requests whose accounting has not been written to the storage yet.
pub const STORAGE_PENDING: &str = "luner_storage_pending_requests";
/// Counter.
pub const OTLP_SPANS_EXPORTED_TOTAL: &str = "luner_otlp_spans_exported_total";
/// Counter `{reason}`.
pub const OTLP_SPANS_DROPPED_TOTAL: &str = "luner_otlp_spans_dropped_total";
/// Gauge: requests in flight.
pub const IN_FLIGHT: &str = "luner_in_flight";
/// Gauge, always 1, with the version as a label.
pub const BUILD_INFO: &str = "luner_build_info";

/// Session cookie of a user who has signed in to the console.
pub const SESSION_COOKIE: &str = "luner-session";
/// Response header of an export: the number of traces that match the filter. The export itself holds a bounded number.
pub const ROWS_TOTAL: &str = "X-Luner-Rows-Total";

/// Label value that stands for every name that the configuration does not list.
pub const OTHER: &str = "other";
/// Label value for a request for which no provider was chosen.
pub const NO_PROVIDER: &str = "none";
