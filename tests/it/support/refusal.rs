//! What a refusal looks like on the wire.

use super::{Answer, Running, show};

/// Status, type and code of a refusal.
pub type Refusal = (u16, &'static str, &'static str);

pub const BAD_GATEWAY: Refusal = (502, "server_error", "provider_error");
pub const GATEWAY_TIMEOUT: Refusal = (504, "timeout", "upstream_timeout");
pub const OVERLOADED: Refusal = (503, "service_unavailable_error", "overloaded");

/// Asserts that the answer is that refusal, in OpenAI's shape, and reveals no address.
#[track_caller]
pub fn assert_refusal(answer: &Answer, (status, kind, code): Refusal) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.error_code().as_deref(), Some(code), "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], kind);
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
