//! Answers as they stand on the wire. Written for tests alone, not shared with luner, so that the two cannot agree on a
//! mistake; strict where HTTP is.

use serde_json::Value;

/// An answer, whole.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    /// In the order and spelling in which they came.
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
    /// The chunks as they came; empty unless the body was chunked.
    pub chunks: Vec<Vec<u8>>,
    /// Every byte of it.
    pub raw: Vec<u8>,
}

/// Where an answer's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Length(usize),
    Chunked,
    WithConnection,
}

impl Answer {
    /// Reads a head that ends with an empty line.
    pub fn of_head(head: &[u8]) -> Answer {
        let text = std::str::from_utf8(head).unwrap_or_else(|_| panic!("a head in UTF-8: {}", show(head)));
        let mut lines = text.strip_suffix("\r\n\r\n").expect("a whole head").split("\r\n");
        let line = lines.next().unwrap_or_default();
        let mut words = line.splitn(3, ' ');
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert_eq!(version, "HTTP/1.1", "in the status line {line:?}");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a header line: {line:?}"));
            (name.to_owned(), value.to_owned())
        });
        Answer {
            status: status.parse().unwrap_or_else(|_| panic!("a status in {line:?}")),
            reason: words.next().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            raw: head.to_owned(),
            ..Answer::default()
        }
    }

    /// The header's value, where it came exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice in {:?}", self.headers);
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("a body in UTF-8: {}", show(&self.body)))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("a JSON body, {error}: {}", show(&self.body)))
    }

    /// The `data` of each server-sent event of the body.
    pub fn events(&self) -> Vec<String> {
        let events = self.text().split("\n\n").filter(|event| !event.is_empty());
        events.map(|event| event.strip_prefix("data: ").unwrap_or(event).to_owned()).collect()
    }

    /// The text of a chat answer, put together if it was streamed.
    pub fn said(&self) -> String {
        if self.header("content-type").is_some_and(|media| media.starts_with("text/event-stream")) {
            let deltas = self.events().into_iter().filter(|event| event != "[DONE]").map(|event| {
                let event: Value = serde_json::from_str(&event).expect("JSON in the event");
                event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
            });
            return deltas.collect();
        }
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }

    /// `error.code`, after asserting the shape of an error: all four members, always.
    #[track_caller]
    pub fn error_code(&self) -> Option<String> {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("an error: {body}"));
        let mut members: Vec<&str> = error.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["code", "message", "param", "type"]);
        assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
        error["code"].as_str().map(str::to_owned)
    }

    /// Where the body ends. `bodiless`: the request was a HEAD.
    pub fn ends(&self, bodiless: bool) -> Ends {
        let chunked = self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = self.header("content-length").map(|length| length.parse().expect("a length in digits"));
        assert!(!(chunked && length.is_some()), "both framings in one answer: {:?}", self.headers);
        match (bodiless || self.status < 200 || self.status == 204 || self.status == 304, chunked, length) {
            (true, ..) => Ends::Length(0),
            (_, true, _) => Ends::Chunked,
            (_, _, Some(length)) => Ends::Length(length),
            (..) => Ends::WithConnection,
        }
    }
}

/// Where the head of a message ends, its empty line included.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A chunk at the start of `bytes`: its payload (empty for the last) and its length on the wire. Trailers must be absent.
pub fn chunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..line]).ok().and_then(|line| usize::from_str_radix(line, 16).ok());
    let size = size.unwrap_or_else(|| panic!("a chunk size: {}", show(&bytes[..line])));
    let end = line + 2 + size + 2;
    let payload = bytes.get(line + 2..line + 2 + size)?;
    let close = bytes.get(line + 2 + size..end)?;
    assert_eq!(close, b"\r\n", "behind a chunk of {size} bytes");
    Some((payload.to_owned(), end))
}

/// Bytes for a message of a failing test.
pub fn show(bytes: &[u8]) -> String {
    let cut = if bytes.len() > 400 { "…" } else { "" };
    format!("{:?}{cut}", bytes[..bytes.len().min(400)].escape_ascii().to_string())
}
