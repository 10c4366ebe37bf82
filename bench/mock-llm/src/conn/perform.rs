//! Carries out the acts of a [`Wire`] on a socket, in one go or in several.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::ledger::Ended;
use crate::wire::{Act, Wire};

/// How far an answer has got.
pub struct Performance {
    started: Instant,
    /// The next act.
    act: usize,
    /// The next byte.
    byte: usize,
    ended: Ended,
}

impl Performance {
    pub fn new() -> Self {
        Self { started: Instant::now(), act: 0, byte: 0, ended: Ended::default() }
    }

    /// Performs act by act, watching for the peer to leave wherever it waits. False if it stopped because it would
    /// have had to wait, which it does only if `patient`.
    pub fn go_on(&mut self, stream: &TcpStream, wire: &Wire, patient: bool) -> bool {
        while let Some(act) = wire.acts.get(self.act) {
            let gone = match *act {
                Act::Write { to, events } => {
                    match self.write(stream, wire.bytes.get(self.byte..to).unwrap_or_default(), patient) {
                        Ok(()) => {
                            self.ended.events_sent += events as u64;
                            false
                        }
                        Err(Errno::AGAIN) => return false,
                        Err(_) => true,
                    }
                }
                _ if !patient => return false,
                Act::Pause(how_long) => happens(stream, PollFlags::RDHUP, Some(how_long)),
                Act::Hang => happens(stream, PollFlags::RDHUP, None),
                Act::Reset => {
                    // Closing with a linger of 0 sends RST; the connection's end closes.
                    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                    false
                }
                Act::Close => false,
            };
            if gone {
                self.ended.peer_closed = Some(self.started.elapsed());
                break;
            }
            self.act += 1;
        }
        self.ended.complete = wire.whole && self.ended.peer_closed.is_none();
        self.ended.duration = self.started.elapsed();
        true
    }

    pub fn ended(&self) -> Ended {
        self.ended
    }

    fn write(&mut self, stream: &TcpStream, mut bytes: &[u8], patient: bool) -> Result<(), Errno> {
        let flags = if patient { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
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

/// Waits for `what` to happen on the socket, or for its end, at most so long. ppoll, because SO_RCVTIMEO counts in
/// scheduler ticks of 4 ms and a peek cannot see a peer's end behind bytes that it sent ahead.
pub fn happens(stream: &TcpStream, what: PollFlags, most: Option<Duration>) -> bool {
    let since = Instant::now();
    loop {
        let left = most.map(|most| most.saturating_sub(since.elapsed()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(stream, what)], timeout.as_ref()) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Ends our side and reads on until the peer has ended its own, for a second at most.
pub fn linger(mut stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let since = Instant::now();
    while let Some(left) = LINGER.checked_sub(since.elapsed()) {
        if !happens(stream, PollFlags::IN, Some(left)) {
            return;
        }
        match stream.read(&mut [0; 4096]) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// As nginx's lingering_timeout does, but shorter. Arbitrary.
const LINGER: Duration = Duration::from_secs(1);
