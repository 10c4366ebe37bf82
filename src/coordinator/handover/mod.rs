//! A running gateway replaced by another process, of a newer version perhaps, without a refused connection: the sockets go
//! from one to the other. Runs on helper threads and at the start of a process. LIFECYCLE.md has the whole of it; here are
//! the words that the two processes say to each other. Nothing else ever passes between them.
//!
//! Over a pair of Unix sockets, of which the new process gets one as its standard input: the number of listening sockets,
//! the sockets, then lines.

mod sockets; // descriptors through a Unix socket

mod successor; // the process that is to go on, as the old one sees it

mod predecessor; // the process that is to end, as the new one sees it

use std::time::Duration;

pub use predecessor::Predecessor;
pub(super) use successor::Successor;
pub use successor::{Launch, NoLaunch};

/// Names the process whose sockets are taken over; anything else that starts a luner with this variable means nothing by it.
const VARIABLE: &str = "LUNER_TAKES_OVER_FROM";
/// From the start of the new process until it listens, its check of the database included.
const PATIENCE: Duration = Duration::from_secs(30);

/// New to old: everything that may take long is done; what the policies are is still to be read.
const STANDING: &str = "standing";
/// Old to new: no policy changes here any more.
const GO: &str = "go";
/// New to old: every shard accepts connections.
const READY: &str = "ready";
/// Old to new: no shard accepts connections any more, and the supervisor knows the new process.
const STOPPED: &str = "stopped";
