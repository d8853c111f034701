use std::io::{self, Write};

use sessile_admin::{EventFilter, Session};

use super::events;
use crate::{
    args::{DatabaseArgs, Show},
    failure::{Code, Failure, Result},
    output::{new_table, note},
    text::{agent, moment, relative, shown},
};

/// As many events as fit on a screen.
const EVENTS: u32 = 20;

pub(crate) async fn run(database: &DatabaseArgs, args: Show) -> Result {
    let database = database.open().await?;
    let now = database.now().await?;
    let session = database.session(args.session).await?;
    if !args.output.is_table() {
        let rows: Vec<Session> = session.into_iter().collect();
        args.output.print(super::list::columns(now), &rows)?;
        return if rows.is_empty() { Err(absent(args.session)) } else { Ok(()) };
    }
    if let Some(session) = &session {
        let mut table = new_table();
        let at = |at| format!("{} UTC, {}", moment(at), relative(at, now));
        let mut line = |name: &str, value: &str| {
            table.add_row([name.to_owned(), shown(value)]);
        };
        line("id", &session.id.to_string());
        line("user", session.user_id.as_deref().unwrap_or("(anonymous)"));
        line("realm", if session.realm.is_empty() { "(the default one)" } else { &session.realm });
        line("created", &at(session.created_at));
        line("authenticated", &session.authenticated_at.map(at).unwrap_or_default());
        line("last seen", &at(session.last_seen_at));
        line("ends if not seen", &at(session.valid_until));
        line("ends in any case", &at(session.absolute_expires_at));
        line(
            "remembered",
            match session.remembered {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not known",
            },
        );
        line("address", session.ip.as_deref().unwrap_or_default());
        line("browser", agent(session.user_agent.as_deref()));
        writeln!(io::stdout(), "{table}")?;
    } else {
        note("The session is not live. Reading the log of events, which has no index of sessions.");
    }
    let filter = EventFilter {
        // The index of users leads to them.
        user_id: session.as_ref().and_then(|session| session.user_id.clone()),
        session_id: Some(args.session),
        limit: EVENTS,
        ..EventFilter::default()
    };
    let is_anonymous = session.as_ref().is_some_and(|session| session.user_id.is_none());
    // An anonymous session leaves no event while it is live.
    let page = if is_anonymous { Vec::new() } else { database.events(&filter).await?.events };
    args.output.print(events::columns(now), &page)?;
    if session.is_none() && page.is_empty() { Err(absent(args.session)) } else { Ok(()) }
}

fn absent(id: uuid::Uuid) -> Failure {
    Failure::new(Code::NotFound, format!("there is no live session {id}"))
        .remedy(format!("`sessile events --session {id} --all` looks for its history"))
}
