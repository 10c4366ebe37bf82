//! A body that is built once and sent many times. Only the id and the time differ between the answers to identical
//! requests, so these two are slots, filled after the rest was copied. Owned by a connection's thread. Never parses
//! anything: builders write the slots as [`ID`] and [`CREATED`].

/// Placeholder for the request's id, 16 digits. A JSON serializer never writes raw control characters, so the text of a
/// prompt cannot look like a placeholder.
pub const ID: &str = "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";
/// Placeholder for seconds since 1970: ten digits until the year 2286.
pub const CREATED: &str = "\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}";

/// One or more parts with slots. The parts of a stream are its events.
#[derive(Debug, Default)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where each part ends in `bytes`.
    pub ends: Vec<usize>,
    ids: Vec<usize>,
    times: Vec<usize>,
}

impl Template {
    pub fn plain(body: &str) -> Self {
        let mut template = Self::default();
        template.push(body);
        template
    }

    pub fn push(&mut self, text: &str) {
        let mut at = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        while let Some(byte) = self.bytes.get(at) {
            at += match byte {
                1 => {
                    self.ids.push(at);
                    ID.len()
                }
                2 => {
                    self.times.push(at);
                    CREATED.len()
                }
                _ => 1,
            };
        }
        self.ends.push(self.bytes.len());
    }

    /// Adds a server-sent event without a name, as the chat endpoint sends it.
    pub fn push_event(&mut self, json: &str) {
        self.push(&format!("data: {json}\n\n"));
    }

    /// Adds a server-sent event with a name, as the responses endpoint sends it.
    pub fn push_named_event(&mut self, name: &str, json: &str) {
        self.push(&format!("event: {name}\ndata: {json}\n\n"));
    }

    /// Clears `out` and writes the body to it, with the slots filled.
    pub fn render(&self, id: u64, unix_s: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        fill(out, &self.ids, digits::<{ ID.len() }>(id));
        fill(out, &self.times, digits::<{ CREATED.len() }>(unix_s));
    }
}

fn fill<const N: usize>(out: &mut [u8], slots: &[usize], value: [u8; N]) {
    for at in slots {
        if let Some(slot) = out.get_mut(*at..*at + N) {
            slot.copy_from_slice(&value);
        }
    }
}

/// `value` in decimal, padded with zeros on the left.
pub fn digits<const N: usize>(mut value: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_in_every_part() {
        let mut template = Template::default();
        template.push(&format!("a{ID}b{CREATED}"));
        template.push(ID);
        let mut out = Vec::new();
        template.render(42, 1_700_000_000, &mut out);
        assert_eq!(out, b"a0000000000000042b17000000000000000000000042");
        assert_eq!(template.ends, [28, 44]);
    }
}
