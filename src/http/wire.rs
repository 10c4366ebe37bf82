//! Sockets: the one module of `http` that does I/O, and the one file of the project with `unsafe`.
//! A [`Wire`] belongs to one task of one shard. It is never used after a read or write was dropped: its owner closes it
//! instead of pooling it.
//!
//! Deadlines cost almost nothing: a wire registers once with the shard's [`Watch`] and sets a number before each wait.
//! Every [`SWEEP_MS`] one sweep compares these numbers with the clock and shuts down the sockets whose deadline has passed.
//! That completes any operation pending on them, with either driver. The same sweep detects callers that disconnected
//! while they waited for an answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use monoio_rustls::ClientTlsStream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, Shutdown};
use slab::Slab;

// Why luner shut a wire down.
mod shutdown_reason;

// Ends an upstream call when its caller disconnects.
mod disconnect_guard;

pub use disconnect_guard::DisconnectGuard;
pub use shutdown_reason::ShutdownReason;

/// Pause between two sweeps in milliseconds, and the longest delay of a deadline. Arbitrary: well below the shortest
/// timeout that makes sense, and 40 wake-ups a second are too few to measure.
pub const SWEEP_MS: u64 = 25;

/// The sweep polls for a caller's disconnect or a provider's early answer only after this time, so that quick requests cost
/// no system call. Arbitrary: less would poll for most requests, more would pay longer for an answer that nobody reads.
const POLL_AFTER_MS: u64 = 150;

/// A time that is never reached, for an absent deadline.
const NEVER: u64 = u64::MAX;

/// A moment on the watch's clock, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

/// The sockets of one shard, each with its deadline.
#[derive(Default)]
pub struct Watch {
    sockets: RefCell<Slab<Rc<Socket>>>,
    now_ms: Cell<u64>,
}

/// A wire's entry in the watch.
struct Socket {
    fd: RawFd,
    /// False once the wire is dropped; cleared before the descriptor is closed.
    open: Cell<bool>,
    deadline_ms: Cell<u64>,
    /// The direction that the deadline shuts down: after a late read, an answer can still be written.
    shut_at_deadline: Cell<Shutdown>,
    shutdown_reason: Cell<ShutdownReason>,
    /// The upstream socket to shut down if this socket's peer disconnects; set by a [`DisconnectGuard`].
    upstream: RefCell<Option<Rc<Socket>>>,
    /// The time at which `upstream` was set.
    upstream_since_ms: Cell<u64>,
    /// The time at which sending of the current request began; [`NEVER`] while no request is being sent.
    sending_since_ms: Cell<u64>,
    /// True while the connection waits for a caller's next request.
    idle: Cell<bool>,
}

impl Watch {
    /// The moment `after` from now. Adds one sweep, by which the watch's clock may lag, so that it never fires early.
    pub fn deadline(&self, after: Duration) -> Deadline {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        Deadline(self.now_ms.get().saturating_add(after_ms).saturating_add(SWEEP_MS))
    }

    /// Shuts down sockets whose deadline has passed and upstream sockets whose caller has disconnected, and stops sending to
    /// peers that have already answered. Called every [`SWEEP_MS`]; `now_ms` is monotonic.
    pub fn sweep(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        let sockets = self.sockets.borrow();
        let mut polled = Vec::new();
        for (_, socket) in sockets.iter() {
            if socket.deadline_ms.get() <= now_ms {
                socket.shut_down(ShutdownReason::DeadlinePassed, socket.shut_at_deadline.get());
            }
            let is_slow = |since_ms: u64| now_ms >= since_ms.saturating_add(POLL_AFTER_MS);
            if socket.upstream.borrow().is_some() && is_slow(socket.upstream_since_ms.get()) {
                polled.push((socket, PollFlags::RDHUP));
            } else if is_slow(socket.sending_since_ms.get()) {
                polled.push((socket, PollFlags::IN));
            }
        }
        // In portions, so that each system call stays short even with very many waiting callers.
        for portion in polled.chunks(POLLED_AT_ONCE) {
            poll(portion);
        }
    }

    /// Makes every idle connection wait at most `wait_max` for a caller's next request. A request that arrives by then is
    /// read and can be answered.
    pub fn limit_idle_wait(&self, wait_max: Duration) {
        let until = self.deadline(wait_max);
        for (_, socket) in self.sockets.borrow().iter() {
            if socket.idle.get() {
                socket.deadline_ms.set(socket.deadline_ms.get().min(until.0));
            }
        }
    }
}

/// Descriptors in one `poll` call. Arbitrary: large enough to make the calls few, small enough to keep each short.
const POLLED_AT_ONCE: usize = 1024;

fn poll(sockets: &[(&Rc<Socket>, PollFlags)]) {
    let mut fds: Vec<PollFd<'_>> = sockets
        .iter()
        .filter_map(|(socket, wanted)| Some(PollFd::from_borrowed_fd(socket.borrow_fd()?, *wanted)))
        .collect();
    // Every registered socket is open, so the two lists have the same order and length.
    debug_assert_eq!(fds.len(), sockets.len());
    if rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0) == 0 {
        return;
    }
    for (fd, (socket, wanted)) in fds.iter().zip(sockets) {
        let disconnected = fd.revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
        if wanted.contains(PollFlags::IN) && fd.revents().contains(PollFlags::IN) {
            socket.stop_sending_if_answered();
        } else if wanted.contains(PollFlags::RDHUP)
            && disconnected
            && let Some(upstream) = socket.upstream.borrow_mut().take()
        {
            upstream.shut_down(ShutdownReason::CallerLeft, Shutdown::Both);
        }
    }
}

impl Socket {
    fn shut_down(&self, reason: ShutdownReason, direction: Shutdown) {
        self.deadline_ms.set(NEVER);
        if self.shutdown_reason.get() == ShutdownReason::None {
            self.shutdown_reason.set(reason);
        }
        if let Some(fd) = self.borrow_fd() {
            // An error means that the socket is no longer connected, which is the goal.
            let _ = rustix::net::shutdown(fd, direction);
        }
    }

    /// Shuts the sending direction down if the peer has begun to answer: the pending write fails, and the answer can be read.
    /// Ignores an interim answer (1xx), after which the peer still expects the rest of the request.
    fn stop_sending_if_answered(&self) {
        let Some(fd) = self.borrow_fd() else { return };
        let mut start = [0u8; b"HTTP/1.1 1".len()];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let Ok((_, n)) = rustix::net::recv(fd, &mut start, flags) else { return };
        if n == start.len() && !start.ends_with(b" 1") {
            self.sending_since_ms.set(NEVER);
            let _ = rustix::net::shutdown(fd, Shutdown::Write);
        }
    }

    #[allow(unsafe_code)]
    fn borrow_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: while `open` is true, the wire that registered this socket is alive, and so is the stream that owns `fd`:
        // `Wire::drop` clears `open` before its stream closes the descriptor. All of this happens on one thread, and no
        // borrowed descriptor is held across an await.
        self.open.get().then(|| unsafe { BorrowedFd::borrow_raw(self.fd) })
    }
}

/// A TCP stream below TLS that returns at most [`READ_BYTES_MAX`] bytes per read. monoio-rustls reads ahead into a buffer
/// that cannot be inspected, but rustls takes [`READ_BYTES_MAX`] bytes at a time. With reads no larger than that, the buffer
/// stays empty, and a peek at the socket finds any bytes that follow an answer.
pub struct PacedStream {
    stream: TcpStream,
    buf: Vec<u8>,
}

/// The most that rustls takes from its transport in one call: `READ_SIZE` in its deframer.
const READ_BYTES_MAX: usize = 4096;

impl PacedStream {
    pub fn new(stream: TcpStream) -> PacedStream {
        PacedStream { stream, buf: Vec::with_capacity(READ_BYTES_MAX) }
    }
}

impl AsyncReadRent for PacedStream {
    #[allow(unsafe_code)]
    async fn read<T: IoBufMut>(&mut self, mut into: T) -> BufResult<usize, T> {
        let room = into.bytes_total().min(READ_BYTES_MAX);
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        buf.reserve(READ_BYTES_MAX);
        let (result, slice) = self.stream.read(buf.slice_mut(..room)).await;
        self.buf = slice.into_inner();
        let read_bytes = self.buf.len().min(room);
        // SAFETY: `into` has room for `bytes_total` bytes from `write_ptr` on, and `read_bytes` is not larger. A buffer that
        // was passed by value cannot overlap with our own.
        unsafe {
            std::ptr::copy_nonoverlapping(self.buf.as_ptr(), into.write_ptr(), read_bytes);
            into.set_init(read_bytes);
        }
        (result.map(|_| read_bytes), into)
    }

    async fn readv<T: IoVecBufMut>(&mut self, into: T) -> BufResult<usize, T> {
        // monoio-rustls does not call this. Returning 0 bytes would look like the end of the stream.
        (Err(io::ErrorKind::Unsupported.into()), into)
    }
}

impl AsyncWriteRent for PacedStream {
    fn write<T: IoBuf>(&mut self, buf: T) -> impl Future<Output = BufResult<usize, T>> {
        self.stream.write(buf)
    }

    fn writev<T: IoVecBuf>(&mut self, bufs: T) -> impl Future<Output = BufResult<usize, T>> {
        self.stream.writev(bufs)
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        self.stream.flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        self.stream.shutdown()
    }
}

enum Io {
    Tcp(TcpStream),
    Tls(Box<ClientTlsStream<PacedStream>>),
}

/// One connection, plain or TLS, registered with its shard's watch.
pub struct Wire {
    io: Io,
    socket: Rc<Socket>,
    /// True if the last read returned everything that had arrived and was decrypted.
    read_everything: bool,
    key: usize,
    watch: Rc<Watch>,
}

impl Wire {
    /// Wraps a plain connection.
    pub fn tcp(stream: TcpStream, watch: &Rc<Watch>) -> Wire {
        let fd = stream.as_raw_fd();
        Wire::register(Io::Tcp(stream), fd, watch)
    }

    /// Wraps an encrypted connection after its handshake. `fd` is the descriptor of the socket below TLS.
    pub fn tls(stream: ClientTlsStream<PacedStream>, fd: RawFd, watch: &Rc<Watch>) -> Wire {
        Wire::register(Io::Tls(Box::new(stream)), fd, watch)
    }

    fn register(io: Io, fd: RawFd, watch: &Rc<Watch>) -> Wire {
        let socket = Rc::new(Socket {
            fd,
            open: Cell::new(true),
            deadline_ms: Cell::new(NEVER),
            shut_at_deadline: Cell::new(Shutdown::Both),
            shutdown_reason: Cell::new(ShutdownReason::None),
            upstream: RefCell::new(None),
            upstream_since_ms: Cell::new(0),
            sending_since_ms: Cell::new(NEVER),
            idle: Cell::new(false),
        });
        let key = watch.sockets.borrow_mut().insert(socket.clone());
        Wire { io, socket, read_everything: true, key, watch: watch.clone() }
    }

    /// Reserves `room` more bytes in `buf` and appends what arrives, up to the buffer's capacity. Returns 0 at the end of the
    /// stream. At `until` the connection is shut down, as [`Wire::shutdown_reason`] then tells. If the future is dropped,
    /// `buf` is left empty and the wire must be dropped too.
    pub async fn read(&mut self, buf: &mut Vec<u8>, room: usize, until: Deadline) -> io::Result<usize> {
        buf.reserve(room);
        let start = buf.len();
        let slice = std::mem::take(buf).slice_mut(start..);
        self.socket.shut_at_deadline.set(Shutdown::Read);
        self.socket.deadline_ms.set(until.0);
        let (result, slice) = match &mut self.io {
            Io::Tcp(stream) => stream.read(slice).await,
            Io::Tls(stream) => stream.read(slice).await,
        };
        self.socket.deadline_ms.set(NEVER);
        *buf = slice.into_inner();
        self.read_everything = buf.len() < buf.capacity();
        result
    }

    /// Reads like [`Wire::read`] on a connection that waits for a request: [`Watch::limit_idle_wait`] may shorten the wait.
    pub async fn read_idle(&mut self, buf: &mut Vec<u8>, room: usize, until: Deadline) -> io::Result<usize> {
        self.socket.idle.set(true);
        let result = self.read(buf, room, until).await;
        self.socket.idle.set(false);
        result
    }

    /// Writes `buf` from byte `from` to its end and returns the buffer. The connection is shut down if the peer accepts
    /// nothing for `stall`.
    pub async fn write(&mut self, mut buf: Vec<u8>, from: usize, stall: Duration) -> (io::Result<()>, Vec<u8>) {
        let mut at = from;
        while at < buf.len() {
            self.socket.shut_at_deadline.set(Shutdown::Both);
            self.socket.deadline_ms.set(self.watch.deadline(stall).0);
            let slice = buf.slice(at..);
            let (result, slice) = match &mut self.io {
                Io::Tcp(stream) => stream.write(slice).await,
                Io::Tls(stream) => stream.write(slice).await,
            };
            self.socket.deadline_ms.set(NEVER);
            buf = slice.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(n) => at += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Writes a whole request like [`Wire::write`]. If the peer answers before it has received all of it (RFC 9112 §9.5),
    /// the write fails, and the answer can be read.
    pub async fn write_request(&mut self, buf: Vec<u8>, stall: Duration) -> (io::Result<()>, Vec<u8>) {
        // Under TLS, readable bytes may not be an answer: session tickets arrive unsolicited.
        if matches!(self.io, Io::Tcp(_)) {
            self.socket.sending_since_ms.set(self.watch.now_ms.get());
        }
        let result = self.write(buf, 0, stall).await;
        self.socket.sending_since_ms.set(NEVER);
        result
    }

    /// Closes luner's half of the connection in an orderly way; the peer may still send.
    pub async fn finish(&mut self) -> io::Result<()> {
        match &mut self.io {
            Io::Tcp(stream) => stream.shutdown().await,
            Io::Tls(stream) => stream.shutdown().await,
        }
    }

    /// The moment `after` from now, on this wire's watch.
    pub fn deadline(&self, after: Duration) -> Deadline {
        self.watch.deadline(after)
    }

    /// Why luner shut this wire down, if it did.
    pub fn shutdown_reason(&self) -> ShutdownReason {
        self.socket.shutdown_reason.get()
    }

    /// True if the peer has closed its side. Costs one `poll` that does not wait.
    pub fn peer_has_closed(&self) -> bool {
        let Some(fd) = self.socket.borrow_fd() else { return true };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).unwrap_or(0) > 0
    }

    /// True if an idle connection may carry another request: it is open, and the peer has sent nothing unsolicited. Costs
    /// one `recv` that consumes nothing.
    pub fn is_reusable(&self) -> bool {
        if !self.read_everything {
            return false;
        }
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = self.socket.borrow_fd().map(|fd| rustix::net::recv(fd, &mut byte, flags));
        matches!(peeked, Some(Err(rustix::io::Errno::AGAIN)))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.socket.open.set(false);
        self.watch.sockets.borrow_mut().remove(self.key);
    }
}
