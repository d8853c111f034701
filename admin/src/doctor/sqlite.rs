use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde::Deserialize;

use super::Finding;
use crate::{Database, Result};

pub(super) async fn checks(database: &Database, found: &mut Vec<Finding>) -> Result<()> {
    #[derive(Deserialize)]
    struct File {
        path: String,
        encoding: String,
        journal: String,
        is_whole: String,
    }
    let mut ask = database.statement();
    ask.sql(
        "select json_object('path', (select file from pragma_database_list where name = 'main'),
            'encoding', (select encoding from pragma_encoding), 'journal', (select journal_mode from pragma_journal_mode),
            'is_whole', (select quick_check from pragma_quick_check limit 1))",
    );
    let file: File = database.one(&ask).await?;
    found.push(modes(Path::new(&file.path)));
    found.push(match file.encoding.as_str() {
        "UTF-8" => Finding::well("encoding", "UTF-8"),
        other => Finding::fault(
            "encoding",
            format!("the file is in {other}"),
            "copy it with `sqlite3 old.db .dump | sqlite3 new.db`",
        ),
    });
    found.push(match file.journal.as_str() {
        "wal" => Finding::well("journal", "WAL: readers and the writer do not wait for each other"),
        other => Finding::fault(
            "journal",
            format!("its mode is {other}: readers wait for the writer"),
            "run `pragma journal_mode = wal` once, as the application's user",
        ),
    });
    found.push(match file.is_whole.as_str() {
        "ok" => Finding::well("file", "a quick check finds it whole"),
        fault => Finding::fault(
            "file",
            fault,
            "restore it from a backup, or see https://sqlite.org/recovery.html",
        ),
    });
    Ok(())
}

/// The file has hashes of secrets and the data of sessions, and its log has them too.
fn modes(path: &Path) -> Finding {
    const CHECK: &str = "file modes";
    let mut open = Vec::new();
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        if let Ok(about) = fs::metadata(&name)
            && about.permissions().mode() & 0o077 != 0
        {
            open.push(format!(
                "{} has mode {:o}",
                Path::new(&name).display(),
                about.permissions().mode() & 0o777
            ));
        }
    }
    if open.is_empty() {
        return Finding::well(CHECK, "only the file's owner may read it");
    }
    let remedy = format!("chmod 600 {}*", path.display());
    Finding::fault(CHECK, format!("others may read sessions: {}", open.join(", ")), remedy)
}
