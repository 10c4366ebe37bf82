//! A shard's own listener: connections come in, within their number, each gets a task. Runs on the shard until it is told
//! to drain; never waits for a connection's work.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use monoio::net::{TcpListener, TcpStream};

use super::record::Record;
use super::refusal::Refusal;
use super::{Shard, conn, respond};
use crate::http::wire::Wire;
use crate::link::Driver;

/// Pause after a failed accept (out of descriptors, say), so that a shard does not spin. Arbitrary.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The listener that is being accepted on.
pub(super) struct Accepting {
    stop: monoio::io::Canceller,
    /// The same socket once more, to empty its queue at the end.
    queue: std::net::TcpListener,
    driver: Driver,
}

impl Accepting {
    /// Closes the listener. Connections that the kernel had already taken are welcomed first, since closing would reset
    /// them.
    pub(super) fn stop(self, shard: &Rc<Shard>) {
        let _ = self.stop.cancel();
        if self.queue.set_nonblocking(true).is_err() {
            return;
        }
        while let Ok((stream, peer)) = self.queue.accept() {
            let ready = stream.set_nonblocking(self.driver == Driver::Epoll);
            if let Ok(stream) = ready.and_then(|()| TcpStream::from_std(stream)) {
                welcome(stream, peer, shard);
            }
        }
    }
}

/// Starts to accept on `listener`.
pub(super) fn start(listener: std::net::TcpListener, driver: Driver, shard: Rc<Shard>) -> io::Result<Accepting> {
    listener.set_nonblocking(driver == Driver::Epoll)?;
    let queue = listener.try_clone()?;
    let listener = TcpListener::from_std(listener)?;
    let stop = monoio::io::Canceller::new();
    let handle = stop.handle();
    monoio::spawn(async move {
        let mut failing = false;
        while !shard.draining.get() {
            match listener.cancelable_accept(handle.clone()).await {
                Ok((stream, peer)) => {
                    failing = false;
                    welcome(stream, peer, &shard);
                }
                Err(_) if shard.draining.get() => break,
                Err(error) => {
                    // One line for a run of failures: an attacker who opens sockets must not fill the log.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(shard = shard.id, %error, "cannot accept connections");
                    }
                    monoio::time::sleep(BACK_OFF).await;
                }
            }
        }
    });
    Ok(Accepting { stop, queue, driver })
}

fn welcome(stream: TcpStream, peer: SocketAddr, shard: &Rc<Shard>) {
    // Without it an answer waits for the acknowledgement of the one before. A refusal of the option is survivable.
    let _ = stream.set_nodelay(true);
    let wire = Wire::tcp(stream, &shard.watch);
    if shard.connections.get() >= shard.connections_max() {
        monoio::spawn(turn_away(wire, shard.clone()));
        return;
    }
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
