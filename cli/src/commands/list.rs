use chrono::{DateTime, Utc};
use sessile_admin::{Session, SessionFilter};

use crate::{
    args::{DatabaseArgs, List},
    database::Span,
    failure::Result,
    output::{Column, note},
    text::{agent, relative, short},
};

pub(crate) async fn run(database: &DatabaseArgs, args: List) -> Result {
    let database = database.open().await?;
    let now = database.now().await?;
    let has_user = (args.anonymous || args.logged_in).then_some(args.logged_in);
    let mut filter = SessionFilter {
        user_id: args.user,
        realm: args.realm,
        has_user,
        ip: args.ip,
        older_than: args.older_than.map(Span::seconds),
        younger_than: args.younger_than.map(Span::seconds),
        idle_for: args.idle.map(Span::seconds),
        scan: args.page.scan,
        after: args.after,
        limit: args.page.limit,
    };
    if filter.scans() && args.output.is_table() {
        note("This condition has no index: reading the table, the newest sessions first.");
    }
    let mut printer = args.output.printer(columns(now));
    loop {
        let page = database.sessions(&filter).await?;
        printer.page(&page.sessions)?;
        filter.after = page.next;
        if !args.page.all || page.next.is_none() {
            break;
        }
    }
    printer.end()?;
    if printer.printed() == 0 && args.output.is_table() {
        note("No live session fits.");
    }
    if let Some(after) = filter.after {
        note(format!("There may be more. Go on with: --after {after}"));
    }
    Ok(())
}

pub(crate) fn columns(now: DateTime<Utc>) -> Vec<Column<Session>> {
    vec![
        Column::<Session>::new("id", |session| session.id.to_string()),
        Column::<Session>::new("user", |session| {
            session.user_id.clone().unwrap_or_else(|| "(anonymous)".to_owned())
        }),
        Column::<Session>::new("realm", |session| session.realm.clone()),
        Column::<Session>::new("created", move |session| relative(session.created_at, now)),
        Column::<Session>::new("last seen", move |session| relative(session.last_seen_at, now)),
        Column::<Session>::new("ends", move |session| relative(session.valid_until, now)),
        Column::<Session>::new("address", |session| session.ip.clone().unwrap_or_default()),
        Column::<Session>::new("browser", |session| {
            // All browsers begin with the same word.
            let agent = agent(session.user_agent.as_deref());
            short(agent.strip_prefix("Mozilla/5.0 ").unwrap_or(agent), 40)
        }),
    ]
}
