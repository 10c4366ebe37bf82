//! Peers that sent too many wrong tokens lately. One table, owned by the coordinator; a pure function of its calls and their
//! times. It never holds more than [`PEERS_MAX`] peers: all others share one count, so that a guesser with many addresses
//! gains nothing by filling the table.

use std::net::{IpAddr, Ipv6Addr};

use hashbrown::HashMap;

use crate::clock::Now;

/// Wrong tokens that a peer may send in one window before it has to wait for the window's end. Arbitrary: more than a person
/// mistypes.
pub(super) const FAILURES_MAX: u32 = 10;
/// Length of a window, which starts with a peer's first wrong token.
pub(super) const WINDOW_MS: u64 = 60_000;
/// Most peers in the table. Arbitrary: about 50 KiB.
pub(super) const PEERS_MAX: usize = 1_024;

/// Wrong tokens by peer.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    peers: HashMap<IpAddr, Failures>,
    /// The shared count of all peers that are not in the table.
    others: Failures,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    since_ms: u64,
    count: u32,
}

impl Throttle {
    /// Seconds that this peer has to wait, at least one; `None` if it may try.
    pub(super) fn blocks(&self, peer: IpAddr, now: Now) -> Option<u64> {
        let failures = self.peers.get(&network(peer)).unwrap_or_else(|| self.unlisted());
        let left_ms = failures.left_ms(now).filter(|_| failures.count >= FAILURES_MAX)?;
        Some(left_ms.div_ceil(1_000))
    }

    /// Counts a wrong token.
    pub(super) fn failed(&mut self, peer: IpAddr, now: Now) {
        let peer = network(peer);
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, failures| failures.left_ms(now).is_some());
        }
        let failures = match self.peers.len() < PEERS_MAX || self.peers.contains_key(&peer) {
            true => self.peers.entry(peer).or_default(),
            false => &mut self.others,
        };
        if failures.left_ms(now).is_none() {
            *failures = Failures { since_ms: now.mono_ms(), count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }

    /// The count that applies to a peer that is not in the table.
    fn unlisted(&self) -> &Failures {
        const NONE: Failures = Failures { since_ms: 0, count: 0 };
        if self.peers.len() < PEERS_MAX { &NONE } else { &self.others }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }
}

impl Failures {
    /// Time that is left of the window; `None` if there is none or it is over.
    fn left_ms(&self, now: Now) -> Option<u64> {
        let passed = now.mono_ms().saturating_sub(self.since_ms);
        (self.count > 0 && passed < WINDOW_MS).then(|| WINDOW_MS - passed)
    }
}

/// The address that stands for a peer: one customer has a whole /64 of IPv6 addresses (RFC 6177).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}
