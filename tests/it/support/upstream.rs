//! A provider that follows a script, for everything that `mock-llm` has no fault for. One thread a connection; all of them
//! end when the [`Upstream`] is dropped.

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::message::{head_end, show};
use super::{GUARD, lock};

/// A running script.
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    running: AtomicUsize,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    failures: Mutex<Vec<String>>,
    stopping: AtomicBool,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counted from 0 over all connections of the upstream.
    pub connection: usize,
    /// Its empty line included.
    pub head: String,
    pub body: Vec<u8>,
}

impl Upstream {
    /// Runs `script` for each connection, in a thread of its own. The connection closes when the script returns.
    pub fn script(script: impl Fn(&mut Served) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port for the upstream");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let (script, theirs) = (Arc::new(script), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopping.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let stream = Arc::new(stream);
                lock(&theirs.streams).push(Arc::downgrade(&stream));
                let number = theirs.connections.fetch_add(1, Ordering::AcqRel);
                theirs.running.fetch_add(1, Ordering::AcqRel);
                let (script, shared) = (script.clone(), theirs.clone());
                thread::spawn(move || play(&*script, Served::new(stream, number, shared)));
            }
        });
        Upstream { addr, shared }
    }

    /// Answers each request of each connection with the same bytes.
    pub fn always(answer: impl Into<Vec<u8>>) -> Upstream {
        let answer = answer.into();
        Upstream::script(move |conn| {
            while conn.next_request().is_some() {
                conn.write(&answer);
            }
        })
    }

    /// An address where nobody listens.
    pub fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("its address")
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As a provider's `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// All requests that were read whole, in that order.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Connections whose script has not ended.
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Acquire)
    }
}

fn play(script: &(impl Fn(&mut Served) + ?Sized), mut served: Served) {
    let shared = served.shared.clone();
    let ended = catch_unwind(AssertUnwindSafe(|| script(&mut served)));
    drop(served);
    if let Err(panic) = ended
        && !panic.is::<Gone>()
    {
        lock(&shared.failures).push(words(&*panic));
    }
    shared.running.fetch_sub(1, Ordering::AcqRel);
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a script failed").to_owned()
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the accepting thread up.
        let _ = TcpStream::connect_timeout(&self.addr, GUARD);
        for stream in lock(&self.shared.streams).iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let failures = std::mem::take(&mut *lock(&self.shared.failures));
        assert!(thread::panicking() || failures.is_empty(), "a script failed: {failures:?}");
    }
}

/// Ends a script quietly: the gateway closed the connection.
struct Gone;

/// One connection of the gateway's.
pub struct Served {
    /// Counted from 0 over all connections of the upstream.
    pub number: usize,
    /// Absent once it was closed.
    stream: Option<Arc<TcpStream>>,
    pending: Vec<u8>,
    shared: Arc<Shared>,
}

impl Served {
    fn new(stream: Arc<TcpStream>, number: usize, shared: Arc<Shared>) -> Served {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(GUARD)).expect("a write timeout");
        Served { number, stream: Some(stream), pending: Vec::new(), shared }
    }

    /// The next request. If the gateway closes before that, the script ends here, and that is no failure.
    pub fn request(&mut self) -> Received {
        self.next_request().unwrap_or_else(|| resume_unwind(Box::new(Gone)))
    }

    /// The next request, or nothing when the gateway closes.
    pub fn next_request(&mut self) -> Option<Received> {
        let head = self.head()?;
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map(|(_, value)| value.parse().expect("a length in digits")).next().unwrap_or(0);
        while self.pending.len() < length {
            self.pull().ok().filter(|n| *n > 0)?;
        }
        let body = self.pending.drain(..length).collect();
        let received = Received { connection: self.number, head, body };
        lock(&self.shared.requests).push(received.clone());
        Some(received)
    }

    /// The next request's head; its body is left unread.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = head_end(&self.pending) {
                let head: Vec<u8> = self.pending.drain(..end).collect();
                return Some(String::from_utf8(head).expect("a head in UTF-8"));
            }
            if self.pull().ok().is_none_or(|n| n == 0) {
                assert!(self.pending.is_empty(), "half a head: {}", show(&self.pending));
                return None;
            }
        }
    }

    /// Writes; false when the gateway does not take it.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.as_deref().is_some_and(|mut stream| stream.write_all(bytes.as_ref()).is_ok())
    }

    /// Closes in order (FIN).
    pub fn close(&mut self) {
        self.stream = None;
    }

    /// Ends our half, so that the gateway sees the end while we can still read.
    pub fn half_close(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Closes with a RST.
    pub fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        }
    }

    /// Reads and throws away until the gateway closes (true), or the upstream is dropped, which ends the script.
    pub fn hold(&mut self) -> bool {
        while self.pull().is_ok_and(|n| n > 0) {}
        if self.shared.stopping.load(Ordering::Acquire) {
            resume_unwind(Box::new(Gone));
        }
        true
    }

    /// For what a script has no word for.
    pub fn stream(&self) -> &TcpStream {
        self.stream.as_deref().expect("a connection that the script has not closed")
    }

    fn pull(&mut self) -> io::Result<usize> {
        let Some(mut stream) = self.stream.as_deref() else {
            return Ok(0);
        };
        let mut room = [0; 16 * 1024];
        let n = stream.read(&mut room)?;
        self.pending.extend_from_slice(&room[..n]);
        Ok(n)
    }
}

impl Received {
    /// The header's value, where it came exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "{name} came twice in {}", self.head);
        value
    }

    /// Method, target and version.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("a JSON body, {error}: {}", show(&self.body)))
    }
}
