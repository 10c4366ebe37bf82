//! What a caller's `Cache-Control` forbids (RFC 9111 section 5.2.1). Pure; read on the shard that owns the request.
//! Directives that luner does not know allow everything, as the RFC wants it.

/// What the caller forbids; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    no_cache: bool,
    no_store: bool,
}

impl Directives {
    /// Takes in one header line; several add up.
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
                // What browsers send on a reload. A larger age is met by luner's own TTL, or not at all.
                let age = argument.strip_prefix(b"=").unwrap_or_default().trim_ascii();
                self.no_cache |= !age.is_empty() && age.iter().all(|&byte| matches!(byte, b'0' | b'"'));
            }
        }
    }

    /// The answer may come from the cache.
    pub fn may_answer(self) -> bool {
        !self.no_cache && !self.no_store
    }

    /// The answer may go to the cache, and to others who ask for the same at that time.
    pub fn may_store(self) -> bool {
        !self.no_store
    }
}

/// At commas outside quotes.
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
    fn what_only_looks_alike_forbids_nothing() {
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
