use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    time::Duration,
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout},
    style::Stylize,
    text::Line,
    widgets::{Block, Paragraph, Sparkline},
};
use sessile_admin::{Backlog, CleanupRun, Database, Live, Period};

use crate::{
    args::{DatabaseArgs, Watch},
    failure::{Code, Failure, Result},
    text::{grouped, relative},
};

/// Rates are those of the last minute.
const WINDOW: u32 = 60;
/// A wide terminal has fewer columns.
const KEPT: usize = 500;

/// The last answers of the database, and the rates before.
#[derive(Debug, Default)]
struct View {
    live: Option<Live>,
    last: Option<Period>,
    backlog: Option<Backlog>,
    run: Option<CleanupRun>,
    now: chrono::DateTime<chrono::Utc>,
    log_ins: VecDeque<u64>,
    ends: VecDeque<u64>,
    failure: Option<String>,
}

pub(crate) async fn run(database: &DatabaseArgs, args: Watch) -> Result {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::new(Code::Usage, "`watch` draws on a terminal, and this is none")
            .remedy("use `sessile stats`, or `sessile events --follow`"));
    }
    let database = database.open().await?;
    let every = args.every.0.max(Duration::from_millis(200));
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &database, every).await;
    ratatui::restore();
    shown
}

async fn show(terminal: &mut DefaultTerminal, database: &Database, every: Duration) -> Result {
    let mut view = View::default();
    let mut next = tokio::time::interval(every);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            _ = next.tick() => {
                // An outage is shown, and the next look may find the database again.
                view.failure = view.ask(database).await.err().map(|failure| failure.to_string());
                terminal.draw(|frame| view.draw(frame))?;
            }
            _ = look.tick() => {
                while event::poll(Duration::ZERO)? {
                    match event::read()? {
                        Event::Key(key) if is_end(key) => return Ok(()),
                        Event::Resize(..) => { terminal.draw(|frame| view.draw(frame))?; }
                        _ => {}
                    }
                }
            }
        }
    }
}

fn is_end(key: event::KeyEvent) -> bool {
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        || (key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL))
}

impl View {
    async fn ask(&mut self, database: &Database) -> Result {
        self.now = database.now().await?;
        self.live = Some(database.live().await?);
        self.backlog = database.backlog().await?;
        self.run = database.cleanup_runs(1).await?.pop();
        let last = database.recent(WINDOW).await?;
        let ends = last.logged_out + last.revoked + last.expired;
        for (kept, number) in [(&mut self.log_ins, last.logged_in), (&mut self.ends, ends)] {
            kept.push_front(number);
            kept.truncate(KEPT);
        }
        self.last = Some(last);
        Ok(())
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, log_ins, ends, foot] = Layout::vertical([
            Constraint::Length(6),
            Constraint::Fill(1),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(
            Paragraph::new(self.figures()).block(Block::bordered().title(" sessions ")),
            head,
        );
        let rate = |number: u64| format!("{:.2}/s", number as f64 / f64::from(WINDOW));
        for (area, title, kept) in [(log_ins, "log-ins", &self.log_ins), (ends, "ends", &self.ends)]
        {
            let title = format!(
                " {title} in the last minute: {} ",
                kept.front().map_or_else(String::new, |last| format!("{last}, {}", rate(*last)))
            );
            // The newest on the right.
            let width = usize::from(area.width.saturating_sub(2));
            let data: Vec<u64> = kept.iter().take(width).rev().copied().collect();
            frame.render_widget(
                Sparkline::default().data(&data).block(Block::bordered().title(title)),
                area,
            );
        }
        let foot_line = match &self.failure {
            Some(failure) => Line::from(failure.as_str()).red(),
            None => Line::from("q or Ctrl-C: leave").dim(),
        };
        frame.render_widget(foot_line, foot);
    }

    fn figures(&self) -> Vec<Line<'static>> {
        let Some(live) = &self.live else { return Vec::new() };
        let backlog = match &self.backlog {
            Some(Backlog { rows, oldest: Some(oldest) }) => {
                format!("{rows} expired rows, the oldest since {}", relative(*oldest, self.now))
            }
            Some(_) => "no expired row waits".to_owned(),
            None => "not known: this user may not read the table sessions".to_owned(),
        };
        let run = self.run.as_ref().map_or_else(
            || "none is recorded".to_owned(),
            |run| {
                let failed = run.error.as_deref().map_or_else(String::new, |error| {
                    format!(", failed: {}", crate::text::shown(error))
                });
                format!(
                    "{}, {} rows{failed}",
                    relative(run.ended_at, self.now),
                    grouped(run.sessions)
                )
            },
        );
        let refused = self.last.as_ref().map_or(0, |last| last.refused);
        vec![
            Line::from(format!("active   {}, of them {} anonymous", live.all, live.anonymous)),
            Line::from(format!("refused  {refused} log-ins in the last minute")),
            Line::from(format!("backlog  {backlog}")),
            Line::from(format!("cleanup  {run}")),
        ]
    }
}
