//! The old process of a hand-over, as the new one sees it. Used by the main thread while it starts, then by a helper thread
//! that listens. If the old process is gone, the new one carries on, because nobody else serves.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::{env, thread};

use super::protocol::{GO, READY, STANDING, START_TIMEOUT, STOPPED, VARIABLE};
use super::sockets;
use crate::link::{Departure, Event};

/// The connection to the old process.
#[derive(Debug)]
pub struct Predecessor {
    control: BufReader<UnixStream>,
}

impl Predecessor {
    /// Returns the old process and its listening sockets, if this process was started to replace its parent.
    ///
    /// # Errors
    /// The sockets did not arrive.
    pub fn of_this_process() -> io::Result<Option<(Predecessor, Vec<TcpListener>)>> {
        let named = env::var(VARIABLE).ok().and_then(|pid| pid.parse::<i32>().ok());
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if named.is_none() || named != parent {
            return Ok(None);
        }
        let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        control.set_read_timeout(Some(START_TIMEOUT))?;
        control.set_write_timeout(Some(START_TIMEOUT))?;
        let sockets = sockets::receive(&mut control)?;
        Ok(Some((Predecessor { control: BufReader::new(control) }, sockets)))
    }

    /// Reports that everything slow is done, and waits until the old process changes no policy any more.
    ///
    /// # Errors
    /// The old process does not answer.
    pub fn standing(&mut self) -> io::Result<()> {
        self.send(STANDING);
        let mut line = String::new();
        match self.control.read_line(&mut line)? {
            0 => Ok(()),
            _ if line.trim_end() == GO => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it said {:?}", line.trim_end()))),
        }
    }

    /// Reports that every shard accepts connections, and follows the old process to its end on a helper thread.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn ready(mut self, events: flume::Sender<Event>) -> io::Result<()> {
        self.control.get_ref().set_read_timeout(None)?;
        self.send(READY);
        let listen = move || {
            for line in self.control.lines().map_while(Result::ok) {
                if line == STOPPED {
                    let _ = events.send(Event::Departure(Departure::Stopped));
                }
            }
            let _ = events.send(Event::Departure(Departure::Gone));
        };
        thread::Builder::new().name("predecessor".into()).spawn(listen).map(drop)
    }

    /// Ignores errors: that the old process is gone shows when it is read from.
    fn send(&mut self, word: &str) {
        let _ = writeln!(self.control.get_mut(), "{word}");
    }
}
