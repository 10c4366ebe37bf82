//! The names in `Host` and `Origin`. Pure values of one request. Never resolves anything: a name is loopback only by what it
//! says.

use std::net::{IpAddr, Ipv6Addr};

/// What a `Host` header names, its port taken off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl Host<'_> {
    /// `None` for what is neither a name nor an address with at most a port: it is then nobody's.
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

    /// A page's name can be made to point anywhere, an address cannot.
    pub(super) fn is_address(&self) -> bool {
        matches!(self, Host::Address(_))
    }

    /// Whether the operator listed it; a port in the list does not matter.
    pub(super) fn is_one_of(&self, listed: &[String]) -> bool {
        listed.iter().filter_map(|host| Host::parse(host)).any(|host| match (&host, self) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        })
    }
}

/// The host and port of an origin, as they stand in it; `None` for `null` and what is no web page's.
pub(super) fn authority_of(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}
