use std::{
    cell::RefCell,
    io::{self, Write},
    sync::Once,
};

use serde_json::Value;

thread_local! {
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The log of this thread, all levels and all targets. For tests on one thread: `#[tokio::test]` without a
/// flavor.
///
/// One subscriber serves the whole binary. If each thread had its own, a test without one could decide
/// whether an event is enabled at all.
pub(crate) struct Log(());

impl Log {
    pub(crate) fn begin() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt()
                .json()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(|| ThisThread)
                .init();
        });
        LINES.set(Some(Vec::new()));
        Self(())
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(LINES.replace(Some(Vec::new())).unwrap()).unwrap()
    }

    /// The library's own events of this name, with level and fields, since the last call of either method.
    pub(crate) fn take_events(&self, message: &str) -> Vec<Value> {
        let lines = self.take();
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["target"] == "sessile" && event["fields"]["message"] == message)
            .collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
