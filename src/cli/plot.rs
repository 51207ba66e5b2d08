//! The report of a simulation as one picture: the hops of lookups, and the state of the ring over time.
//!
//! Pure: a report in, SVG out. No font is read; the program that shows the picture has one.

use std::ops::Range;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::format::{count, figure, seconds};
use crate::sim::{Health, Report};

/// The report as an SVG document.
///
/// # Errors
/// When the picture cannot be drawn.
pub(super) fn svg(report: &Report) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let all = SVGBackend::with_string(&mut text, (WIDTH, HEAD + HOPS + 2 * HEALTH)).into_drawing_area();
        all.fill(&WHITE)?;
        let (head, charts) = all.split_vertically(HEAD);
        head.draw_text(&title(report), &words(TITLE_SIZE), (MARGIN, 16))?;
        head.draw_text(&subtitle(report), &words(TEXT_SIZE), (MARGIN, 46))?;
        let (hops, health) = charts.split_vertically(HOPS);
        draw_hops(&hops, report)?;
        let (order, alive) = health.split_vertically(HEALTH);
        draw_order(&order, &report.health)?;
        draw_alive(&alive, &report.health)?;
        all.present()?;
    }
    Ok(text)
}

fn title(report: &Report) -> String {
    let span = Duration::try_from_secs_f64(report.virtual_s).unwrap_or_default();
    format!("A ring of {}, {} simulated", count(report.peers as u64, "peer", "peers"), seconds(span))
}

fn subtitle(report: &Report) -> String {
    let lookups = count(report.lookups, "lookup", "lookups");
    let hops = &report.hops;
    let (mean, median, most) = (figure(hops.mean), figure(hops.p50), figure(hops.p99));
    if lookups_by_hops(report).is_empty() {
        format!("{lookups}; seed {}", report.seed)
    } else {
        format!(
            "{lookups}, {mean} hops on average, median {median}, 99 % at most {most}; seed {}",
            report.seed
        )
    }
}

/// Draws the shares of all lookups by number of hops.
fn draw_hops(area: &Area<'_>, report: &Report) -> anyhow::Result<()> {
    let bars = lookups_by_hops(report);
    let total: u64 = bars.iter().sum();
    let shares: Vec<f64> = bars.iter().map(|lookups| *lookups as f64 * 100.0 / total as f64).collect();
    let highest = shares.iter().copied().fold(0.0, f64::max);
    let wide = bars.len().max(BARS_LEAST) as f64;
    let mut chart = Panel {
        caption: "Hops of a lookup",
        x: Axis { from: -0.5, to: wide - 0.5, step: step(wide, BARS_NAMED_MAX).max(1.0), name: "hops" },
        y: Axis::up_to(if bars.is_empty() { 100.0 } else { highest * ROOM_ABOVE }, "lookups, %"),
    }
    .draw(area)?;
    for (hops, share) in shares.iter().enumerate() {
        let middle = hops as f64;
        let corners = [(middle - BAR_HALF, 0.0), (middle + BAR_HALF, *share)];
        chart.draw_series([Rectangle::new(corners, FIRST.filled())])?;
        if bars.len() <= BARS_NAMED_MAX && bars[hops] > 0 {
            let style = words(SMALL_SIZE).pos(Pos::new(HPos::Center, VPos::Bottom));
            chart.draw_series([Text::new(share_in_words(*share), (middle, *share), style)])?;
        }
    }
    if bars.is_empty() {
        chart.draw_series([nothing("no lookup found an owner", (wide / 2.0 - 0.5, 50.0))])?;
    }
    Ok(())
}

/// Draws the share of peers with their true neighbours.
fn draw_order(area: &Area<'_>, health: &[Health]) -> anyhow::Result<()> {
    let time = Time::of(health);
    let shares = samples(health, &time, |health| health.in_order * 100.0);
    let lowest = shares.iter().map(|(_, share)| *share).fold(100.0, f64::min);
    let from = [90.0, 50.0].into_iter().find(|from| lowest >= *from).unwrap_or(0.0);
    // The axis ends a little above, so that a line at the top is visible.
    let to = 100.0 + (100.0 - from) / 20.0;
    let mut chart = Panel {
        caption: "Peers that have their true neighbours",
        x: time.axis,
        y: Axis { from, to, step: step(100.0 - from, TICKS_MAX), name: "peers, %" },
    }
    .draw(area)?;
    draw_line(&mut chart, shares, FIRST)
}

/// Draws the number of peers.
fn draw_alive(area: &Area<'_>, health: &[Health]) -> anyhow::Result<()> {
    let time = Time::of(health);
    let alive = samples(health, &time, |health| health.alive as f64);
    let most = alive.iter().map(|(_, alive)| *alive).fold(1.0, f64::max);
    let mut chart = Panel {
        caption: "Peers alive",
        x: time.axis,
        y: Axis { step: step(most, TICKS_MAX).max(1.0), ..Axis::up_to(most * ROOM_ABOVE, "peers") },
    }
    .draw(area)?;
    draw_line(&mut chart, alive, SECOND)
}

fn draw_line(chart: &mut Chart<'_, '_>, line: Vec<(f64, f64)>, colour: RGBColor) -> anyhow::Result<()> {
    match line.as_slice() {
        [] => {
            let (x, y) = (chart.x_range(), chart.y_range());
            let middle = ((x.start + x.end) / 2.0, (y.start + y.end) / 2.0);
            chart.draw_series([nothing("no samples", middle)])?;
        }
        [only] => {
            chart.draw_series([Circle::new(*only, 3, colour.filled())])?;
        }
        _ => {
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

/// The parts of a chart beside its data.
struct Panel {
    caption: &'static str,
    x: Axis,
    y: Axis,
}

struct Axis {
    from: f64,
    to: f64,
    /// The distance between two labels, which are multiples of it.
    step: f64,
    name: &'static str,
}

impl Panel {
    /// Draws the panel, still without data.
    fn draw<'a, 'b>(self, area: &'a Area<'b>) -> anyhow::Result<Chart<'a, 'b>> {
        let Panel { caption, x, y } = self;
        let (x_name, y_name) = (x.name, y.name);
        let mut chart = ChartBuilder::on(area)
            .caption(caption, words(CAPTION_SIZE))
            .margin(MARGIN)
            .margin_top(0)
            .x_label_area_size(46)
            .y_label_area_size(76)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(FAINT)
            .axis_style(FRAME)
            .label_style(words(SMALL_SIZE))
            .axis_desc_style(words(SMALL_SIZE))
            .x_desc(x_name)
            .y_desc(y_name)
            .draw()?;
        Ok(chart)
    }
}

impl Axis {
    fn up_to(to: f64, name: &'static str) -> Axis {
        Axis { from: 0.0, to, step: step(to, TICKS_MAX), name }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        let (first, last) = ((self.from / self.step).ceil() as i64, (self.to / self.step).floor() as i64);
        (first..=last).map(|n| n as f64 * self.step).collect()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        figure(*value)
    }
}

/// The axis of time, in a unit that suits its length.
struct Time {
    axis: Axis,
    unit_s: f64,
}

impl Time {
    fn of(health: &[Health]) -> Time {
        let end_s = health.iter().map(|health| health.at_s).fold(0.0, f64::max);
        let fitting = UNITS.iter().find(|(unit_s, _)| end_s <= unit_s * UNIT_MAX).unwrap_or(&LONGEST_UNIT);
        let (unit_s, name) = *fitting;
        let end = if end_s > 0.0 { end_s / unit_s } else { 1.0 };
        Time { axis: Axis { from: 0.0, to: end, step: step(end, BARS_NAMED_MAX), name }, unit_s }
    }
}

fn samples(health: &[Health], time: &Time, of: impl Fn(&Health) -> f64) -> Vec<(f64, f64)> {
    health.iter().map(|health| (health.at_s / time.unit_s, of(health))).collect()
}

/// The lookups by their number of hops, without the empty counts at the end.
fn lookups_by_hops(report: &Report) -> &[u64] {
    let all = &report.hops_histogram;
    let last = all.iter().rposition(|lookups| *lookups > 0);
    &all[..last.map_or(0, |last| last + 1)]
}

fn share_in_words(share: f64) -> String {
    match share {
        share if share < 0.1 => "<0.1 %".to_owned(),
        share if share < 9.95 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// A step of 1, 2 or 5 times a power of ten, so that a span has at most `steps_max` steps.
fn step(span: f64, steps_max: usize) -> f64 {
    let least = span / steps_max as f64;
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

fn nothing(text: &str, at: (f64, f64)) -> Text<'_, (f64, f64), String> {
    Text::new(text.to_owned(), at, words(TEXT_SIZE).pos(Pos::new(HPos::Center, VPos::Center)))
}

fn words(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size)).color(&INK)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// The width of the drawing in pixels.
const WIDTH: u32 = 900;
const HEAD: u32 = 80;
const HOPS: u32 = 330;
const HEALTH: u32 = 240;
const MARGIN: i32 = 20;
const TITLE_SIZE: u32 = 26;
const CAPTION_SIZE: u32 = 20;
const TEXT_SIZE: u32 = 18;
const SMALL_SIZE: u32 = 16;

const INK: RGBColor = RGBColor(0x11, 0x18, 0x27);
const FRAME: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const FAINT: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);
const FIRST: RGBColor = RGBColor(0x1f, 0x6f, 0xeb);
const SECOND: RGBColor = RGBColor(0xb4, 0x53, 0x09);

/// The least number of bars for which an axis has room.
const BARS_LEAST: usize = 5;
/// The most bars that all get their share and their number as labels.
const BARS_NAMED_MAX: usize = 16;
/// Half of a bar's width, in hops.
const BAR_HALF: f64 = 0.4;
const TICKS_MAX: usize = 6;
/// The height of a chart in relation to its highest value.
const ROOM_ABOVE: f64 = 1.12;
/// The seconds of a unit, and the label of an axis in that unit.
const UNITS: [(f64, &str); 3] = [(1.0, "seconds"), (60.0, "minutes"), (3_600.0, "hours")];
const LONGEST_UNIT: (f64, &str) = (86_400.0, "days");
/// The most units on an axis, unless there is no longer unit.
const UNIT_MAX: f64 = 180.0;

#[cfg(test)]
mod tests {
    use super::super::simulate::tests::report;
    use super::*;

    /// The texts of a picture, in order, and the names of its shapes.
    fn read(report: &Report) -> (Vec<String>, Vec<String>) {
        let text = svg(report).unwrap();
        let picture = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let elements = || picture.root_element().descendants().filter(|node| node.is_element());
        let words = elements().filter(|node| node.has_tag_name((SVG, "text"))).filter_map(|node| node.text());
        let shapes = elements().map(|node| node.tag_name().name().to_owned());
        (words.map(|words| words.trim().to_owned()).collect(), shapes.collect())
    }

    fn count_of(name: &str, all: &[String]) -> usize {
        all.iter().filter(|one| *one == name).count()
    }

    const SVG: &str = "http://www.w3.org/2000/svg";

    #[test]
    fn all_charts_are_in_one_well_formed_picture() {
        let (words, shapes) = read(&report());
        for expected in [
            "A ring of 1000 peers, 10 min 0 s simulated",
            "10000 lookups, 2.31 hops on average, median 2, 99 % at most 5; seed 1",
            "Hops of a lookup",
            "hops",
            "lookups, %",
            "43 %",
            "<0.1 %",
            "Peers that have their true neighbours",
            "minutes",
            "peers, %",
            "Peers alive",
            "peers",
        ] {
            assert!(words.iter().any(|text| text == expected), "{expected}: {words:?}");
        }
        // Seven bars and the background; two lines beside the axes and the grid.
        assert_eq!(count_of("rect", &shapes), 1 + 7);
        assert!(count_of("polyline", &shapes) >= 2, "{shapes:?}");
    }

    #[test]
    fn the_same_report_gives_the_same_picture() {
        assert_eq!(svg(&report()).unwrap(), svg(&report()).unwrap());
    }

    #[test]
    fn a_report_of_little_or_nothing_can_be_drawn() {
        let (words, _) = read(&Report::default());
        assert_eq!(count_of("no lookup found an owner", &words), 1);
        assert_eq!(count_of("no samples", &words), 2);
        let one = Health { at_s: 0.0, alive: 0, in_order: f64::NAN };
        let (words, shapes) = read(&Report { health: vec![one], hops_histogram: vec![7], ..report() });
        assert_eq!(count_of("100 %", &words), 1);
        assert_eq!(count_of("circle", &shapes), 2);
        let (_, shapes) = read(&Report { hops_histogram: vec![1; 400], ..report() });
        assert_eq!(count_of("rect", &shapes), 1 + 400);
    }

    #[test]
    fn steps_are_round_and_not_too_many() {
        for (span, expected) in
            [(100.0, 20.0), (112.0, 20.0), (10.0, 2.0), (1.0, 0.2), (49.0, 10.0), (6.0, 1.0)]
        {
            assert!((step(span, TICKS_MAX) - expected).abs() < 1e-9, "{span}: {}", step(span, TICKS_MAX));
        }
    }
}
