use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::PathBuf,
    str::FromStr,
};

use indicatif::{ProgressBar, ProgressStyle};
use sessile::encryption::{Algorithm, Encryption, Key, Pepper, Rollout};
use sessile_admin::KeyUse;

use crate::{
    args::{Cipher, DatabaseArgs, Keys, Rewrap},
    failure::{Code, Failure, Result},
    interrupt::Interrupt,
    output::{Column, OutputArgs, note},
    text::grouped,
};

/// The name of a key, and the file that has it.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile {
    name: String,
    path: PathBuf,
}

impl FromStr for KeyFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("a key is NAME=FILE")?;
        Ok(Self { name: name.to_owned(), path: path.into() })
    }
}

impl KeyFile {
    fn load(&self) -> Result<Key> {
        Key::from_file(self.name.clone(), &self.path)
            .map_err(|error| Failure::new(Code::Usage, error.to_string()))
    }
}

pub(crate) async fn run(from: &DatabaseArgs, args: Keys) -> Result {
    match args {
        Keys::List { unused, output } => list(from, unused, output).await,
        Keys::Rewrap(args) => rewrap(from, &args).await,
    }
}

async fn list(from: &DatabaseArgs, unused: Option<String>, output: OutputArgs) -> Result {
    let uses = from.open().await?.key_uses().await?;
    output.print(
        vec![
            Column::new("realm", |used: &KeyUse| used.realm.clone()),
            Column::new("of", |used: &KeyUse| used.kind.clone()),
            Column::new("key", |used: &KeyUse| {
                used.key.clone().unwrap_or_else(|| "(none)".to_owned())
            }),
            Column::new("uses", |used: &KeyUse| grouped(used.uses)),
        ],
        &uses,
    )?;
    let Some(name) = unused else { return Ok(()) };
    let has_it = uses.iter().filter(|used| used.key.as_ref() == Some(&name));
    match has_it.map(|used| used.uses).sum() {
        0 => Ok(()),
        uses => {
            let message = format!("the key {name} is in use: {} times", grouped(uses));
            let remedy = "`sessile keys rewrap` seals data with another key; secrets and clients get another one at the next log-in, and events keep theirs";
            Err(Failure::new(Code::Findings, message).remedy(remedy))
        }
    }
}

async fn rewrap(from: &DatabaseArgs, args: &Rewrap) -> Result {
    let database = from.open().await?;
    let mut builder = database.builder_of(&args.realm).await?;
    if let Some(active) = &args.seal {
        let algorithm = match args.algorithm {
            Cipher::Xchacha20Poly1305 => Algorithm::XChaCha20Poly1305,
            Cipher::Aes256Gcm => Algorithm::Aes256Gcm,
        };
        let mut encryption = Encryption::new(active.load()?).algorithm(algorithm).migrating(true);
        for key in &args.read {
            encryption = encryption.read(key.load()?);
        }
        builder = builder.encryption(encryption);
    }
    if let Some(active) = &args.pepper {
        builder = builder.pepper(Pepper::new(active.load()?).rollout(Rollout::Migrate));
    }
    let sessions = builder.build()?;
    // On standard error, and only if that is a terminal.
    let bar = ProgressBar::new(sessions.count().await?);
    let style = "{bar:40} {human_pos} of about {human_len} sessions, {per_sec}, {eta} left";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (interrupt, progress) = (Interrupt::watch(), bar.clone());
    let seen = interrupt.clone();
    let mut rewrap = sessions.rewrap().on_batch(move |report| {
        progress.set_position(report.read);
        if seen.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(after) = args.after {
        rewrap = rewrap.after(after.into());
    }
    let report = rewrap.await;
    bar.finish_and_clear();
    let report = report?;
    writeln!(
        io::stdout(),
        "Read {} sessions, sealed the data of {}, hashed the secrets of {}.",
        grouped(report.read),
        grouped(report.sealed),
        grouped(report.hashed)
    )?;
    if interrupt.came() {
        let remedy = report.last.map(|last| format!("to go on, add --after {last}"));
        return Err(Failure::new(
            Code::Interrupted,
            "interrupted: the other sessions are as before",
        )
        .remedy(remedy.unwrap_or_default()));
    }
    let plain = report.hash_keys.get(&None).copied().unwrap_or_default();
    if args.pepper.is_some() && plain > report.hashed {
        note(format!(
            "{} secrets keep a plain hash: they were replaced within the last minute, or just now. Run the command again.",
            grouped(plain - report.hashed)
        ));
    }
    if report.unreadable > 0 {
        let message =
            format!("the data of {} sessions was changed by somebody", grouped(report.unreadable));
        return Err(Failure::new(Code::Findings, message).remedy("delete these sessions"));
    }
    Ok(())
}
