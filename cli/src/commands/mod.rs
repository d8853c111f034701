mod cleanup;
mod console;
mod doctor;
mod events;
pub(crate) mod keys;
mod list;
mod migrate;
mod pages;
mod revoke;
mod show;
mod stats;
mod watch;

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{
    args::{Cli, Command},
    failure::{Code, Failure, Result},
    text,
};

pub(crate) async fn run(Cli { database, command }: Cli) -> Result {
    match command {
        Command::List(args) => list::run(&database, args).await,
        Command::Show(args) => show::run(&database, args).await,
        Command::Revoke(args) => revoke::run(&database, args).await,
        Command::Events(args) => events::run(&database, args).await,
        Command::Stats { output } => stats::run(&database, output).await,
        Command::Watch(args) => watch::run(&database, args).await,
        Command::Cleanup(args) => cleanup::run(&database, args).await,
        Command::Doctor { output } => doctor::run(&database, output).await,
        Command::Migrate(args) => migrate::run(&database, args).await,
        Command::Roles => pages::roles(),
        Command::Keys(args) => keys::run(&database, args).await,
        Command::Console(args) => console::run(&database, args).await,
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { out } => pages::manual(out.as_deref()),
    }
}

/// Asks a person. Only the whole expected answer counts.
fn confirm(question: &str, expected: &str, is_sure: bool) -> Result {
    if is_sure {
        return Ok(());
    }
    let no = |why| Failure::new(Code::NotConfirmed, format!("{why}; nothing was changed"));
    if !io::stdin().is_terminal() {
        return Err(
            no("nobody can answer here").remedy("look at what it would do, and then add --yes")
        );
    }
    let mut stderr = io::stderr();
    write!(stderr, "{} Type {expected} to go on: ", text::shown(question))
        .and_then(|()| stderr.flush())
        .ok();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).ok();
    if answer.trim() == expected { Ok(()) } else { Err(no("not confirmed")) }
}
