//! Finds a request's session by the request's cookies.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Instant,
};

use super::{CookieChange, Session, SessionInner, Standing, State, Stored, state::check_readable};
use crate::{
    client::Client,
    context::{
        Context, Turn,
        observed::{refused_cookie, unreadable_row},
    },
    error::{ErrorKind, Result},
    store::{Holder, Record, SecretCheck, SupersededUse},
    token::{SecretHash, SessionId, Token},
};

/// The tokens in a request's cookies of the session's name, before any query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presented {
    tokens: Vec<Token>,
    /// The number of cookies of that name, valid or not.
    pub(crate) cookies: usize,
}

impl Presented {
    /// The most tokens that are looked up. No browser that only visits this application has more.
    const MOST: usize = 4;

    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut presented, mut seen) = (Self::default(), Vec::new());
        for value in values {
            presented.cookies += 1;
            if seen.len() > Self::MOST || seen.contains(&value) {
                continue;
            }
            match Token::parse(value) {
                Some(token) => {
                    seen.push(value);
                    presented.tokens.push(token);
                }
                None => refused_cookie(None, "malformed"),
            }
        }
        if seen.len() > Self::MOST {
            refused_cookie(None, "more than four of that name");
            presented.tokens.clear();
        }
        presented
    }

    /// Looks the tokens up: one statement, none without a token.
    async fn look_up(&self, context: &Context, client: &Client) -> Result<Found> {
        let mut found = Found::default();
        let mut ids: Vec<_> = self.tokens.iter().map(|token| token.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(found);
        }
        let mut records = context.store.load_all(&ids).await?;
        for id in ids {
            let hashes: Vec<_> = self.hashes(id).collect();
            let at = records.iter().position(|record| record.id == id);
            let mut record = at.map(|at| records.swap_remove(at));
            let is_wrong = |record: &Record| {
                let hashes = context.hasher.of_row(&hashes, record);
                hashes.iter().all(|hash| record.check(hash) == SecretCheck::Wrong)
            };
            if record.as_ref().is_some_and(|record| record.is_copy && is_wrong(record)) {
                // The copy may be old: another node may have given the session a new secret since.
                record = context.store.load_now(id).await?;
            }
            match record {
                Some(record) => found.add(context, record, &hashes, client)?,
                None => refused_cookie(Some(id), "ended"),
            }
        }
        Ok(found)
    }

    /// The plain hashes of the secrets that the request has for a session.
    fn hashes(&self, id: SessionId) -> impl Iterator<Item = SecretHash> {
        self.tokens.iter().filter(move |token| token.id == id).map(|token| token.secret.hash())
    }
}

#[derive(Default)]
struct Found {
    live: Vec<(Holder, Result<Arc<Stored>>)>,
    superseded: Option<Arc<Stored>>,
    /// The sessions of which the request has only a secret that was replaced, lately or long ago.
    replaced_uses: Vec<SupersededUse>,
}

impl Found {
    /// Adds a row once, also if the request has several secrets for it.
    ///
    /// An error if this node lacks the key of the data or of the secret: then it must not pretend that nobody is logged
    /// in.
    fn add(
        &mut self,
        context: &Context,
        record: Record,
        plain: &[SecretHash],
        client: &Client,
    ) -> Result<()> {
        let id = record.id;
        let hashes = context.hasher.of_row(plain, &record);
        let find = |check| hashes.iter().copied().find(|hash| record.check(hash) == check);
        if let Some(hash) = find(SecretCheck::Current) {
            let stored = Stored::read(&context.sealer, record, hash);
            if let Err(error) = &stored
                && error.kind() == ErrorKind::Encryption
            {
                return Err(error.clone());
            }
            stored.as_ref().err().inspect(|error| unreadable_row(id, error));
            self.live.push((Holder { id, secret_hash: hash }, stored));
            return Ok(());
        }
        context.hasher.knows(&record)?;
        if record
            .replaced
            .is_some_and(|replaced| hashes.iter().any(|hash| hash.was(&replaced.hash)))
        {
            self.replaced_uses.push(SupersededUse {
                id,
                realm: record.realm.clone(),
                user_id: record.user_id.clone(),
                client: context.client(client)?,
                reason: match record.is_settled() {
                    true => "replaced more than a minute ago",
                    false => "replaced within the last minute",
                },
            });
        }
        if let Some(hash) = find(SecretCheck::Superseded) {
            refused_cookie(Some(id), "superseded");
            self.superseded = Some(Stored::hidden(record, hash));
        } else {
            check_readable(&record).err().inspect(|error| unreadable_row(id, error));
            refused_cookie(Some(id), "wrong secret");
        }
        Ok(())
    }
}

impl Session {
    pub(crate) async fn open(
        context: Arc<Context>,
        presented: &Presented,
        client: Client,
        opened: Instant,
    ) -> Result<Self> {
        let Found { mut live, superseded, replaced_uses } =
            presented.look_up(&context, &client).await?;
        for used in replaced_uses {
            context.note_superseded(used);
        }
        let mut rivals = Vec::<Holder>::new();
        let standing = match (live.len(), superseded) {
            (0, Some(superseded)) => Standing::Superseded(superseded),
            (0, None) => Standing::Anonymous,
            (1, _) => match live.pop() {
                None => Standing::Anonymous,
                Some((_, Ok(stored))) => Standing::Live(stored),
                Some((holder, Err(error))) => {
                    rivals.push(holder);
                    Standing::Unreadable(error)
                }
            },
            // An attacker may have planted one of the cookies, and the library cannot tell which.
            (_, _) => {
                rivals.extend(live.iter().map(|(holder, _)| *holder));
                for rival in &rivals {
                    refused_cookie(Some(rival.id), "the request brought another live one");
                }
                Standing::Anonymous
            }
        };
        let state = State { standing, ..State::new(CookieChange::Keep) };
        Ok(Self(Arc::new(SessionInner {
            context,
            client,
            opened,
            brought_cookie: presented.cookies > 0,
            rivals,
            is_cookie_withheld: AtomicBool::new(false),
            is_activity: AtomicBool::new(true),
            state: Mutex::new(state),
            turn: Turn::default(),
        })))
    }
}
