//! The names in `Host` and `Origin` headers. Pure. It never resolves a name: only its text says whether it is loopback.

use std::net::{IpAddr, Ipv6Addr};

/// The host that a `Host` header names, without the port.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl Host<'_> {
    /// Returns `None` if the header is neither a name nor an address, with or without a port.
    pub(super) fn parse(header: &str) -> Option<Host<'_>> {
        let (host, port) = match header.rfind(']') {
            Some(end) => header.split_at(end + 1),
            None => header.split_at(header.find(':').unwrap_or(header.len())),
        };
        let digits = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(digits) {
            return None;
        }
        if let Some(inside) = host.strip_prefix('[') {
            let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(IpAddr::from(address).to_canonical()));
        }
        if let Ok(address) = host.parse() {
            return Some(Host::Address(address));
        }
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        (!host.is_empty() && host.bytes().all(sane)).then_some(Host::Name(host))
    }

    /// `localhost`, 127.0.0.0/8, `[::1]`.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether it is an address. DNS rebinding makes a page's name point anywhere, but it cannot do that to an address.
    pub(super) fn is_address(&self) -> bool {
        matches!(self, Host::Address(_))
    }

    /// Whether the operator listed this host. Ports in the list are ignored.
    pub(super) fn is_one_of(&self, listed: &[String]) -> bool {
        listed.iter().filter_map(|host| Host::parse(host)).any(|host| match (&host, self) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        })
    }
}

/// The host and port of an origin, as written in it; `None` for `null` and for schemes other than HTTP.
pub(super) fn authority_of(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}
