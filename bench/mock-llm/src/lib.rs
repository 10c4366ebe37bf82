//! `mock-llm`: a scripted provider that speaks the OpenAI API, for luner's tests, demo and benchmarks. It answers as
//! a function of the prompt, counts tokens by a rule, misbehaves on demand down to single bytes, and keeps a ledger
//! of what it saw. It shares no parser with luner, so that the two cannot agree on a mistake.
//!
//! *Threads:* one serves all connections as long as nothing waits; a connection that has to wait or to misbehave
//! gets one of its own with blocking calls. *Tokens:* four characters, rounded
//! up, at least one: the prompt's over all message texts, the completion's over each choice's text. A model with
//! "reason" in its name adds as many reasoning tokens. *Settings of a request,* nearest first: `POST /mock/fault`,
//! headers `x-mock-fault`, `-latency`, `-chunk-delay`, `-words`, `-cached`, the model's name
//! (`gpt-4o+fault=reset-before+words=8`), the options.

mod api;
mod conn;
mod control;
mod fault;
mod ledger;
mod reception;
mod request;
mod script;
mod template;
mod text;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use reception::Reception;

pub use fault::{BadFault, CATALOGUE, Fault};
pub use ledger::{Entry, Ledger, Totals};
pub use text::{fnv64, tokens};

/// How a mock behaves unless a request says otherwise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Before an answer's first byte.
    pub latency: Duration,
    /// Between a stream's writes.
    pub chunk_delay: Duration,
    pub fault: Option<Fault>,
    /// Exactly so many words in each answer; `None`: as the prompt has it.
    pub words: Option<u32>,
    /// Else 401.
    pub require_key: Option<String>,
    /// A stream's events are written so many at a time; more than 1 only where the mock has to be cheap.
    pub events_per_write: usize,
    /// Keep entries, not only totals.
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

/// A running mock; dropping it stops it.
pub struct Mock {
    addr: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    receiving: Option<JoinHandle<()>>,
}

impl Mock {
    /// Binds and serves. Fails if the address is taken or threads are.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let reception = Reception::new(Arc::clone(&shared), listener.try_clone()?)?;
        let receiving = Builder::new().name("mock".to_owned()).spawn(move || reception.run())?;
        Ok(Self { addr, shared, listener, receiving: Some(receiving) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR/v1`, as a client or a gateway wants it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The last 10,000 requests, and totals of all.
    pub fn ledger(&self) -> Ledger {
        self.shared.books.copy(None, ledger::ENTRIES_MAX)
    }

    /// Totals alone: no lock, no copy.
    pub fn totals(&self) -> Totals {
        self.shared.books.totals()
    }

    pub fn reset_ledger(&self) {
        self.shared.books.reset();
    }

    /// Waits until no request is in flight. A client may have its answer a moment before the ledger has it, so a test
    /// calls this before it looks. False if it took longer than `most`.
    pub fn settled(&self, most: Duration) -> bool {
        self.shared.books.settled(most)
    }

    /// The next `times` requests get `fault`, whatever else they ask for.
    pub fn arm(&self, fault: Fault, times: usize) {
        self.shared.armed.arm(fault, times);
    }

    pub fn disarm(&self) {
        self.shared.armed.clear();
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        lock(&self.shared.streams).len()
    }

    /// Closes the listener and all connections, and waits for their threads, two seconds at most.
    pub fn stop(&mut self) {
        let Some(receiving) = self.receiving.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::Release);
        // On Linux this makes a listener readable.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let _ = receiving.join();
        for stream in lock(&self.shared.streams).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let since = Instant::now();
        while self.connections() > 0 && since.elapsed() < STOP_MOST {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the threads share.
struct Shared {
    options: Options,
    /// The options, as the last place to look for a request's settings.
    base: script::Script,
    armed: script::Armed,
    books: ledger::Books,
    /// Open connections by number, so that [`Mock::stop`] can end them.
    streams: Mutex<HashMap<u64, Arc<TcpStream>>>,
    stopping: AtomicBool,
}

impl Shared {
    fn new(options: Options) -> Self {
        let base = script::Script {
            fault: options.fault.clone(),
            latency: Some(options.latency),
            chunk_delay: Some(options.chunk_delay),
            words: options.words,
            cached_tokens: None,
        };
        let books = ledger::Books::new(options.ledger, options.bodies);
        Self {
            base,
            armed: Default::default(),
            books,
            streams: Mutex::default(),
            stopping: AtomicBool::new(false),
            options,
        }
    }
}

/// A lock that a panicking thread held is still a good lock here: all that it guards is written in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arbitrary.
const STOP_MOST: Duration = Duration::from_secs(2);
