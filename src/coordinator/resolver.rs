//! Names to addresses. getaddrinfo blocks, so each name has a helper thread of its own, of which there are as many as the
//! configuration names hosts; a slow name server for one does not delay another. The last good answer stays in use.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use hashbrown::HashSet;

use crate::link::Event;
use crate::plan::Plan;

/// How often a name is looked up again. getaddrinfo tells no time to live; a minute is what clouds use.
const REFRESH: Duration = Duration::from_secs(60);
/// And after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Addresses of one name that are kept. Arbitrary.
const ADDRESSES_MAX: usize = 16;
/// getaddrinfo needs little stack.
const STACK_BYTES: usize = 128 * 1024;

/// Starts to look the names of the plan's providers up.
///
/// # Errors
/// A thread could not be started.
pub fn start(plan: &Plan, events: &flume::Sender<Event>) -> io::Result<()> {
    let mut seen = HashSet::new();
    for provider in plan.providers.iter().filter(|provider| provider.literal.is_none()) {
        let (host, port) = (provider.host.clone(), provider.port);
        if seen.insert((host.clone(), port)) {
            let events = events.clone();
            let thread = thread::Builder::new().name(format!("dns {host}")).stack_size(STACK_BYTES);
            thread.spawn(move || follow(&host, port, &events))?;
        }
    }
    Ok(())
}

fn follow(host: &Arc<str>, port: u16, events: &flume::Sender<Event>) {
    let mut known: Option<Arc<[SocketAddr]>> = None;
    let mut failed = false;
    loop {
        let result = look_up(host, port);
        let good = result.is_ok();
        // News only: new addresses, or the first failure where nothing is known.
        let news = match &result {
            Ok(addresses) => known.as_ref() != Some(addresses),
            Err(_) => known.is_none() && !failed,
        };
        failed = !good;
        if let Ok(addresses) = &result {
            known = Some(addresses.clone());
        }
        if news && events.send(Event::Resolved { host: host.clone(), port, result }).is_err() {
            return;
        }
        thread::sleep(if good { REFRESH } else { TRY_AGAIN });
    }
}

fn look_up(host: &str, port: u16) -> Result<Arc<[SocketAddr]>, String> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    // getaddrinfo gives an address once for each kind of socket.
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_an_address() {
        let addresses = look_up("localhost", 80).unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error() {
        assert!(look_up("no-such-host.invalid", 80).is_err());
    }
}
