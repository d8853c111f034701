use std::io::{self, Write};

use sessile_admin::{Database, Ends, Session, SessionFilter};
use uuid::Uuid;

use super::{confirm, list};
use crate::{
    args::{DatabaseArgs, Revoke},
    database::actor,
    failure::{Code, Failure, Result},
    interrupt::Interrupt,
    output::{note, table},
};

/// Sessions that are shown before the question.
const SHOWN: u32 = 10;

pub(crate) async fn run(from: &DatabaseArgs, args: Revoke) -> Result {
    let database = from.open().await?;
    let place = from.place()?;
    if args.all {
        return all(&database, &place, &args).await;
    }
    match &args.user {
        Some(user) => of_user(&database, &place, user, &args).await,
        None => by_id(&database, &place, &args).await,
    }
}

async fn all(database: &Database, place: &str, args: &Revoke) -> Result {
    let live = database.live().await?.all;
    let realm =
        if args.realm.is_empty() { String::new() } else { format!(" of the realm {}", args.realm) };
    let question = format!(
        "This ends every session{realm} in {place}, which has {live} in all realms: everybody is logged out."
    );
    confirm(&question, "everybody", args.yes)?;
    let _finish = Interrupt::watch();
    ended(end(database, &args.realm, Ends::All, args).await?)
}

async fn of_user(database: &Database, place: &str, user: &str, args: &Revoke) -> Result {
    let filter = SessionFilter {
        realm: Some(args.realm.clone()),
        limit: SHOWN,
        ..SessionFilter::of_user(user)
    };
    let mut found = database.sessions(&filter).await?;
    found.sessions.retain(|session| Some(session.id) != args.all_but);
    show(database, &found.sessions, args.yes).await?;
    let number = match found.next {
        Some(_) => format!("more than {SHOWN}"),
        None => found.sessions.len().to_string(),
    };
    let but = args.all_but.map(|id| format!(" except {id}")).unwrap_or_default();
    let question = format!(
        "This ends all sessions of {user}{but} in {place}: {number}. Log-ins in flight are refused."
    );
    confirm(&question, "yes", args.yes)?;
    let _finish = Interrupt::watch();
    let which = match args.all_but {
        Some(keep) => Ends::Others(user, keep),
        None => Ends::User(user),
    };
    ended(end(database, &args.realm, which, args).await?)
}

/// Each session ends in a transaction of its own. Ctrl-C ends the command between two of them.
async fn by_id(database: &Database, place: &str, args: &Revoke) -> Result {
    let mut live = Vec::new();
    let mut absent: Vec<Uuid> = Vec::new();
    for &id in &args.sessions {
        match database.session(id).await? {
            Some(session) => live.push(session),
            None => absent.push(id),
        }
    }
    show(database, &live, args.yes).await?;
    for id in &absent {
        note(format!("{id} is not live."));
    }
    if live.is_empty() {
        return Err(Failure::new(
            Code::NotFound,
            "none of these sessions is live; nothing was changed",
        )
        .remedy("find a user's sessions with `sessile list --user ID`"));
    }
    let question = format!("This ends {} in {place}.", sessions(live.len() as u64));
    confirm(&question, "yes", args.yes)?;
    let interrupt = Interrupt::watch();
    let mut done = 0;
    for session in &live {
        if interrupt.came() {
            let message = format!("interrupted: ended {done} of {}", live.len());
            return Err(Failure::new(Code::Interrupted, message)
                .remedy("run the same command again for the others"));
        }
        done += end(database, &session.realm, Ends::Session(session.id), args).await?;
    }
    ended(done)
}

async fn end(database: &Database, realm: &str, which: Ends<'_>, args: &Revoke) -> Result<u64> {
    let actor = actor(args.operator.as_deref());
    Ok(database.end(realm, which, args.reason.as_deref(), &actor).await?)
}

/// Before the question, so that a person sees whether these are the right ones.
async fn show(database: &Database, sessions: &[Session], is_sure: bool) -> Result {
    if sessions.is_empty() || is_sure {
        return Ok(());
    }
    let now = database.now().await?;
    note(table(&list::columns(now), sessions).to_string());
    Ok(())
}

fn ended(number: u64) -> Result {
    Ok(writeln!(io::stdout(), "Ended {}.", sessions(number))?)
}

fn sessions(number: u64) -> String {
    format!("{number} session{}", if number == 1 { "" } else { "s" })
}
