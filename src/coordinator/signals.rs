//! Signals, turned into events by a helper thread that does nothing else. SIGPIPE is ignored by Rust's runtime; SIGHUP keeps
//! its default.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::link::Event;

/// Sends [`Event::Terminate`] for each SIGTERM and SIGINT.
///
/// # Errors
/// The handlers or the thread could not be set up.
pub fn listen(events: flume::Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if events.send(Event::Terminate).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
