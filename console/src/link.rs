//! A link that works once, and the visitor who came through it.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::form_token::random;

/// A link is good for so long.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(10 * 60);

/// The visitor's cookie is good for so long, if the program runs for so long.
pub(crate) const VISIT_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Only hashes: nobody who reads the memory of the program finds a token.
pub(crate) struct OneTimeLink(Mutex<State>);

struct State {
    token: Option<(Hash, Instant)>,
    visitor: Option<(Hash, Instant)>,
}

type Hash = [u8; 32];

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

impl OneTimeLink {
    /// A new link, and its token. `None` if the system gives no random bytes.
    pub(crate) fn new(now: Instant) -> Option<(Self, String)> {
        let token = random()?;
        let state = State { token: Some((hash(&token), now)), visitor: None };
        Some((Self(Mutex::new(state)), token))
    }

    /// Exchanges the token for the value of a cookie, once. A wrong token does not use the link up.
    pub(crate) fn open(&self, token: &str, now: Instant) -> Option<String> {
        let mut state = self.state();
        let (known, since) = state.token?;
        let is_right = bool::from(known.ct_eq(&hash(token)));
        if !is_right || now.saturating_duration_since(since) >= LINK_LIFE {
            return None;
        }
        let visitor = random()?;
        state.token = None;
        state.visitor = Some((hash(&visitor), now));
        Some(visitor)
    }

    /// Whether this is the cookie of the visitor who came through the link.
    pub(crate) fn knows(&self, cookie: &str, now: Instant) -> bool {
        let visitor = self.state().visitor;
        visitor.is_some_and(|(known, since)| {
            bool::from(known.ct_eq(&hash(cookie)))
                && now.saturating_duration_since(since) < VISIT_LIFE
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OneTimeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeLink(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> (OneTimeLink, String, Instant) {
        let now = Instant::now();
        let (link, token) = OneTimeLink::new(now).unwrap();
        (link, token, now)
    }

    #[test]
    fn a_link_works_once() {
        let (link, token, now) = link();
        for wrong in ["", "x", &token[1..], &format!("{token} ")] {
            assert!(link.open(wrong, now).is_none(), "{wrong}");
        }
        let cookie = link.open(&token, now).unwrap();
        assert!(link.knows(&cookie, now));
        assert!(link.open(&token, now).is_none());
        assert!(link.knows(&cookie, now), "a second use of the link does not end the visit");
        assert!(!link.knows(&token, now) && !link.knows("", now));
        assert!(token.len() == 43 && cookie.len() == 43 && token != cookie);
    }

    #[test]
    fn a_link_works_for_ten_minutes_and_a_visit_for_twelve_hours() {
        let (late, token, now) = link();
        assert!(late.open(&token, now + LINK_LIFE).is_none());
        let just_before = now + LINK_LIFE - Duration::from_millis(1);
        let cookie = late.open(&token, just_before).unwrap();
        assert!(late.knows(&cookie, just_before + VISIT_LIFE - Duration::from_millis(1)));
        assert!(!late.knows(&cookie, just_before + VISIT_LIFE));
    }

    #[test]
    fn of_many_at_once_one_gets_in() {
        for _ in 0..50 {
            let (link, token, now) = link();
            let opened = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| link.open(&token, now))).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).count()
            });
            assert_eq!(opened, 1);
        }
    }
}
