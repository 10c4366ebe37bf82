//! Parses the restrictions in a caller's `Cache-Control` header (RFC 9111 section 5.2.1). Pure; runs on the shard that owns
//! the request. Directives that luner does not know restrict nothing, as the RFC requires.

/// Restrictions set by the caller; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    no_cache: bool,
    no_store: bool,
}

impl Directives {
    /// Adds the directives of one header line; those of several lines add up.
    pub fn read(&mut self, value: &[u8]) {
        for directive in split(value) {
            let (name, argument) = match directive.iter().position(|&byte| byte == b'=') {
                Some(at) => directive.split_at(at),
                None => (directive, &b""[..]),
            };
            let name = name.trim_ascii();
            if name.eq_ignore_ascii_case(b"no-store") {
                self.no_store = true;
            } else if name.eq_ignore_ascii_case(b"no-cache") {
                self.no_cache = true;
            } else if name.eq_ignore_ascii_case(b"max-age") {
                // Browsers send `max-age=0` on a reload. A larger age is not checked: only luner's own TTL can meet it.
                let age = argument.strip_prefix(b"=").unwrap_or_default().trim_ascii();
                self.no_cache |= !age.is_empty() && age.iter().all(|&byte| matches!(byte, b'0' | b'"'));
            }
        }
    }

    /// Returns true if the answer may come from the cache.
    pub fn may_answer(self) -> bool {
        !self.no_cache && !self.no_store
    }

    /// Returns true if the answer may be stored, and shared with other callers that ask for the same at that time.
    pub fn may_store(self) -> bool {
        !self.no_store
    }
}

/// Splits at commas outside quotes.
fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return true,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Directives {
        let mut directives = Directives::default();
        lines.iter().for_each(|line| directives.read(line.as_bytes()));
        directives
    }

    fn allows(lines: &[&str]) -> (bool, bool) {
        (of(lines).may_answer(), of(lines).may_store())
    }

    #[test]
    fn no_store_forbids_both_and_no_cache_only_the_answer() {
        assert_eq!(allows(&[]), (true, true));
        assert_eq!(allows(&["no-store"]), (false, false));
        assert_eq!(allows(&["no-cache"]), (false, true));
        assert_eq!(allows(&["max-age=0"]), (false, true));
        assert_eq!(allows(&["max-age=600, max-stale, no-transform, only-if-cached"]), (true, true));
    }

    #[test]
    fn case_space_arguments_and_several_lines_are_understood() {
        assert_eq!(allows(&["  No-Store\t, max-age=5"]), (false, false));
        assert_eq!(allows(&["max-age=5,NO-CACHE=\"set-cookie, no-store\""]), (false, true));
        assert_eq!(allows(&["max-age = \"0\""]), (false, true));
        assert_eq!(allows(&["no-cache", "no-store"]), (false, false));
    }

    #[test]
    fn lookalike_directives_forbid_nothing() {
        for line in [
            "",
            ",,,",
            "no-stores",
            "x-no-cache",
            "ext=\"no-store\"",
            "ext=\"a\\\", no-store\"",
            "max-age",
            "max-age=",
            "max-age=10",
            "=no-store",
        ] {
            assert_eq!(allows(&[line]), (true, true), "{line}");
        }
    }
}
