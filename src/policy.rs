use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    data::Limits,
    error::{Error, ErrorKind, Result},
    expiry::{Timeouts, seconds as seconds_of, whole_seconds},
    store::OnLimit,
};

/// How long sessions live and how much they contain.
///
/// Timeouts are whole seconds, rounded up. A changed timeout applies to sessions that begin or log in after
/// the change, because each row contains its own.
///
/// | setting | default | why |
/// |---|---|---|
/// | [`idle_timeout`](Self::idle_timeout) | 1 hour | NIST SP 800-63B-4 §2.2.3 (AAL2) |
/// | [`absolute_timeout`](Self::absolute_timeout) | 24 hours | the same |
/// | [`anonymous_idle_timeout`](Self::anonymous_idle_timeout) | the idle timeout | |
/// | [`remember_me`](Self::remember_me) | 30 days, idle and absolute | §2.1.3 (AAL1); only if a log-in asks for it |
/// | [`persistent_anonymous_cookie`](Self::persistent_anonymous_cookie) | no | a visitor's cookie ends with the browser's window |
/// | [`touch_interval`](Self::touch_interval) | 5 minutes | "last seen" is at most this old |
/// | [`pending_log_in_timeout`](Self::pending_log_in_timeout) | 10 minutes | §3.1.3.2: a code that was sent is valid for that long |
/// | [`data_limit`](Self::data_limit) | 64 KiB | a session is read and written whole |
/// | [`depth_limit`](Self::depth_limit) | 32 levels | parsers and databases have their own limits beyond that |
/// | [`sessions_per_user`](Self::sessions_per_user) | no limit | OWASP ASVS 5.0 §7.1.2 asks to decide and document it |
/// | [`record_events`](Self::record_events) | yes | who logged in, and who ended a session, can be proved |
/// | [`record_clients`](Self::record_clients) | yes | users recognise their devices by it |
/// | [`keep_events`](Self::keep_events) | 90 days | longer than most investigations; an address is personal data |
#[derive(Clone, Debug)]
pub struct Policy {
    idle_timeout: Duration,
    absolute_timeout: Duration,
    anonymous_idle_timeout: Option<Duration>,
    remember_me: Option<(Duration, Duration)>,
    persistent_anonymous_cookie: bool,
    touch_interval: Duration,
    pending_log_in_timeout: Duration,
    data_limit: usize,
    depth_limit: usize,
    sessions_per_user: Option<(u32, OnLimit)>,
    record_events: bool,
    record_clients: bool,
    keep_events: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        let month = days(30);
        Self { remember_me: Some((month, month)), ..Self::strict(hours(1), hours(24)) }
    }
}

impl Policy {
    /// Authentication assurance level 1: reauthentication at least every 30 days, no idle timeout.
    ///
    /// Source: NIST SP 800-63B-4, §2.1.3.
    pub fn aal1() -> Self {
        Self::strict(days(30), days(30))
    }

    /// Level 2: reauthentication at least every 24 hours, and after 1 hour without activity. There is no
    /// "remember me".
    ///
    /// Source: NIST SP 800-63B-4, §2.2.3.
    pub fn aal2() -> Self {
        Self::strict(hours(1), hours(24))
    }

    /// Level 3: reauthentication at least every 12 hours, and after 15 minutes without activity. There is no
    /// "remember me".
    ///
    /// Source: NIST SP 800-63B-4, §2.3.3.
    pub fn aal3() -> Self {
        Self::strict(minutes(15), hours(12))
    }

    fn strict(idle_timeout: Duration, absolute_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            absolute_timeout,
            anonymous_idle_timeout: None,
            remember_me: None,
            persistent_anonymous_cookie: false,
            touch_interval: minutes(5),
            pending_log_in_timeout: minutes(10),
            data_limit: 64 * 1024,
            depth_limit: 32,
            sessions_per_user: None,
            record_events: true,
            record_clients: true,
            keep_events: days(90),
        }
    }

    /// Ends a session this long after it was last seen. The library records that moment once in a twentieth
    /// of the timeout, or once in a [`touch_interval`](Self::touch_interval) if that is less. So a session
    /// may end earlier by that much.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Ends a session this long after its creation or its log-in, even if it is in use.
    #[must_use]
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.absolute_timeout = timeout;
        self
    }

    /// The idle timeout of anonymous sessions. A short one soon ends the sessions of robots and chance
    /// visitors.
    #[must_use]
    pub fn anonymous_idle_timeout(mut self, timeout: Duration) -> Self {
        self.anonymous_idle_timeout = Some(timeout);
        self
    }

    /// The timeouts of a session whose log-in said [`remember_me`](crate::LogIn::remember_me). Its cookie
    /// outlives the browser's window.
    ///
    /// The session's row stores the timeouts, and that the session is remembered. A later change of the
    /// policy changes neither.
    #[must_use]
    pub fn remember_me(mut self, idle: Duration, absolute: Duration) -> Self {
        self.remember_me = Some((idle, absolute));
        self
    }

    /// Lets the cookie of an anonymous session outlive the browser's window, until the session's absolute
    /// end. A visitor then finds the cart again the next day. Default: no, so that the browser's window ends
    /// the session.
    #[must_use]
    pub fn persistent_anonymous_cookie(mut self, persistent: bool) -> Self {
        self.persistent_anonymous_cookie = persistent;
        self
    }

    /// How long after a session's last record as "seen" the next request records it again. It is a twentieth
    /// of the session's idle timeout if that is less. Default: 5 minutes.
    ///
    /// Each such request costs a write of one row. The write shares its statement with other requests, runs
    /// in the background, and changes an index only once in about ten times.
    #[must_use]
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = interval;
        self
    }

    /// How long a log-in of several requests may take, from [`begin_log_in`](crate::Session::begin_log_in) to
    /// [`complete_log_in`](crate::Session::complete_log_in). Default: 10 minutes. At most 12 hours, because
    /// the database keeps the time of a revocation for a day.
    #[must_use]
    pub fn pending_log_in_timeout(mut self, timeout: Duration) -> Self {
        self.pending_log_in_timeout = timeout;
        self
    }

    /// The maximum size of a session's data as JSON text, in bytes.
    #[must_use]
    pub fn data_limit(mut self, bytes: usize) -> Self {
        self.data_limit = bytes;
        self
    }

    /// The maximum nesting of arrays and objects in one value, in levels; up to 100.
    #[must_use]
    pub fn depth_limit(mut self, levels: usize) -> Self {
        self.depth_limit = levels;
        self
    }

    /// The maximum number of live sessions of one user, and the treatment of a log-in that would exceed it.
    #[must_use]
    pub fn sessions_per_user(mut self, limit: u32, on_limit: OnLimit) -> Self {
        self.sessions_per_user = Some((limit, on_limit));
        self
    }

    /// Whether log-ins, log-outs, revocations, expiries and the like are recorded in the database, in the view
    /// `session_events`: see `docs/sql.md`. Each is recorded in the transaction that makes it, with the client's address
    /// and user agent. Default: yes.
    ///
    /// The cleanup files the events, and without a cleanup, lists of events become slower and slower.
    #[must_use]
    pub fn record_events(mut self, record: bool) -> Self {
        self.record_events = record;
        self
    }

    /// Whether sessions and events have the client's address and user agent. Without them, a list of devices shows times
    /// only. What was recorded before stays until the session ends, or the event is old. To keep them for the user and
    /// hide them from whoever reads the database, use `Encryption::seal_clients`. Default: yes.
    #[must_use]
    pub fn record_clients(mut self, record: bool) -> Self {
        self.record_clients = record;
        self
    }

    /// How long events and the runs of the cleanup are kept. The cleanup deletes older ones, also if no new ones are
    /// recorded. Nodes with different settings delete by the shortest. Default: 90 days.
    #[must_use]
    pub fn keep_events(mut self, duration: Duration) -> Self {
        self.keep_events = duration;
        self
    }

    pub(crate) fn rules(&self) -> Result<Rules> {
        let user = timeouts("idle_timeout", self.idle_timeout, self.absolute_timeout)?;
        let anonymous_idle = self.anonymous_idle_timeout.unwrap_or(self.idle_timeout);
        let anonymous = timeouts("anonymous_idle_timeout", anonymous_idle, self.absolute_timeout)?;
        let remember_me = self
            .remember_me
            .map(|(idle, absolute)| timeouts("remember_me", idle, absolute))
            .transpose()?;
        if !(2..=1 << 28).contains(&self.data_limit) {
            return Err(invalid("data_limit has to be between 2 bytes and 256 MiB"));
        }
        // serde_json reads 128 levels; the object around the values is one of them.
        if !(1..=100).contains(&self.depth_limit) {
            return Err(invalid("depth_limit has to be between 1 and 100 levels"));
        }
        if matches!(self.sessions_per_user, Some((0, _))) {
            return Err(invalid("sessions_per_user has to be at least 1, or nobody could log in"));
        }
        let touch_interval = checked("touch_interval", self.touch_interval)?;
        let pending_log_in = checked("pending_log_in_timeout", self.pending_log_in_timeout)?;
        if self.pending_log_in_timeout > hours(12) {
            return Err(invalid("pending_log_in_timeout has to be at most 12 hours"));
        }
        Ok(Rules {
            user,
            anonymous,
            remember_me,
            persistent_anonymous_cookie: self.persistent_anonymous_cookie,
            touch_interval: seconds_of(touch_interval),
            pending_log_in,
            limits: Limits { bytes: self.data_limit, depth: self.depth_limit },
            sessions_per_user: self.sessions_per_user,
            records_events: self.record_events,
            records_clients: self.record_clients,
            keeps_events_for: checked("keep_events", self.keep_events)?,
        })
    }
}

/// A checked policy.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) user: Timeouts,
    pub(crate) anonymous: Timeouts,
    pub(crate) remember_me: Option<Timeouts>,
    pub(crate) persistent_anonymous_cookie: bool,
    pub(crate) touch_interval: TimeDelta,
    /// In seconds.
    pub(crate) pending_log_in: u32,
    pub(crate) limits: Limits,
    pub(crate) sessions_per_user: Option<(u32, OnLimit)>,
    pub(crate) records_events: bool,
    pub(crate) records_clients: bool,
    /// In seconds.
    pub(crate) keeps_events_for: u32,
}

impl Rules {
    /// Whether the log-in said "remember me", for a row of the first release, which does not tell. Only
    /// "remember me" makes an idle timeout longer than the policy's.
    pub(crate) fn was_remembered(&self, idle_timeout: u32) -> bool {
        idle_timeout > self.user.idle && idle_timeout > self.anonymous.idle
    }
}

fn timeouts(name: &str, idle: Duration, absolute: Duration) -> Result<Timeouts> {
    let idle = checked(name, idle)?;
    let absolute = checked("absolute_timeout", absolute)?;
    Ok(Timeouts::new(idle, absolute))
}

fn checked(name: &str, duration: Duration) -> Result<u32> {
    whole_seconds(duration)
        .ok_or_else(|| invalid(format!("{name} has to be more than nothing and at most 68 years")))
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

/// That many seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// That many minutes.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// That many hours.
pub const fn hours(n: u64) -> Duration {
    minutes(n * 60)
}

/// That many times 24 hours.
pub const fn days(n: u64) -> Duration {
    hours(n * 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the docs of [`Policy`] has a row for each setting, with the default that the code has.
    #[test]
    fn each_default_is_the_documented_one() {
        // Without `..`: a new setting does not compile until it is here.
        let Policy {
            idle_timeout,
            absolute_timeout,
            anonymous_idle_timeout,
            remember_me,
            persistent_anonymous_cookie,
            touch_interval,
            pending_log_in_timeout,
            data_limit,
            depth_limit,
            sessions_per_user,
            record_events,
            record_clients,
            keep_events,
        } = Policy::default();
        assert_eq!(anonymous_idle_timeout, None);
        let (remembered_idle, remembered) = remember_me.unwrap();
        assert_eq!(remembered_idle, remembered);
        assert!(sessions_per_user.is_none());
        let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let of = |duration: Duration, unit: Duration, name: &str| {
            assert_eq!(duration.as_nanos() % unit.as_nanos(), 0, "{duration:?}");
            format!("{} {name}", duration.as_nanos() / unit.as_nanos())
        };
        let defaults = [
            ("idle_timeout", of(idle_timeout, hours(1), "hour")),
            ("absolute_timeout", of(absolute_timeout, hours(1), "hours")),
            ("anonymous_idle_timeout", "the idle timeout".to_owned()),
            ("remember_me", of(remembered, days(1), "days, idle and absolute")),
            ("persistent_anonymous_cookie", yes_or_no(persistent_anonymous_cookie)),
            ("touch_interval", of(touch_interval, minutes(1), "minutes")),
            ("pending_log_in_timeout", of(pending_log_in_timeout, minutes(1), "minutes")),
            ("data_limit", format!("{} KiB", data_limit as f64 / 1024.0)),
            ("depth_limit", format!("{depth_limit} levels")),
            ("sessions_per_user", "no limit".to_owned()),
            ("record_events", yes_or_no(record_events)),
            ("record_clients", yes_or_no(record_clients)),
            ("keep_events", of(keep_events, days(1), "days")),
        ];
        let documented = include_str!("policy.rs").lines().filter_map(|line| {
            let mut cells = line.strip_prefix("/// | [`")?.split(" | ");
            let (name, _) = cells.next()?.split_once('`')?;
            Some((name, cells.next()?.to_owned()))
        });
        assert_eq!(documented.collect::<Vec<_>>(), defaults);
        let rules = Policy::default().rules().unwrap();
        assert_eq!((rules.anonymous.idle, rules.anonymous.absolute), (3_600, 86_400));
    }

    #[test]
    fn presets_are_what_nist_says() {
        let of = |policy: Policy| {
            let rules = policy.rules().unwrap();
            (rules.user.idle, rules.user.absolute, rules.remember_me)
        };
        assert_eq!(of(Policy::aal1()), (30 * 86_400, 30 * 86_400, None));
        assert_eq!(of(Policy::aal2()), (3_600, 86_400, None));
        assert_eq!(of(Policy::aal3()), (900, 43_200, None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = [
            (Policy::default().idle_timeout(Duration::ZERO), "idle_timeout"),
            (Policy::default().absolute_timeout(Duration::MAX), "absolute_timeout"),
            (Policy::default().anonymous_idle_timeout(Duration::ZERO), "anonymous_idle_timeout"),
            (Policy::default().remember_me(Duration::ZERO, days(1)), "remember_me"),
            (Policy::default().touch_interval(Duration::ZERO), "touch_interval"),
            (Policy::default().pending_log_in_timeout(Duration::ZERO), "pending_log_in_timeout"),
            (Policy::default().pending_log_in_timeout(hours(13)), "pending_log_in_timeout"),
            (Policy::default().data_limit(1), "data_limit"),
            (Policy::default().depth_limit(101), "depth_limit"),
            (Policy::default().sessions_per_user(0, OnLimit::Refuse), "sessions_per_user"),
        ];
        for (policy, name) in refused {
            let error = policy.rules().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn each_setting_reaches_the_rules_and_changes_no_other() {
        let policy = Policy::default()
            .idle_timeout(minutes(10))
            .absolute_timeout(hours(2))
            .anonymous_idle_timeout(minutes(20))
            .remember_me(days(1), days(2))
            .persistent_anonymous_cookie(true)
            .touch_interval(seconds(7))
            .pending_log_in_timeout(hours(12))
            .data_limit(2)
            .depth_limit(100)
            .sessions_per_user(3, OnLimit::Refuse)
            .record_events(false)
            .record_clients(false)
            .keep_events(days(30));
        let rules = policy.rules().unwrap();
        let of = |timeouts: Timeouts| (timeouts.idle, timeouts.absolute);
        assert_eq!(of(rules.user), (600, 7_200));
        assert_eq!(of(rules.anonymous), (1_200, 7_200));
        assert_eq!(rules.remember_me.map(of), Some((86_400, 172_800)));
        assert!(rules.persistent_anonymous_cookie);
        assert_eq!(rules.touch_interval, TimeDelta::seconds(7));
        assert_eq!(rules.pending_log_in, 43_200);
        assert_eq!((rules.limits.bytes, rules.limits.depth), (2, 100));
        assert!(matches!(rules.sessions_per_user, Some((3, OnLimit::Refuse))));
        assert!(!rules.records_events && !rules.records_clients);
        assert_eq!(rules.keeps_events_for, 2_592_000);
    }

    #[test]
    fn only_remember_me_makes_an_idle_timeout_longer_than_both_others() {
        for (user, anonymous) in [(10, 20), (20, 10)] {
            let policy = Policy::default()
                .idle_timeout(minutes(user))
                .anonymous_idle_timeout(minutes(anonymous));
            let rules = policy.rules().unwrap();
            let remembered = [600, 900, 1_200, 1_201].map(|idle| rules.was_remembered(idle));
            assert_eq!(remembered, [false, false, false, true]);
        }
    }
}
