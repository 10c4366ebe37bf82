//! The process that is to end, as the one that takes over sees it. Used by the main thread while it starts, then by a helper
//! thread that listens. It never gives up because the other is gone: then there is nobody else to serve.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::{env, thread};

use super::{GO, PATIENCE, READY, STANDING, STOPPED, VARIABLE, sockets};
use crate::link::{Departure, Event};

/// The way to it.
#[derive(Debug)]
pub struct Predecessor {
    control: BufReader<UnixStream>,
}

impl Predecessor {
    /// If the process that started this one wants to be replaced by it: then with its listening sockets.
    ///
    /// # Errors
    /// They did not arrive.
    pub fn of_this_process() -> io::Result<Option<(Predecessor, Vec<TcpListener>)>> {
        let named = env::var(VARIABLE).ok().and_then(|pid| pid.parse::<i32>().ok());
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if named.is_none() || named != parent {
            return Ok(None);
        }
        let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        control.set_read_timeout(Some(PATIENCE))?;
        control.set_write_timeout(Some(PATIENCE))?;
        let sockets = sockets::receive(&mut control)?;
        Ok(Some((Predecessor { control: BufReader::new(control) }, sockets)))
    }

    /// Everything that may take long is done. Comes back when no policy changes there any more.
    ///
    /// # Errors
    /// It does not answer.
    pub fn standing(&mut self) -> io::Result<()> {
        self.say(STANDING);
        let mut line = String::new();
        match self.control.read_line(&mut line)? {
            0 => Ok(()),
            _ if line.trim_end() == GO => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it said {:?}", line.trim_end()))),
        }
    }

    /// Every shard accepts connections. From here on it is followed to its end.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn ready(mut self, events: flume::Sender<Event>) -> io::Result<()> {
        self.control.get_ref().set_read_timeout(None)?;
        self.say(READY);
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

    /// Should it be gone, its silence tells.
    fn say(&mut self, word: &str) {
        let _ = writeln!(self.control.get_mut(), "{word}");
    }
}
