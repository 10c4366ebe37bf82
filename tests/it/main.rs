//! Whole-program tests: a luner process between raw client sockets and scripted providers. `FAULTS.md row 51` above a
//! test names the row of tests/FAULTS.md that the test shows. `LUNER_IO` chooses the driver: the suite runs once on
//! each.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests have threads and deadlines of their own; the rules are for the gateway's"
)]

// The luner process, raw clients, and scripted providers that every test is made of.
mod support;

// The proxied endpoints, with providers that behave.
mod proxy_endpoints;

// Headers in both directions.
mod proxy_headers;

// Which provider, key and path a request gets.
mod proxy_routing;

// Metrics, against what the provider saw.
mod proxy_metrics;

// Where a request ends: lengths, chunks, pipelining, request smuggling.
mod client_framing;

// Odd, wrong or malicious request lines and headers.
mod client_http;

// Request bodies that two JSON readers could read differently.
mod client_json;

// llhttp's own test cases, over the wire.
mod client_llhttp;

// Slow, silent or too many callers.
mod client_slow;

// Callers that leave in the middle or stop reading.
mod client_leaves;

// Providers that cannot be reached or never answer.
mod upstream_connect;

// Answers that are not HTTP/1, or whose end is unclear.
mod upstream_framing;

// Answer bodies that are cut, slow, long or encoded.
mod upstream_bodies;

// Answers that arrive before the whole request was sent.
mod upstream_early_answers;

// Error statuses, retries and redirects.
mod upstream_errors;

// Upstream connections that carry one request after another.
mod upstream_pool;

// Providers behind TLS.
mod upstream_tls;

// Streams that break off, drip, or fall silent.
mod stream_faults;

// Intact streams, split at every byte.
mod stream_bytes;

// Name servers that are slow to answer.
mod slow_dns;

// Several providers for one model.
mod failover;

// Rate limits and circuit breakers.
mod limiting;

// Policies that block, downgrade or alert.
mod policy_enforcement;

// Answers from the cache.
mod caching;

// Many callers at once.
mod concurrency;

// Every count of the requests, against every other.
mod usage_records;

// A coordinator or a shard that stalls or panics.
mod stalls;

// A disk that is full or read-only.
mod full_disk;

// Spans at a collector, and collectors that misbehave.
mod span_export;

// How the process starts and stops.
mod process;

// Sockets, notifications and health checks for a supervisor.
mod supervised;

// One process handing over to the next.
mod handover;

// The command line, and what it reports about a config file.
mod config_cli;

// Config changes while luner runs.
mod reload;

// The demo's history and traffic, for another gateway.
mod demo;

// Who may call the REST API.
mod api_access;

// Signing in to the console.
mod api_session;

// Policies over REST.
mod api_policies;

// Policies in the database.
mod policy_storage;

// Lists of traces, single traces, exports.
mod api_traces;

// The live tail of traces.
mod api_live_tail;

// Totals, policy replays, provider states.
mod api_totals;

// Config, live metrics and reload counts over REST.
mod api_state;

// The console's files.
mod console;

// Alerts and dashboards, against the metrics that exist.
mod monitoring;
