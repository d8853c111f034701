//! The end of a session: pure arithmetic on times from the database's clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The first and the last moment that the library knows. A moment in a row is moved between the two as it is
/// read: then no sum of a moment and a timeout overflows, and every database can hold it. A person may have written
/// `infinity`, or a number by mistake.
pub(crate) const FIRST: DateTime<Utc> = DateTime::UNIX_EPOCH;
/// The year 9999, to the millisecond, which is as fine as every database keeps it.
pub(crate) const LAST: DateTime<Utc> =
    DateTime::from_timestamp_millis(253_402_300_799_999).expect("chrono holds it");

/// The moment, or the nearest one that the library knows.
pub(crate) fn known(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.clamp(FIRST, LAST)
}

/// The two timeouts of a session, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Ends the session this long after it was last seen.
    pub idle: u32,
    /// Ends the session this long after its creation or log-in, even if it is in use.
    pub absolute: u32,
}

impl Timeouts {
    /// Both in seconds. An idle timeout longer than the absolute one is cut to it.
    pub fn new(idle: u32, absolute: u32) -> Self {
        Self { idle: idle.min(absolute), absolute }
    }
}

/// When a live session was last seen, and when it will end. Times are the database's, never this node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// When the session was last seen.
    pub last_seen_at: DateTime<Utc>,
    /// The session ends after this many seconds without a request.
    pub idle_timeout: u32,
    /// The end that activity never moves.
    pub absolute_expires_at: DateTime<Utc>,
    /// The exact end: the earlier of last seen + idle timeout and the absolute end.
    pub valid_until: DateTime<Utc>,
    /// The cleanup's key: `valid_until` rounded up to a step of half of the idle timeout.
    pub expires_at: DateTime<Utc>,
}

impl Lifetime {
    /// The lifetime of a session that begins at `now`.
    pub fn begin(now: DateTime<Utc>, timeouts: Timeouts) -> Self {
        let absolute_expires_at = now + seconds(timeouts.absolute);
        let valid_until = absolute_expires_at.min(now + seconds(timeouts.idle));
        Self {
            last_seen_at: now,
            idle_timeout: timeouts.idle,
            absolute_expires_at,
            valid_until,
            expires_at: round_up(valid_until, timeouts.idle),
        }
    }

    /// The lifetime in a session's row. A moment before 1970 or after the year 9999 becomes the first or the last
    /// moment between the two.
    pub fn from_row(
        last_seen_at: DateTime<Utc>,
        idle_timeout: u32,
        absolute_expires_at: DateTime<Utc>,
        valid_until: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        Self {
            last_seen_at: known(last_seen_at),
            idle_timeout,
            absolute_expires_at: known(absolute_expires_at),
            valid_until: known(valid_until),
            expires_at: known(expires_at),
        }
    }

    /// The same session, seen at `now`. `expires_at` moves only when `valid_until` would pass it:
    /// `expires_at` is indexed, and a touch that does not change it is a heap-only update.
    #[must_use]
    pub fn seen(self, now: DateTime<Utc>) -> Self {
        let last_seen_at = self.last_seen_at.max(now);
        let valid_until = self.absolute_expires_at.min(last_seen_at + seconds(self.idle_timeout));
        let expires_at = if valid_until <= self.expires_at {
            self.expires_at
        } else {
            round_up(valid_until, self.idle_timeout)
        };
        Self { last_seen_at, valid_until, expires_at, ..self }
    }

    /// Whether to record that the session was seen: if a twentieth of its idle timeout has passed since the
    /// last record, or `at_most` if that is less. This holds even if the session's end no longer moves,
    /// because "last seen" does.
    pub(crate) fn touch_due(&self, now: DateTime<Utc>, at_most: TimeDelta) -> bool {
        now - self.last_seen_at >= at_most.min(seconds(self.idle_timeout) / 20)
    }
}

pub(crate) fn seconds(seconds: u32) -> TimeDelta {
    TimeDelta::seconds(i64::from(seconds))
}

/// Whole seconds, rounded up so that no timeout becomes zero. `None` for zero, and for more than 68 years,
/// the limit of the column.
pub(crate) fn whole_seconds(duration: Duration) -> Option<u32> {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    let seconds = i32::try_from(seconds).ok()?;
    u32::try_from(seconds).ok().filter(|&seconds| seconds > 0)
}

/// Rounds up to a multiple of half the idle timeout since 1970. Sessions share these multiples, so many keys
/// are equal, and a B-tree stores equal keys once.
fn round_up(moment: DateTime<Utc>, idle_timeout: u32) -> DateTime<Utc> {
    let step = i64::from(idle_timeout.max(1)) * 500;
    let millis = moment.timestamp_millis();
    DateTime::from_timestamp_millis((millis.div_euclid(step) + 1) * step).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis((seconds * 1000.0) as i64).unwrap()
    }

    #[test]
    fn activity_moves_the_end_up_to_the_absolute_one() {
        let begun = Lifetime::begin(at(1_000_003.0), Timeouts::new(100, 250));
        assert_eq!(begun.valid_until, at(1_000_103.0));
        assert_eq!(begun.absolute_expires_at, at(1_000_253.0));
        assert_eq!(begun.seen(at(1_000_103.0)).valid_until, at(1_000_203.0));
        assert_eq!(begun.seen(at(1_000_103.0)).last_seen_at, at(1_000_103.0));
        assert_eq!(begun.seen(at(1_000_200.0)).valid_until, at(1_000_253.0));
    }

    #[test]
    fn the_cleanup_key_moves_rarely_and_is_never_early() {
        let mut life = Lifetime::begin(at(1_000_003.0), Timeouts::new(100, 100_000));
        let mut moves = 0;
        for touch in 1..=200 {
            let seen = life.seen(at(1_000_003.0 + f64::from(touch) * 5.0));
            assert!(seen.expires_at >= seen.valid_until);
            assert!(seen.expires_at - seen.valid_until <= seconds(50));
            moves += u32::from(seen.expires_at != life.expires_at);
            life = seen;
        }
        assert_eq!(moves, 20);
    }

    #[test]
    fn no_moment_and_no_timeout_of_a_row_overflows() {
        const MOMENTS: [DateTime<Utc>; 5] =
            [DateTime::<Utc>::MIN_UTC, FIRST, DateTime::UNIX_EPOCH, LAST, DateTime::<Utc>::MAX_UTC];
        for idle in [0, 1, i32::MAX.unsigned_abs(), u32::MAX] {
            for at in MOMENTS {
                let life = Lifetime::from_row(at, idle, at, at, at);
                for now in [at, FIRST, LAST].map(known) {
                    assert!(life.seen(now).last_seen_at >= life.last_seen_at);
                    life.touch_due(now, TimeDelta::MAX);
                    let begun = Lifetime::begin(now, Timeouts::new(idle, u32::MAX));
                    assert!(begun.expires_at >= begun.valid_until);
                }
            }
        }
    }

    #[test]
    fn an_earlier_moment_takes_nothing_back() {
        let life = Lifetime::begin(at(1_000_000.0), Timeouts::new(100, 1000));
        assert_eq!(life.seen(at(999_000.0)), life);
    }

    #[test]
    fn a_touch_is_due_after_a_twentieth_or_the_interval_whichever_is_less() {
        let life = Lifetime::begin(at(1_000_000.0), Timeouts::new(100, 1000));
        assert!(!life.touch_due(at(1_000_004.9), seconds(300)));
        assert!(life.touch_due(at(1_000_005.0), seconds(300)));
        assert!(!life.touch_due(at(1_000_001.9), seconds(2)));
        assert!(life.touch_due(at(1_000_002.0), seconds(2)));
        let at_its_absolute_end = life.seen(at(1_000_900.0));
        assert!(at_its_absolute_end.touch_due(at(1_000_950.0), seconds(300)));
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), Some(1));
        assert_eq!(whole_seconds(Duration::from_millis(1001)), Some(2));
        assert_eq!(whole_seconds(Duration::ZERO), None);
        assert_eq!(whole_seconds(Duration::MAX), None);
    }
}
