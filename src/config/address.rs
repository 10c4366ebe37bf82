//! The address that luner listens on and the base URL of a provider, both parsed once and strictly.
//! Plain values, used on every thread.
//! Never resolves a name, and its errors never repeat the text, which may hold a password.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A provider's address without the trailing `/v1`: `https://host:port/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    pub tls: bool,
    /// In lower case. An IPv6 address has no brackets.
    pub host: String,
    pub port: u16,
    /// Empty, or a path that begins with a slash and does not end with one.
    pub prefix: String,
}

impl BaseUrl {
    /// The path to which the API's own paths are appended. Ends with `/v1`, unless the configured path contains a version,
    /// as `/api/paas/v4` and `/v1beta/openai` do.
    pub fn api_root(&self) -> String {
        let is_version = |segment: &str| {
            segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if self.prefix.split('/').any(is_version) { self.prefix.clone() } else { format!("{}/v1", self.prefix) }
    }

    /// The value of the `Host` header: an IPv6 address has brackets, and the default port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// True if requests to this address leave the operator's own network, judging by the host name alone.
    pub fn is_public(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64; // RFC 6598
                !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared)
            }
            Ok(IpAddr::V6(ip)) => {
                let local = ip.is_unique_local() || ip.is_unicast_link_local();
                !(ip.is_loopback() || ip.is_unspecified() || local)
            }
            // A name without a dot is a container's name or is completed by a search domain.
            Err(_) => self.host.contains('.') && !PRIVATE_DOMAINS.iter().any(|end| self.host.ends_with(end)),
        }
    }
}

/// The private domains of RFC 6761, RFC 6762 and RFC 8375, ICANN's reserved `.internal`, and those of home routers and
/// clusters.
const PRIVATE_DOMAINS: [&str; 7] = [".localhost", ".local", ".internal", ".home.arpa", ".lan", ".svc", ".test"];

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl FromStr for BaseUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<BaseUrl, AddressError> {
        if text.is_empty() {
            return Err(AddressError("is empty"));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AddressError(
                "must be plain ASCII without spaces (write an international name in its xn-- form)",
            ));
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError("must begin with http:// or https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(AddressError("must begin with http:// or https://")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AddressError("must not contain credentials; the key belongs in api_key"));
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(default_port(tls));
        if port == 0 {
            return Err(AddressError("has a port outside 1 to 65535"));
        }
        Ok(BaseUrl { tls, host: host_name(host)?, port, prefix: path_prefix(path)? })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.prefix)
    }
}

/// The address that luner listens on. `:8080` means all interfaces; with port 0 the system chooses the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// `None` means all interfaces.
    pub host: Option<IpAddr>,
    pub port: u16,
}

impl Listen {
    /// The address to bind. All interfaces become `0.0.0.0`; a caller that binds a dual-stack listener checks `host` first.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.port)
    }

    pub fn is_loopback(&self) -> bool {
        self.host.is_some_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Listen, AddressError> {
        const SHAPE: AddressError =
            AddressError("is not an address to listen on: write :8080, 127.0.0.1:8080, [::1]:8080 or localhost:8080");
        let (host, port) = split_port(text).map_err(|_| SHAPE)?;
        let port = port.ok_or(SHAPE)?;
        let host = match host {
            "" => None,
            // Not resolved, because a listener must not depend on a name server.
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            bracketed if bracketed.starts_with('[') => Some(IpAddr::V6(ipv6(bracketed).ok_or(SHAPE)?)),
            ip => Some(IpAddr::V4(ip.parse().map_err(|_| SHAPE)?)),
        };
        Ok(Listen { host, port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            None => write!(f, ":{}", self.port),
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
        }
    }
}

/// The reason for which an address is invalid. The message follows the address in a sentence, such as "is empty", and never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(pub(super) &'static str);

fn split_port(authority: &str) -> Result<(&str, Option<u16>), AddressError> {
    // A colon inside brackets belongs to an IPv6 address.
    let host_end = match authority.rfind(']') {
        Some(end) => end + 1,
        None if authority.starts_with('[') => authority.len(),
        None => 0,
    };
    let Some(colon) = authority[host_end..].find(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(host_end + colon);
    let port = &port[1..];
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits => Ok((host, Some(number))),
        _ => Err(AddressError("has a port outside 1 to 65535")),
    }
}

fn ipv6(bracketed: &str) -> Option<Ipv6Addr> {
    bracketed.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn host_name(host: &str) -> Result<String, AddressError> {
    const NOT_A_HOST: AddressError = AddressError("has a host that is neither a name nor an IP address");
    if host.is_empty() {
        return Err(AddressError("has no host"));
    }
    if host.starts_with('[') {
        return ipv6(host).map(|ip| ip.to_string()).ok_or(NOT_A_HOST);
    }
    let label_is_sane = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A name whose last label is a number must be an IPv4 address (WHATWG URL, "ends in a number").
    let last = host.rsplit('.').next().unwrap_or(host);
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if host.len() > 253 || !host.split('.').all(label_is_sane) || numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(NOT_A_HOST);
    }
    Ok(host.to_ascii_lowercase())
}

/// Removes trailing slashes and a trailing `/v1` from a path.
fn path_prefix(path: &str) -> Result<String, AddressError> {
    if path.contains(['?', '#']) {
        return Err(AddressError("must not contain a query or a fragment"));
    }
    let odd = |b: u8| matches!(b, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}');
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/');
    let segment_is_sane = |segment: &str| !matches!(segment, "" | "." | "..");
    if path.bytes().any(odd) || !path.split('/').skip(1).all(segment_is_sane) {
        return Err(AddressError(
            "has an unsupported path: it must not contain //, . or .. segments, or characters that need escaping",
        ));
    }
    Ok(path.to_owned())
}

/// Both addresses serialise as one string.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
serde_as_text!(BaseUrl);
serde_as_text!(Listen);
