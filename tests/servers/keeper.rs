use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A program that ends with this value, or with this process, however that ends: its standard input is a pipe
/// that nobody else holds.
#[derive(Debug)]
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Starts it, and waits for the line that it writes when it is ready.
    pub(crate) fn start(command: &mut Command) -> Option<(Self, String)> {
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let keeper = Self(program);
        // Nothing at all, where it has ended instead.
        line.ends_with('\n').then(|| (keeper, line.trim().to_owned()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
