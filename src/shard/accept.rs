//! A shard's listeners: connections come in, up to their limit, and each gets a task. Runs on the shard until it drains. It
//! never waits for the work of a connection.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};

use super::answer::head::Frame;
use super::answer::ids::RequestId;
use super::answer::refusal::Refusal;
use super::caller::Caller;
use super::conn;
use super::judge::record::{End, Record};
use super::state::Shard;
use crate::http::wire::Wire;
use crate::link::{Driver, Event};

/// Pause after a failed accept (out of descriptors, for example), so that a shard does not spin. Arbitrary.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Pause after a non-blocking accept found nothing. A socket is non-blocking if a process on epoll shares it. Arbitrary: a new
/// connection waits no longer than this.
const ACCEPT_POLL: Duration = Duration::from_millis(10);

/// The listeners that accept.
pub(crate) struct Accepting {
    listeners: Vec<Listener>,
    driver: Driver,
}

/// One listener.
struct Listener {
    /// Cancels the pending accept.
    cancel: Rc<RefCell<Canceller>>,
    /// A second handle of the same socket, with which its queue is emptied at the end.
    socket: std::net::TcpListener,
}

impl Accepting {
    /// Closes the listeners. Connections that wait in the kernel's queue are accepted first, because closing would reset them,
    /// unless another process accepts them.
    pub(crate) fn stop(self, shard: &Rc<Shard>, handed_over: bool) {
        self.restart();
        for Listener { socket, .. } in self.listeners.iter().filter(|_| !handed_over) {
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            while let Ok((stream, peer)) = socket.accept() {
                let ready = stream.set_nonblocking(self.driver == Driver::Epoll);
                if let Ok(stream) = ready.and_then(|()| TcpStream::from_std(stream)) {
                    welcome(stream, peer, shard);
                }
            }
        }
    }

    /// Replaces the pending accepts by new ones, which look into the queue before they wait. When several processes wait on one
    /// socket, a connection wakes only one of them, and that one may have stopped at that moment.
    pub(crate) fn restart(&self) {
        for Listener { cancel, .. } in &self.listeners {
            let next = cancel.take().cancel();
            cancel.replace(next);
        }
    }
}

/// Starts to accept on `sockets`.
pub(crate) fn start(sockets: Vec<std::net::TcpListener>, driver: Driver, shard: &Rc<Shard>) -> io::Result<Accepting> {
    shard.listeners.set(sockets.len());
    let mut listeners = Vec::with_capacity(sockets.len());
    for socket in sockets {
        if driver == Driver::Epoll {
            socket.set_nonblocking(true)?;
        }
        let second = socket.try_clone()?;
        let (listener, cancel) = (TcpListener::from_std(socket)?, Rc::<RefCell<Canceller>>::default());
        let (cancelled, shard) = (cancel.clone(), shard.clone());
        monoio::spawn(async move {
            accept(listener, cancelled, &shard).await;
            shard.listeners.set(shard.listeners.get() - 1);
            if shard.listeners.get() == 0 {
                let _ = shard.events.send_async(Event::Stopped { shard: shard.ground.shard }).await;
            }
        });
        listeners.push(Listener { cancel, socket: second });
    }
    Ok(Accepting { listeners, driver })
}

/// Accepts until the shard drains.
async fn accept(listener: TcpListener, cancelled: Rc<RefCell<Canceller>>, shard: &Rc<Shard>) {
    let mut failing = false;
    while !shard.ground.is_draining() {
        let handle = cancelled.borrow().handle();
        match listener.cancelable_accept(handle).await {
            Ok((stream, peer)) => {
                failing = false;
                welcome(stream, peer, shard);
            }
            Err(_) if shard.ground.is_draining() => break,
            Err(error) if error.raw_os_error() == Some(CANCELLED) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => monoio::time::sleep(ACCEPT_POLL).await,
            Err(error) => {
                // One line for a run of failures: an attacker who opens sockets must not fill the log.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(shard = shard.ground.shard, %error, "cannot accept connections");
                }
                monoio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// The error of a cancelled accept.
const CANCELLED: i32 = rustix::io::Errno::CANCELED.raw_os_error();

fn welcome(stream: TcpStream, peer: SocketAddr, shard: &Rc<Shard>) {
    // Without it an answer waits until the previous segment is acknowledged. luner works if the option is refused.
    let _ = stream.set_nodelay(true);
    let wire = Wire::tcp(stream, &shard.ground.watch);
    if shard.connections.get() >= shard.connections_max() {
        monoio::spawn(turn_away(wire, peer, shard.clone()));
        return;
    }
    // Counted at once and not when its task begins: a shard that drains might end in between.
    shard.connections.set(shard.connections.get() + 1);
    monoio::spawn(conn::serve(wire, peer, shard.clone()));
}

/// Refuses a connection beyond the limit. It does not count as a connection and ends within [`TURN_AWAY`].
async fn turn_away(wire: Wire, peer: SocketAddr, shard: Rc<Shard>) {
    let refusal = Refusal::TooManyConnections;
    let plan = shard.plans.plan();
    let mut record = Record::new(&plan, shard.ground.now(), shard.ground.random());
    record.request_id = Some(RequestId::generate(shard.ground.random()));
    let mut caller = Caller::new(shard.ground.clone(), shard.accounting.clone(), wire, peer);
    caller.lay_out_refusal(&refusal, &Frame { request_id: record.request_id, ..Frame::closing() });
    let end = End { now: shard.ground.now(), status: refusal.row().status, refusal: Some(&refusal) };
    shard.accounting.settle(record, end);
    if caller.flush(TURN_AWAY).await.is_ok() {
        let _ = caller.wire.finish().await;
    }
}

/// How long a caller may take to read a refusal. Arbitrary.
const TURN_AWAY: Duration = Duration::from_secs(1);
