//! Provides the sockets on which the shards accept connections: inherited from the predecessor or the service manager, or
//! newly bound.
//! Runs on the main thread at the start.
//! Never accepts a socket that is not a listening TCP socket.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use listenfd::ListenFd;

use crate::config::Listen;
use crate::coordinator::handover::Predecessor;

/// Backlog of each new listener: connections that wait to be accepted. The kernel caps it at `net.core.somaxconn`, whose
/// default is 4096.
const BACKLOG: i32 = 4096;

/// The sockets that this process was started with, and the process that passed them, if it was luner.
pub(super) struct InheritedSockets {
    pub list: Vec<TcpListener>,
    pub predecessor: Option<Predecessor>,
}

/// Returns the sockets that were passed to this process, if any.
pub(super) fn inherited() -> anyhow::Result<InheritedSockets> {
    let handed_over = Predecessor::of_this_process().context("taking over the sockets of the predecessor")?;
    Ok(match handed_over {
        Some((predecessor, list)) => InheritedSockets { predecessor: Some(predecessor), list },
        None => {
            let list = from_service_manager().context("taking over the sockets of the service manager (LISTEN_FDS)")?;
            InheritedSockets { predecessor: None, list }
        }
    })
}

/// The sockets on which the shards accept connections.
pub(super) struct Sockets {
    pub list: Vec<TcpListener>,
    /// Address of the first socket, for display.
    pub address: SocketAddr,
}

impl Sockets {
    /// Uses the inherited sockets, or binds one new socket per shard if there are none.
    pub fn open(inherited: Vec<TcpListener>, listen: Listen, shards: usize) -> anyhow::Result<Sockets> {
        let Some(first) = inherited.first() else {
            let (list, address) = bind(listen, shards)?;
            return Ok(Sockets { list, address });
        };
        for socket in &inherited {
            ensure!(
                socket2::SockRef::from(socket).is_listener().unwrap_or(false),
                "an inherited socket does not listen"
            );
        }
        let address = first.local_addr().context("reading the listener's address")?;
        if !matches_listen(listen, address) {
            tracing::warn!(%address, "server.listen" = %listen, "listening on an inherited socket instead of server.listen");
        }
        Ok(Sockets { list: inherited, address })
    }

    /// Distributes the sockets among the shards. Every socket belongs to a shard, and every shard gets at least one.
    pub fn shares(&self, shards: usize) -> io::Result<Vec<Vec<TcpListener>>> {
        let mut shares: Vec<Vec<TcpListener>> = (0..shards).map(|_| Vec::new()).collect();
        for turn in 0..shards.max(self.list.len()) {
            let socket = self.list[turn % self.list.len()].try_clone()?;
            shares[turn % shards].push(socket);
        }
        Ok(shares)
    }
}

/// Takes the sockets that the service manager passed by the protocol of `sd_listen_fds(3)`; none if its variables are not
/// set.
fn from_service_manager() -> io::Result<Vec<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    // Each socket can be taken once.
    (0..sockets.len()).filter_map(|at| sockets.take_tcp_listener(at).transpose()).collect()
}

/// True if a socket at `address` is what `listen` asks for.
fn matches_listen(listen: Listen, address: SocketAddr) -> bool {
    let host = |ip: IpAddr| if ip.is_unspecified() { None } else { Some(ip.to_canonical()) };
    let wanted = listen.host.and_then(host);
    (listen.port == 0 || listen.port == address.port()) && wanted == host(address.ip())
}

/// Binds one listener per shard, all on the same port.
fn bind(listen: Listen, shards: usize) -> anyhow::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = match listen.host {
        Some(_) => listener(listen.addr()),
        // All interfaces of IPv4 and IPv6, or of IPv4 only if IPv6 is disabled.
        None => listener((Ipv6Addr::UNSPECIFIED, listen.port).into()).or_else(|_| listener(listen.addr())),
    };
    let first = first.with_context(|| format!("listening on {listen}"))?;
    let address = first.local_addr().context("reading the listener's address")?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listener(address).with_context(|| format!("listening on {address} for another shard"))?);
    }
    Ok((listeners, address))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
