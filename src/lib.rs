//! luner is an AI gateway: one binary between applications and LLM providers. It speaks the OpenAI API, judges each request
//! before it can cost money, and accounts for it afterwards.
//!
//! # Architecture
//!
//! A thread-per-core design for Linux. Each **shard** is a thread pinned to a core. It has an io_uring event loop, listeners,
//! and all the state of its connections, and shares nothing with other shards but what is listed below. One **coordinator**
//! thread owns SQLite, merges what the shards count, serves the REST API, reloads the configuration and publishes the plan.
//! **Helper** threads do what blocks by nature: name resolution, signals, watching files, exporting spans, checkpoints of the
//! database.
//!
//! ```text
//!             shard-0          shard-1          …             one per core, no locks
//!   accept → conn → judge → upstream → account ── cache keys ── the other shards
//!               │    ▲           │
//!        events ▼    │ orders    ▼                            link: bounded channels, never awaited on the proxy path
//!             coordinator: one loop over one enum             SQLite, plan, REST API, metrics, reload, drain
//!               ▲
//!        signals, name resolution, file changes               helper threads
//! ```
//!
//! The path of a request, which `shard::judge::flow` shows on one screen:
//!
//! ```text
//! decide:  identify → route → admit (policies) → look up (cache) → lay out the request to the provider
//! answer:  fetch (breaker, rate limit, attempts) → pass on → account → finish
//! ```
//!
//! # What shards share
//!
//! The list is exhaustive:
//!
//! 1. the *plan*: everything that the configuration and the policies decide. It is immutable, versioned and published through
//!    `arc-swap`. A request keeps the plan it started with, and only the coordinator ever frees one;
//! 2. *cached answers* ([`cache`]): each has one owner. Other shards keep references to hot ones, and the owner marks an answer
//!    that it evicted;
//! 3. everything that several shards write, which is one type, [`shared::Shared`]:
//!     * *usage windows* ([`usage`]): each shard writes only its own slot of a user's window and reads the sum of all slots;
//!     * *rate limits* ([`limit`]): one atomic word per provider. Shards do not lease tokens: a limit bounds its own
//!       contention, and leases would exceed it by what flows in while they are out;
//!     * *circuit breakers* ([`breaker`]): one atomic word per provider;
//!     * *heartbeats*: one word per shard, which the coordinator reads.
//!
//! Everything else reaches a shard as an order and leaves it as an event.
//!
//! # Invariants
//!
//! *Invariant:* judging is synchronous. From the bytes of a whole request to the decision there is no await, no clock and no
//! I/O, so that no borrow crosses an await. A seeded simulation runs the same code with its own clock.
//!
//! *Invariant:* stages hand on evidence. Only `identify` makes an `Identified`, only `route` a `Routed`, only `admit` an
//! `Admitted`, only `charge` a `Charged`. A request to a provider is made of an `Admitted` and sent with a `Charged`, so no
//! change can skip a stage.
//!
//! *Invariant:* a stage sees only what it needs. The shard's modules stand in storeys, and none below the connection takes the
//! whole shard.
//!
//! *Invariant:* a request counts in its user's window before it is judged, and leaves the window when it is refused. So of two
//! requests that race at least one sees the other, and a caller who is refused over and over does not lock itself out.
//!
//! *Invariant:* the rate limit stands behind the cache. It protects the provider, and a hit does not reach the provider.
//!
//! *Invariant:* the caller's body is never re-serialised. It is walked once for facts, and changes are spliced in. The provider
//! reads what was judged.
//!
//! *Invariant:* usage is additive and exact; traces are bounded. A tally or a usage batch that finds its channel full is merged
//! into the next one. Traces are dropped instead, cache hits first, and their number is reported.
//!
//! *Invariant:* a policy is checked, compiled, durable and published, in that order, before its change is answered. A plan is
//! published as a whole or not at all.
//!
//! *Invariant:* a connection that the kernel accepted is served. One that may carry another request closes only after an answer
//! that says so, or after a wait. `LIFECYCLE.md` describes how a process ends and how another takes its place.
//!
//! *Invariant:* a panic on any thread ends the process, so that no dead core keeps its listener.
//!
//! Absent on purpose: locks in shards, timers per read (one sweep every 25 ms checks all deadlines, see [`http::wire`]), name
//! resolution on shards, upstreams chosen by the caller, following redirects.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | provider | a configured LLM service; *upstream* is the side of the gateway that talks to it |
//! | provider group | the providers that serve the same model |
//! | shard | one core's thread and everything it owns |
//! | plan | a checked configuration with its policies, laid out for the request path |
//! | facts | what the gateway needs to know about a request's body |
//! | who | the identity that a request is for: see [`who::Who`] |
//! | refusal | an error with which the gateway itself answers a request |
//! | attempt | one try at a provider; a request may take several |
//! | record | a request from its first byte until it is accounted for |
//! | owner | the shard that holds the cached answers of some keys; every other shard has a *front* of hot ones |
//! | flight | one call to a provider that answers every request that missed the same key meanwhile |
//! | level | how much of a rate limit is used up, in one word that all shards share |
//! | trace | a finished request as it is shown; requests with one trace id are shown together |
//! | tally | what a shard counted for the metrics since its last report |
//! | usage batch | exact usage by minute, identity and model since the last batch of a shard, with some traces |
//! | hand-over | another process takes this one's place: the *successor* of its *predecessor* |
//!
//! Modules in reading order: each may use those above it, which `tests/tidy` checks.

// Byte sizes, durations, money, secrets.
pub mod units;

// The one place that reads the time.
pub mod clock;

// The names of metrics and headers.
pub mod names;

// Injects a panic on demand, for tests.
pub mod fault_injection;

// The console's files, embedded in the binary.
pub mod console;

// A strict walker over a JSON text, and how strings are written.
pub mod json;

// HTTP/1.1: bytes ↔ messages.
pub mod http;

// Who a request is for.
pub mod who;

// Neutral words for a model call: operation, facts, usage.
pub mod llm;

// The shapes of vendors' APIs.
pub mod dialect;

// What the operator wrote.
pub mod config;

// CEL policies: checked, compiled, judged.
pub mod policy;

// What a token costs.
pub mod pricing;

// What each user used in the last minute.
pub mod usage;

// How often a provider may be asked.
pub mod limit;

// Whether a provider is worth asking.
pub mod breaker;

// Answers that are given again.
pub mod cache;

// Everything that several shards write.
pub mod shared;

// What runs: configuration and policies laid out for the request path.
pub mod plan;

// Everything that crosses threads.
pub mod link;

// The data plane: one event loop per core.
pub mod shard;

// The control plane: storage, REST API, reload.
pub mod coordinator;

// Starts the threads and ends the process.
pub mod process;

// The gateway with a scripted provider, for a first look.
pub mod demo;

// Repeatable randomness for tests.
#[cfg(test)]
mod seeded;
