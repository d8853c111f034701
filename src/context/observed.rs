//! The spans, the events and the metrics of every call to the store. Spans and events contain public ids only: no
//! token, no hash, no value. The crate's front page has the table of events.

use std::{any::Any, ops::Range, sync::Arc, time::Duration};

use tracing::{Instrument, Span, debug, debug_span, error, field::Empty, info, warn};

use super::Endings;
use crate::{
    error::{Error, ErrorKind, Result},
    metrics,
    realm::Realm,
    store::{
        CleanupRun, End, Filed, Holder, HolderState, Invalidation, LogIn, LogInOutcome, NewSession,
        Page, Reauthentication, Record, Renewal, Revocation, Revoke, Save, Scope, SessionInfo,
        Store, SupersededUse, Survey, Sweep, Swept, Touch,
    },
    token::SessionId,
};

/// A span with the fields that OpenTelemetry's conventions for databases name.
macro_rules! span {
    ($observed:ident, $verb:literal $(, $($fields:tt)+)?) => {
        debug_span!(
            target: "sessile",
            $verb,
            "otel.name" = concat!($verb, " sessions"),
            "otel.kind" = "client",
            "otel.status_code" = Empty,
            "error.type" = Empty,
            "db.system.name" = $observed.store.system_name(),
            "db.operation.name" = $verb,
            $($($fields)+)?
        )
    };
}

/// The store as one realm sees it. Every call is traced.
#[derive(Debug)]
pub(crate) struct Observed {
    store: Arc<dyn Store>,
    realm: Realm,
    /// Learns at once which sessions this node ends.
    endings: Arc<Endings>,
}

impl Observed {
    pub(crate) fn new(store: Arc<dyn Store>, realm: Realm, endings: Arc<Endings>) -> Self {
        Self { store, realm, endings }
    }

    async fn run<T>(
        &self,
        verb: &'static str,
        span: Span,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let timer = metrics::Timer::start();
        let result = call.instrument(span.clone()).await;
        let kind = result.as_ref().err().map(|error| error.kind().as_str());
        metrics::operation(verb, &timer, kind);
        if kind.is_some() {
            span.record("error.type", kind).record("otel.status_code", "ERROR");
        }
        if let Err(error) = &result
            && is_databases_own(error)
        {
            let source = std::error::Error::source(error).map(tracing::field::display);
            error!(target: "sessile", verb, error = %error, source, "session database failed");
        }
        result
    }

    /// The live sessions of this realm among these: one statement.
    pub(crate) async fn load_all(&self, ids: &[SessionId]) -> Result<Vec<Record>> {
        let id = ids.first().map(tracing::field::display);
        let span = span!(self, "load", session_id = id);
        let mut records = self.run("load", span, self.store.load(ids)).await?;
        records.retain(|record| record.realm == self.realm);
        Ok(records)
    }

    #[cfg(feature = "encryption")]
    pub(crate) async fn scan(
        &self,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>> {
        let span = span!(self, "scan");
        self.run("scan", span, self.store.scan(&self.realm, after, limit)).await
    }

    #[cfg(feature = "encryption")]
    pub(crate) async fn rehash(&self, rehash: &crate::store::Rehash) -> Result<bool> {
        let span = span!(self, "rehash", session_id = %rehash.id);
        self.run("rehash", span, self.store.rehash(rehash)).await
    }

    /// One session as the database has it now, if it belongs to this realm.
    pub(crate) async fn load_now(&self, id: SessionId) -> Result<Option<Record>> {
        let span = span!(self, "load", session_id = %id);
        let record = self.run("load", span, self.store.load_now(&[id])).await?.pop();
        Ok(record.filter(|record| record.realm == self.realm))
    }

    pub(crate) async fn create(&self, session: NewSession) -> Result<Option<Record>> {
        let id = session.id;
        let pending = session.pending.clone();
        let span = span!(self, "create", session_id = %id);
        let records = self.run("create", span, self.store.create(&[session])).await?;
        debug!(target: "sessile", session_id = %id, "session created");
        if let Some(pending) = pending {
            log_in_begun(id, pending.user_id.as_deref());
        }
        Ok(records.into_iter().next())
    }

    pub(crate) async fn save(&self, save: Save) -> Result<bool> {
        let span = span!(self, "save", session_id = %save.holder.id);
        let changed = self.run("save", span, self.store.save(&[save])).await?;
        Ok(!changed.done.is_empty())
    }

    pub(crate) async fn touch(&self, touch: Touch) -> Result<()> {
        let span = span!(self, "touch", session_id = %touch.holder.id);
        self.run("touch", span, self.store.touch(&[touch])).await
    }

    pub(crate) async fn renew(&self, renewal: &Renewal, user_id: Option<&str>) -> Result<bool> {
        let id = renewal.holder.id;
        let span = span!(self, "renew", session_id = %id);
        let renewed = self.run("renew", span, self.store.renew(renewal)).await?;
        if renewed {
            self.endings.hear(&Invalidation::Session(id));
        }
        match &renewal.pending {
            Some(pending) if renewed => log_in_begun(id, pending.user_id.as_deref()),
            None if renewed => {
                info!(target: "sessile", session_id = %id, user_id, "session renewed");
            }
            _ => {}
        }
        Ok(renewed)
    }

    pub(crate) async fn reauthenticate(&self, to: &Reauthentication) -> Result<Option<Record>> {
        let id = to.renewal.holder.id;
        let span = span!(self, "reauthenticate", session_id = %id);
        let record = self.run("reauthenticate", span, self.store.reauthenticate(to)).await?;
        if record.is_some() {
            self.endings.hear(&Invalidation::Session(id));
            info!(target: "sessile", session_id = %id, user_id = to.user_id, "reauthenticated");
        }
        Ok(record)
    }

    pub(crate) async fn log_in(&self, log_in: &LogIn) -> Result<LogInOutcome> {
        let span = span!(self, "log_in", session_id = %log_in.id);
        let outcome = self.run("log_in", span, self.store.log_in(log_in)).await?;
        let user_id = &log_in.user_id;
        match &outcome {
            LogInOutcome::LoggedIn(record, ended) => {
                for id in ended.iter().chain([&record.id]) {
                    self.endings.hear(&Invalidation::Session(*id));
                }
                metrics::log_in();
                metrics::ended("limit", ended.len() as u64);
                info!(target: "sessile", session_id = %record.id, user_id, ended = ended.len(), "logged in");
                for id in ended {
                    info!(target: "sessile", scope = "session", session_id = %id, user_id, reason = "limit", ended = 1, "sessions revoked");
                }
            }
            LogInOutcome::Refused | LogInOutcome::TooManySessions => {
                let is_of_limit = matches!(outcome, LogInOutcome::TooManySessions);
                metrics::refused_log_in(if is_of_limit { "limit" } else { "cutoff" });
                warn!(target: "sessile", user_id, reason = outcome.refusal(), "log-in refused");
            }
            LogInOutcome::Absent => {}
        }
        Ok(outcome)
    }

    /// Returns whether the session was live.
    pub(crate) async fn end(&self, end: End, reason: &str) -> Result<bool> {
        let (id, user_id) = (end.id, end.user_id.clone());
        let way = match &end.by {
            Some(by) if by.id == id => "log_out",
            Some(_) => "log_out_device",
            None => "revoked",
        };
        let span = span!(self, "end", session_id = %id, user_id);
        let was_live = !self.run("end", span, self.store.end(&[end])).await?.done.is_empty();
        if was_live {
            metrics::ended(way, 1);
            self.endings.hear(&Invalidation::Session(id));
            info!(target: "sessile", scope = "session", session_id = %id, user_id, reason, ended = 1, "sessions revoked");
        }
        Ok(was_live)
    }

    /// `None` if the holder has lost its session.
    pub(crate) async fn revoke(&self, revoke: &Revoke, reason: &str) -> Result<Option<Revocation>> {
        let name = match revoke.scope {
            Scope::User(_) => "user",
            Scope::OthersOf(..) => "others",
            Scope::All => "all",
        };
        let (id, user_id) = (revoke.scope.keeps(), revoke.scope.user_id());
        let id = id.map(tracing::field::display);
        let span = span!(self, "revoke", scope = name, session_id = id, user_id);
        let revocation = self.run("revoke", span, self.store.revoke(revoke)).await?;
        if let Some(Revocation { ended, .. }) = revocation {
            let way = match (&revoke.by, &revoke.scope) {
                (None, _) => "revoked",
                (Some(_), Scope::OthersOf(..)) => "log_out_others",
                (Some(_), Scope::User(_) | Scope::All) => "log_out_everywhere",
            };
            metrics::ended(way, ended);
            let all_of = |user_id: &str| Invalidation::User(user_id.to_owned());
            self.endings.hear(&user_id.map_or(Invalidation::All, all_of));
            info!(target: "sessile", scope = name, session_id = id, user_id, reason, ended, "sessions revoked");
        }
        Ok(revocation)
    }

    /// The state of each of these holders: one statement.
    pub(crate) async fn holding(&self, holders: &[Holder]) -> Result<Vec<HolderState>> {
        let span = span!(self, "holding", holders = holders.len());
        self.run("holding", span, self.store.holding(holders)).await
    }

    pub(crate) async fn list(&self, page: &Page) -> Result<Vec<SessionInfo>> {
        let span = span!(self, "list", user_id = page.user_id);
        self.run("list", span, self.store.list(page)).await
    }

    pub(crate) async fn find(&self, id: SessionId) -> Result<Option<SessionInfo>> {
        let span = span!(self, "find", session_id = %id);
        self.run("find", span, self.store.find(&self.realm, id)).await
    }

    pub(crate) async fn count(&self, user_id: Option<&str>) -> Result<u64> {
        let span = span!(self, "count", user_id);
        self.run("count", span, self.store.count(&self.realm, user_id)).await
    }

    #[cfg(feature = "testing")]
    pub(crate) async fn age(&self, id: SessionId, by: chrono::TimeDelta) -> Result<bool> {
        let span = span!(self, "age", session_id = %id);
        self.run("age", span, self.store.age(&self.realm, id, by)).await
    }

    /// Deletes everything that is known of the user. Returns the number of sessions that ended.
    pub(crate) async fn forget(&self, user_id: &str) -> Result<u64> {
        let span = span!(self, "forget", user_id);
        let ended = self.run("forget", span, self.store.forget(&self.realm, user_id)).await?;
        metrics::ended("revoked", ended);
        self.endings.hear(&Invalidation::User(user_id.to_owned()));
        info!(target: "sessile", user_id, ended, "user forgotten");
        Ok(ended)
    }

    pub(crate) async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        let span = span!(self, "sweep", limit = sweep.limit);
        self.run("sweep", span, self.store.sweep(sweep)).await
    }

    pub(crate) async fn file_events(&self, from: u64, limit: u32) -> Result<Filed> {
        let span = span!(self, "file_events", from, limit);
        self.run("file_events", span, self.store.file_events(from, limit)).await
    }

    pub(crate) async fn log_cleanup(&self, run: &CleanupRun) -> Result<()> {
        let span = span!(self, "log_cleanup");
        self.run("log_cleanup", span, self.store.log_cleanup(run)).await
    }

    pub(crate) async fn log_superseded(&self, used: &SupersededUse) -> Result<()> {
        let span = span!(self, "log_superseded", session_id = %used.id);
        self.run("log_superseded", span, self.store.log_superseded(used)).await
    }

    pub(crate) async fn survey(&self) -> Result<Option<Survey>> {
        let span = span!(self, "survey");
        self.run("survey", span, self.store.survey()).await
    }

    pub(crate) async fn sweep_pages(&self, pages: Range<u32>, is_recorded: bool) -> Result<Swept> {
        let span = span!(self, "sweep_pages", from = pages.start, to = pages.end);
        self.run("sweep_pages", span, self.store.sweep_pages(pages, is_recorded)).await
    }

    pub(crate) async fn flush(&self) -> Result<()> {
        let span = span!(self, "flush");
        self.run("flush", span, self.store.flush()).await
    }

    pub(crate) async fn migrate(&self) -> Result<()> {
        let span = span!(self, "migrate");
        self.run("migrate", span, self.store.migrate()).await
    }
}

/// Whether the database caused the error. `Observed::run` logs these errors.
fn is_databases_own(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Database | ErrorKind::Schema | ErrorKind::OutcomeUnknown)
}

fn log_in_begun(id: SessionId, user_id: Option<&str>) {
    debug!(target: "sessile", session_id = %id, user_id, "log-in begun");
}

/// The library does not accept a cookie.
pub(crate) fn refused_cookie(id: Option<SessionId>, reason: &'static str) {
    metrics::refused_cookie(reason);
    let session_id = id.map(tracing::field::display);
    debug!(target: "sessile", session_id, reason, "cookie refused");
}

/// The error names the column, and shows no value.
pub(crate) fn unreadable_row(id: SessionId, error: &Error) {
    warn!(target: "sessile", session_id = %id, error = %error, "a row cannot be read");
}

/// Another request wrote the session first. The write is tried again on the new data.
pub(crate) fn conflict() {
    metrics::conflict();
}

pub(crate) fn refused_write(id: SessionId, reason: &'static str) {
    debug!(target: "sessile", session_id = %id, reason, "write refused");
}

/// A handler lets shared caches keep a response that sets a cookie.
#[cfg(feature = "http")]
pub(crate) fn overruled_caching(is_first: bool, chosen: Option<&http::HeaderValue>) {
    let cache_control = chosen.and_then(|value| value.to_str().ok());
    if is_first {
        warn!(target: "sessile", cache_control, "cache headers overruled");
    } else {
        debug!(target: "sessile", cache_control, "cache headers overruled");
    }
}

/// The client does not learn the reason for an answer, or the layer answered in place of the handler. Errors of the
/// database are already logged.
#[cfg(feature = "http")]
pub(crate) fn failed_request(error: &Error) {
    if !is_databases_own(error) {
        let source = std::error::Error::source(error).map(tracing::field::display);
        error!(target: "sessile", error = %error, source, "request failed");
    }
}

/// A run of the cleanup, whatever its end.
pub(crate) fn cleaned(outcome: &'static str, rows: u64, elapsed: Duration) {
    metrics::cleanup(outcome, elapsed, rows);
}

pub(crate) fn swept(rows: u64, batches: u64, elapsed: Duration) {
    let elapsed_ms = elapsed.as_millis() as u64;
    if rows > 0 {
        info!(target: "sessile", rows, batches, elapsed_ms, "swept");
    } else {
        debug!(target: "sessile", rows, batches, elapsed_ms, "swept");
    }
}

pub(crate) fn cleanup_panicked(payload: &(dyn Any + Send)) {
    let panic = payload.downcast_ref::<String>().map(String::as_str);
    let panic = panic.or_else(|| payload.downcast_ref::<&str>().copied());
    error!(target: "sessile", panic, "cleanup panicked");
}

pub(crate) fn cleanup_abandoned(what: &'static str) {
    warn!(target: "sessile", what, "cleanup abandoned");
}
