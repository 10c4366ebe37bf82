//! A body that was built once and is sent many times: only the id and the time differ between two identical requests,
//! so they are slots that are filled in while the rest is copied. Each connection thread keeps its own.
//! Never parses anything: builders write the slots with [`ID`] and [`CREATED`].

/// Stands for the request's id, 16 digits. Raw control characters cannot occur in JSON that a serializer wrote,
/// so a slot is never mistaken for text of the prompt.
pub const ID: &str = "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";
/// Stands for seconds since 1970: ten digits until the year 2286.
pub const CREATED: &str = "\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}\u{2}";

/// One or more parts (a stream's events) with slots.
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
        template.part(body);
        template
    }

    pub fn part(&mut self, text: &str) {
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

    /// A server-sent event without a name, as the chat endpoint sends them.
    pub fn data(&mut self, json: &str) {
        self.part(&format!("data: {json}\n\n"));
    }

    /// A server-sent event with a name, as the responses endpoint sends them.
    pub fn named(&mut self, name: &str, json: &str) {
        self.part(&format!("event: {name}\ndata: {json}\n\n"));
    }

    /// Writes the body with its slots filled to `out`, which is cleared first.
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

/// `value` in decimal, right-aligned and filled up with zeros.
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
        template.part(&format!("a{ID}b{CREATED}"));
        template.part(ID);
        let mut out = Vec::new();
        template.render(42, 1_700_000_000, &mut out);
        assert_eq!(out, b"a0000000000000042b17000000000000000000000042");
        assert_eq!(template.ends, [28, 44]);
    }
}
