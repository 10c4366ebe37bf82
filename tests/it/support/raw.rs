//! A client that controls every byte it sends and sees every byte it receives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::TIMEOUT;
use super::message::{self, Answer, BodyEnd, show};

/// One connection to the gateway.
pub struct Raw {
    stream: TcpStream,
    /// Received, and not read by the test yet.
    pending: Vec<u8>,
}

impl Raw {
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Raw {
        let stream = TcpStream::connect_timeout(&to, TIMEOUT).expect("a connection to the gateway");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a read timeout");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a write timeout");
        Raw { stream, pending: Vec::new() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        self.try_send(bytes).expect("the gateway accepts what is sent");
        self
    }

    /// Sends what the gateway may stop reading before the end.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The next answer, whole. An interim answer (1xx) counts as an answer.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let answer = self.head();
        let end = answer.body_end(false);
        self.read_body(answer, end)
    }

    /// The next answer. `None` when the connection is closed or reset instead.
    #[track_caller]
    pub fn next_answer(&mut self) -> Option<Answer> {
        if self.pending.is_empty() {
            self.pending = self.read_some();
        }
        (!self.pending.is_empty()).then(|| self.answer())
    }

    /// The next answer, to a HEAD: it has no body.
    #[track_caller]
    pub fn answer_to_head(&mut self) -> Answer {
        self.head()
    }

    /// The head of the next answer. Its body is left to be read.
    #[track_caller]
    pub fn head(&mut self) -> Answer {
        loop {
            if let Some(end) = message::head_end(&self.pending) {
                let head: Vec<u8> = self.pending.drain(..end).collect();
                return Answer::from_head(&head);
            }
            self.read_more("the head of an answer");
        }
    }

    /// The next chunk of a body whose head was read. `None` is the last one.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((payload, used)) = message::chunk(&self.pending) {
                self.pending.drain(..used);
                return (!payload.is_empty()).then_some(payload);
            }
            self.read_more("a chunk");
        }
    }

    #[track_caller]
    fn read_body(&mut self, mut answer: Answer, end: BodyEnd) -> Answer {
        match end {
            BodyEnd::Length(length) => {
                while self.pending.len() < length {
                    self.read_more("the rest of a body");
                }
                answer.body = self.pending.drain(..length).collect();
                answer.raw.extend_from_slice(&answer.body);
            }
            BodyEnd::ConnectionClose => {
                answer.body = self.read_to_end();
                answer.raw.extend_from_slice(&answer.body);
            }
            BodyEnd::Chunked => {
                while let Some(chunk) = self.chunk() {
                    answer.raw.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    answer.raw.extend_from_slice(&chunk);
                    answer.raw.extend_from_slice(b"\r\n");
                    answer.body.extend_from_slice(&chunk);
                    answer.chunks.push(chunk);
                }
                answer.raw.extend_from_slice(b"0\r\n\r\n");
            }
        }
        answer
    }

    #[track_caller]
    fn read_more(&mut self, what: &str) {
        let before = self.pending.len();
        match self.read_available() {
            Ok(_) if self.pending.len() > before => {}
            Ok(_) => panic!("waited for {what}, the connection ended after {}", show(&self.pending)),
            Err(error) => panic!("waited for {what}: {error}, after {}", show(&self.pending)),
        }
    }

    fn read_available(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let n = self.stream.read(&mut buffer)?;
        self.pending.extend_from_slice(&buffer[..n]);
        Ok(n)
    }

    /// The bytes that have arrived, at least one. Empty at the end of the connection.
    #[track_caller]
    pub fn read_some(&mut self) -> Vec<u8> {
        if self.pending.is_empty() {
            match self.read_available() {
                Err(error) if is_timeout(&error) => panic!("waited for some bytes: {error}"),
                _ => {}
            }
        }
        std::mem::take(&mut self.pending)
    }

    /// Everything until the connection is closed or reset.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.read_available() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    panic!("waited for the end of the connection, after {}", show(&self.pending))
                }
                Err(_) => break,
            }
        }
        std::mem::take(&mut self.pending)
    }

    /// Waits for the gateway to close. Returns whether it did so without sending another byte.
    pub fn is_closed(&mut self) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        match self.read_available() {
            Ok(n) => n == 0,
            Err(error) => !is_timeout(&error),
        }
    }

    /// Whether the connection is open and no byte has arrived. Does not wait.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket that does not block");
        let pulled = self.read_available();
        self.stream.set_nonblocking(false).expect("a socket that blocks");
        self.pending.is_empty() && pulled.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Closes the sending half. The answer may still arrive.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes the connection with a RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// The socket, for tests that need more than this client offers.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
