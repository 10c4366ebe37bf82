//! Signals, turned into events by a helper thread that does nothing else. SIGPIPE is ignored by Rust's runtime; SIGHUP keeps
//! its default. SIGXFSZ is caught and forgotten: a database that may not grow is an error that the store sees, and the proxy
//! goes on.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::link::Event;

/// Sends [`Event::Terminate`] for each SIGTERM and SIGINT, [`Event::HandOver`] for each SIGUSR2.
///
/// # Errors
/// The handlers or the thread could not be set up.
pub fn listen(events: flume::Sender<Event>) -> io::Result<()> {
    // Not ignored, which the programs that a process starts would inherit. The flag is read by nobody.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGUSR2 { Event::HandOver } else { Event::Terminate };
            if events.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
