//! What the mock says, and how it counts. Pure functions of the prompt, so that a test can foretell every answer
//! and every token count. Used by connection threads; never looks at a clock.

/// FNV-1a, 64 bits: the hash shown in answers and kept in the ledger. Not for keys; it only tells texts apart.
pub fn fnv64(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The mock's tokenizer: a token is four Unicode scalar values, rounded up, and no text counts less than one.
pub fn tokens(text: &str) -> u64 {
    tokens_of_chars(text.chars().count())
}

/// [`tokens`] for a text of which only the length is known.
pub fn tokens_of_chars(chars: usize) -> u64 {
    (chars as u64).div_ceil(4).max(1)
}

/// An answer's text, already cut into the words that become a stream's deltas.
#[derive(Debug, PartialEq, Eq)]
pub struct Speech {
    pub text: String,
    /// Where each piece ends in `text`. A piece is a word with the white space before it.
    pub ends: Vec<usize>,
    /// `max_tokens` ended it: `finish_reason` is `length`.
    pub cut: bool,
}

impl Speech {
    /// The answer to `prompt`: its hash, then what was asked, up to [`ECHO_CHARS`]. `words` makes it exactly that long
    /// (cut, or filled up), `max_words` cuts it. `choice` tells the answers of one request with `n` > 1 apart.
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
        let most = max_words.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let cut = ends.len() > most;
        ends.truncate(most);
        text.truncate(ends.last().copied().unwrap_or(0));
        Self { text, ends, cut }
    }

    /// A text that is given, not made up: JSON for `response_format`, arguments of a tool call.
    pub fn given(text: String) -> Self {
        Self { ends: word_ends(&text), text, cut: false }
    }

    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0, |from, to| Some(&self.text[std::mem::replace(from, *to)..*to]))
    }

    pub fn tokens(&self) -> u64 {
        tokens(&self.text)
    }
}

/// Ends of the words of `text`, each with the white space before it; trailing white space joins the last word.
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

/// A JSON string literal, quotes included.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Standard base64 with padding: what the Python SDK asks of embeddings. Written out to save a dependency.
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

/// How much of the prompt an answer repeats, in characters. Arbitrary: long enough to recognise, short enough for a log.
const ECHO_CHARS: usize = 200;

/// Fills an answer up to the wanted number of words.
const FILLER: [&str; 8] = ["tokens", "flow", "through", "the", "gateway", "one", "by", "one"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_every_byte_of_the_text() {
        for text in ["", " ", "a", "a b", "  a\n b  ", "[00] You said: é ü"] {
            let speech = Speech::given(text.to_owned());
            assert_eq!(speech.pieces().collect::<String>(), text);
        }
    }

    #[test]
    fn a_reply_has_exactly_the_words_asked_for() {
        for words in [0, 1, 3, 64] {
            let speech = Speech::reply("hello there", 0, Some(words), None);
            assert_eq!(speech.ends.len(), words as usize);
            assert!(!speech.cut);
        }
        let speech = Speech::reply("hello there", 0, Some(64), Some(5));
        assert_eq!((speech.ends.len(), speech.cut), (5, true));
    }

    #[test]
    fn a_token_is_four_characters() {
        assert_eq!([tokens(""), tokens("abcd"), tokens("abcde"), tokens("éééé")], [1, 1, 2, 1]);
    }

    #[test]
    fn base64_is_the_standard_one() {
        let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in known {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
