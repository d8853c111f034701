use std::{
    io::{self, Write},
    ops::ControlFlow,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use sessile::{CleanupReport, Policy, Schedule, Sessions, days};
use sessile_admin::Database;

use crate::{
    args::{Cleanup, DatabaseArgs},
    failure::{Code, Failure, Result},
    interrupt::Interrupt,
    output::note,
    text::grouped,
};

pub(crate) async fn run(from: &DatabaseArgs, args: Cleanup) -> Result {
    let database = from.open().await?;
    if args.dry_run {
        return dry_run(&database).await;
    }
    let schedule = match (&args.every, &args.cron) {
        (Some(every), _) => Some(Schedule::every(every.0.max(Duration::from_secs(1)))),
        (None, Some(cron)) => Some(Schedule::cron(cron)?),
        (None, None) => None,
    };
    // Without an option, no event is too old: the longest time that a policy takes.
    let keep = args.keep_events.map_or(days(365 * 68), |span| span.0);
    let policy = Policy::default().record_events(!args.no_events).keep_events(keep);
    let sessions = database.sessions_with(policy).await?;
    match schedule {
        Some(schedule) => on_schedule(&sessions, schedule, args.batch).await,
        None => once(&database, &sessions, args.batch).await,
    }
}

async fn dry_run(database: &Database) -> Result {
    let counts = database.realm_counts().await?;
    let expired: u64 = counts.iter().map(|realm| realm.expired).sum();
    Ok(writeln!(io::stdout(), "Would delete about {} rows of expired sessions.", grouped(expired))?)
}

async fn once(database: &Database, sessions: &Sessions, batch: u32) -> Result {
    let backlog = database.backlog().await?.map_or(0, |backlog| backlog.rows.number());
    // On standard error, and only if that is a terminal.
    let bar = ProgressBar::new(backlog);
    let style = "{bar:40} {human_pos} of about {human_len} rows, {per_sec}, {eta} left";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (interrupt, progress) = (Interrupt::watch(), bar.clone());
    let seen = interrupt.clone();
    let cleanup = sessions.cleanup(Schedule::every(days(1))).batch(batch).on_batch(move |report| {
        progress.set_position(report.rows);
        if seen.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let report = cleanup.run_once().await;
    bar.finish_and_clear();
    let report = report?;
    tell(&report)?;
    if interrupt.came() {
        return Err(Failure::new(
            Code::Interrupted,
            "interrupted: the rows that were not deleted stay for a later run",
        ));
    }
    Ok(())
}

async fn on_schedule(sessions: &Sessions, schedule: Schedule, batch: u32) -> Result {
    let interrupt = Interrupt::watch();
    let cleanup = sessions
        .cleanup(schedule)
        .batch(batch)
        .on_run(|report| match report {
            Ok(report) => drop(tell(report)),
            Err(error) => note(format!("sessile: a run failed: {}", Failure::from(error.clone()))),
        })
        .spawn();
    note("Waiting for the first run. Ctrl-C ends it.");
    interrupt.wait().await;
    cleanup.stop().await;
    Ok(())
}

fn tell(report: &CleanupReport) -> Result {
    if report.busy {
        note("Another process is cleaning up, so this run ended early.");
    }
    let seconds = report.elapsed.as_secs_f64();
    let rate = report.rows as f64 / seconds.max(0.001);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Deleted {} rows of expired sessions in {seconds:.1} s ({} a second).",
        grouped(report.rows),
        grouped(rate as u64)
    )?;
    if report.filed > 0 {
        writeln!(out, "Filed {} events.", grouped(report.filed))?;
    }
    Ok(out.flush()?)
}
