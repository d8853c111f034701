use std::{sync::Arc, time::Duration};

use super::Sessions;
use crate::{
    context::{Context, Endings},
    error::{Error, ErrorKind, Result},
    hasher::Hasher,
    metrics,
    policy::Policy,
    realm::Realm,
    sealer::Sealer,
    store::{Backend, BatchOptions, Batched, OnLimit, Store},
};

/// With a shorter deadline, calls would fail without a fault: a database writes to a disk.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);
const LONGEST_DEADLINE: Duration = Duration::from_secs(3600);

/// Settings of [`Sessions`]. The defaults are those of [`Policy`].
#[derive(Debug)]
#[must_use]
pub struct SessionsBuilder {
    backend: Backend,
    realm: String,
    policy: Policy,
    batch: BatchOptions,
    #[cfg(feature = "cache")]
    cache: Option<crate::store::CacheOptions>,
    #[cfg(feature = "encryption")]
    encryption: Option<crate::encryption::Encryption>,
    #[cfg(feature = "encryption")]
    pepper: Option<crate::encryption::Pepper>,
}

impl SessionsBuilder {
    pub(super) fn new(backend: Backend) -> Self {
        Self {
            backend,
            realm: String::new(),
            policy: Policy::default(),
            batch: BatchOptions::default(),
            #[cfg(feature = "cache")]
            cache: None,
            #[cfg(feature = "encryption")]
            encryption: None,
            #[cfg(feature = "encryption")]
            pepper: None,
        }
    }

    /// The realm: names one of several applications on this database. [`Realm`] tells which names are valid.
    /// Default: the empty name. The default cookie's name contains the realm (`__Host-office`).
    ///
    /// Use realms only when no node runs the first release any more. The first release treats the sessions of all
    /// realms as its own, and its `revoke_all` ends all of them.
    pub fn realm(mut self, name: impl Into<String>) -> Self {
        self.realm = name.into();
        self
    }

    /// Replaces all settings of the policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// See [`Policy::idle_timeout`].
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.policy = self.policy.idle_timeout(timeout);
        self
    }

    /// See [`Policy::absolute_timeout`].
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.policy = self.policy.absolute_timeout(timeout);
        self
    }

    /// See [`Policy::anonymous_idle_timeout`].
    pub fn anonymous_idle_timeout(mut self, timeout: Duration) -> Self {
        self.policy = self.policy.anonymous_idle_timeout(timeout);
        self
    }

    /// See [`Policy::remember_me`].
    pub fn remember_me(mut self, idle: Duration, absolute: Duration) -> Self {
        self.policy = self.policy.remember_me(idle, absolute);
        self
    }

    /// See [`Policy::persistent_anonymous_cookie`].
    pub fn persistent_anonymous_cookie(mut self, persistent: bool) -> Self {
        self.policy = self.policy.persistent_anonymous_cookie(persistent);
        self
    }

    /// See [`Policy::touch_interval`].
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.policy = self.policy.touch_interval(interval);
        self
    }

    /// See [`Policy::pending_log_in_timeout`].
    pub fn pending_log_in_timeout(mut self, timeout: Duration) -> Self {
        self.policy = self.policy.pending_log_in_timeout(timeout);
        self
    }

    /// See [`Policy::data_limit`].
    pub fn data_limit(mut self, bytes: usize) -> Self {
        self.policy = self.policy.data_limit(bytes);
        self
    }

    /// See [`Policy::depth_limit`].
    pub fn depth_limit(mut self, levels: usize) -> Self {
        self.policy = self.policy.depth_limit(levels);
        self
    }

    /// See [`Policy::sessions_per_user`].
    pub fn sessions_per_user(mut self, limit: u32, on_limit: OnLimit) -> Self {
        self.policy = self.policy.sessions_per_user(limit, on_limit);
        self
    }

    /// See [`Policy::record_events`].
    pub fn record_events(mut self, record: bool) -> Self {
        self.policy = self.policy.record_events(record);
        self
    }

    /// See [`Policy::record_clients`].
    pub fn record_clients(mut self, record: bool) -> Self {
        self.policy = self.policy.record_clients(record);
        self
    }

    /// See [`Policy::keep_events`].
    pub fn keep_events(mut self, duration: Duration) -> Self {
        self.policy = self.policy.keep_events(duration);
        self
    }

    /// Whether concurrent requests share statements, and touches are written in the background: see [`Batched`].
    /// Default: yes.
    pub fn batching(mut self, batching: bool) -> Self {
        self.batch = self.batch.combines(batching);
        self
    }

    /// How long a call to the database may take, with all waiting and retries: see [`BatchOptions::deadline`].
    /// Default: 2 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.batch = self.batch.deadline(deadline);
        self
    }

    /// The same for log-ins and for the revocation of a user's sessions: see
    /// [`BatchOptions::log_in_deadline`]. Default: 5 seconds.
    pub fn log_in_deadline(mut self, deadline: Duration) -> Self {
        self.batch = self.batch.log_in_deadline(deadline);
        self
    }

    /// Answers repeated loads from memory for a short time: see [`Cached`](crate::store::Cached) for the
    /// consequences. Default: no.
    #[cfg(feature = "cache")]
    pub fn cache(mut self, options: crate::store::CacheOptions) -> Self {
        self.cache = Some(options);
        self
    }

    /// Seals the data of the sessions in the database: see the module [`encryption`](crate::encryption). Default: no.
    #[cfg(feature = "encryption")]
    pub fn encryption(mut self, encryption: crate::encryption::Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Hashes the secrets of sessions with a key that is not in the database: see [`Pepper`](crate::encryption::Pepper).
    /// Default: no.
    #[cfg(feature = "encryption")]
    pub fn pepper(mut self, pepper: crate::encryption::Pepper) -> Self {
        self.pepper = Some(pepper);
        self
    }

    /// Checks the settings. The call does not query the database.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration). The text names the wrong setting.
    pub fn build(self) -> Result<Sessions> {
        let rules = self.policy.rules()?;
        let realm: Realm = self.realm.parse()?;
        let BatchOptions { deadline, log_in_deadline, .. } = self.batch;
        for (name, deadline) in [("deadline", deadline), ("log_in_deadline", log_in_deadline)] {
            if !(SHORTEST_DEADLINE..=LONGEST_DEADLINE).contains(&deadline) {
                let message = format!(
                    "the {name} has to be from {SHORTEST_DEADLINE:?} to {LONGEST_DEADLINE:?}, and is {deadline:?}"
                );
                return Err(Error::new(ErrorKind::Configuration, message));
            }
        }
        metrics::describe();
        let endings = Arc::<Endings>::default();
        #[cfg_attr(not(feature = "cache"), expect(unused_mut))]
        let mut store: Arc<dyn Store> = Arc::new(Batched::new(self.backend.into(), self.batch));
        #[cfg(feature = "cache")]
        if let Some(options) = self.cache {
            let endings = endings.clone();
            let tell = move |change: &_| endings.hear(change);
            store = Arc::new(crate::store::Cached::telling(store, options, tell));
        }
        #[cfg(feature = "encryption")]
        if let Some(encryption) = &self.encryption {
            encryption.check()?;
        }
        #[cfg(feature = "encryption")]
        if let Some(pepper) = &self.pepper {
            pepper.check()?;
        }
        let sealer = Sealer {
            #[cfg(feature = "encryption")]
            encryption: self.encryption.map(Arc::new),
        };
        let hasher = Hasher {
            #[cfg(feature = "encryption")]
            pepper: self.pepper.map(Arc::new),
        };
        Ok(Sessions(Context::new(store, realm, rules, sealer, hasher, endings)))
    }
}
