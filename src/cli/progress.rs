//! A bar for what takes a while, on a terminal only.

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::fit;
use super::output::Output;
use crate::peer::Progress;

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    /// Bytes of a transfer.
    Bytes,
    /// Parts of some work, of which only the share is told.
    Parts,
}

/// Runs a transfer and draws how far it is.
pub(super) async fn drawn<T>(out: &Output, progress: &Progress, transfer: impl Future<Output = T>) -> T {
    drawn_as(Counted::Bytes, out, progress, transfer).await
}

/// Runs some work and draws how far it is.
pub(super) async fn drawn_as<T>(
    counted: Counted,
    out: &Output,
    progress: &Progress,
    work: impl Future<Output = T>,
) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    let mut ticks = interval_at(Instant::now() + FIRST_DRAWN, REDRAWN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut bar: Option<ProgressBar> = None;
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            _ = ticks.tick() => {}
        }
        let total = progress.total.load(Ordering::Relaxed);
        // A total of zero is one that is not known yet, or of a file that takes no time.
        if total > 0 {
            let bar = bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                out.draw_bar(Some(bar.clone()));
                bar
            });
            bar.set_style(style(counted));
            bar.set_length(total);
            bar.set_position(progress.done.load(Ordering::Relaxed).min(total));
        }
    };
    if let Some(bar) = bar {
        out.draw_bar(None);
        bar.finish_and_clear();
    }
    result
}

/// As much as fits into the terminal as wide as it is now.
fn style(counted: Counted) -> ProgressStyle {
    let width = fit::width_of(&std::io::stderr()).unwrap_or(usize::MAX);
    let fitting = templates(counted).iter().find(|(least, _)| *least <= width);
    let template = fitting.map_or(SMALLEST, |(_, template)| *template);
    // The templates are constants; the plain bar takes their place should one ever be wrong.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn templates(counted: Counted) -> &'static [(usize, &'static str)] {
    match counted {
        Counted::Bytes => &BYTES,
        Counted::Parts => &PARTS,
    }
}

/// What is over sooner gets no bar.
const FIRST_DRAWN: Duration = Duration::from_millis(300);
const REDRAWN: Duration = Duration::from_millis(100);
/// What is drawn from which width on.
const BYTES: [(usize, &str); 3] = [
    (70, "  {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"),
    (36, "  {wide_bar} {binary_bytes}, {eta} left"),
    (12, "{wide_bar} {percent:>3} %"),
];
const PARTS: [(usize, &str); 2] =
    [(36, "  {wide_bar} {percent:>3} %, {eta} left"), (12, "{wide_bar} {percent:>3} %")];
const SMALLEST: &str = "{percent} %";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in BYTES.iter().chain(&PARTS).map(|(_, template)| *template).chain([SMALLEST]) {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
