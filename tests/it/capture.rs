//! The whole log, at the finest level, with the databases' drivers.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use serde_json::Value;
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

type Buffer = Arc<Mutex<Vec<u8>>>;

static BEGUN: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

/// The log of the process while this exists, with the lines of other tests that run at that time.
pub(crate) struct Capture(Buffer);

impl Capture {
    pub(crate) fn begin() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .json()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(FmtSpan::FULL)
                .with_writer(Everyone)
                .init();
        });
        let buffer = Buffer::default();
        BEGUN.lock().unwrap().push(buffer.clone());
        Self(buffer)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the library's own events with this message, if they mention `about`.
    pub(crate) fn events(&self, message: &str, about: &str) -> Vec<Value> {
        let lines = self.text();
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["target"] == "sessile" && event["fields"]["message"] == message)
            .filter(|event| event["fields"].to_string().contains(about))
            .map(|mut event| {
                let mut fields = event["fields"].take();
                fields["message"] = event["level"].take();
                fields
            })
            .collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        BEGUN.lock().unwrap().retain(|buffer| !Arc::ptr_eq(buffer, &self.0));
    }
}

struct Everyone;

impl<'a> MakeWriter<'a> for Everyone {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for Everyone {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for buffer in BEGUN.lock().unwrap().iter() {
            buffer.lock().unwrap().extend_from_slice(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
