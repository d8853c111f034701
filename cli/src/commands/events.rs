use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sessile_admin::{Database, Event, EventFilter};

use crate::{
    args::{DatabaseArgs, Events},
    failure::Result,
    output::{Column, OutputArgs, note},
    text::{moment, relative},
};

/// A transaction writes its event with the moment at which it began to end the session, and commits later. So each look
/// goes back this far.
const COMMITS_WITHIN: TimeDelta = TimeDelta::seconds(10);

pub(crate) async fn run(database: &DatabaseArgs, args: Events) -> Result {
    let database = database.open().await?;
    let now = database.now().await?;
    let mut filter = EventFilter {
        user_id: args.user,
        session_id: args.session,
        events: args.kinds,
        realm: args.realm,
        actor: args.actor,
        since: args.since.map(|span| now - TimeDelta::seconds(span.seconds().into())),
        scan: args.page.scan,
        after: args.after,
        limit: args.page.limit,
    };
    if args.follow {
        return follow(&database, filter, args.output).await;
    }
    if filter.scans() && args.output.is_table() {
        note("This condition has no index: reading the log, the newest events first.");
    }
    let mut printer = args.output.printer(columns(now));
    loop {
        let page = database.events(&filter).await?;
        printer.page(&page.events)?;
        filter.after = page.next;
        if !args.page.all || page.next.is_none() {
            break;
        }
    }
    printer.end()?;
    if printer.printed() == 0 && args.output.is_table() {
        note("No event fits.");
    }
    if let Some(after) = filter.after {
        note(format!("There may be more. Go on with: --after {after}"));
    }
    Ok(())
}

async fn follow(database: &Database, mut filter: EventFilter, output: OutputArgs) -> Result {
    let begun = database.now().await?;
    let mut since = filter.since.unwrap_or(begun);
    let mut seen: HashSet<Event> = HashSet::new();
    let mut printer = output.printer(columns(begun));
    filter.limit = 10_000;
    note("Waiting for events. Ctrl-C ends it.");
    loop {
        let now = database.now().await?;
        filter.since = Some(since);
        filter.after = None;
        let mut new = Vec::new();
        loop {
            let page = database.events(&filter).await?;
            new.extend(page.events.into_iter().filter(|event| !seen.contains(event)));
            filter.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        new.reverse();
        printer.page(&new)?;
        seen.extend(new);
        since = since.max(now - COMMITS_WITHIN);
        seen.retain(|event| event.at >= since);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

pub(crate) fn columns(now: DateTime<Utc>) -> Vec<Column<Event>> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        Column::<Event>::new("at (UTC)", |event| moment(event.at)),
        Column::<Event>::new("", move |event| relative(event.at, now)),
        Column::<Event>::new("event", |event| event.event.clone()),
        Column::<Event>::new("user", move |event| text(&event.user_id)),
        Column::<Event>::new("session", |event| {
            event.session_id.map(|id| id.to_string()).unwrap_or_default()
        }),
        Column::<Event>::new("realm", |event| event.realm.clone()),
        Column::<Event>::new("address", move |event| text(&event.ip)),
        Column::<Event>::new("reason", move |event| text(&event.reason)),
        Column::<Event>::new("actor", move |event| text(&event.actor)),
    ]
}
