//! A node of an application: its sessions, and the requests that it is answering.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sessile::{
    Client, CookieChange, ErrorKind, OnLimit, Session, SessionId, Sessions,
    encryption::{Encryption, Key, Pepper},
    store::{Backend, CacheOptions},
    testing,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::{
    plant::{self, Bug},
    protocol::{Act, Answer, Call, Cookie, Job, Pending, View},
};

/// How a node is set up.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The database's URL.
    #[arg(long)]
    pub url: String,
    /// Keeps copies of sessions, so old at most.
    #[arg(long)]
    pub cache_ms: Option<u64>,
    /// Puts no batches around the store.
    #[arg(long)]
    pub unbatched: bool,
    /// Seals the data, and hashes the secrets with a key.
    #[arg(long)]
    pub sealed: bool,
    /// A pooler without prepared statements is between.
    #[arg(long)]
    pub pooled: bool,
    /// The most sessions of a user. More end the oldest ones.
    #[arg(long)]
    pub limit: Option<u32>,
    /// A bug to plant, so that the checker can find it.
    #[arg(long)]
    pub bug: Option<Bug>,
}

impl Settings {
    pub fn new(url: &str) -> Self {
        let url = url.to_owned();
        Self {
            url,
            cache_ms: None,
            unbatched: false,
            sealed: false,
            pooled: false,
            limit: None,
            bug: None,
        }
    }
}

/// A node in this process.
#[derive(Debug)]
pub struct Node {
    backend: Backend,
    settings: Settings,
    realms: Mutex<HashMap<String, Sessions>>,
    handles: Mutex<HashMap<u64, Open>>,
}

type Data = BTreeMap<String, u64>;

/// A request that the node is answering.
#[derive(Debug)]
struct Open {
    realm: String,
    session: Session,
}

impl Node {
    pub async fn start(settings: Settings) -> Result<Arc<Self>> {
        let mut options = sessile::ConnectOptions::default();
        if settings.pooled {
            options = options.behind_pooler(true);
        }
        let mut backend = sessile::connect_with(&settings.url, options).await?;
        if let Some(bug) = settings.bug {
            backend = plant::plant(bug, backend);
        }
        Ok(Arc::new(Self {
            backend,
            settings,
            realms: Mutex::default(),
            handles: Mutex::default(),
        }))
    }

    /// The sessions of a realm.
    pub fn sessions(&self, realm: &str) -> Sessions {
        let mut realms = self.realms.lock().expect("no panic");
        let make = || self.build(realm).expect("the settings are valid");
        realms.entry(realm.to_owned()).or_insert_with(make).clone()
    }

    fn build(&self, realm: &str) -> sessile::Result<Sessions> {
        let day = sessile::days(1);
        let mut builder = Sessions::builder(self.backend.clone())
            .idle_timeout(day)
            .anonymous_idle_timeout(day)
            .absolute_timeout(sessile::days(7))
            .touch_interval(sessile::seconds(1))
            .batching(!self.settings.unbatched);
        if !realm.is_empty() {
            builder = builder.realm(realm);
        }
        if self.settings.sealed {
            builder = builder
                .encryption(Encryption::new(Key::new("soak", [7; 32])?))
                .pepper(Pepper::new(Key::new("soak", [8; 32])?));
        }
        if let Some(limit) = self.settings.limit {
            builder = builder.sessions_per_user(limit, OnLimit::EndOldest);
        }
        if let Some(ms) = self.settings.cache_ms {
            builder = builder.cache(CacheOptions::default().bound(Duration::from_millis(ms)));
        }
        builder.build()
    }

    pub async fn call(&self, call: Call) -> Answer {
        match call {
            Call::Open { realm, handle, token } => {
                let opened = self.open(&realm, handle, token).await;
                self.answer(opened.map(|()| Value::Null), Some(handle))
            }
            Call::Act { handle, act } => {
                let Some(session) = self.handle(handle) else {
                    return Answer::no_handle();
                };
                let result = run(&session, act).await;
                self.answer(result, Some(handle))
            }
            Call::Close { handle } => {
                self.handles.lock().expect("no panic").remove(&handle);
                self.answer(Ok(Value::Null), None)
            }
            Call::Leave { realm } => {
                self.realms.lock().expect("no panic").remove(&realm);
                self.handles.lock().expect("no panic").retain(|_, open| open.realm != realm);
                self.answer(Ok(Value::Null), None)
            }
            Call::Job { realm, job } => {
                let result = self.job(&self.sessions(&realm), job).await;
                self.answer(result, None)
            }
        }
    }

    async fn open(&self, realm: &str, handle: u64, token: Option<String>) -> sessile::Result<()> {
        let client = Client::new().ip(Some([192, 0, 2, 7].into())).user_agent("soak");
        let cookies = token.iter().map(String::as_bytes);
        plant::present(token.as_deref());
        let session = self.sessions(realm).open(cookies, client).await?;
        // The row of a request that cannot be read fails the request here.
        session.data::<Data>()?;
        let open = Open { realm: realm.to_owned(), session };
        self.handles.lock().expect("no panic").insert(handle, open);
        Ok(())
    }

    fn handle(&self, handle: u64) -> Option<Session> {
        self.handles.lock().expect("no panic").get(&handle).map(|open| open.session.clone())
    }

    fn answer(&self, result: sessile::Result<Value>, handle: Option<u64>) -> Answer {
        let view = handle.and_then(|handle| self.handle(handle)).map(|session| view(&session));
        let message = result.as_ref().err().map(chain);
        let result = result.map_err(|error| error.kind().as_str().to_owned());
        Answer { result, view, message }
    }

    async fn job(&self, sessions: &Sessions, job: Job) -> sessile::Result<Value> {
        Ok(match job {
            Job::Revoke(id) => json!(sessions.revoke(id).await?),
            Job::RevokeUser(user) => json!(sessions.revoke_user(user).await?.ended),
            Job::RevokeOthers(user, keep) => {
                json!(sessions.revoke_others(user, keep).await?.ended)
            }
            Job::RevokeAll => json!(sessions.revoke_all().await?.ended),
            Job::Forget(user) => json!(sessions.forget_user(user).await?.ended),
            Job::SetData(id, key, value) => match sessions.data(id).await? {
                Some(mut data) => {
                    data.set(&key, value).await?;
                    json!(true)
                }
                None => json!(false),
            },
            Job::Find(id) => {
                json!(sessions.find(id).await?.map(|info| json!({ "user": info.user_id })))
            }
            Job::Count => json!(sessions.count().await?),
            Job::List(user) => {
                let infos = sessions.of_user(user).all().await?;
                json!(infos.iter().map(|info| info.id).collect::<Vec<_>>())
            }
            Job::Sweep => json!(sessions.sweep().await?.rows),
            Job::Age(id, seconds) => {
                json!(is_done(testing::age(sessions, id, Duration::from_secs(seconds)).await)?)
            }
            Job::Expire(id) => json!(expire(sessions, id).await?),
        })
    }
}

/// The sweep deletes a row after the session's end: by half of the idle timeout at most, which a remembered session has
/// of 30 days.
async fn expire(sessions: &Sessions, id: SessionId) -> sessile::Result<bool> {
    let is_live = is_done(testing::expire(sessions, id).await)?;
    if is_live {
        testing::age(sessions, id, sessile::days(60)).await?;
    }
    Ok(is_live)
}

fn is_done(result: sessile::Result<()>) -> sessile::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::SessionEnded => Ok(false),
        Err(error) => Err(error),
    }
}

async fn run(session: &Session, act: Act) -> sessile::Result<Value> {
    Ok(match act {
        Act::Set(key, value) => {
            session.insert(&key, value)?;
            session.save().await?;
            Value::Null
        }
        Act::Remove(key) => {
            session.remove(&key);
            session.save().await?;
            Value::Null
        }
        Act::Update(key) => {
            let more = |n: &mut u64| {
                *n += 1;
                *n
            };
            json!(session.update(&key, more).await?)
        }
        Act::Take(key) => json!(session.take::<u64>(&key).await?),
        Act::Renew => json!(session.renew().await?),
        Act::Reauthenticate => json!(session.reauthenticate().await?),
        Act::BeginLogIn(None) => json!(session.begin_log_in().await?),
        Act::BeginLogIn(Some(user)) => json!(session.begin_log_in().user(user).await?),
        Act::CompleteLogIn(None) => json!(session.complete_log_in().await?),
        Act::CompleteLogIn(Some(user)) => json!(session.complete_log_in_as(user).await?),
        Act::LogIn { user, remember, discard } => {
            let log_in = session.log_in(user).remember_me(remember);
            json!(if discard { log_in.discard_data() } else { log_in }.await?)
        }
        Act::LogOut => json!(session.log_out().await?.ended),
        Act::LogOutOthers => json!(session.log_out_others().await?.ended),
        Act::LogOutEverywhere => json!(session.log_out_everywhere().await?.ended),
        Act::LogOutDevice(id) => json!(session.log_out_device(id).await?),
        Act::Devices => {
            let devices = session.devices().await?;
            json!(devices.iter().map(|device| device.id).collect::<Vec<_>>())
        }
        Act::Refresh => json!(session.refresh().await?),
        Act::Finish => {
            session.finish().await?;
            Value::Null
        }
    })
}

/// The handle as it is after a call. Takes its change of the cookie, and drops changes that could not be written.
fn view(session: &Session) -> View {
    let cookie = match session.abandon() {
        CookieChange::Set { value, .. } => Cookie::Set(value),
        CookieChange::Remove => Cookie::Remove,
        _ => Cookie::Keep,
    };
    View {
        id: session.id(),
        user: session.user_id(),
        // A call that finds the row unreadable has failed already.
        data: session.data::<Data>().unwrap_or_default(),
        is_superseded: session.is_superseded(),
        pending: session.pending_log_in().map(|pending| Pending { user: pending.user_id }),
        cookie,
    }
}

fn chain(error: &sessile::Error) -> String {
    let error: &dyn std::error::Error = error;
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Answers the lines of JSON on standard input until it is closed: a number, and a call.
pub async fn serve(settings: Settings) -> Result<()> {
    let node = Node::start(settings).await?;
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel::<String>();
    let writing = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(line) = answered.recv().await {
            out.write_all(line.as_bytes()).await?;
            out.flush().await?;
        }
        io::Result::Ok(())
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    answers.send("ready\n".to_owned()).ok();
    while let Some(line) = lines.next_line().await? {
        let (number, call): (u64, Call) = serde_json::from_str(&line).context("a call")?;
        let (node, answers) = (node.clone(), answers.clone());
        tokio::spawn(async move {
            let answer = node.call(call).await;
            let line = serde_json::to_string(&(number, answer)).expect("an answer is JSON");
            answers.send(line + "\n").ok();
        });
    }
    drop(answers);
    writing.await??;
    Ok(())
}
