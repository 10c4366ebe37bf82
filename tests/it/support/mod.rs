//! The parts of every test: a luner process ([`Gateway`]), clients that see each byte ([`Raw`]), providers that follow
//! a script ([`Upstream`]) or behave ([`mock`]). Nothing here sleeps for a fixed time. Every wait is bounded by
//! [`TIMEOUT`] and panics with a text that says what it waited for.

// A helper may be written before the first test that uses it.
#![allow(dead_code, unused_imports)]

// A config file in a folder of its own.
mod scratch;

// Answers as they stand on the wire.
mod message;

// A client that decides every byte it sends.
mod raw;

// Requests and answers that tests share.
mod sample;

// Checks answers against the OpenAPI document.
mod contract;

// A client of the REST API.
mod api;

// A luner process that was started.
mod running;

// What a luner process is started with.
mod gateway;

// A provider that follows a script.
mod upstream;

// What a refusal must look like.
mod refusal;

// A provider behind TLS.
pub mod tls;

// A few requests of every kind.
pub mod traffic;

// Providers that misbehave once, then behave.
pub mod upstream_cases;

pub use api::Api;
pub use gateway::{CANARY, FOLDER, Gateway, binary, project_file, run_luner, run_luner_with_env};
pub use message::{Answer, show};
pub use raw::Raw;
pub use refusal::*;
pub use running::Running;
pub use sample::*;
pub use scratch::Scratch;
pub use upstream::{ProviderConn, Received, Upstream};

pub use rustix::process::Signal;

use rustix::process::{Resource, Rlimit};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use mock_llm::{Fault, Mock};

/// Longest wait for anything. Arbitrary: every awaited event takes far less, and a hanging test should fail soon.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Polls until `condition` holds. Panics after [`TIMEOUT`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < until, "did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A provider that behaves and keeps a ledger of its requests.
pub fn mock() -> Mock {
    mock_with(|_| {})
}

/// A provider that behaves as these options say.
pub fn mock_with(change: impl FnOnce(&mut mock_llm::Options)) -> Mock {
    let mut options = mock_llm::Options { bodies: true, ..Default::default() };
    change(&mut options);
    Mock::start(options).expect("a free port for the mock")
}

/// Makes one thread wait until another lets it continue: counted permits, taken in any order.
#[derive(Clone, Default)]
pub struct Gate {
    permits: Arc<(Mutex<usize>, Condvar)>,
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets one [`Gate::wait`] through.
    pub fn permit(&self) {
        *lock(&self.permits.0) += 1;
        self.permits.1.notify_one();
    }

    /// Waits for a permit and takes it.
    #[track_caller]
    pub fn wait(&self) {
        let permits = lock(&self.permits.0);
        let (mut permits, timeout) = self
            .permits
            .1
            .wait_timeout_while(permits, TIMEOUT, |permits| *permits == 0)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "a gate was never opened");
        *permits -= 1;
    }
}

/// The start of a command line that runs the rest in a mount namespace of its own, after this shell command has mounted
/// something there. `$0` in it is the first argument that follows.
pub fn with_mounts(mount: &str) -> Vec<String> {
    let script = format!("{mount} && exec \"$@\"");
    ["unshare", "--map-root-user", "--mount", "sh", "-c", &script].map(str::to_owned).into()
}

/// Whether this machine allows mount namespaces. Many containers do not.
pub fn can_mount() -> bool {
    let words = with_mounts("mount -t tmpfs small \"$0\"");
    let output = Command::new(&words[0]).args(&words[1..]).arg(std::env::temp_dir()).arg("true").output();
    let allowed = output.is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("skipped: this machine does not allow mount namespaces");
    }
    allowed
}

/// Raises the descriptor limit to the hard limit: a test with hundreds of connections holds both ends of each.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("a soft limit can be raised");
}

/// Locks, even if a failing test held the lock: everything behind these locks is written in single steps.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
