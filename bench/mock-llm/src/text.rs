//! The mock's answers and its token counts. Pure functions of the prompt, so that a test can predict every answer and
//! every count. Used by connection threads. Never reads a clock.

/// FNV-1a, 64 bits: the hash in answers and in the ledger. It distinguishes texts and is not fit for keys.
pub fn fnv64(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The mock's tokenizer: a token is four Unicode scalar values, rounded up. Every text has at least one.
pub fn tokens(text: &str) -> u64 {
    tokens_of_chars(text.chars().count())
}

/// [`tokens`] of a text of this many characters.
pub fn tokens_of_chars(chars: usize) -> u64 {
    (chars as u64).div_ceil(4).max(1)
}

/// The text of an answer, split into the words that become a stream's deltas.
#[derive(Debug, PartialEq, Eq)]
pub struct ReplyText {
    pub text: String,
    /// The end of each piece in `text`. A piece is a word with the white space before it.
    pub ends: Vec<usize>,
    /// Whether `max_tokens` ended it, so that `finish_reason` is `length`.
    pub truncated: bool,
}

impl ReplyText {
    /// The answer to `prompt`: its hash and its first [`ECHO_CHARS`] characters. `words` truncates or pads the answer
    /// to exactly this length, `max_words` only truncates it. `choice` makes the answers to a request with `n` > 1
    /// differ.
    pub fn reply(prompt: &str, choice: u64, words: Option<u32>, max_words: Option<u64>) -> Self {
        let hash = fnv64(prompt.as_bytes()).wrapping_add(choice);
        let echo: String = prompt.chars().take(ECHO_CHARS).collect();
        let mut text = format!("[{hash:016x}] You said: {echo}");
        let mut ends = word_ends(&text);
        if let Some(wanted) = words.map(|n| n as usize) {
            for filler in FILLER.iter().cycle().skip(ends.len()).take(wanted.saturating_sub(ends.len())) {
                text.push(' ');
                text.push_str(filler);
                ends.push(text.len());
            }
            ends.truncate(wanted);
        }
        let words_max = max_words.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let truncated = ends.len() > words_max;
        ends.truncate(words_max);
        text.truncate(ends.last().copied().unwrap_or(0));
        Self { text, ends, truncated }
    }

    /// A given text: JSON for `response_format`, or the arguments of a tool call.
    pub fn literal(text: String) -> Self {
        Self { ends: word_ends(&text), text, truncated: false }
    }

    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0, |from, to| Some(&self.text[std::mem::replace(from, *to)..*to]))
    }

    pub fn tokens(&self) -> u64 {
        tokens(&self.text)
    }
}

/// The ends of the words of `text`. A word includes the white space before it, the last one also that after it.
fn word_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut in_word = false;
    for (at, char) in text.char_indices() {
        if char.is_whitespace() && in_word {
            ends.push(at);
        }
        in_word = !char.is_whitespace();
    }
    match ends.last_mut() {
        Some(last) if !in_word => *last = text.len(),
        _ if text.is_empty() => {}
        _ => ends.push(text.len()),
    }
    ends
}

/// The text as a JSON string literal with its quotes.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Standard base64 with padding, the encoding that the Python SDK requests for embeddings. Implemented here to save a
/// dependency.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0_u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let six = (word >> (18 - 6 * at)) & 63;
            out.push(if at <= group.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    out
}

/// Most characters of the prompt that an answer repeats. Arbitrary: long enough to recognise, short enough for a log.
const ECHO_CHARS: usize = 200;

/// Words that pad an answer to the requested length.
const FILLER: [&str; 8] = ["tokens", "flow", "through", "the", "gateway", "one", "by", "one"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_every_byte_of_the_text() {
        for text in ["", " ", "a", "a b", "  a\n b  ", "[00] You said: é ü"] {
            let reply = ReplyText::literal(text.to_owned());
            assert_eq!(reply.pieces().collect::<String>(), text);
        }
    }

    #[test]
    fn reply_has_exactly_the_requested_words() {
        for words in [0, 1, 3, 64] {
            let reply = ReplyText::reply("hello there", 0, Some(words), None);
            assert_eq!(reply.ends.len(), words as usize);
            assert!(!reply.truncated);
        }
        let reply = ReplyText::reply("hello there", 0, Some(64), Some(5));
        assert_eq!((reply.ends.len(), reply.truncated), (5, true));
    }

    #[test]
    fn token_is_four_characters() {
        assert_eq!([tokens(""), tokens("abcd"), tokens("abcde"), tokens("éééé")], [1, 1, 2, 1]);
    }

    #[test]
    fn base64_matches_the_standard() {
        let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in known {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
