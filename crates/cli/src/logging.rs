//! Logging: `-v`, or RUST_LOG in detail.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging to stderr.
pub(crate) fn start(verbose: u8, coloured: bool) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    // Invalid bytes sent to the gateway are no error of this process.
    let is_quiet = verbose < 2 && std::env::var_os(EnvFilter::DEFAULT_ENV).is_none();
    let garbage = is_quiet.then(|| "actix_http=off".parse().ok()).flatten();
    let filter = garbage.into_iter().fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(coloured).init();
}
