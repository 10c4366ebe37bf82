//! Callers that have signed in: random ids in cookies, a bounded number of them, each valid while it is used. Held in memory
//! by the coordinator. Apart from the random ids it depends only on its calls and their times. It never holds a token, and compares ids
//! in constant time.

use subtle::ConstantTimeEq;

use crate::clock::Now;
use crate::names::SESSION_COOKIE;
use crate::units::Secret;

/// Most sessions at once; a new one replaces the longest unused. Arbitrary: a few browsers each of a few people.
const SESSIONS_MAX: usize = 64;
/// A session that is unused for this long ends. Arbitrary: a working day and a bit.
const IDLE_S: u64 = 12 * 3600;
/// 256 bits, too many to guess.
const ID_BYTES: usize = 32;

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Vec<Session>);

struct Session {
    id: [u8; ID_BYTES],
    used_ms: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(***)")
    }
}

impl Sessions {
    /// Opens a session. Returns the value of `Set-Cookie`, for the paths below `base`. `secure` says that the page came over
    /// TLS.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn open(&mut self, base: &str, secure: bool, now: Now) -> Result<String, getrandom::Error> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id)?;
        self.drop_idle(now);
        if self.0.len() >= SESSIONS_MAX
            && let Some((at, _)) = self.0.iter().enumerate().min_by_key(|(_, session)| session.used_ms)
        {
            self.0.swap_remove(at);
        }
        self.0.push(Session { id, used_ms: now.mono_ms() });
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(cookie(&hex, base, IDLE_S, secure))
    }

    /// Whether this `Cookie` header names a session. Counts as a use of it.
    pub(super) fn touch(&mut self, cookies: &Secret, now: Now) -> bool {
        self.drop_idle(now);
        let Some(at) = self.find(cookies) else { return false };
        if let Some(session) = self.0.get_mut(at) {
            session.used_ms = now.mono_ms();
        }
        true
    }

    /// Ends the session that this `Cookie` header names, if there is one. Returns the value of `Set-Cookie` that deletes the
    /// cookie.
    pub(crate) fn close(&mut self, cookies: &Secret, base: &str, secure: bool) -> String {
        if let Some(at) = self.find(cookies) {
            self.0.swap_remove(at);
        }
        cookie("", base, 0, secure)
    }

    /// Ends all sessions. Called when the token changes with which they were opened.
    pub(crate) fn close_all(&mut self) {
        self.0.clear();
    }

    fn drop_idle(&mut self, now: Now) {
        self.0.retain(|session| now.mono_ms().saturating_sub(session.used_ms) < IDLE_S * 1000);
    }

    /// Compares all sessions even after a match, so that timing reveals nothing.
    fn find(&self, cookies: &Secret) -> Option<usize> {
        let id = named_id(cookies.expose())?;
        let compared = self.0.iter().enumerate().map(|(at, session)| (at, bool::from(session.id.ct_eq(&id))));
        compared.fold(None, |found, (at, equal)| if equal { Some(at) } else { found })
    }
}

fn cookie(id: &str, base: &str, age_s: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={id}; Path={base}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}")
}

/// The id in a `Cookie` header (RFC 6265, section 4.2.1).
fn named_id(cookies: &str) -> Option<[u8; ID_BYTES]> {
    let mut named = cookies.split(';').filter_map(|pair| pair.trim_matches(' ').split_once('='));
    let (_, hex) = named.find(|(name, _)| *name == SESSION_COOKIE)?;
    let mut id = [0; ID_BYTES];
    let mut digits = hex.chars().map(|digit| digit.to_digit(16));
    for byte in &mut id {
        *byte = u8::try_from(digits.next()?? * 16 + digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Now {
        Now { mono_ns: s * 1_000_000_000, wall_ms: 0 }
    }

    /// The `Cookie` header of a browser that received this `Set-Cookie`.
    fn cookie_header(set: &str) -> Secret {
        Secret::new(format!("theme=dark; {}", set.split(';').next().unwrap()))
    }

    #[test]
    fn session_lasts_while_it_is_used() {
        let mut sessions = Sessions::default();
        let cookie = cookie_header(&sessions.open("/", false, at(0)).unwrap());
        assert!(sessions.touch(&cookie, at(IDLE_S - 1)));
        assert!(sessions.touch(&cookie, at(2 * IDLE_S - 2)));
        assert!(!sessions.touch(&cookie, at(3 * IDLE_S)));
    }

    #[test]
    fn session_ends_when_it_is_closed_or_the_token_changes() {
        let mut sessions = Sessions::default();
        let [a, b] = [(), ()].map(|()| cookie_header(&sessions.open("/", true, at(0)).unwrap()));
        assert!(
            sessions
                .close(&a, "/luner/", true)
                .contains("luner-session=; Path=/luner/; Max-Age=0; HttpOnly; SameSite=Strict; Secure")
        );
        assert!(!sessions.touch(&a, at(1)) && sessions.touch(&b, at(1)));
        sessions.close_all();
        assert!(!sessions.touch(&b, at(1)));
    }

    #[test]
    fn wrong_or_malformed_id_is_not_a_session() {
        let mut sessions = Sessions::default();
        let set = sessions.open("/", false, at(0)).unwrap();
        assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{set}");
        let good = set.split(';').next().unwrap();
        for cookie in [
            "",
            "luner-session=",
            "luner-session",
            good.trim_end_matches(|_: char| true),
            good.split_at(good.len() - 1).0,
            &format!("{good}0"),
            &format!("x{good}"),
            &format!("luner-session={}", "0".repeat(64)),
            &format!("luner-session={}", "é".repeat(32)),
        ] {
            assert!(!sessions.touch(&Secret::new(cookie.to_owned()), at(1)), "{cookie}");
        }
        assert!(sessions.touch(&Secret::new(good.to_owned()), at(1)));
        assert!(!format!("{sessions:?}").contains(&good[14..]));
    }

    #[test]
    fn new_session_replaces_the_longest_unused_one_when_full() {
        let mut sessions = Sessions::default();
        let cookies: Vec<Secret> =
            (0..SESSIONS_MAX as u64).map(|s| cookie_header(&sessions.open("/", false, at(s)).unwrap())).collect();
        assert!(sessions.touch(&cookies[0], at(100)));
        sessions.open("/", false, at(101)).unwrap();
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        assert!(sessions.touch(&cookies[0], at(102)) && !sessions.touch(&cookies[1], at(102)));
    }
}
