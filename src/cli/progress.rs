//! A bar for transfers that take a while, on a terminal only.

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::fit;
use super::output::Output;
use crate::peer::Progress;

/// Runs a transfer and draws how far it is.
pub(super) async fn drawn<T>(out: &Output, progress: &Progress, transfer: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return transfer.await;
    }
    let mut transfer = std::pin::pin!(transfer);
    let mut ticks = interval_at(Instant::now() + FIRST_DRAWN, REDRAWN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut bar: Option<ProgressBar> = None;
    let result = loop {
        tokio::select! {
            result = &mut transfer => break result,
            _ = ticks.tick() => {}
        }
        let total = progress.total.load(Ordering::Relaxed);
        // A total of zero is one that is not known yet, or of a file that takes no time.
        if total > 0 {
            let bar = bar.get_or_insert_with(|| {
                let bar = new_bar(total);
                out.draw_bar(Some(bar.clone()));
                bar
            });
            bar.set_style(style());
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

fn new_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style());
    bar
}

/// As much as fits into the terminal as wide as it is now.
fn style() -> ProgressStyle {
    let width = fit::width_of(&std::io::stderr()).unwrap_or(usize::MAX);
    let fitting = TEMPLATES.iter().find(|(least, _)| *least <= width);
    let template = fitting.map_or(SMALLEST, |(_, template)| *template);
    // The templates are constants; the plain bar takes their place should one ever be wrong.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Transfers that are over sooner get no bar.
const FIRST_DRAWN: Duration = Duration::from_millis(300);
const REDRAWN: Duration = Duration::from_millis(100);
/// What is drawn from which width on.
const TEMPLATES: [(usize, &str); 3] = [
    (70, "  {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"),
    (36, "  {wide_bar} {binary_bytes}, {eta} left"),
    (12, "{wide_bar} {percent:>3} %"),
];
const SMALLEST: &str = "{percent} %";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in TEMPLATES.iter().map(|(_, template)| *template).chain([SMALLEST]) {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
