//! The header names that luner acts on, recognised once when a head is parsed.
//! Plain values that any thread may hold.
//! Never allocates and never hashes: a name is compared only with the few known names of its length.

/// A header name that luner acts on. Recognised in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KnownHeader {
    Te,
    Via,
    Host,
    Date,
    Range,
    Accept,
    Cookie,
    Expect,
    Origin,
    Server,
    Trailer,
    Upgrade,
    Location,
    Forwarded,
    UserId,
    XApiKey,
    XRealIp,
    SetCookie,
    KeepAlive,
    UserAgent,
    Connection,
    Tracestate,
    TenantId,
    Traceparent,
    RetryAfter,
    LunerUser,
    XRequestId,
    ContentType,
    Authorization,
    CacheControl,
    LunerAgent,
    LunerTenant,
    LastEventId,
    ContentLength,
    RetryAfterMs,
    Http2Settings,
    XForwardedFor,
    AcceptEncoding,
    XForwardedHost,
    ContentEncoding,
    ProxyConnection,
    XForwardedProto,
    TransferEncoding,
    ProxyAuthenticate,
    ProxyAuthorization,
    /// Any other `x-luner-*` header. The prefix is reserved for luner, so such a header is never forwarded.
    LunerOther,
    Other,
}

impl KnownHeader {
    pub fn of(name: &str) -> KnownHeader {
        lookup(name.as_bytes()).unwrap_or_else(|| {
            let prefix = name.as_bytes().first_chunk::<8>();
            match prefix.map(|prefix| prefix.map(|byte| byte.to_ascii_lowercase())) {
                Some(lower) if lower == *b"x-luner-" => KnownHeader::LunerOther,
                _ => KnownHeader::Other,
            }
        })
    }
}

/// Generates the lookup. It branches on the length first, which leaves one candidate or none for most names. The
/// comparisons have a fixed size and take a few instructions each (8 ns a header, against 13 with
/// `eq_ignore_ascii_case`), and the compiler rejects a name listed under the wrong length.
macro_rules! names {
    ($($length:literal: $($name:literal => $known:ident),+;)+) => {
        fn lookup(name: &[u8]) -> Option<KnownHeader> {
            match name.len() {
                $($length => {
                    let lower = name.first_chunk::<$length>()?.map(|byte| byte.to_ascii_lowercase());
                    $(if lower == *$name {
                        return Some(KnownHeader::$known);
                    })+
                    None
                })+
                _ => None,
            }
        }

        #[cfg(test)]
        const NAMES: &[(&[u8], KnownHeader)] = &[$($(($name, KnownHeader::$known)),+),+];
    };
}

names! {
    2: b"te" => Te;
    3: b"via" => Via;
    4: b"host" => Host, b"date" => Date;
    5: b"range" => Range;
    6: b"accept" => Accept, b"cookie" => Cookie, b"expect" => Expect, b"origin" => Origin, b"server" => Server;
    7: b"trailer" => Trailer, b"upgrade" => Upgrade;
    8: b"location" => Location;
    9: b"forwarded" => Forwarded, b"x-user-id" => UserId, b"x-api-key" => XApiKey, b"x-real-ip" => XRealIp;
    10: b"set-cookie" => SetCookie, b"keep-alive" => KeepAlive, b"user-agent" => UserAgent, b"connection" => Connection, b"tracestate" => Tracestate;
    11: b"x-tenant-id" => TenantId, b"traceparent" => Traceparent, b"retry-after" => RetryAfter;
    12: b"x-luner-user" => LunerUser, b"x-request-id" => XRequestId, b"content-type" => ContentType;
    13: b"authorization" => Authorization, b"cache-control" => CacheControl, b"x-luner-agent" => LunerAgent, b"last-event-id" => LastEventId;
    14: b"x-luner-tenant" => LunerTenant, b"content-length" => ContentLength, b"retry-after-ms" => RetryAfterMs, b"http2-settings" => Http2Settings;
    15: b"x-forwarded-for" => XForwardedFor, b"accept-encoding" => AcceptEncoding;
    16: b"x-forwarded-host" => XForwardedHost, b"content-encoding" => ContentEncoding, b"proxy-connection" => ProxyConnection;
    17: b"x-forwarded-proto" => XForwardedProto, b"transfer-encoding" => TransferEncoding;
    18: b"proxy-authenticate" => ProxyAuthenticate;
    19: b"proxy-authorization" => ProxyAuthorization;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case_and_listed_in_lower_case() {
        for (name, known) in NAMES {
            let name = std::str::from_utf8(name).unwrap();
            assert_eq!(KnownHeader::of(name), *known);
            assert_eq!(KnownHeader::of(&name.to_ascii_uppercase()), *known);
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn names_with_underscores_are_not_recognised() {
        for name in ["X_User_ID", "content_length", "transfer_encoding", "x-luner_user", "x_luner_user"] {
            assert_eq!(KnownHeader::of(name), KnownHeader::Other, "{name}");
        }
    }

    #[test]
    fn unknown_luner_headers_are_recognised_by_their_prefix() {
        for name in ["x-luner-", "X-Luner-Cost-Usd", "X-LUNER-anything"] {
            assert_eq!(KnownHeader::of(name), KnownHeader::LunerOther, "{name}");
        }
        assert_eq!(KnownHeader::of("x-luner"), KnownHeader::Other);
        assert_eq!(KnownHeader::of(""), KnownHeader::Other);
    }
}
