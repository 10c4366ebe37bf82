//! The messages that the old and the new process of a hand-over send each other, one per line. Constants only.

use std::time::Duration;

/// Environment variable with the id of the process whose sockets are taken over. Ignored unless that process is the parent:
/// somebody else may start a luner with this variable set.
pub(super) const VARIABLE: &str = "LUNER_TAKES_OVER_FROM";
/// Time from the start of the new process until it listens, including its check of the database. Arbitrary: a check takes
/// seconds for a large file.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);

/// New to old: everything slow is done, except reading the policies.
pub(super) const STANDING: &str = "standing";
/// Old to new: policies do not change here any more.
pub(super) const GO: &str = "go";
/// New to old: every shard accepts connections.
pub(super) const READY: &str = "ready";
/// Old to new: no shard accepts connections any more, and the supervisor knows the new process.
pub(super) const STOPPED: &str = "stopped";
