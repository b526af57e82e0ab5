//! Where logs go: to stderr, around the progress bar.

use std::io::{self, Write};

use flowstone_core::{Error, ErrorKind, Result};
use indicatif::MultiProgress;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::output::{Output, stderr_is_terminal};
use crate::settings::Setting;

/// Turns logging on. A program that has its own subscriber keeps it.
///
/// # Errors
/// `Invalid` for a filter that is not well formed.
pub(crate) fn start(filter: &Setting<String>, output: &Output) -> Result<()> {
    let parsed: Targets = filter.value.parse().map_err(|error: ParseError| {
        Error::new(ErrorKind::Invalid, error.to_string())
            .code("setting_invalid")
            .during("read")
            .about(format!("the log filter {:?} ({})", filter.value, filter.origin))
            .fix("write it as `warn` or `warn,flowstone_runtime=debug`")
    })?;
    let colored = stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer()
        .with_ansi(colored)
        .with_writer(AroundBars(output.bars().clone()));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(parsed));
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(())
}

struct AroundBars(MultiProgress);

impl<'a> MakeWriter<'a> for AroundBars {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter(self.0.clone())
    }
}

struct LineWriter(MultiProgress);

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
