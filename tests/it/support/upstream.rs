//! A provider that follows a script, for everything that `mock-llm` has no fault for. Each connection has a thread; all
//! threads end when the [`Upstream`] is dropped.

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
use super::{TIMEOUT, lock};

/// A scripted provider. Dropping it panics if a script failed.
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

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counted from 0 over all connections of the upstream.
    pub connection: usize,
    /// With the empty line at its end.
    pub head: String,
    pub body: Vec<u8>,
}

impl Upstream {
    /// Runs `script` for each connection, in a thread of its own. The connection closes when the script returns.
    pub fn script(script: impl Fn(&mut ProviderConn) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port for the upstream");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let (script, accepting) = (Arc::new(script), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopping.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let stream = Arc::new(stream);
                lock(&accepting.streams).push(Arc::downgrade(&stream));
                let number = accepting.connections.fetch_add(1, Ordering::AcqRel);
                accepting.running.fetch_add(1, Ordering::AcqRel);
                let (script, shared) = (script.clone(), accepting.clone());
                thread::spawn(move || run_script(&*script, ProviderConn::new(stream, number, shared)));
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

    /// An address that refuses connections.
    pub fn closed_port() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("its address")
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The provider's `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// All requests that were read whole, in the order of their ends.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).clone()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Number of connections whose script has not ended.
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Acquire)
    }
}

fn run_script(script: &(impl Fn(&mut ProviderConn) + ?Sized), mut conn: ProviderConn) {
    let shared = conn.shared.clone();
    let ended = catch_unwind(AssertUnwindSafe(|| script(&mut conn)));
    drop(conn);
    if let Err(panic) = ended
        && !panic.is::<Gone>()
    {
        lock(&shared.failures).push(panic_message(&*panic));
    }
    shared.running.fetch_sub(1, Ordering::AcqRel);
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a script failed").to_owned()
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.addr, TIMEOUT);
        for stream in lock(&self.shared.streams).iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let failures = std::mem::take(&mut *lock(&self.shared.failures));
        assert!(thread::panicking() || failures.is_empty(), "a script failed: {failures:?}");
    }
}

/// The panic that ends a script without a failure, because the gateway closed the connection.
struct Gone;

/// The provider's end of a connection from the gateway.
pub struct ProviderConn {
    /// Counted from 0 over all connections of the upstream.
    pub number: usize,
    /// Absent once the script has closed it.
    stream: Option<Arc<TcpStream>>,
    pending: Vec<u8>,
    shared: Arc<Shared>,
}

impl ProviderConn {
    fn new(stream: Arc<TcpStream>, number: usize, shared: Arc<Shared>) -> ProviderConn {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a write timeout");
        ProviderConn { number, stream: Some(stream), pending: Vec::new(), shared }
    }

    /// The next request. If the gateway closes instead, the script ends here without a failure.
    pub fn request(&mut self) -> Received {
        self.next_request().unwrap_or_else(|| resume_unwind(Box::new(Gone)))
    }

    /// The next request. `None` when the gateway closes.
    pub fn next_request(&mut self) -> Option<Received> {
        let head = self.head()?;
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map(|(_, value)| value.parse().expect("a length in digits")).next().unwrap_or(0);
        while self.pending.len() < length {
            self.read_available().ok().filter(|n| *n > 0)?;
        }
        let body = self.pending.drain(..length).collect();
        let received = Received { connection: self.number, head, body };
        lock(&self.shared.requests).push(received.clone());
        Some(received)
    }

    /// The head of the next request. Its body is left unread.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = head_end(&self.pending) {
                let head: Vec<u8> = self.pending.drain(..end).collect();
                return Some(String::from_utf8(head).expect("a head in UTF-8"));
            }
            if self.read_available().ok().is_none_or(|n| n == 0) {
                assert!(self.pending.is_empty(), "half a head: {}", show(&self.pending));
                return None;
            }
        }
    }

    /// Writes. Returns false when the gateway does not accept the bytes.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.as_deref().is_some_and(|mut stream| stream.write_all(bytes.as_ref()).is_ok())
    }

    /// Closes the connection in order (FIN).
    pub fn close(&mut self) {
        self.stream = None;
    }

    /// Closes the sending half: the gateway sees the end, and its bytes can still be read.
    pub fn half_close(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Closes the connection with a RST.
    pub fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        }
    }

    /// Reads and discards until the gateway closes. Returns true, or ends the script when the upstream is dropped
    /// first.
    pub fn hold(&mut self) -> bool {
        while self.read_available().is_ok_and(|n| n > 0) {}
        if self.shared.stopping.load(Ordering::Acquire) {
            resume_unwind(Box::new(Gone));
        }
        true
    }

    /// The socket, for scripts that need more than these methods.
    pub fn stream(&self) -> &TcpStream {
        self.stream.as_deref().expect("a connection that the script has not closed")
    }

    fn read_available(&mut self) -> io::Result<usize> {
        let Some(mut stream) = self.stream.as_deref() else {
            return Ok(0);
        };
        let mut buffer = [0; 16 * 1024];
        let n = stream.read(&mut buffer)?;
        self.pending.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl Received {
    /// The header's value. Panics if the header came twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "{name} came twice in {}", self.head);
        value
    }

    /// The request line: method, target and version.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("a JSON body, {error}: {}", show(&self.body)))
    }
}
