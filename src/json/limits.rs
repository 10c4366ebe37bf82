//! The limits of a JSON text. Compile-time constants.

/// The depth where the configuration says nothing (`server.limits.json_depth`), and for answers.
pub const DEPTH_MAX_DEFAULT: usize = 128;
/// Values in one text, containers included. OpenAI takes at most 300,000 token ids in an embeddings request, the
/// densest one there is; the bound is what keeps 10 MiB of `[[],[],…` from holding a shard up.
pub const VALUES_MAX: usize = 1 << 19;
/// Members of all objects in one text, which cost more than values. Arbitrary: one for every 80 bytes of the largest
/// body that is taken by default.
pub const MEMBERS_MAX: usize = 1 << 17;
/// The smallest double, written out, takes 1,077 bytes; a longer number means nothing to anyone.
pub const NUMBER_BYTES_MAX: usize = 1_100;
