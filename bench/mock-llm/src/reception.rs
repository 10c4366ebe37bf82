//! Accepts connections and serves the easy ones: one thread, one epoll. Measured with 50 busy connections on one core,
//! a thread for each costs 11 µs a request, of which 5 are the scheduler's; this costs about 6, so that the mock is
//! not what a benchmark of a gateway measures. Whatever would wait or misbehave gets a thread; see `conn`.

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

pub(crate) struct Reception {
    shared: Arc<Shared>,
    listener: TcpListener,
    epoll: OwnedFd,
    /// Connections without a thread of their own.
    here: HashMap<u64, Conn>,
    accepted: u64,
}

impl Reception {
    pub fn new(shared: Arc<Shared>, listener: TcpListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self { shared, listener, epoll, here: HashMap::new(), accepted: 0 })
    }

    /// Serves until the mock stops. Connections on threads of their own outlive it.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.shared.stopping.load(Ordering::Acquire) {
            // An interrupted wait leaves no events.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    number => self.serve(number),
                }
            }
        }
        for number in self.here.keys() {
            lock(&self.shared.streams).remove(number);
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Out of descriptors, most likely: let some close. Stopping ends the wait in `run`.
                    std::thread::sleep(ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream) {
        self.accepted += 1;
        let number = self.accepted;
        self.shared.books.connected();
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        lock(&self.shared.streams).insert(number, Arc::clone(&stream));
        let conn = Conn::new(Arc::clone(&self.shared), stream, number);
        let all_misbehave = self.shared.base.fault.is_some();
        if all_misbehave || epoll::add(&self.epoll, conn.stream(), EventData::new_u64(number), EventFlags::IN).is_err()
        {
            detach(&self.shared, conn);
        } else {
            self.here.insert(number, conn);
        }
    }

    fn serve(&mut self, number: u64) {
        let Some(conn) = self.here.get_mut(&number) else {
            return;
        };
        let turn = conn.hasty();
        if let Turn::Next | Turn::Read = turn {
            return;
        }
        if let Some(conn) = self.here.remove(&number) {
            let _ = epoll::delete(&self.epoll, conn.stream());
            if turn == Turn::Detach {
                detach(&self.shared, conn);
            } else {
                close(&self.shared, conn);
            }
        }
    }
}

/// Gives a connection a thread of its own; closes it if there is none to have.
fn detach(shared: &Arc<Shared>, mut conn: Conn) {
    let number = conn.number();
    let serving = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(format!("mock-{number}")).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || {
        conn.patient();
        close(&serving, conn);
    });
    if spawned.is_err() {
        lock(&shared.streams).remove(&number);
    }
}

/// Both references to the socket go: the connection's, and then the one that [`crate::Mock::stop`] would use.
fn close(shared: &Shared, conn: Conn) {
    let number = conn.number();
    drop(conn);
    lock(&shared.streams).remove(&number);
}

/// Connections count from 1.
const LISTENER: u64 = 0;
/// As nginx has it.
const EVENTS_MAX: usize = 512;
/// Enough for serde_json at its depth limit of 128, of which an unoptimised build needs more.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 1 << 20 } else { 128 << 10 };
/// Arbitrary.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);
