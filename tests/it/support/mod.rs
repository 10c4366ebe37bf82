//! What every test is made of: a luner process ([`Gateway`]), clients that see each byte ([`Raw`]), providers that follow a
//! script ([`Upstream`]) or talk sense ([`mock`]). Nothing here sleeps for a fixed time; whatever waits is bounded by
//! [`GUARD`] and panics with what it waited for.

// A helper may wait for its first test.
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
pub use gateway::{CANARY, Gateway, binary, luner, luner_with, project};
pub use message::{Answer, show};
pub use raw::Raw;
pub use refusal::*;
pub use running::Running;
pub use sample::*;
pub use scratch::Scratch;
pub use upstream::{Received, Served, Upstream};

pub use rustix::process::Signal;

use rustix::process::{Resource, Rlimit};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use mock_llm::{Fault, Mock};

/// Longer than anything here should take, shorter than anyone's patience.
pub const GUARD: Duration = Duration::from_secs(10);

/// Polls until `holds`, at most [`GUARD`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + GUARD;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A provider that talks sense, with a ledger.
pub fn mock() -> Mock {
    mock_with(|_| {})
}

/// The same, with options of its own.
pub fn mock_with(change: impl FnOnce(&mut mock_llm::Options)) -> Mock {
    let mut options = mock_llm::Options { bodies: true, ..Default::default() };
    change(&mut options);
    Mock::start(options).expect("a free port for the mock")
}

/// Lets one side go on when the other says so: counted permits, taken in any order.
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
            .wait_timeout_while(permits, GUARD, |permits| *permits == 0)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "a gate was never opened");
        *permits -= 1;
    }
}

/// Words to put before a command: it runs with mounts of its own, those that this shell command makes. `$0` in it is the word
/// that follows these.
pub fn with_mounts(mount: &str) -> Vec<String> {
    let script = format!("{mount} && exec \"$@\"");
    ["unshare", "--map-root-user", "--mount", "sh", "-c", &script].map(str::to_owned).into()
}

/// Whether this machine lets a process have mounts of its own; many containers do not.
pub fn has_mounts() -> bool {
    let words = with_mounts("mount -t tmpfs small \"$0\"");
    let tried = Command::new(&words[0]).args(&words[1..]).arg(std::env::temp_dir()).arg("true").output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("not tested: this machine lets no process have mounts of its own");
    }
    may
}

/// Lets this process open as many sockets as it is allowed to: a test with hundreds of connections has both their ends.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("a soft limit can be raised");
}

/// A lock that a failing test held is still a good one: what it guards is written in single steps.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
