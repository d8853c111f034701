use std::time::Duration;

#[cfg(feature = "cron")]
use self::cron::Times;

/// When the cleanup runs.
#[derive(Clone, Debug)]
pub struct Schedule(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron(Box<Times>),
}

impl Schedule {
    /// Runs this long after the start, and then this long after the end of each run. An interval that no
    /// process outlives, such as `Duration::MAX`, means never.
    pub fn every(interval: Duration) -> Self {
        // An interval of zero would be a busy loop.
        Self(Kind::Every(interval.max(Duration::from_millis(1))))
    }

    /// Runs at the times of a cron expression with five fields (minute, hour, day of the month, month, day
    /// of the week), in UTC. Needs the feature `cron`, which is on by default.
    ///
    /// ```
    /// let every_night = sessile::Schedule::cron("30 3 * * *")?;
    /// # Ok::<_, sessile::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) if the text is not a cron expression, or if it
    /// never comes true.
    #[cfg(feature = "cron")]
    pub fn cron(expression: &str) -> crate::error::Result<Self> {
        Times::parse(expression).map(|times| Self(Kind::Cron(Box::new(times))))
    }

    /// How long from now until the next run.
    pub(super) fn delay(&self) -> Duration {
        match &self.0 {
            Kind::Every(interval) => *interval,
            #[cfg(feature = "cron")]
            Kind::Cron(times) => times.delay(),
        }
    }
}

#[cfg(feature = "cron")]
mod cron {
    use std::{
        str::FromStr,
        time::{Duration, SystemTime},
    };

    use chrono::{DateTime, Utc};
    use croner::Cron;

    use crate::error::{Error, ErrorKind, Result};

    #[derive(Clone, Debug)]
    pub(super) struct Times(Cron);

    impl Times {
        pub(super) fn parse(expression: &str) -> Result<Self> {
            let invalid = |source| {
                let message =
                    format!("{expression:?} is not a cron expression that ever comes true");
                Error::new(ErrorKind::Configuration, message).with_source(source)
            };
            let cron = Cron::from_str(expression).map_err(invalid)?;
            cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false).map_err(invalid)?;
            Ok(Self(cron))
        }

        pub(super) fn delay(&self) -> Duration {
            // A job begins by the node's clock, as any cron job does. The database's clock decides what the
            // job deletes.
            #[expect(clippy::disallowed_methods)]
            self.delay_from(moment(SystemTime::now()))
        }

        fn delay_from(&self, now: DateTime<Utc>) -> Duration {
            let next = self.0.find_next_occurrence(&now, false).ok();
            let delay = next.and_then(|next| (next - now).to_std().ok());
            // A clock beyond the calendar's end: look again later.
            delay.unwrap_or(Duration::from_secs(3600))
        }
    }

    /// chrono's own conversion panics for a clock before 1970 or beyond the calendar's end. This one takes the
    /// nearest moment.
    fn moment(clock: SystemTime) -> DateTime<Utc> {
        let since_1970 = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, since_1970.subsec_nanos())
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_cron_expression_says_how_long_to_wait() {
            let now = "2026-03-01T10:02:30Z".parse().unwrap();
            let five = Times::parse("*/5 * * * *").unwrap();
            assert_eq!(five.delay_from(now), Duration::from_secs(150));
            let nightly = Times::parse("30 3 * * *").unwrap();
            assert_eq!(nightly.delay_from(now), Duration::from_secs(17 * 3600 + 27 * 60 + 30));
        }

        #[test]
        fn what_is_not_cron_is_refused() {
            for expression in ["", "* * *", "61 * * * *", "0 0 30 2 *", "often"] {
                let error = Times::parse(expression).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Configuration, "{expression}");
                assert!(error.to_string().contains(&format!("{expression:?}")), "{error}");
            }
        }

        #[test]
        fn any_clock_will_do() {
            let epoch = SystemTime::UNIX_EPOCH;
            assert_eq!(moment(epoch + Duration::from_millis(1500)).timestamp_millis(), 1500);
            assert_eq!(moment(epoch - Duration::from_secs(1)), DateTime::UNIX_EPOCH);
            let far = epoch + Duration::from_secs(1 << 50);
            assert_eq!(moment(far), DateTime::<Utc>::MAX_UTC);
            let weekly = Times::parse("30 3 * * 1").unwrap();
            for now in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
                assert!(weekly.delay_from(now) > Duration::ZERO, "{now}");
            }
        }
    }
}
