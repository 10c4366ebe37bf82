//! The event loop below a shard, and the core that its thread is pinned to. Set up once per shard thread, before anything
//! else.
//!
//! `setup_coop_taskrun` and `setup_single_issuer` make a request a third cheaper than the runtime's default ring does. A ring
//! takes locked memory (about 105 KiB for 1,024 entries), which may be scarce, and io_uring may be forbidden altogether, as
//! in Docker's default seccomp profile. So a smaller ring is tried next, and then epoll.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustix::thread::CpuSet;

use crate::link::Driver;

/// Entries of the submission queue, best first, and the pause before each try. The kernel releases the locked memory of a ring
/// that it refused a moment later, so the smallest size is tried several times. The pauses are arbitrary.
const TRIES: [(u32, Duration); 5] = [try_of(1024, 0), try_of(256, 0), try_of(256, 2), try_of(256, 10), try_of(256, 30)];

const fn try_of(entries: u32, pause_ms: u64) -> (u32, Duration) {
    (entries, Duration::from_millis(pause_ms))
}

/// Which drivers may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring if it is available, else epoll.
    #[default]
    Best,
    /// io_uring, or fail.
    IoUring,
    /// epoll.
    Epoll,
}

impl std::str::FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "auto" => Ok(DriverChoice::Best),
            "io_uring" => Ok(DriverChoice::IoUring),
            "epoll" => Ok(DriverChoice::Epoll),
            other => Err(format!("`{other}` is not an I/O driver; use auto, io_uring or epoll")),
        }
    }
}

/// Builds the best event loop that `choice` and the machine allow, and runs `main` on it. With `logs`, logs why a better one
/// was refused; one shard of the process does.
pub(crate) fn block_on<F: Future<Output = ()>>(
    choice: DriverChoice,
    logs: bool,
    main: impl FnOnce(Driver) -> F,
) -> io::Result<()> {
    if choice != DriverChoice::Epoll {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for (entries, pause) in TRIES {
            thread::sleep(pause);
            let mut ring = io_uring::IoUring::builder();
            ring.setup_coop_taskrun().setup_single_issuer();
            let builder =
                RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(entries).enable_timer();
            match builder.build() {
                Ok(mut runtime) => {
                    if logs && entries != TRIES[0].0 {
                        tracing::warn!(error = %refused, instead = entries, "io_uring could not be set up at full size");
                    }
                    runtime.block_on(main(Driver::IoUring { entries }));
                    return Ok(());
                }
                Err(error) => {
                    refused = error;
                    // Any other error means that io_uring is forbidden, and waiting does not change that.
                    if refused.kind() != io::ErrorKind::OutOfMemory {
                        break;
                    }
                }
            }
        }
        if choice == DriverChoice::IoUring {
            return Err(refused);
        }
        if logs {
            tracing::warn!(error = %refused, instead = "epoll", "io_uring could not be set up");
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    runtime.block_on(main(Driver::Epoll));
    Ok(())
}

/// Pins the calling thread to one core. If the kernel refuses, only speed is lost.
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
