//! A new connection to a provider: every address in turn, then TLS. Names were resolved elsewhere: a shard only reads the
//! addresses that the coordinator sent, and waits for them while the process has just started.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use monoio::net::TcpStream;
use monoio_rustls::TlsConnector;
use std::os::fd::AsRawFd;

use super::Failure;
use super::pool::Line;
use crate::http::wire::{PacedStream, Wire};
use crate::plan::{Plan, Provider};
use crate::shard::Shard;
use crate::shard::judge::record::Tried;

/// How often to look whether a name was resolved, while its first resolution runs.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Connects within the provider's `connect_timeout`, which all addresses share: each gets an equal part of what is left, so
/// that a dead first address does not take the whole of it.
pub(crate) async fn connect(
    shard: &Shard,
    provider: &Provider,
    plan: &Plan,
    tried: &mut Tried<'_>,
) -> Result<Line, Failure> {
    let started = tried.started;
    let left = || provider.connect_timeout.saturating_sub(shard.now().since(started));
    let addresses = addresses(shard, provider, left).await?;
    let mut last = Failure::Unreachable("its name has no address".into());
    for (index, address) in addresses.iter().enumerate() {
        let share = left() / u32::try_from(addresses.len() - index).unwrap_or(1);
        last = match monoio::time::timeout(share, open(shard, provider, plan, *address, tried)).await {
            Ok(Ok(wire)) => return Ok(Line::new(wire)),
            Ok(Err(reason)) => Failure::Unreachable(reason),
            Err(_) => Failure::ConnectTimedOut,
        };
    }
    Err(last)
}

async fn addresses(
    shard: &Shard,
    provider: &Provider,
    left: impl Fn() -> Duration,
) -> Result<Arc<[SocketAddr]>, Failure> {
    if let Some(address) = provider.literal {
        return Ok(Arc::new([address]));
    }
    loop {
        let known = shard.addresses.borrow().get(&(provider.host.clone(), provider.port)).cloned();
        match known {
            Some(addresses) if addresses.is_empty() => {
                return Err(Failure::Unreachable("its name could not be resolved".into()));
            }
            Some(addresses) => return Ok(addresses),
            None if left().is_zero() => return Err(Failure::ConnectTimedOut),
            None => monoio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn open(
    shard: &Shard,
    provider: &Provider,
    plan: &Plan,
    address: SocketAddr,
    tried: &mut Tried<'_>,
) -> Result<Wire, String> {
    let began = shard.now();
    let stream = TcpStream::connect_addr(address).await.map_err(|error| reason(&error))?;
    let connected = shard.now();
    tried.connect_ns = Some(connected.mono_ns - began.mono_ns);
    // Without it a request waits for the acknowledgement of the one before. A refusal of the option is survivable.
    let _ = stream.set_nodelay(true);
    let (Some(name), Some(tls)) = (&provider.server_name, &plan.tls) else {
        return Ok(Wire::tcp(stream, &shard.watch));
    };
    let fd = stream.as_raw_fd();
    let connector = TlsConnector::from(tls.clone());
    let stream =
        connector.connect(name.clone(), PacedStream::new(stream)).await.map_err(|error| format!("TLS: {error}"))?;
    tried.tls_ns = Some(shard.now().mono_ns - connected.mono_ns);
    Ok(Wire::tls(stream, fd, &shard.watch))
}

/// A short reason without addresses, which are nobody's business outside.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset".into(),
        std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable => "no route to it".into(),
        std::io::ErrorKind::UnexpectedEof => "it closed the connection in the middle of a record".into(),
        kind => kind.to_string(),
    }
}
