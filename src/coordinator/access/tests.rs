//! The access rules as tables of settings, requests and outcomes.

use super::throttle::{FAILURES_MAX, PEERS_MAX, WINDOW_MS};
use super::*;

const TOKEN: &str = "a-token-of-sixteen-bytes-or-more";
const LOCAL: &str = "127.0.0.1";
const REMOTE: &str = "192.0.2.7";

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
}

fn admin(token: &str, open: bool, hosts: &[&str]) -> AdminConfig {
    AdminConfig { token: Secret::new(token.into()), open, hosts: hosts.iter().map(|host| (*host).into()).collect() }
}

/// A GET, unless a test makes it something else.
#[derive(Clone, Copy)]
struct Call<'a> {
    peer: &'a str,
    host: &'a str,
    authorization: &'a str,
    method: Method,
    origin: &'a str,
    content_type: &'a str,
    body: bool,
    forwarded: bool,
}

const CALL: Call<'static> = Call {
    peer: LOCAL,
    host: "localhost:8080",
    authorization: "",
    method: Method::Get,
    origin: "",
    content_type: "",
    body: false,
    forwarded: false,
};

impl Call<'_> {
    fn decide_with(self, admin: &AdminConfig, state: &mut AccessState, now: Now) -> Result<String, AccessDenied> {
        let headers = ApiHeaders {
            host: self.host.into(),
            origin: self.origin.into(),
            authorization: Secret::new(self.authorization.into()),
            content_type: self.content_type.into(),
            forwarded: self.forwarded,
            ..ApiHeaders::default()
        };
        let peer = self.peer.parse().unwrap();
        let request = AccessRequest { method: self.method, headers: &headers, has_body: self.body, peer };
        super::decide(admin, &request, state, now).map(|actor| actor.to_string())
    }

    fn decide(self, admin: &AdminConfig) -> Result<String, AccessDenied> {
        self.decide_with(admin, &mut AccessState::default(), at(0))
    }
}

#[test]
fn without_a_token_only_local_callers_under_a_local_name_are_let_in() {
    let rules = admin("", false, &["luner.example.com", "10.0.0.9"]);
    for host in [
        "localhost",
        "LocalHost:8080",
        "127.0.0.1",
        "127.8.9.1:1",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:80",
        "luner.example.com",
        "LUNER.example.com:8443",
        "10.0.0.9:8080",
    ] {
        for (peer, actor) in [(LOCAL, LOCAL), ("127.3.3.3", "127.3.3.3"), ("::1", "::1"), ("::ffff:127.0.0.1", LOCAL)] {
            assert_eq!(Call { peer, host, ..CALL }.decide(&rules), Ok(actor.into()), "{peer} {host}");
        }
        for peer in [REMOTE, "10.0.0.9", "::ffff:192.0.2.7", "2001:db8::1", "fe80::1", "0.0.0.0"] {
            assert_eq!(Call { peer, host, ..CALL }.decide(&rules), Err(AccessDenied::NotLocal), "{peer} {host}");
        }
    }
    for host in [
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost.",
        "127.0.0.1.evil.example",
        "evil.example:127",
        "127.0.0.1:80:80",
        "127.0.0.1:",
        "localhost:x",
        "localhost, localhost",
        "[::1",
        "::1",
        "[::1]x",
        "[::2]",
        "0.0.0.0",
        "128.0.0.1",
        "2130706433",
        "0x7f.1",
        "a/b?x",
        "user@localhost",
        "example.com",
    ] {
        let expected = match host {
            // An empty port is the usual one (RFC 9110, section 4.2.3).
            "127.0.0.1:" => Ok(LOCAL.into()),
            _ => Err(AccessDenied::NotLocal),
        };
        assert_eq!(Call { host, ..CALL }.decide(&rules), expected, "{host:?}");
    }
    // The caller behind a proxy on this machine may be anywhere.
    assert_eq!(Call { forwarded: true, ..CALL }.decide(&rules), Err(AccessDenied::NotLocal));
    // A token in the request does not help if none is set.
    let bearer = Call { peer: REMOTE, authorization: "Bearer x", ..CALL };
    assert_eq!(bearer.decide(&rules), Err(AccessDenied::NotLocal));
}

#[test]
fn with_a_token_only_the_token_counts() {
    let rules = admin(TOKEN, false, &["luner.example.com"]);
    let right = format!("Bearer {TOKEN}");
    for authorization in [&right, &right.replace("Bearer", "bearer"), &right.replace(' ', "  ")] {
        for (peer, host) in [(LOCAL, "localhost"), (REMOTE, "anything.example"), (REMOTE, "")] {
            assert_eq!(
                Call { peer, host, authorization, ..CALL }.decide(&rules),
                Ok("token".into()),
                "{authorization}"
            );
        }
    }
    for authorization in ["", "Bearer", "Bearer ", "Basic YTpi", TOKEN, "BearerX y"] {
        assert_eq!(Call { authorization, ..CALL }.decide(&rules), Err(AccessDenied::TokenMissing), "{authorization:?}");
    }
    let almost = [
        format!("{right}x"),
        right[..right.len() - 1].to_owned(),
        right.to_uppercase(),
        format!("{right}, {right}"),
        format!("Bearer x{TOKEN}"),
        "Bearer x".into(),
    ];
    for authorization in &almost {
        assert_eq!(Call { authorization, ..CALL }.decide(&rules), Err(AccessDenied::TokenWrong), "{authorization:?}");
    }
}

#[test]
fn open_management_lets_everyone_in_except_under_a_foreign_name() {
    for token in ["", TOKEN] {
        let rules = admin(token, true, &["luner.example.com"]);
        for host in ["localhost", "192.0.2.1:8080", "[2001:db8::1]:8080", "luner.example.com"] {
            for authorization in ["", "Bearer of-something-else"] {
                let call = Call { peer: REMOTE, host, authorization, ..CALL };
                assert_eq!(call.decide(&rules), Ok(REMOTE.into()), "{host}");
            }
        }
        for host in ["evil.example", "luner.example.com.evil.example", "", "192.0.2.1.evil.example"] {
            assert_eq!(Call { peer: REMOTE, host, ..CALL }.decide(&rules), Err(AccessDenied::ForeignHost), "{host:?}");
            assert_eq!(Call { host, ..CALL }.decide(&rules), Err(AccessDenied::ForeignHost), "{host:?}");
        }
    }
    let authorization = &format!("Bearer {TOKEN}");
    let call = Call { peer: REMOTE, host: "evil.example", authorization, ..CALL };
    assert_eq!(call.decide(&admin(TOKEN, true, &[])), Ok("token".into()), "a foreign page does not have the token");
}

#[test]
fn write_must_have_a_json_content_type() {
    let rules = admin("", false, &[]);
    let json = "application/json";
    for (method, content_type, body, expected) in [
        (Method::Post, json, true, Ok(())),
        (Method::Put, "Application/JSON; charset=utf-8", true, Ok(())),
        (Method::Post, json, false, Ok(())),
        (Method::Post, "", false, Ok(())),
        (Method::Delete, "", false, Ok(())),
        (Method::Put, "", false, Err(AccessDenied::NotJson)),
        (Method::Post, "", true, Err(AccessDenied::NotJson)),
        (Method::Delete, "", true, Err(AccessDenied::NotJson)),
        (Method::Post, "text/plain", true, Err(AccessDenied::NotJson)),
        (Method::Post, "text/plain", false, Err(AccessDenied::NotJson)),
        (Method::Post, "application/x-www-form-urlencoded", true, Err(AccessDenied::NotJson)),
        (Method::Post, "multipart/form-data; boundary=application/json", true, Err(AccessDenied::NotJson)),
        (Method::Post, "application/jsonp", true, Err(AccessDenied::NotJson)),
        (Method::Post, "application/json, text/plain", true, Err(AccessDenied::NotJson)),
        (Method::Get, "text/plain", true, Ok(())),
    ] {
        let call = Call { method, content_type, body, ..CALL };
        assert_eq!(call.decide(&rules).map(|_| ()), expected, "{method:?} {content_type:?} {body}");
    }
}

#[test]
fn write_with_a_foreign_origin_is_refused() {
    for rules in [admin("", false, &["luner.example.com"]), admin(TOKEN, false, &[])] {
        for (host, origin, good) in [
            ("localhost:8080", "", true),
            ("localhost:8080", "http://localhost:8080", true),
            ("luner.example.com", "https://luner.example.com", true),
            ("luner.example.com", "https://LUNER.example.com", true),
            ("localhost:8080", "http://localhost:8081", false),
            ("localhost:8080", "http://localhost", false),
            ("localhost:8080", "http://127.0.0.1:8080", false),
            ("localhost:8080", "null", false),
            ("localhost:8080", "http://evil.example", false),
            ("localhost:8080", "http://evil.example, http://localhost:8080", false),
            ("localhost:8080", "http://localhost:8080@evil.example", false),
            ("localhost:8080", "file://localhost:8080", false),
            ("localhost:8080", "http://localhost:8080/", false),
        ] {
            let authorization = &format!("Bearer {TOKEN}");
            let write = Call { method: Method::Delete, host, origin, authorization, ..CALL };
            let expected = if good { Ok(()) } else { Err(AccessDenied::ForeignOrigin) };
            assert_eq!(write.decide(&rules).map(|_| ()), expected, "{host} {origin}");
            let read = Call { method: Method::Get, ..write };
            assert!(read.decide(&rules).is_ok(), "the browser keeps the answer of a read from the page");
        }
    }
}

#[test]
fn right_token_is_refused_too_after_ten_wrong_ones_in_a_minute() {
    let rules = admin(TOKEN, false, &[]);
    let mut state = AccessState::default();
    let right = &format!("Bearer {TOKEN}");
    let wrong = Call { peer: REMOTE, authorization: "Bearer wrong", ..CALL };
    let good = Call { authorization: right, ..wrong };
    let missing = Call { authorization: "", ..wrong };
    for n in 0..u64::from(FAILURES_MAX) {
        assert_eq!(good.decide_with(&rules, &mut state, at(n)), Ok("token".into()));
        assert_eq!(missing.decide_with(&rules, &mut state, at(n)), Err(AccessDenied::TokenMissing));
        assert_eq!(wrong.decide_with(&rules, &mut state, at(n)), Err(AccessDenied::TokenWrong));
    }
    for call in [wrong, good] {
        let refused = Err(AccessDenied::Throttled { retry_after_s: 60 });
        assert_eq!(call.decide_with(&rules, &mut state, at(10)), refused);
        assert_eq!(Call { peer: "::ffff:192.0.2.7", ..call }.decide_with(&rules, &mut state, at(10)), refused);
    }
    let last = at(WINDOW_MS - 1);
    assert_eq!(good.decide_with(&rules, &mut state, last), Err(AccessDenied::Throttled { retry_after_s: 1 }));
    let elsewhere = Call { peer: "192.0.2.8", ..good };
    assert_eq!(elsewhere.decide_with(&rules, &mut state, at(10)), Ok("token".into()));
    assert_eq!(
        missing.decide_with(&rules, &mut state, at(10)),
        Err(AccessDenied::TokenMissing),
        "a missing token is not a guess"
    );
    assert_eq!(good.decide_with(&rules, &mut state, at(WINDOW_MS)), Ok("token".into()));
    assert_eq!(wrong.decide_with(&rules, &mut state, at(WINDOW_MS)), Err(AccessDenied::TokenWrong));
}

#[test]
fn wrong_token_changes_nothing_while_management_is_open() {
    let rules = admin(TOKEN, true, &[]);
    let mut state = AccessState::default();
    let wrong = Call { authorization: "Bearer wrong", ..CALL };
    for _ in 0..FAILURES_MAX * 2 {
        assert_eq!(wrong.decide_with(&rules, &mut state, at(0)), Ok(LOCAL.into()));
    }
    // While throttled, the right token counts as none, so that guessing does not find it.
    let right = &format!("Bearer {TOKEN}");
    let foreign = Call { authorization: right, host: "evil.example", ..CALL };
    assert_eq!(foreign.decide_with(&rules, &mut state, at(0)), Err(AccessDenied::ForeignHost));
}

#[test]
fn addresses_of_one_ipv6_network_count_as_one_peer() {
    let rules = admin(TOKEN, false, &[]);
    let mut state = AccessState::default();
    for n in 0..FAILURES_MAX {
        let peer = &format!("2001:db8:0:1::{n:x}");
        let call = Call { peer, authorization: "Bearer wrong", ..CALL };
        assert_eq!(call.decide_with(&rules, &mut state, at(0)), Err(AccessDenied::TokenWrong));
    }
    let inside = Call { peer: "2001:db8:0:1:ffff::1", authorization: "Bearer wrong", ..CALL };
    assert_eq!(inside.decide_with(&rules, &mut state, at(0)), Err(AccessDenied::Throttled { retry_after_s: 60 }));
    let outside = Call { peer: "2001:db8:0:2::1", ..inside };
    assert_eq!(outside.decide_with(&rules, &mut state, at(0)), Err(AccessDenied::TokenWrong));
}

#[test]
fn many_peers_neither_fill_the_table_nor_gain_tries() {
    let rules = admin(TOKEN, false, &[]);
    let mut state = AccessState::default();
    let mut tries = 0;
    for n in 0..100_000_u32 {
        let peer = &IpAddr::V4(n.into()).to_string();
        let call = Call { peer, authorization: "Bearer wrong", ..CALL };
        tries += usize::from(call.decide_with(&rules, &mut state, at(1)) == Err(AccessDenied::TokenWrong));
    }
    assert_eq!(state.throttle.len(), PEERS_MAX);
    assert_eq!(tries, PEERS_MAX + FAILURES_MAX as usize);
    // There is room again when their minute is over.
    let call = Call { peer: REMOTE, authorization: "Bearer wrong", ..CALL };
    assert_eq!(call.decide_with(&rules, &mut state, at(2 * WINDOW_MS)), Err(AccessDenied::TokenWrong));
    assert_eq!(state.throttle.len(), 1);
}

/// Makes the call with the cookie of a new session.
fn signed_in(call: &Call<'_>, admin: &AdminConfig) -> Result<String, AccessDenied> {
    let mut state = AccessState::default();
    let set = state.sessions.open("/", false, at(0)).unwrap();
    let cookie = Secret::new(set.split(';').next().unwrap().to_owned());
    let headers = ApiHeaders {
        host: call.host.into(),
        origin: call.origin.into(),
        content_type: call.content_type.into(),
        cookie,
        ..ApiHeaders::default()
    };
    let peer = call.peer.parse().unwrap();
    let request = AccessRequest { method: call.method, headers: &headers, has_body: call.body, peer };
    super::decide(admin, &request, &mut state, at(1)).map(|actor| actor.to_string())
}

#[test]
fn session_reads_under_own_names_and_writes_from_its_own_page_only() {
    let rules = admin(TOKEN, false, &["luner.example"]);
    let read = Call { peer: REMOTE, ..CALL };
    for host in ["localhost:8080", "192.0.2.1:8080", "luner.example"] {
        assert_eq!(signed_in(&Call { host, ..read }, &rules), Ok("session".into()), "{host}");
    }
    assert_eq!(signed_in(&Call { host: "evil.example", ..read }, &rules), Err(AccessDenied::ForeignHost));
    let write = Call { method: Method::Post, content_type: "application/json", body: true, ..read };
    let own = Call { origin: "http://localhost:8080", ..write };
    assert_eq!(signed_in(&own, &rules), Ok("session".into()));
    for origin in ["", "null", "http://evil.example", "http://localhost:8081"] {
        assert_eq!(signed_in(&Call { origin, ..own }, &rules), Err(AccessDenied::ForeignOrigin), "{origin}");
    }
    assert_eq!(signed_in(&Call { content_type: "text/plain", ..own }, &rules), Err(AccessDenied::NotJson));
}

#[test]
fn wrong_tokens_in_bodies_are_throttled_like_those_in_headers() {
    let rules = admin(TOKEN, false, &[]);
    let mut state = AccessState::default();
    let headers =
        ApiHeaders { host: "localhost".into(), content_type: "application/json".into(), ..ApiHeaders::default() };
    let request =
        AccessRequest { method: Method::Post, headers: &headers, has_body: true, peer: REMOTE.parse().unwrap() };
    assert_eq!(sign_in(&rules, &request, TOKEN, &mut state, at(0)), Ok(()));
    for _ in 0..FAILURES_MAX {
        assert_eq!(sign_in(&rules, &request, "wrong", &mut state, at(0)), Err(AccessDenied::TokenWrong));
    }
    assert_eq!(sign_in(&rules, &request, TOKEN, &mut state, at(0)), Err(AccessDenied::Throttled { retry_after_s: 60 }));
    let foreign =
        ApiHeaders { host: "evil.example".into(), content_type: "application/json".into(), ..ApiHeaders::default() };
    let request = AccessRequest { headers: &foreign, ..request };
    assert_eq!(sign_in(&rules, &request, TOKEN, &mut AccessState::default(), at(0)), Err(AccessDenied::ForeignHost));
}
