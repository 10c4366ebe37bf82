//! Sockets: the one module of `http` that does I/O, and the one file of the project with `unsafe`. A [`Wire`] belongs to
//! one task of one shard; it never outlives a dropped read or write (its owner closes it instead of pooling it).
//!
//! Deadlines cost nothing on the way: a wire registers itself in the shard's [`Watch`] once and writes a number before it
//! waits. One sweep every [`SWEEP_MS`] compares the numbers with the clock and shuts the sockets of the late ones down,
//! which completes whatever operation is pending on them, with either driver. The same sweep notices callers that left
//! while their answer is still being waited for.

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

mod state; // why a wire was cut
mod tether; // a caller's departure ends what serves it

pub use state::Cut;
pub use tether::Tether;

/// How often the watch looks at its sockets, in milliseconds; also how late a deadline may fire. Arbitrary: well below
/// the shortest timeout that makes sense, and 40 wake-ups a second are not measurable.
pub const SWEEP_MS: u64 = 25;

/// A caller's departure and a provider's early answer are looked for only once it takes this long, so that quick requests
/// cost no system call. Arbitrary.
const LOOK_AFTER_MS: u64 = 150;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A moment on the watch's clock, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

/// The sockets of one shard and what each of them waits for.
#[derive(Default)]
pub struct Watch {
    slots: RefCell<Slab<Rc<Guard>>>,
    now_ms: Cell<u64>,
}

/// One socket's entry in the watch.
struct Guard {
    fd: RawFd,
    /// Cleared when the wire goes, before its descriptor does.
    open: Cell<bool>,
    deadline_ms: Cell<u64>,
    /// What is shut down at the deadline: after a late read an answer can still be written.
    late_ends: Cell<Shutdown>,
    cut: Cell<Cut>,
    /// What to shut down when this socket's peer leaves, and since when.
    serves: RefCell<Option<Rc<Guard>>>,
    serves_since_ms: Cell<u64>,
    /// Since when a request is being sent through this socket; [`NEVER`] while none is.
    sends_since_ms: Cell<u64>,
    /// Whether it waits for a caller's request.
    idle: Cell<bool>,
}

impl Watch {
    /// The moment `after` from now, never early: the watch's clock lags by at most one sweep.
    pub fn deadline(&self, after: Duration) -> Deadline {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        Deadline(self.now_ms.get().saturating_add(after_ms).saturating_add(SWEEP_MS))
    }

    /// Shuts down what is late and what serves a caller who left, and ends the sending to a peer that answers already.
    /// `now_ms` is monotonic.
    pub fn sweep(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        let slots = self.slots.borrow();
        let mut looked_at = Vec::new();
        for (_, guard) in slots.iter() {
            if guard.deadline_ms.get() <= now_ms {
                guard.shut(Cut::Late, guard.late_ends.get());
            }
            let lasts = |since_ms: u64| now_ms >= since_ms.saturating_add(LOOK_AFTER_MS);
            if guard.serves.borrow().is_some() && lasts(guard.serves_since_ms.get()) {
                looked_at.push((guard, PollFlags::RDHUP));
            } else if lasts(guard.sends_since_ms.get()) {
                looked_at.push((guard, PollFlags::IN));
            }
        }
        // In portions, so that one sweep over very many waiting callers stays one short system call each.
        for portion in looked_at.chunks(POLL_PORTION) {
            look_at(portion);
        }
    }

    /// Connections that wait for a caller's request wait for `patience` at the most. What arrives until then is read, and can
    /// be answered.
    pub fn shut_idle(&self, patience: Duration) {
        let until = self.deadline(patience);
        for (_, guard) in self.slots.borrow().iter() {
            if guard.idle.get() {
                guard.deadline_ms.set(guard.deadline_ms.get().min(until.0));
            }
        }
    }
}

/// Descriptors asked about in one `poll`. Arbitrary.
const POLL_PORTION: usize = 1024;

fn look_at(guards: &[(&Rc<Guard>, PollFlags)]) {
    let mut fds: Vec<PollFd<'_>> = guards
        .iter()
        .filter_map(|(guard, wanted)| Some(PollFd::from_borrowed_fd(guard.borrow_fd()?, *wanted)))
        .collect();
    // Every registered guard is open, so that the two lists stay in step.
    debug_assert_eq!(fds.len(), guards.len());
    if rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0) == 0 {
        return;
    }
    for (fd, (guard, wanted)) in fds.iter().zip(guards) {
        let left = fd.revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
        if wanted.contains(PollFlags::IN) && fd.revents().contains(PollFlags::IN) {
            guard.heed_answer();
        } else if wanted.contains(PollFlags::RDHUP)
            && left
            && let Some(served) = guard.serves.borrow_mut().take()
        {
            served.shut(Cut::Abandoned, Shutdown::Both);
        }
    }
}

impl Guard {
    fn shut(&self, cut: Cut, how: Shutdown) {
        self.deadline_ms.set(NEVER);
        if self.cut.get() == Cut::No {
            self.cut.set(cut);
        }
        if let Some(fd) = self.borrow_fd() {
            // An error means that the socket is not connected any more, which is what was wanted.
            let _ = rustix::net::shutdown(fd, how);
        }
    }

    /// If an answer begins in what the peer sent, whatever is being sent fails, and the answer can be read. An interim one
    /// (1xx) is none: the peer still wants the rest.
    fn heed_answer(&self) {
        let Some(fd) = self.borrow_fd() else { return };
        let mut start = [0u8; b"HTTP/1.1 1".len()];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let Ok((_, n)) = rustix::net::recv(fd, &mut start, flags) else { return };
        if n == start.len() && !start.ends_with(b" 1") {
            self.sends_since_ms.set(NEVER);
            let _ = rustix::net::shutdown(fd, Shutdown::Write);
        }
    }

    #[allow(unsafe_code)]
    fn borrow_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: while `open` holds, the wire that made this guard lives, and with it the stream that owns `fd`:
        // `Wire::drop` clears `open` before its stream closes the descriptor. All of it happens on one thread, and no
        // borrowed descriptor is kept across an await.
        self.open.get().then(|| unsafe { BorrowedFd::borrow_raw(self.fd) })
    }
}

/// A socket below TLS that hands over little at a time. monoio-rustls reads ahead into a buffer that nobody can look into,
/// while rustls takes [`PACE_BYTES`] at a time: with no more than that in one read, nothing stays in between, and what
/// follows an answer is seen by a look at the socket.
pub struct Paced {
    stream: TcpStream,
    buf: Vec<u8>,
}

/// What rustls takes from its transport in one call: `READ_SIZE` in its deframer.
const PACE_BYTES: usize = 4096;

impl Paced {
    /// Reads `stream` at that pace.
    pub fn new(stream: TcpStream) -> Paced {
        Paced { stream, buf: Vec::with_capacity(PACE_BYTES) }
    }
}

impl AsyncReadRent for Paced {
    #[allow(unsafe_code)]
    async fn read<T: IoBufMut>(&mut self, mut into: T) -> BufResult<usize, T> {
        let room = into.bytes_total().min(PACE_BYTES);
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        buf.reserve(PACE_BYTES);
        let (result, slice) = self.stream.read(buf.slice_mut(..room)).await;
        self.buf = slice.into_inner();
        let taken = self.buf.len().min(room);
        // SAFETY: `into` has room for `bytes_total` bytes from `write_ptr` on, `taken` is no more, and a buffer that was
        // handed over by value cannot overlap with our own.
        unsafe {
            std::ptr::copy_nonoverlapping(self.buf.as_ptr(), into.write_ptr(), taken);
            into.set_init(taken);
        }
        (result.map(|_| taken), into)
    }

    async fn readv<T: IoVecBufMut>(&mut self, into: T) -> BufResult<usize, T> {
        // monoio-rustls does not use it; a read of nothing would look like the end.
        (Err(io::ErrorKind::Unsupported.into()), into)
    }
}

impl AsyncWriteRent for Paced {
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
    Tls(Box<ClientTlsStream<Paced>>),
}

/// One connection, plain or TLS, registered in its shard's watch.
pub struct Wire {
    io: Io,
    guard: Rc<Guard>,
    /// Whether the last read took everything that had arrived and was decrypted.
    took_all: bool,
    key: usize,
    watch: Rc<Watch>,
}

impl Wire {
    /// Takes a plain connection over.
    pub fn tcp(stream: TcpStream, watch: &Rc<Watch>) -> Wire {
        let fd = stream.as_raw_fd();
        Wire::register(Io::Tcp(stream), fd, watch)
    }

    /// Takes an encrypted connection over, whose handshake is done. `fd` is the socket's below it.
    pub fn tls(stream: ClientTlsStream<Paced>, fd: RawFd, watch: &Rc<Watch>) -> Wire {
        Wire::register(Io::Tls(Box::new(stream)), fd, watch)
    }

    fn register(io: Io, fd: RawFd, watch: &Rc<Watch>) -> Wire {
        let guard = Rc::new(Guard {
            fd,
            open: Cell::new(true),
            deadline_ms: Cell::new(NEVER),
            late_ends: Cell::new(Shutdown::Both),
            cut: Cell::new(Cut::No),
            serves: RefCell::new(None),
            serves_since_ms: Cell::new(0),
            sends_since_ms: Cell::new(NEVER),
            idle: Cell::new(false),
        });
        let key = watch.slots.borrow_mut().insert(guard.clone());
        Wire { io, guard, took_all: true, key, watch: watch.clone() }
    }

    /// Appends what arrives to `buf`, at most as much as fits behind `room` more bytes of capacity; 0 is the end of the
    /// stream. Past `until` the connection is shut down and [`Wire::cut`] says so. When the future is dropped, `buf` is
    /// left empty and the wire must be dropped too.
    pub async fn read(&mut self, buf: &mut Vec<u8>, room: usize, until: Deadline) -> io::Result<usize> {
        buf.reserve(room);
        let start = buf.len();
        let slice = std::mem::take(buf).slice_mut(start..);
        self.guard.late_ends.set(Shutdown::Read);
        self.guard.deadline_ms.set(until.0);
        let (result, slice) = match &mut self.io {
            Io::Tcp(stream) => stream.read(slice).await,
            Io::Tls(stream) => stream.read(slice).await,
        };
        self.guard.deadline_ms.set(NEVER);
        *buf = slice.into_inner();
        self.took_all = buf.len() < buf.capacity();
        result
    }

    /// The same, for a connection that waits for a request: [`Watch::shut_idle`] may shorten the wait.
    pub async fn read_idle(&mut self, buf: &mut Vec<u8>, room: usize, until: Deadline) -> io::Result<usize> {
        self.guard.idle.set(true);
        let result = self.read(buf, room, until).await;
        self.guard.idle.set(false);
        result
    }

    /// Writes `buf` from byte `from` to its end and hands it back. The connection is shut down when nothing of it is
    /// taken for `stall`.
    pub async fn write(&mut self, mut buf: Vec<u8>, from: usize, stall: Duration) -> (io::Result<()>, Vec<u8>) {
        let mut at = from;
        while at < buf.len() {
            self.guard.late_ends.set(Shutdown::Both);
            self.guard.deadline_ms.set(self.watch.deadline(stall).0);
            let slice = buf.slice(at..);
            let (result, slice) = match &mut self.io {
                Io::Tcp(stream) => stream.write(slice).await,
                Io::Tls(stream) => stream.write(slice).await,
            };
            self.guard.deadline_ms.set(NEVER);
            buf = slice.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(n) => at += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// The same for a request: a peer that answers before it has taken all of it (RFC 9112 section 9.5) ends the writing
    /// with an error, and its answer can be read.
    pub async fn write_request(&mut self, buf: Vec<u8>, stall: Duration) -> (io::Result<()>, Vec<u8>) {
        // Under TLS what can be read need not be an answer: session tickets come unasked.
        if matches!(self.io, Io::Tcp(_)) {
            self.guard.sends_since_ms.set(self.watch.now_ms.get());
        }
        let result = self.write(buf, 0, stall).await;
        self.guard.sends_since_ms.set(NEVER);
        result
    }

    /// Ends our half of the connection in order; the peer may still send.
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

    /// Why this wire was shut down from our side, if it was.
    pub fn cut(&self) -> Cut {
        self.guard.cut.get()
    }

    /// Whether the peer has ended its side. One `poll` that waits for nothing.
    pub fn peer_left(&self) -> bool {
        let Some(fd) = self.guard.borrow_fd() else { return true };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).unwrap_or(0) > 0
    }

    /// Whether an idle connection still is as we left it: open, with nothing to read that nobody asked for. One `recv` that
    /// takes nothing.
    pub fn is_quiet(&self) -> bool {
        if !self.took_all {
            return false;
        }
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = self.guard.borrow_fd().map(|fd| rustix::net::recv(fd, &mut byte, flags));
        matches!(peeked, Some(Err(rustix::io::Errno::AGAIN)))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.guard.open.set(false);
        self.watch.slots.borrow_mut().remove(self.key);
    }
}
