//! Whole-program tests: a luner process, scripted providers behind it, raw sockets before it. The number in a comment is
//! the row of tests/FAULTS.md that a test stands for. `LUNER_IO` chooses the driver: the suite runs once on each.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests have threads and deadlines of their own; the rules are for the gateway's"
)]

mod support; // the gateway's process, raw clients, scripted providers

// In the order of reading; the blank lines keep rustfmt from sorting them.
mod proxy_basics; // what an OpenAI client relies on

mod client_http; // callers that speak it oddly, wrongly, or with malice

mod client_json; // bodies that two readers could read differently

mod client_llhttp; // another parser's own cases, over the wire

mod client_slow; // callers that are slow, silent, many, or gone

mod scenes; // providers that misbehave once: what the four below share

mod upstream_faults; // providers that fail a plain answer

mod governance; // policies that act, exactly

mod caching; // answers given again

mod limiting; // how often a provider is asked

mod accounting; // every book against every other

mod stalls; // what the books survive: a coordinator that stands still or fails

mod full_disk; // what the books survive: a disk that takes nothing

mod exporting; // spans of real requests, and collectors that misbehave

mod slow_names; // a name server that is silent, then answers

mod failover; // several providers for one model

mod upstream_pool; // connections that carry one request after another

mod stream_faults; // streams that break, callers that leave or stop reading

mod upstream_tls; // providers behind TLS

mod concurrency; // many at once

mod process; // how it starts, on what, how it stops

mod supervised; // what supervisors start, are told, and ask

mod handover; // one process after the other

mod config_cli; // the command line and the configuration

mod demo; // its parts, for a gateway of one's own

mod api_access; // who may call the REST API

mod api_policies; // policies over REST

mod api_session; // signing in

mod api_traces; // what was: traces, sums, exports, the live stream

mod console; // the console's files

mod api_state; // what it tells: configuration, audit, live metrics

mod reload; // changes of the configuration while it runs

mod monitoring; // alerts and dashboards, and what they ask for
