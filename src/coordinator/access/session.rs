//! Who has signed in: random ids in cookies, held in memory by the coordinator, a bounded number of them, each for as long as
//! it is used. A function of its calls and their times. It never holds a token, and an id is compared in constant time.

use subtle::ConstantTimeEq;

use crate::clock::Now;
use crate::names::SESSION_COOKIE;
use crate::units::Secret;

/// Sessions at once; the one that was not used for longest makes room. Arbitrary: some browsers of some people.
const SESSIONS_MAX: usize = 64;
/// A session that was not used for so long is over: a working day, and a bit. Arbitrary.
const IDLE_S: u64 = 12 * 3600;
/// 256 bits: nobody guesses one.
const ID_BYTES: usize = 32;

/// Everyone who has signed in.
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
    /// A new session; the value of `Set-Cookie`, for the paths below `base`. `secure` where the page came over TLS.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn open(&mut self, base: &str, secure: bool, now: Now) -> Result<String, getrandom::Error> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id)?;
        self.forget(now);
        if self.0.len() >= SESSIONS_MAX
            && let Some((at, _)) = self.0.iter().enumerate().min_by_key(|(_, session)| session.used_ms)
        {
            self.0.swap_remove(at);
        }
        self.0.push(Session { id, used_ms: now.mono_ms() });
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(cookie(&hex, base, IDLE_S, secure))
    }

    /// Whether this `Cookie` header names a session. It is used by that.
    pub(super) fn knows(&mut self, cookies: &Secret, now: Now) -> bool {
        self.forget(now);
        let Some(at) = self.find(cookies) else { return false };
        if let Some(session) = self.0.get_mut(at) {
            session.used_ms = now.mono_ms();
        }
        true
    }

    /// Ends the session that this `Cookie` header names, if it does; the value of `Set-Cookie` that forgets it.
    pub(crate) fn close(&mut self, cookies: &Secret, base: &str, secure: bool) -> String {
        if let Some(at) = self.find(cookies) {
            self.0.swap_remove(at);
        }
        cookie("", base, 0, secure)
    }

    /// Ends them all: the token that they were opened with is another one now.
    pub(crate) fn close_all(&mut self) {
        self.0.clear();
    }

    fn forget(&mut self, now: Now) {
        self.0.retain(|session| now.mono_ms().saturating_sub(session.used_ms) < IDLE_S * 1000);
    }

    /// All are compared, whatever is found.
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

    /// As a browser sends it back.
    fn sent(set: &str) -> Secret {
        Secret::new(format!("theme=dark; {}", set.split(';').next().unwrap()))
    }

    #[test]
    fn a_session_lasts_while_it_is_used() {
        let mut sessions = Sessions::default();
        let cookie = sent(&sessions.open("/", false, at(0)).unwrap());
        assert!(sessions.knows(&cookie, at(IDLE_S - 1)));
        assert!(sessions.knows(&cookie, at(2 * IDLE_S - 2)));
        assert!(!sessions.knows(&cookie, at(3 * IDLE_S)));
    }

    #[test]
    fn a_closed_session_is_over_and_so_are_all_of_another_token() {
        let mut sessions = Sessions::default();
        let [a, b] = [(), ()].map(|()| sent(&sessions.open("/", true, at(0)).unwrap()));
        assert!(
            sessions
                .close(&a, "/luner/", true)
                .contains("luner-session=; Path=/luner/; Max-Age=0; HttpOnly; SameSite=Strict; Secure")
        );
        assert!(!sessions.knows(&a, at(1)) && sessions.knows(&b, at(1)));
        sessions.close_all();
        assert!(!sessions.knows(&b, at(1)));
    }

    #[test]
    fn another_id_opens_nothing() {
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
            assert!(!sessions.knows(&Secret::new(cookie.to_owned()), at(1)), "{cookie}");
        }
        assert!(sessions.knows(&Secret::new(good.to_owned()), at(1)));
        assert!(!format!("{sessions:?}").contains(&good[14..]));
    }

    #[test]
    fn there_are_so_many_and_the_longest_unused_makes_room() {
        let mut sessions = Sessions::default();
        let cookies: Vec<Secret> =
            (0..SESSIONS_MAX as u64).map(|s| sent(&sessions.open("/", false, at(s)).unwrap())).collect();
        assert!(sessions.knows(&cookies[0], at(100)));
        sessions.open("/", false, at(101)).unwrap();
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        assert!(sessions.knows(&cookies[0], at(102)) && !sessions.knows(&cookies[1], at(102)));
    }
}
