//! Parses answers from the wire. Shares no code with luner, so that both cannot make the same mistake, and is as strict
//! as HTTP requires.

use serde_json::Value;

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    /// In the order and spelling in which they arrived.
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
    /// The chunks as they arrived. Empty unless the body was chunked.
    pub chunks: Vec<Vec<u8>>,
    /// Every byte of the answer.
    pub raw: Vec<u8>,
}

/// How the end of an answer's body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    Length(usize),
    Chunked,
    ConnectionClose,
}

impl Answer {
    /// Parses a head that ends with an empty line.
    pub fn from_head(head: &[u8]) -> Answer {
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

    /// The header's value. Panics if the header came twice.
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

    /// The text of a chat answer. The deltas of a stream are joined.
    pub fn content(&self) -> String {
        if self.header("content-type").is_some_and(|media| media.starts_with("text/event-stream")) {
            let deltas = self.events().into_iter().filter(|event| event != "[DONE]").map(|event| {
                let event: Value = serde_json::from_str(&event).expect("JSON in the event");
                event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
            });
            return deltas.collect();
        }
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }

    /// `error.code`. Panics unless the error has exactly the four members of OpenAI's.
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

    /// How the body's end is marked. `bodiless` says that the request was a HEAD.
    pub fn body_end(&self, bodiless: bool) -> BodyEnd {
        let chunked = self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = self.header("content-length").map(|length| length.parse().expect("a length in digits"));
        assert!(!(chunked && length.is_some()), "an answer with both framings: {:?}", self.headers);
        match (bodiless || self.status < 200 || self.status == 204 || self.status == 304, chunked, length) {
            (true, ..) => BodyEnd::Length(0),
            (_, true, _) => BodyEnd::Chunked,
            (_, _, Some(length)) => BodyEnd::Length(length),
            (..) => BodyEnd::ConnectionClose,
        }
    }
}

/// The length of a message's head, its empty line included.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The chunk at the start of `bytes`: its payload (empty for the last one) and its length on the wire. Does not know
/// trailers.
pub fn chunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..line]).ok().and_then(|line| usize::from_str_radix(line, 16).ok());
    let size = size.unwrap_or_else(|| panic!("a chunk size: {}", show(&bytes[..line])));
    let end = line + 2 + size + 2;
    let payload = bytes.get(line + 2..line + 2 + size)?;
    let close = bytes.get(line + 2 + size..end)?;
    assert_eq!(close, b"\r\n", "after a chunk of {size} bytes");
    Some((payload.to_owned(), end))
}

/// The first bytes, readable in the message of a failed assertion.
pub fn show(bytes: &[u8]) -> String {
    let cut = if bytes.len() > 400 { "…" } else { "" };
    format!("{:?}{cut}", bytes[..bytes.len().min(400)].escape_ascii().to_string())
}
