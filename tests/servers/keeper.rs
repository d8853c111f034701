use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

/// A program that ends with this value, or with this process, even if the process is killed: its standard
/// input is a pipe that only this process holds, and the program continues until the pipe is closed.
#[derive(Debug)]
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Starts the program, and waits for the line that says that it is ready. Returns nothing if the program
    /// ends without that line.
    pub(crate) fn start(
        command: &mut Command,
        is_ready: impl Fn(&str) -> bool,
    ) -> Option<(Self, String)> {
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        let keeper = Self(program);
        let mut line = String::new();
        while !is_ready(&line) {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
        }
        // Reads the rest of the output and drops it, so that the program never waits for a reader.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Some((keeper, line.trim().to_owned()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// A shell's script that runs PgBouncer, which does not run as root. Its log goes to
/// standard output, where the test waits for the line that it listens. Only PgBouncer itself keeps that
/// output open.
pub(crate) const RUN_PGBOUNCER: &str = r#"
user=
[ "$(id -u)" != 0 ] || user='-u nobody'
pgbouncer $user "$1" 2>&1 & bouncer=$!
exec >/dev/null
trap '' INT TERM HUP
cat
kill "$bouncer"
wait "$bouncer"
"#;
