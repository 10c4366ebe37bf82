//! A shard's own listener: connections come in, within their number, each gets a task. Runs on the shard until it is told
//! to drain; never waits for a connection's work.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use monoio::net::{TcpListener, TcpStream};

use super::refusal::Refusal;
use super::{Shard, conn, respond};
use crate::http::wire::Wire;
use crate::link::Driver;

/// Pause after a failed accept (out of descriptors, say), so that a shard does not spin. Arbitrary.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Ends the accepting when dropped or used.
pub(super) struct Accepting {
    stop: monoio::io::Canceller,
}

impl Accepting {
    /// Closes the listener; connections that were accepted go on.
    pub(super) fn stop(self) {
        let _ = self.stop.cancel();
    }
}

/// Starts to accept on `listener`.
pub(super) fn start(listener: std::net::TcpListener, driver: Driver, shard: Rc<Shard>) -> io::Result<Accepting> {
    listener.set_nonblocking(driver == Driver::Epoll)?;
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
    Ok(Accepting { stop })
}

fn welcome(stream: TcpStream, peer: SocketAddr, shard: &Rc<Shard>) {
    // Without it an answer waits for the acknowledgement of the one before. A refusal of the option is survivable.
    let _ = stream.set_nodelay(true);
    let wire = Wire::tcp(stream, &shard.watch);
    if shard.connections.get() >= shard.connections_max {
        monoio::spawn(turn_away(wire, shard.clone()));
        return;
    }
    monoio::spawn(conn::serve(wire, peer, shard.clone()));
}

/// Says that there is no room. Not counted as a connection; ends within [`TURN_AWAY`].
async fn turn_away(mut wire: Wire, shard: Rc<Shard>) {
    let mut out = Vec::new();
    respond::refusal(&Refusal::Overloaded, &respond::Frame::closing(), &shard.date.borrow(), &mut out);
    if wire.write(out, 0, TURN_AWAY).await.0.is_ok() {
        let _ = wire.finish().await;
    }
}

/// Time to take a refusal. Arbitrary.
const TURN_AWAY: Duration = Duration::from_secs(1);
