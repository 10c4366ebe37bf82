//! `mock-llm`: a scripted provider that speaks the OpenAI API, for luner's tests, demo and benchmarks. It answers as
//! a function of the prompt, counts tokens by a fixed rule, misbehaves on demand down to single bytes, and keeps a
//! ledger of its requests. It shares no parser with luner, so that both cannot make the same mistake.
//!
//! *Threads:* one event loop serves all connections that need not wait. A connection that has to wait or misbehave
//! moves to a thread of its own, which makes blocking calls. *Tokens:* four characters each, rounded up, at least one.
//! The prompt's tokens cover all message texts together, the completion's are counted per choice. A model with
//! "reason" in its name adds as many reasoning tokens. *Settings of a request,* by precedence: `POST /mock/fault`, the
//! headers `x-mock-fault`, `-latency`, `-chunk-delay`, `-words`, `-cached`, the model name
//! (`gpt-4o+fault=reset-before+words=8`), the options.

// Every fault, by name.
mod fault;

// The settings of one request.
mod settings;

// Answers and token counts.
mod text;

// Bodies with slots for id and time.
mod template;

// Reads requests.
mod request;

// The record of requests and answers.
mod ledger;

// Answers without faults.
mod api;

// The `/mock/…` endpoints.
mod control;

// Answers as bytes and steps, with faults.
mod wire;

// One connection.
mod conn;

// All connections that need not wait.
mod event_loop;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use event_loop::EventLoop;

pub use fault::{BadFault, CATALOGUE, Fault};
pub use ledger::{Entry, Ledger, Totals};
pub use text::{fnv64, tokens};

/// How a mock behaves unless a request says otherwise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 takes a free port.
    pub listen: SocketAddr,
    /// Delay before the first byte of an answer.
    pub latency: Duration,
    /// Delay between the writes of a stream.
    pub chunk_delay: Duration,
    pub fault: Option<Fault>,
    /// Number of words in each answer. `None` lets the prompt decide.
    pub words: Option<u32>,
    /// Answer 401 to requests without this key.
    pub require_key: Option<String>,
    /// Number of a stream's events per write. More than 1 only where the mock must use little processor time.
    pub events_per_write: usize,
    /// Keep ledger entries, not only totals.
    pub ledger: bool,
    /// Keep request bodies in the entries, up to 64 KiB each.
    pub bodies: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            latency: Duration::ZERO,
            chunk_delay: Duration::ZERO,
            fault: None,
            words: None,
            require_key: None,
            events_per_write: 1,
            ledger: true,
            bodies: false,
        }
    }
}

/// A running mock. Dropping it stops it.
pub struct Mock {
    addr: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    event_loop_thread: Option<JoinHandle<()>>,
}

impl Mock {
    /// Binds and serves. Fails if the address is in use or no thread can be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let event_loop = EventLoop::new(Arc::clone(&shared), listener.try_clone()?)?;
        let event_loop_thread = Builder::new().name("mock".to_owned()).spawn(move || event_loop.run())?;
        Ok(Self { addr, shared, listener, event_loop_thread: Some(event_loop_thread) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR/v1`, the `base_url` for a client or a gateway.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The last 10,000 requests, and the totals of all.
    pub fn ledger(&self) -> Ledger {
        self.shared.recorder.snapshot(None, ledger::ENTRIES_MAX)
    }

    /// The totals. Takes no lock and copies no entry.
    pub fn totals(&self) -> Totals {
        self.shared.recorder.totals()
    }

    pub fn reset_ledger(&self) {
        self.shared.recorder.reset();
    }

    /// Waits until no request is in flight. A client may have its answer a moment before the ledger has its entry, so a
    /// test calls this before it reads the ledger. Returns false after `timeout`.
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        self.shared.recorder.wait_until_idle(timeout)
    }

    /// Gives the next `times` requests this fault, whatever else they ask for.
    pub fn arm(&self, fault: Fault, times: usize) {
        self.shared.armed.arm(fault, times);
    }

    pub fn disarm(&self) {
        self.shared.armed.clear();
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        lock(&self.shared.streams).len()
    }

    /// Closes the listener and all connections, and waits for their threads, at most [`STOP_TIMEOUT`].
    pub fn stop(&mut self) {
        let Some(event_loop_thread) = self.event_loop_thread.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::Release);
        // On Linux this makes the listener readable, which wakes the event loop.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let _ = event_loop_thread.join();
        for stream in lock(&self.shared.streams).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let since = Instant::now();
        while self.connections() > 0 && since.elapsed() < STOP_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop();
    }
}

/// State that all threads share.
struct Shared {
    options: Options,
    /// The options as settings of a request, with the lowest precedence.
    defaults: settings::Settings,
    armed: settings::ArmedFault,
    recorder: ledger::Recorder,
    /// Open connections by number, so that [`Mock::stop`] can end them.
    streams: Mutex<HashMap<u64, Arc<TcpStream>>>,
    stopping: AtomicBool,
}

impl Shared {
    fn new(options: Options) -> Self {
        let defaults = settings::Settings {
            fault: options.fault.clone(),
            latency: Some(options.latency),
            chunk_delay: Some(options.chunk_delay),
            words: options.words,
            cached_tokens: None,
        };
        let recorder = ledger::Recorder::new(options.ledger, options.bodies);
        Self {
            defaults,
            armed: Default::default(),
            recorder,
            streams: Mutex::default(),
            stopping: AtomicBool::new(false),
            options,
        }
    }
}

/// Locks, even if a panicking thread held the lock: everything behind these locks is written in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longest wait for threads to end. Arbitrary: a thread ends within a millisecond of its connection.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
