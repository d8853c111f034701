use std::io::{self, ErrorKind, Write};

use sessile_console::Standalone;

use crate::{
    args::{ConsoleArgs, DatabaseArgs},
    database::operator_name,
    failure::{Code, Failure, Result},
    interrupt::Interrupt,
    output::note,
};

pub(crate) async fn run(from: &DatabaseArgs, args: ConsoleArgs) -> Result {
    // Without a look at the schema: the console's own page explains what is missing.
    let database = from.open_any().await?;
    // A database without the schema is for the page to explain.
    let may_end = database.may_end().await.unwrap_or(true);
    if !may_end && !args.read_only {
        note("This user of the database may end no session: the console only shows them.");
    }
    let mut console = Standalone::new(database)
        .name(&operator_name(args.operator.as_deref()))
        .read_only(args.read_only || !may_end)
        .allow_remote(args.allow_remote)
        .base_path(&args.base_path);
    if let Some(origin) = &args.origin {
        console = console.origin(origin);
    }
    let console =
        console.bind(&args.listen).await.map_err(|error| not_bound(&args.listen, &error))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", console.link())?;
    out.flush()?;
    drop(out);
    note(
        "Open this link in a browser. It works once, within ten minutes. Ctrl-C ends the console.",
    );
    console.serve_until(Interrupt::watch().wait()).await?;
    Ok(())
}

fn not_bound(listen: &str, error: &io::Error) -> Failure {
    let failure =
        Failure::new(Code::Usage, format!("the console cannot listen on {listen}: {error}"));
    failure.remedy(match error.kind() {
        ErrorKind::AddrInUse => "use another port, or --listen 127.0.0.1:0 for any free one",
        ErrorKind::InvalidInput => {
            "use 127.0.0.1:PORT, or read about --allow-remote and --origin in `sessile console --help`"
        }
        _ => "use --listen 127.0.0.1:PORT",
    })
}
