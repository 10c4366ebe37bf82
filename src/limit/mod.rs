//! Rate limits: how many requests may be sent to a provider. A limit is either a flow (requests a second, with a burst) or a
//! grant (a number of requests that only its owner raises and lowers). Exact over all shards, without locks and without
//! leases. Limits live in [`crate::shared`]; shards charge them, the coordinator changes their ceilings. No clock of its own: a
//! reading that is a little old only makes a charge stricter.
//!
//! *Invariant:* in any span of time `t`, over all shards, a flow charges no more than `burst + qps × t` requests. A grant never
//! has more requests out than it has units. Charges that were given back do not count. Whoever asks while there is room is
//! charged, on whichever shard, so one connection can use the whole limit.
//!
//! *Invariant:* once [`Limit::set_ceiling`] has returned, nothing is charged by the earlier ceiling any more. So an owner that
//! takes units away from one limit can hand those that were not in use to another.
//!
//! # Why no leases
//!
//! A shard that leases tokens ahead of its requests counts them when it takes them and uses them later. Meanwhile the level
//! refills, and the burst and the leases together exceed the limit by what flowed in: by 500 requests in 10 ms at 50,000 a
//! second. To be exact, the leases that are out would have to be taken off the burst, in a second shared word.
//!
//! Leases would save little. Charging the shared word takes 7 to 10 ns, and 11 to 28 with two threads that do nothing else (AMD
//! EPYC, 2 cores, both busy with other work too: `bench/micro/limit.rs`); a counter of the shard's own, as cheap as a lease can
//! be, takes 1. And many cores make it no worse, because the limit bounds its own contention: the word is *written* once per
//! charged request, so at most 1,000,000 times a second (the largest limit that the configuration accepts), while a refusal only
//! reads it. A cache line that moves between cores takes some 100 ns, so even then it is busy for a tenth of the time, whether
//! 2 cores ask or 64.

// Tokens that have flowed in, as a function of time.
mod inflow;

// How much a limit lets through, published so that shards read it without a lock.
mod ceiling;

// The shared word, what is charged to it and what is given back.
mod level;

// Values of the headers.
mod text;

#[cfg(test)]
mod tests;

pub use ceiling::Ceiling;
pub use level::{GRANT_RETRY_AFTER, Limit, LimitCharge, Limited, Standing};
pub use text::{write_reset, write_retry_after_ms, write_retry_after_s};
