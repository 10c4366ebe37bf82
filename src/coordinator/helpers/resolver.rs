//! Names to addresses. getaddrinfo blocks, so each name has a helper thread of its own, of which there are as many as the
//! configuration names hosts; a slow name server for one does not delay another. The last good answer stays in use.

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use flume::RecvTimeoutError;
use hashbrown::{HashMap, HashSet};

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

/// The names that are followed, each by a thread of its own.
pub struct Resolver {
    events: flume::Sender<Event>,
    followed: HashMap<(Arc<str>, u16), Follower>,
}

/// A thread that looks one name up. It ends when this is dropped: at once while it waits, else after its look-up.
struct Follower {
    _stop: flume::Sender<Infallible>,
}

impl Resolver {
    /// Follows nothing yet; tells what it finds to `events`.
    pub fn new(events: flume::Sender<Event>) -> Resolver {
        Resolver { events, followed: HashMap::new() }
    }

    /// Starts to follow the names of the plan's providers that it does not follow yet.
    ///
    /// # Errors
    /// A thread could not be started. Those that were started before it go on, until the next [`Resolver::release`].
    pub fn follow(&mut self, plan: &Plan) -> io::Result<()> {
        for (host, port) in names(plan) {
            if self.follows(&host, port) {
                continue;
            }
            let (stop, stopped) = flume::bounded(0);
            let (events, name) = (self.events.clone(), host.clone());
            let thread = thread::Builder::new().name(format!("dns {host}")).stack_size(STACK_BYTES);
            thread.spawn(move || follow(&name, port, &events, &stopped))?;
            self.followed.insert((host, port), Follower { _stop: stop });
        }
        Ok(())
    }

    /// Stops to follow what is no name of the plan's, and tells what that was.
    pub fn release(&mut self, plan: &Plan) -> Vec<(Arc<str>, u16)> {
        let named: HashSet<_> = names(plan).collect();
        self.followed.extract_if(|name, _| !named.contains(name)).map(|(name, _)| name).collect()
    }

    /// Whether news of this name are of interest: a look-up may end after its name has gone.
    pub fn follows(&self, host: &Arc<str>, port: u16) -> bool {
        self.followed.contains_key(&(host.clone(), port))
    }
}

/// What a plan needs to be looked up.
pub(crate) fn names(plan: &Plan) -> impl Iterator<Item = (Arc<str>, u16)> {
    let named = plan.providers.iter().filter(|provider| provider.literal.is_none());
    named.map(|provider| (provider.host.clone(), provider.port))
}

fn follow(host: &Arc<str>, port: u16, events: &flume::Sender<Event>, stopped: &flume::Receiver<Infallible>) {
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
        if stopped.recv_timeout(if good { REFRESH } else { TRY_AGAIN }) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
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
