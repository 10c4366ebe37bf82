//! A shard's listeners: connections come in, within their number, each gets a task. Runs on the shard until it is told
//! to drain; never waits for a connection's work.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};

use super::answer::refusal::Refusal;
use super::answer::respond;
use super::judge::record::Record;
use super::{Shard, conn};
use crate::http::wire::Wire;
use crate::link::{Driver, Event};

/// Pause after a failed accept (out of descriptors, say), so that a shard does not spin. Arbitrary.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Pause after a look at a socket that does not wait: it is shared with someone on epoll, which needs it so. Arbitrary: a new
/// connection waits no longer than that.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The listeners that are being accepted on.
pub(crate) struct Accepting {
    doors: Vec<Door>,
    driver: Driver,
}

/// One listener.
struct Door {
    /// Ends the accept that waits.
    stop: Rc<RefCell<Canceller>>,
    /// The same socket once more, to empty its queue at the end.
    queue: std::net::TcpListener,
}

impl Accepting {
    /// Closes the listeners. Connections that the kernel had already taken are welcomed first, since closing would reset
    /// them, unless another process accepts them.
    pub(crate) fn stop(self, shard: &Rc<Shard>, handed_over: bool) {
        self.anew();
        for Door { queue, .. } in self.doors.iter().filter(|_| !handed_over) {
            if queue.set_nonblocking(true).is_err() {
                continue;
            }
            while let Ok((stream, peer)) = queue.accept() {
                let ready = stream.set_nonblocking(self.driver == Driver::Epoll);
                if let Ok(stream) = ready.and_then(|()| TcpStream::from_std(stream)) {
                    welcome(stream, peer, shard);
                }
            }
        }
    }

    /// Gives up the accepts that wait, for new ones, which look into the queue before they wait: of several who wait on one
    /// socket a connection wakes one, who may be another process that stopped in that moment.
    pub(crate) fn anew(&self) {
        for Door { stop, .. } in &self.doors {
            let next = stop.take().cancel();
            stop.replace(next);
        }
    }
}

/// Starts to accept on `listeners`.
pub(crate) fn start(listeners: Vec<std::net::TcpListener>, driver: Driver, shard: &Rc<Shard>) -> io::Result<Accepting> {
    shard.doors.set(listeners.len());
    let mut doors = Vec::with_capacity(listeners.len());
    for listener in listeners {
        if driver == Driver::Epoll {
            listener.set_nonblocking(true)?;
        }
        let queue = listener.try_clone()?;
        let (listener, stop) = (TcpListener::from_std(listener)?, Rc::<RefCell<Canceller>>::default());
        let (until, shard) = (stop.clone(), shard.clone());
        monoio::spawn(async move {
            accept(listener, until, &shard).await;
            shard.doors.set(shard.doors.get() - 1);
            if shard.doors.get() == 0 {
                let _ = shard.events.send_async(Event::Stopped { shard: shard.id }).await;
            }
        });
        doors.push(Door { stop, queue });
    }
    Ok(Accepting { doors, driver })
}

/// Accepts until the shard drains.
async fn accept(listener: TcpListener, stop: Rc<RefCell<Canceller>>, shard: &Rc<Shard>) {
    let mut failing = false;
    while !shard.is_draining() {
        let handle = stop.borrow().handle();
        match listener.cancelable_accept(handle).await {
            Ok((stream, peer)) => {
                failing = false;
                welcome(stream, peer, shard);
            }
            Err(_) if shard.is_draining() => break,
            Err(error) if error.raw_os_error() == Some(CANCELLED) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => monoio::time::sleep(LOOK_AGAIN).await,
            Err(error) => {
                // One line for a run of failures: an attacker who opens sockets must not fill the log.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(shard = shard.id, %error, "cannot accept connections");
                }
                monoio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// What an accept that was given up ends with.
const CANCELLED: i32 = rustix::io::Errno::CANCELED.raw_os_error();

fn welcome(stream: TcpStream, peer: SocketAddr, shard: &Rc<Shard>) {
    // Without it an answer waits for the acknowledgement of the one before. A refusal of the option is survivable.
    let _ = stream.set_nodelay(true);
    let wire = Wire::tcp(stream, &shard.watch);
    if shard.connections.get() >= shard.connections_max() {
        monoio::spawn(turn_away(wire, shard.clone()));
        return;
    }
    // At once, and not when its task begins: a shard that drains might end in between.
    shard.connections.set(shard.connections.get() + 1);
    monoio::spawn(conn::serve(wire, peer, shard.clone()));
}

/// Says that there is no room. Not counted as a connection; ends within [`TURN_AWAY`].
async fn turn_away(mut wire: Wire, shard: Rc<Shard>) {
    let frame = respond::Frame { request_id: Some(respond::Token::made(shard.random())), ..respond::Frame::closing() };
    let mut out = Vec::new();
    respond::refusal(&Refusal::Overloaded, &frame, &shard.date.borrow(), &mut out);
    let record = Record::new(shard.now(), frame.request_id);
    record.settle(&shard, Refusal::Overloaded.row().status, Some(&Refusal::Overloaded));
    if wire.write(out, 0, TURN_AWAY).await.0.is_ok() {
        let _ = wire.finish().await;
    }
}

/// Time to take a refusal. Arbitrary.
const TURN_AWAY: Duration = Duration::from_secs(1);
