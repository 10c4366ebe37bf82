//! Turns signals into events, on a helper thread that does nothing else. Rust's runtime ignores SIGPIPE; SIGHUP keeps its
//! default. SIGXFSZ is caught and has no effect: the store sees the error that its file may not grow, and the proxy keeps
//! running.

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
    // Caught, not ignored: child processes would inherit that it is ignored. Nothing reads the flag.
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
