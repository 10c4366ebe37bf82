//! luner is an AI gateway: one binary between applications and LLM providers that speaks the OpenAI API. It judges each
//! request before it can cost money and accounts for it afterwards.
//!
//! # Architecture
//!
//! A thread-per-core design for Linux. Each **shard** is a thread pinned to a core, with an io_uring event loop, a listener
//! (SO_REUSEPORT, or a share of those that it was given) and all the state of its connections. One **coordinator** thread owns SQLite, merges what the shards count,
//! answers the REST API, reloads the configuration and publishes what runs. **Helpers** do what blocks by nature: name
//! resolution, signals, watching files, export of spans, checkpoints of the database.
//!
//! ```text
//!             shard-0          shard-1          …            one per core, no locks
//!   accept → conn → flow → upstream → account ── asks and answers about cached keys ── the other shards
//!               │    ▲           │
//!        events ▼    │ orders    ▼                           link: bounded channels, never awaited on the proxy path
//!             coordinator: one loop over one enum            SQLite, plan, ledger, REST API, metrics, reload, drain
//!               ▲
//!        signals, name resolution, file changes              helper threads
//! ```
//!
//! The path of a request, which [`shard`]'s `flow` has on one screen:
//!
//! ```text
//! head and body → identify → route → policies → cache → breaker and rate limit → upstream (attempts) → respond → account
//! ```
//!
//! What shards share, exhaustively:
//!
//! 1. the *plan*: everything that configuration and policies decide, immutable, versioned, behind `arc-swap`; a request keeps
//!    the one it started with, and only the coordinator ever frees one;
//! 2. *usage windows* ([`usage`]): cells in which each shard writes only its own slot and reads the sum of all;
//! 3. *levels* of rate limits ([`limit`]): one atomic word a provider. No leases: a limit bounds its own contention, and leases
//!    would exceed it by what flows in while they are out;
//! 4. *cached bodies* ([`cache`]): an entry has one owner, other shards keep references to hot ones, and the owner's mark tells
//!    them when it gave one up;
//! 5. *circuit breakers* ([`breaker`]): one atomic word a provider;
//! 6. *signs of life* ([`link::Pulse`]): a word a shard, which the coordinator reads.
//!
//! Everything else that a shard knows came by an order, and everything that it tells goes by an event.
//!
//! *Invariant:* judging is synchronous. From the bytes of a whole request to the decision what to do with it there is no
//! await, no clock and no I/O, so that no borrow crosses an await; a seeded simulation runs the same code with its own clock.
//!
//! *Invariant:* stages hand on evidence. Only `identify` makes a `Known`, only `route` a `Routed`, only `policies` an
//! `Admitted`, only `limit` a `Charged`. A request to a provider is made of an `Admitted` alone and sent with a `Charged`
//! alone, so that no change can skip a stage.
//!
//! *Invariant:* a request is counted in its user's window before it is judged, and taken out when it is refused. So of two
//! that race at least one sees the other, and who is refused over and over does not lock itself out.
//!
//! *Invariant:* the rate limit stands behind the cache. It protects the provider, and a hit needs none.
//!
//! *Invariant:* the caller's body is never re-serialised. It is walked once for facts, and what must change is spliced in:
//! the provider reads what was judged.
//!
//! *Invariant:* accounting is additive and exact; traces are bounded. A tally or a batch of accounts that finds its channel
//! full goes with the next one; traces are what is given up, hits first, and how many is told.
//!
//! *Invariant:* a policy is checked, compiled, durable and published, in that order, before a change is answered; a plan is
//! published whole or not at all.
//!
//! *Invariant:* a connection that the kernel took is served, and one that may carry another request is closed only after an
//! answer that says so, or after a wait; `LIFECYCLE.md` has the end of a process and how another takes its place.
//!
//! *Invariant:* a panic on any thread ends the process, so that no dead core is left behind its listener.
//!
//! Absent on purpose: locks in shards, timers for each read (one sweep every 25 ms looks at all deadlines, see
//! [`http::wire`]), name resolution on shards, a client-chosen upstream, following redirects.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | provider | a configured LLM service; *upstream* is the side of the gateway that speaks to it |
//! | shard | one core's thread and everything it owns |
//! | plan | what runs: a checked configuration laid out for the request path |
//! | facts | what a request's body says that the gateway needs to know |
//! | refusal | a request answered with an error by the gateway itself |
//! | attempt | one try at a provider; a request may take several |
//! | line | a connection to a provider with its buffer |
//! | owner | the shard that holds the cached answers of some keys; each other shard has a *front* of them |
//! | flight | one call that answers all who missed the same key meanwhile |
//! | level | how much of a provider's rate limit is used up, in one word that all shards share |
//! | trace | a request that is over, as it is shown; requests with one trace id are shown as one |
//! | accounts | exact counts by minute and by who and what; a *batch* takes a shard's to the coordinator, with some traces |
//! | hand-over | another process takes this one's place: its *successor*; for that one this is the *predecessor* |
//! | tally | what a shard counted since its last report; the *ledger* is the sum of all |
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
