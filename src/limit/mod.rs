//! Rate limits of providers: requests a second with a burst, exact over all shards, without locks and without leases.
//! A limit belongs to the plan; its level is one word that all shards share and that outlives the plan. No clock of its own:
//! a reading that is a little old only makes it stricter.
//!
//! *Invariant:* in any span of time `t`, over all shards, no more than `burst + qps × t` requests are charged; and whoever
//! asks while there is room is charged, on whichever shard, so one connection can use the whole limit.
//!
//! # Why no leases
//!
//! A shard that leases tokens ahead of its requests counts them when it takes them and uses them later. Meanwhile the level
//! refills, and the burst and the leases together exceed the limit by what flowed in: by 500 requests in 10 ms at 50,000 a
//! second. To be exact, the leases that are out would have to be taken off the burst, in a second shared word.
//!
//! What they would save is little. To charge a request to the shared word takes 7 to 10 ns, and 11 to 28 with two threads that
//! do nothing else (AMD EPYC, 2 cores, both busy with other work too: `bench/micro/limit.rs`); a count of the shard's own, as
//! cheap as a lease can be, takes 1. And many cores make it no worse, because the limit bounds its own contention: the word is
//! *written* once per charged request, so at most 1,000,000 times a second (the largest limit that the configuration takes),
//! while a refusal only reads it. A line that moves between cores takes some 100 ns, so even then it is busy for a tenth of
//! the time, whether 2 cores ask or 64.

mod level; // the shared word, and what is charged to it
mod text; // values of the headers

#[cfg(test)]
mod tests;

pub use level::{Charged, Limit, Limited, Standing};
pub use text::{write_reset, write_retry_after_ms, write_retry_after_s};
