//! Accepts connections and serves those that need not wait: one thread, one epoll. Measured with 50 busy connections on
//! one core, a thread per connection costs 11 µs a request, of which the scheduler takes 5. The event loop costs about
//! 6, so that the mock does not dominate a benchmark of a gateway. A connection that has to wait or misbehave moves to
//! a thread; see `conn`.

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::conn::{Conn, Turn};
use crate::{Shared, lock};

pub(crate) struct EventLoop {
    shared: Arc<Shared>,
    listener: TcpListener,
    epoll: OwnedFd,
    /// The connections that have no thread of their own.
    conns: HashMap<u64, Conn>,
    accepted: u64,
}

impl EventLoop {
    pub fn new(shared: Arc<Shared>, listener: TcpListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self { shared, listener, epoll, conns: HashMap::new(), accepted: 0 })
    }

    /// Serves until the mock stops. Connections with threads of their own outlive the loop.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.shared.stopping.load(Ordering::Acquire) {
            // An interrupted wait returns no events.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    number => self.serve(number),
                }
            }
        }
        for number in self.conns.keys() {
            lock(&self.shared.streams).remove(number);
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Most likely out of descriptors. The pause lets some connections close.
                    std::thread::sleep(ACCEPT_RETRY_PAUSE);
                    return;
                }
            }
        }
    }

    fn add(&mut self, stream: TcpStream) {
        self.accepted += 1;
        let number = self.accepted;
        self.shared.recorder.connected();
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        lock(&self.shared.streams).insert(number, Arc::clone(&stream));
        let conn = Conn::new(Arc::clone(&self.shared), stream, number);
        let all_misbehave = self.shared.defaults.fault.is_some();
        if all_misbehave || epoll::add(&self.epoll, conn.stream(), EventData::new_u64(number), EventFlags::IN).is_err()
        {
            detach(&self.shared, conn);
        } else {
            self.conns.insert(number, conn);
        }
    }

    fn serve(&mut self, number: u64) {
        let Some(conn) = self.conns.get_mut(&number) else {
            return;
        };
        let turn = conn.serve_without_blocking();
        if let Turn::Next | Turn::Read = turn {
            return;
        }
        if let Some(conn) = self.conns.remove(&number) {
            let _ = epoll::delete(&self.epoll, conn.stream());
            if turn == Turn::Detach {
                detach(&self.shared, conn);
            } else {
                close(&self.shared, conn);
            }
        }
    }
}

/// Moves a connection to a thread of its own. Closes it if no thread can be started.
fn detach(shared: &Arc<Shared>, mut conn: Conn) {
    let number = conn.number();
    let serving = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(format!("mock-{number}")).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || {
        conn.serve_blocking();
        close(&serving, conn);
    });
    if spawned.is_err() {
        lock(&shared.streams).remove(&number);
    }
}

/// Drops both references to the socket: the connection's, and the one for [`crate::Mock::stop`].
fn close(shared: &Shared, conn: Conn) {
    let number = conn.number();
    drop(conn);
    lock(&shared.streams).remove(&number);
}

/// The listener's number in epoll events. Connections are numbered from 1.
const LISTENER: u64 = 0;
/// Most events per wait: nginx's default.
const EVENTS_MAX: usize = 512;
/// Enough for serde_json at its depth limit of 128. An unoptimised build needs more stack for it.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 1 << 20 } else { 128 << 10 };
/// Pause after a failed accept. Arbitrary: short against a test, long against a spinning loop.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(10);
