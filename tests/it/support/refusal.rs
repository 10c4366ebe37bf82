//! What a refusal looks like on the wire.

use super::{Answer, Running, show};

/// Status, type and code of a refusal.
#[derive(Clone, Copy)]
pub struct ExpectedRefusal {
    pub status: u16,
    pub kind: &'static str,
    pub code: &'static str,
}

pub const BAD_GATEWAY: ExpectedRefusal = ExpectedRefusal { status: 502, kind: "server_error", code: "provider_error" };
pub const GATEWAY_TIMEOUT: ExpectedRefusal = ExpectedRefusal { status: 504, kind: "timeout", code: "upstream_timeout" };
pub const OVERLOADED: ExpectedRefusal =
    ExpectedRefusal { status: 503, kind: "service_unavailable_error", code: "overloaded" };

/// Asserts that the answer is that refusal, in OpenAI's shape, and reveals no address.
#[track_caller]
pub fn assert_refusal(answer: &Answer, expected: ExpectedRefusal) {
    assert_eq!(answer.status, expected.status, "{}", answer.text());
    assert_eq!(answer.error_code().as_deref(), Some(expected.code), "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], expected.kind);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
}

/// A whole request, for places that another parser takes for a body. It must never be answered there.
pub const SMUGGLED: &str = "GET /v1/models HTTP/1.1\r\nHost: smuggled\r\n\r\n";

/// Sends `bytes` and asserts that luner refuses them once and closes the connection.
#[track_caller]
pub fn assert_refused(luner: &Running, what: &str, bytes: impl AsRef<[u8]>) -> Answer {
    let mut client = luner.connect();
    client.send(bytes);
    let answer = client.answer();
    let shown = show(&answer.raw);
    // The statuses that refuse a head or a body. Any other would mean that the request was understood.
    assert!([400, 413, 417, 431, 501, 505].contains(&answer.status), "{what}: {shown}");
    assert_eq!(answer.header("connection"), Some("close"), "{what}: {shown}");
    assert!(answer.json()["error"]["message"].is_string(), "{what}: {shown}");
    answer.error_code();
    let rest = client.read_to_end();
    assert!(rest.is_empty(), "{what}: after the refusal {}", show(&rest));
    answer
}

/// Sends `bytes` and asserts that luner refuses them with 400 and closes the connection.
#[track_caller]
pub fn assert_refused_400(luner: &Running, what: &str, bytes: impl AsRef<[u8]>) {
    let answer = assert_refused(luner, what, bytes);
    assert_eq!(answer.status, 400, "{what}");
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{what}");
}
