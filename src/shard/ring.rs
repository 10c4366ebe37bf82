//! The event loop below a shard, and the core that it stays on. Runs once per shard thread, before anything else; never
//! touched again.
//!
//! `setup_coop_taskrun` and `setup_single_issuer` cut the cost of a request by a third against the runtime's default ring.
//! A ring takes locked memory (about 105 KiB for 1,024 entries), which may be scarce, and io_uring may be forbidden
//! altogether (Docker's default seccomp profile): so fewer entries are tried, then epoll.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustix::thread::CpuSet;

use crate::link::Driver;

/// Entries of the submission queue, best first, and what to wait before each try. The kernel gives the
/// locked memory of a ring that it refused back a moment later, so the smallest one is asked for again. The pauses are
/// arbitrary.
const TRIES: [(u32, Duration); 5] = [try_of(1024, 0), try_of(256, 0), try_of(256, 2), try_of(256, 10), try_of(256, 30)];

const fn try_of(entries: u32, pause_ms: u64) -> (u32, Duration) {
    (entries, Duration::from_millis(pause_ms))
}

/// Which drivers may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring if it can be had, else epoll.
    #[default]
    Best,
    /// io_uring, or fail.
    IoUring,
    /// epoll.
    Epoll,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "auto" => Ok(Choice::Best),
            "io_uring" => Ok(Choice::IoUring),
            "epoll" => Ok(Choice::Epoll),
            other => Err(format!("`{other}` is no I/O driver; use auto, io_uring or epoll")),
        }
    }
}

/// Builds the best loop that `choice` and the machine allow and runs `main` on it.
/// One shard tells why a better one was refused: `tells`.
pub(crate) fn block_on<F: Future<Output = ()>>(
    choice: Choice,
    tells: bool,
    main: impl FnOnce(Driver) -> F,
) -> io::Result<()> {
    if choice != Choice::Epoll {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for (entries, pause) in TRIES {
            thread::sleep(pause);
            let mut ring = io_uring::IoUring::builder();
            ring.setup_coop_taskrun().setup_single_issuer();
            let builder =
                RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(entries).enable_timer();
            match builder.build() {
                Ok(mut runtime) => {
                    if tells && entries != TRIES[0].0 {
                        tracing::warn!(error = %refused, instead = entries, "io_uring could not be set up with all its entries");
                    }
                    runtime.block_on(main(Driver::IoUring { entries }));
                    return Ok(());
                }
                Err(error) => {
                    refused = error;
                    // Forbidden altogether, which waiting does not change.
                    if refused.kind() != io::ErrorKind::OutOfMemory {
                        break;
                    }
                }
            }
        }
        if choice == Choice::IoUring {
            return Err(refused);
        }
        if tells {
            tracing::warn!(error = %refused, instead = "epoll", "io_uring could not be set up");
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    runtime.block_on(main(Driver::Epoll));
    Ok(())
}

/// Keeps the calling thread on one core. A refusal costs speed, not correctness.
pub(crate) fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "could not pin the shard to its core");
    }
}

/// The cores that this process may use.
pub fn cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        Err(_) => Vec::new(),
    }
}
