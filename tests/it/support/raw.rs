//! A client that decides about every byte it sends and sees every byte it gets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::GUARD;
use super::message::{self, Answer, Ends, show};

/// One connection to the gateway.
pub struct Raw {
    stream: TcpStream,
    /// Arrived and not yet asked for.
    pending: Vec<u8>,
}

impl Raw {
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Raw {
        let stream = TcpStream::connect_timeout(&to, GUARD).expect("a connection to the gateway");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(GUARD)).expect("a read timeout");
        stream.set_write_timeout(Some(GUARD)).expect("a write timeout");
        Raw { stream, pending: Vec::new() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        self.try_send(bytes).expect("the gateway takes what is sent");
        self
    }

    /// For what the gateway need not take to the end.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The next answer, whole; interim answers (1xx) count as answers.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let answer = self.head();
        let ends = answer.ends(false);
        self.body(answer, ends)
    }

    /// The next answer, or nothing when the connection ends instead, however it ends.
    #[track_caller]
    pub fn next_answer(&mut self) -> Option<Answer> {
        if self.pending.is_empty() {
            self.pending = self.read_some();
        }
        (!self.pending.is_empty()).then(|| self.answer())
    }

    /// The next answer, to a HEAD.
    #[track_caller]
    pub fn answer_to_head(&mut self) -> Answer {
        self.head()
    }

    /// The next answer's head alone; the body stays to be read.
    #[track_caller]
    pub fn head(&mut self) -> Answer {
        loop {
            if let Some(end) = message::head_end(&self.pending) {
                let head: Vec<u8> = self.pending.drain(..end).collect();
                return Answer::of_head(&head);
            }
            self.more("the head of an answer");
        }
    }

    /// The next chunk of a body whose head was read; `None` is the last.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((payload, used)) = message::chunk(&self.pending) {
                self.pending.drain(..used);
                return (!payload.is_empty()).then_some(payload);
            }
            self.more("a chunk");
        }
    }

    #[track_caller]
    fn body(&mut self, mut answer: Answer, ends: Ends) -> Answer {
        match ends {
            Ends::Length(length) => {
                while self.pending.len() < length {
                    self.more("the rest of a body");
                }
                answer.body = self.pending.drain(..length).collect();
                answer.raw.extend_from_slice(&answer.body);
            }
            Ends::WithConnection => {
                answer.body = self.read_to_end();
                answer.raw.extend_from_slice(&answer.body);
            }
            Ends::Chunked => {
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
    fn more(&mut self, what: &str) {
        let before = self.pending.len();
        match self.pull() {
            Ok(_) if self.pending.len() > before => {}
            Ok(_) => panic!("waited for {what}, the connection ended after {}", show(&self.pending)),
            Err(error) => panic!("waited for {what}: {error}, after {}", show(&self.pending)),
        }
    }

    fn pull(&mut self) -> io::Result<usize> {
        let mut room = [0; 16 * 1024];
        let n = self.stream.read(&mut room)?;
        self.pending.extend_from_slice(&room[..n]);
        Ok(n)
    }

    /// What has arrived, at least a byte; nothing at the end of the connection.
    #[track_caller]
    pub fn read_some(&mut self) -> Vec<u8> {
        if self.pending.is_empty() {
            match self.pull() {
                Err(error) if is_timeout(&error) => panic!("waited for some bytes: {error}"),
                _ => {}
            }
        }
        std::mem::take(&mut self.pending)
    }

    /// Everything up to the end of the connection, however it ends.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.pull() {
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

    /// Waits for the gateway to close, and says whether it did so without another byte.
    pub fn is_closed(&mut self) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        match self.pull() {
            Ok(n) => n == 0,
            Err(error) => !is_timeout(&error),
        }
    }

    /// Whether the gateway keeps the connection open and silent, as of now.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket that does not block");
        let pulled = self.pull();
        self.stream.set_nonblocking(false).expect("a socket that blocks");
        self.pending.is_empty() && pulled.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends our half; the answer may still come.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Leaves with a RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// For what this client has no word for.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
