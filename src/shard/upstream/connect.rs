//! Opens a connection to a provider: every address in turn, then TLS. Names are resolved elsewhere: a shard only reads the
//! addresses that the coordinator sent, and waits for them while the process has just started.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use monoio::net::TcpStream;
use monoio_rustls::TlsConnector;

use super::failure::{Failure, reason};
use super::pool::UpstreamConn;
use crate::http::wire::{PacedStream, Wire};
use crate::plan::{Plan, Provider};
use crate::shard::ground::Ground;
use crate::shard::judge::record::AttemptRecord;

/// How often to check whether a name was resolved, while its first resolution runs.
const RESOLUTION_POLL: Duration = Duration::from_millis(5);

/// The addresses of each host and port, in the order in which to try them. Empty if the name could not be resolved.
#[derive(Default)]
pub(crate) struct Addresses(RefCell<HashMap<HostPort, Arc<[SocketAddr]>>>);

type HostPort = (Arc<str>, u16);

impl Addresses {
    pub(crate) fn insert(&self, host: Arc<str>, port: u16, addresses: Arc<[SocketAddr]>) {
        self.0.borrow_mut().insert((host, port), addresses);
    }

    pub(crate) fn remove(&self, host: Arc<str>, port: u16) {
        self.0.borrow_mut().remove(&(host, port));
    }

    fn find(&self, provider: &Provider) -> Option<Arc<[SocketAddr]>> {
        self.0.borrow().get(&(provider.host.clone(), provider.port)).cloned()
    }
}

/// Opens connections for one attempt.
pub(crate) struct Connector<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) addresses: &'a Addresses,
    pub(crate) provider: &'a Provider,
    pub(crate) plan: &'a Plan,
}

impl Connector<'_> {
    /// Connects within the provider's `connect_timeout`. Each address gets an equal part of the remaining time, so that a dead
    /// first address does not use up all of it.
    pub(crate) async fn connect(&self, attempt: &mut AttemptRecord<'_>) -> Result<UpstreamConn, Failure> {
        let started = attempt.started;
        let left = || self.provider.connect_timeout.saturating_sub(self.ground.now().since(started));
        let addresses = self.resolve(left).await?;
        let mut last = Failure::Unreachable("its name has no address".into());
        for (index, address) in addresses.iter().enumerate() {
            let share = left() / u32::try_from(addresses.len() - index).unwrap_or(1);
            last = match monoio::time::timeout(share, self.open(*address, attempt)).await {
                Ok(Ok(wire)) => return Ok(UpstreamConn::new(wire)),
                Ok(Err(reason)) => Failure::Unreachable(reason),
                Err(_) => Failure::ConnectTimedOut,
            };
        }
        Err(last)
    }

    async fn resolve(&self, left: impl Fn() -> Duration) -> Result<Arc<[SocketAddr]>, Failure> {
        if let Some(address) = self.provider.literal {
            return Ok(Arc::new([address]));
        }
        loop {
            match self.addresses.find(self.provider) {
                Some(addresses) if addresses.is_empty() => {
                    return Err(Failure::Unreachable("its name could not be resolved".into()));
                }
                Some(addresses) => return Ok(addresses),
                None if left().is_zero() => return Err(Failure::ConnectTimedOut),
                None => monoio::time::sleep(RESOLUTION_POLL).await,
            }
        }
    }

    async fn open(&self, address: SocketAddr, attempt: &mut AttemptRecord<'_>) -> Result<Wire, String> {
        let watch = &self.ground.watch;
        let began = self.ground.now();
        let stream = TcpStream::connect_addr(address).await.map_err(|error| reason(&error))?;
        let connected = self.ground.now();
        attempt.connect_ns = Some(connected.mono_ns - began.mono_ns);
        // Without it a request waits until the previous segment is acknowledged. luner works if the option is refused.
        let _ = stream.set_nodelay(true);
        let (Some(name), Some(tls)) = (&self.provider.server_name, &self.plan.tls) else {
            return Ok(Wire::tcp(stream, watch));
        };
        let fd = stream.as_raw_fd();
        let connector = TlsConnector::from(tls.clone());
        let handshake = connector.connect(name.clone(), PacedStream::new(stream)).await;
        let stream = handshake.map_err(|error| format!("TLS: {error}"))?;
        attempt.tls_ns = Some(self.ground.now().mono_ns - connected.mono_ns);
        Ok(Wire::tls(stream, fd, watch))
    }
}
