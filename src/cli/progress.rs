//! A progress bar on a terminal; without a terminal, a line now and then for long work.

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::fit;
use super::format::seconds;
use super::output::Output;
use crate::peer::Progress;

/// The unit of a bar.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    /// Bytes of a transfer.
    Bytes,
    /// Parts of some work, of which only the share is shown.
    Parts,
    /// Files and their bytes.
    Files,
    /// Files of a directory and their bytes: a transfer, of which only a terminal is told.
    Directory,
}

/// Runs a transfer and draws its progress.
pub(super) async fn drawn<T>(out: &Output, progress: &Progress, transfer: impl Future<Output = T>) -> T {
    drawn_as(Counted::Bytes, out, progress, transfer).await
}

/// Runs some work and draws its progress.
pub(super) async fn drawn_as<T>(
    counted: Counted,
    out: &Output,
    progress: &Progress,
    work: impl Future<Output = T>,
) -> T {
    if !std::io::stderr().is_terminal() {
        return match counted {
            Counted::Bytes | Counted::Directory => work.await,
            Counted::Parts | Counted::Files => told(out, progress, work).await,
        };
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
        // A total of zero is unknown so far, or belongs to a file that takes no time.
        if total > 0 {
            let bar = bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                out.draw_bar(Some(bar.clone()));
                bar
            });
            bar.set_style(style(counted));
            bar.set_length(total);
            bar.set_message(files(progress.objects()));
            bar.set_position(progress.done.load(Ordering::Relaxed).min(total));
        }
    };
    if let Some(bar) = bar {
        out.draw_bar(None);
        bar.finish_and_clear();
    }
    result
}

/// Runs some work and prints its progress in a line now and then.
async fn told<T>(out: &Output, progress: &Progress, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let begun = Instant::now();
    let mut ticks = interval_at(begun + FIRST_TOLD, TOLD_AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => {}
        }
        let (done, total) = (&progress.done, &progress.total);
        let line = line(begun.elapsed(), done.load(Ordering::Relaxed), total.load(Ordering::Relaxed));
        out.note(&match progress.objects() {
            (_, 0) => line,
            objects => format!("{line}, {}", files(objects)),
        });
    }
}

/// The progress of some work after `elapsed`, and the time that the rest takes at the same speed.
fn line(elapsed: Duration, done: u64, total: u64) -> String {
    let so_far = roughly(elapsed);
    if done == 0 || total == 0 {
        return format!("after {so_far}: it is being prepared");
    }
    let share = done.min(total) as f64 / total as f64;
    let left = elapsed.mul_f64(1.0 / share - 1.0);
    format!("after {so_far}: {:.0} %, about {} left", (share * 100.0).floor(), roughly(left))
}

fn files((done, total): (u64, u64)) -> String {
    format!("{done} of {total} files")
}

/// A span of time without the fractions of a second, which an estimate does not have.
pub(super) fn roughly(span: Duration) -> String {
    match span.as_secs_f64().round() as u64 {
        whole @ ..60 => format!("{whole} s"),
        whole => seconds(Duration::from_secs(whole)),
    }
}

/// The longest style that fits into the terminal at its present width.
fn style(counted: Counted) -> ProgressStyle {
    let width = fit::width_of(&std::io::stderr()).unwrap_or(usize::MAX);
    let fitting = templates(counted).iter().find(|(least, _)| *least <= width);
    let template = fitting.map_or(SMALLEST, |(_, template)| *template);
    // The templates are constants; the plain bar is a fallback if one is ever wrong.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn templates(counted: Counted) -> &'static [(usize, &'static str)] {
    match counted {
        Counted::Bytes => &BYTES,
        Counted::Parts => &PARTS,
        Counted::Files | Counted::Directory => &FILES,
    }
}

/// The time after which a transfer gets a bar.
const FIRST_DRAWN: Duration = Duration::from_millis(300);
const REDRAWN: Duration = Duration::from_millis(100);
/// The time after which work gets a line.
const FIRST_TOLD: Duration = Duration::from_secs(5);
const TOLD_AGAIN: Duration = Duration::from_secs(15);
/// The templates of bars, each with the least width that it needs.
const BYTES: [(usize, &str); 3] = [
    (70, "  {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"),
    (36, "  {wide_bar} {binary_bytes}, {eta} left"),
    (12, "{wide_bar} {percent:>3} %"),
];
const PARTS: [(usize, &str); 2] =
    [(36, "  {wide_bar} {percent:>3} %, {eta} left"), (12, "{wide_bar} {percent:>3} %")];
const FILES: [(usize, &str); 2] = [
    (70, "  {wide_bar} {msg}, {binary_bytes} of {binary_total_bytes}, {eta} left"),
    (36, "  {wide_bar} {msg}"),
];
const SMALLEST: &str = "{percent} %";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_how_long_the_rest_takes() {
        let after = |seconds, done| line(Duration::from_secs(seconds), done, 10_000);
        assert_eq!(after(5, 0), "after 5 s: it is being prepared");
        assert_eq!(after(20, 2_500), "after 20 s: 25 %, about 1 min 0 s left");
        assert_eq!(after(80, 9_999), "after 1 min 20 s: 99 %, about 0 s left");
        assert_eq!(after(90, 10_000), "after 1 min 30 s: 100 %, about 0 s left");
    }

    #[test]
    fn the_templates_are_sound() {
        for template in
            BYTES.iter().chain(&PARTS).chain(&FILES).map(|(_, template)| *template).chain([SMALLEST])
        {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
