//! Limits on a JSON text, so that no text keeps a shard busy for long.

/// Containers that may be open at once, for answers and unless `server.limits.json_depth` is configured. Arbitrary: far
/// deeper than any real request, and shallow enough to be cheap.
pub const DEPTH_MAX_DEFAULT: usize = 128;
/// Values in one text, containers included. OpenAI accepts at most 300,000 token ids in an embeddings request, the densest
/// kind of request. The limit keeps 10 MiB of `[[],[],…` from blocking a shard.
pub const VALUES_MAX: usize = 1 << 19;
/// Members of all objects in one text; they cost more than other values. Arbitrary: one for every 80 bytes of the largest
/// body that luner accepts by default.
pub const MEMBERS_MAX: usize = 1 << 17;
/// Bytes of a number. The smallest double, written out in full, takes 1,077 bytes, so a longer number has no use.
pub const NUMBER_BYTES_MAX: usize = 1_100;
