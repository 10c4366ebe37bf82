//! Resolves host names to addresses. getaddrinfo blocks, so each host in the configuration has a helper thread of its own, and
//! a slow name server for one host does not delay another. The last good answer stays in use.

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use flume::RecvTimeoutError;
use hashbrown::{HashMap, HashSet};

use crate::link::Event;
use crate::plan::Plan;

/// Time between two look-ups of a name. getaddrinfo does not return a time to live; clouds use a minute.
const REFRESH: Duration = Duration::from_secs(60);
/// Time between two look-ups after a failure. Arbitrary: short, because requests fail meanwhile.
const RETRY: Duration = Duration::from_secs(2);
/// Addresses kept per name. Arbitrary.
const ADDRESSES_MAX: usize = 16;
/// getaddrinfo needs little stack.
const STACK_BYTES: usize = 128 * 1024;

/// The names that are resolved, each by a thread of its own.
pub struct Resolver {
    events: flume::Sender<Event>,
    names: HashMap<(Arc<str>, u16), LookupThread>,
}

/// Handle of a thread that resolves one name. When it is dropped, the thread ends: at once if it is waiting, otherwise after its
/// look-up.
struct LookupThread {
    _stop: flume::Sender<Infallible>,
}

impl Resolver {
    /// A resolver without names, which will send what it finds to `events`.
    pub fn new(events: flume::Sender<Event>) -> Resolver {
        Resolver { events, names: HashMap::new() }
    }

    /// Starts to resolve the names of the plan's providers that are new.
    ///
    /// # Errors
    /// A thread could not be started. Those that were started before it keep running until the next [`Resolver::release`].
    pub fn follow(&mut self, plan: &Plan) -> io::Result<()> {
        for (host, port) in names(plan) {
            if self.follows(&host, port) {
                continue;
            }
            let (stop, stopped) = flume::bounded(0);
            let (events, name) = (self.events.clone(), host.clone());
            let thread = thread::Builder::new().name(format!("dns {host}")).stack_size(STACK_BYTES);
            thread.spawn(move || follow(&name, port, &events, &stopped))?;
            self.names.insert((host, port), LookupThread { _stop: stop });
        }
        Ok(())
    }

    /// Stops resolving names that are not in the plan, and returns them.
    pub fn release(&mut self, plan: &Plan) -> Vec<(Arc<str>, u16)> {
        let named: HashSet<_> = names(plan).collect();
        self.names.extract_if(|name, _| !named.contains(name)).map(|(name, _)| name).collect()
    }

    /// Returns false for a name that has been released: its last look-up may end later.
    pub fn follows(&self, host: &Arc<str>, port: u16) -> bool {
        self.names.contains_key(&(host.clone(), port))
    }
}

/// The names that a plan needs resolved.
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
        // Report only new addresses, and the first failure while no address is known.
        let is_news = match &result {
            Ok(addresses) => known.as_ref() != Some(addresses),
            Err(_) => known.is_none() && !failed,
        };
        failed = !good;
        if let Ok(addresses) = &result {
            known = Some(addresses.clone());
        }
        if is_news && events.send(Event::Resolved { host: host.clone(), port, result }).is_err() {
            return;
        }
        if stopped.recv_timeout(if good { REFRESH } else { RETRY }) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn look_up(host: &str, port: u16) -> Result<Arc<[SocketAddr]>, String> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    // getaddrinfo returns an address once for each type of socket.
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
    fn unknown_name_is_an_error() {
        assert!(look_up("no-such-host.invalid", 80).is_err());
    }
}
