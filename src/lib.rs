//! luner is an AI gateway: one binary between applications and LLM providers that speaks the OpenAI API. It judges each
//! request before it can cost money and accounts for it afterwards.
//!
//! # Architecture
//!
//! A thread-per-core design for Linux. Each **shard** is a thread pinned to a core, with an io_uring event loop, a listener
//! (SO_REUSEPORT) and all the state of its connections. One **coordinator** thread merges what the shards count, answers
//! the REST API and tells the shards what changed. **Helpers** do what blocks by nature: name resolution, signals, export of
//! spans, checkpoints of the database.
//!
//! ```text
//!             shard-0          shard-1          …            one per core, no locks
//!          accept → conn → flow → upstream → account
//!               │    ▲           │
//!        events ▼    │ orders    ▼                           link: bounded channels, never awaited on the proxy path
//!             coordinator: one loop over one enum            ledger, REST API, metrics, drain
//!               ▲
//!        signals, name resolution                            helper threads
//! ```
//!
//! What shards share, exhaustively: the *plan* (immutable, behind `arc-swap`; a request keeps the one it started with).
//! Everything else that they know came by an order, and everything that they tell goes by an event.
//!
//! *Invariant:* judging is synchronous. From the bytes of a whole request to the decision what to do with it there is no
//! await, no clock and no I/O ([`shard`]'s `flow`), so that no borrow crosses an await and a simulator can run the same code.
//!
//! *Invariant:* stages hand on evidence. Only `identify` makes a `Known`, only `route` a `Routed`, and the upstream accepts
//! nothing else, so that no change can skip a stage.
//!
//! *Invariant:* the caller's body is never re-serialised. It is walked once for facts, and what must change is spliced in:
//! the provider reads what was judged.
//!
//! *Invariant:* accounting is additive. A tally that finds its channel full merges back into its shard and goes with the
//! next report; counts are never dropped.
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
//! | tally | what a shard counted since its last report; the *ledger* is the sum of all |
//!
//! Modules in reading order; each may use those above it, `tests/tidy.rs` checks that.

pub mod breaker; // whether a provider is worth asking
pub mod cache; // answers that are given again
pub mod clock; // the one place that reads the time
pub mod config; // what the operator wrote
pub mod coordinator; // control plane
pub mod demo;
pub mod http; // bytes ↔ messages
pub mod limit; // how often a provider may be asked
pub mod link; // what crosses threads
pub mod names; // metrics, headers
pub mod openai; // the API's shapes
pub mod plan; // what runs
pub mod policy; // CEL: checked, compiled, judged
pub mod pricing; // what a token costs
pub mod process; // the parts put together
pub mod shard; // data plane
pub mod units;
pub mod usage; // what a user used in the last minute // byte sizes, durations, money, secrets // all of it with a scripted provider, for a first look
