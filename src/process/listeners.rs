//! The sockets that the shards accept on: those of the process before this one, those of the service manager, or new ones. On
//! the main thread at the start. It never serves on what is no listening TCP socket.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use listenfd::ListenFd;

use crate::config::Listen;
use crate::coordinator::handover::Predecessor;

/// Connections that may wait to be accepted, on each shard. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What the process was started with.
pub(super) struct InheritedSockets {
    pub list: Vec<TcpListener>,
    pub predecessor: Option<Predecessor>,
}

/// Sockets that were given to this process, if any.
pub(super) fn inherited() -> anyhow::Result<InheritedSockets> {
    let taken = Predecessor::of_this_process().context("taking over the sockets of the process before")?;
    Ok(match taken {
        Some((predecessor, list)) => InheritedSockets { predecessor: Some(predecessor), list },
        None => {
            let list = passed().context("taking over the sockets of the service manager (LISTEN_FDS)")?;
            InheritedSockets { predecessor: None, list }
        }
    })
}

/// The sockets to accept on.
pub(super) struct Sockets {
    pub list: Vec<TcpListener>,
    /// Of the first, as it is shown.
    pub address: SocketAddr,
}

impl Sockets {
    /// Those that were given, else as many new ones as there are shards.
    pub fn open(inherited: Vec<TcpListener>, listen: Listen, shards: usize) -> anyhow::Result<Sockets> {
        let Some(first) = inherited.first() else {
            let (list, address) = bind(listen, shards)?;
            return Ok(Sockets { list, address });
        };
        for socket in &inherited {
            ensure!(
                socket2::SockRef::from(socket).is_listener().unwrap_or(false),
                "a socket that was handed over does not listen"
            );
        }
        let address = first.local_addr().context("reading the listener's address")?;
        if !is_meant(listen, address) {
            tracing::warn!(%address, "server.listen" = %listen, "listening where the sockets are that were handed over");
        }
        Ok(Sockets { list: inherited, address })
    }

    /// To each shard those that it accepts on. Every socket is accepted on, and every shard accepts.
    pub fn shared_out(&self, shards: usize) -> io::Result<Vec<Vec<TcpListener>>> {
        let mut shares: Vec<Vec<TcpListener>> = (0..shards).map(|_| Vec::new()).collect();
        for turn in 0..shards.max(self.list.len()) {
            let socket = self.list[turn % self.list.len()].try_clone()?;
            shares[turn % shards].push(socket);
        }
        Ok(shares)
    }
}

/// By the protocol of `sd_listen_fds(3)`; none without its variables.
fn passed() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    // Each is there once.
    (0..passed.len()).filter_map(|at| passed.take_tcp_listener(at).transpose()).collect()
}

/// Whether a socket at `address` is one that `listen` asks for.
fn is_meant(listen: Listen, address: SocketAddr) -> bool {
    let host = |ip: IpAddr| if ip.is_unspecified() { None } else { Some(ip.to_canonical()) };
    let wanted = listen.host.and_then(host);
    (listen.port == 0 || listen.port == address.port()) && wanted == host(address.ip())
}

/// A listener for each shard, all on one port.
fn bind(listen: Listen, shards: usize) -> anyhow::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = match listen.host {
        Some(_) => listener(listen.addr()),
        // All interfaces of both families; where IPv6 is switched off, of the one there is.
        None => listener((Ipv6Addr::UNSPECIFIED, listen.port).into()).or_else(|_| listener(listen.addr())),
    };
    let first = first.with_context(|| format!("listening on {listen}"))?;
    let address = first.local_addr().context("reading the listener's address")?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listener(address).with_context(|| format!("listening on {address} once more"))?);
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
