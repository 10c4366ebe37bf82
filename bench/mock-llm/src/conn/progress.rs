//! Carries out the steps of a [`Wire`] on a socket, in one call or in several.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::ledger::Ended;
use crate::wire::{Step, Wire};

/// How far an answer has been sent.
pub struct Progress {
    started: Instant,
    /// The next step.
    step: usize,
    /// The next byte.
    byte: usize,
    ended: Ended,
}

impl Progress {
    pub fn new() -> Self {
        Self { started: Instant::now(), step: 0, byte: 0, ended: Ended::default() }
    }

    /// Carries out the steps, and watches for the peer to leave whenever it waits. Returns false if it stopped before a
    /// step that waits, because `may_block` is false.
    pub fn run(&mut self, stream: &TcpStream, wire: &Wire, may_block: bool) -> bool {
        while let Some(step) = wire.steps.get(self.step) {
            let gone = match *step {
                Step::Write { to, events } => {
                    match self.write(stream, wire.bytes.get(self.byte..to).unwrap_or_default(), may_block) {
                        Ok(()) => {
                            self.ended.events_sent += events as u64;
                            false
                        }
                        Err(Errno::AGAIN) => return false,
                        Err(_) => true,
                    }
                }
                _ if !may_block => return false,
                Step::Pause(how_long) => wait_for(stream, PollFlags::RDHUP, Some(how_long)),
                Step::Hang => wait_for(stream, PollFlags::RDHUP, None),
                Step::Reset => {
                    // Closing with a linger time of 0 sends a RST. The connection is closed when it ends.
                    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                    false
                }
                Step::Close => false,
            };
            if gone {
                self.ended.peer_closed = Some(self.started.elapsed());
                break;
            }
            self.step += 1;
        }
        self.ended.complete = wire.whole && self.ended.peer_closed.is_none();
        self.ended.duration = self.started.elapsed();
        true
    }

    pub fn ended(&self) -> Ended {
        self.ended
    }

    fn write(&mut self, stream: &TcpStream, mut bytes: &[u8], may_block: bool) -> Result<(), Errno> {
        let flags = if may_block { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
        while !bytes.is_empty() {
            match send(stream, bytes, flags) {
                Ok(sent) => {
                    self.byte += sent;
                    self.ended.bytes_sent += sent as u64;
                    bytes = bytes.get(sent..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Waits for an event or the end of the socket. Returns false after `timeout`. Uses ppoll, because SO_RCVTIMEO counts
/// in scheduler ticks of 4 ms, and a peek cannot see that the peer has closed behind bytes that it sent ahead.
pub fn wait_for(stream: &TcpStream, events: PollFlags, timeout: Option<Duration>) -> bool {
    let since = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(since.elapsed()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(stream, events)], timeout.as_ref()) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Closes the sending half and reads on until the peer closes too, for at most [`LINGER`].
pub fn linger(mut stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let since = Instant::now();
    while let Some(left) = LINGER.checked_sub(since.elapsed()) {
        if !wait_for(stream, PollFlags::IN, Some(left)) {
            return;
        }
        match stream.read(&mut [0; 4096]) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Like nginx's lingering_timeout, but shorter. Arbitrary.
const LINGER: Duration = Duration::from_secs(1);
