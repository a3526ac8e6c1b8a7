//! Draws latency against event rate as an SVG, both axes logarithmic.

use std::fmt::Write as _;

use anyhow::Context as _;
use load::{run::ms, stats::Percentiles};

use crate::{env::float, report};

/// The latencies on one broker.
pub(crate) struct Curve {
    /// Name of the broker.
    pub(crate) name: &'static str,
    /// Events per second and their latency.
    pub(crate) points: Vec<(u64, Percentiles)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [56.0, 120.0, 24.0, 44.0];
/// Range of events per second.
const RATES: (f64, f64) = (400.0, 80_000.0);
/// Range of milliseconds.
const LATENCIES: (f64, f64) = (0.3, 10_000.0);
/// Distinguishable with colour blindness, on light and dark backgrounds.
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

/// Writes `target/latency.svg`.
pub(crate) fn write(curves: &[Curve]) -> anyhow::Result<()> {
    let path = report::folder()?.join("latency.svg");
    std::fs::write(&path, draw(curves)).with_context(|| format!("write {}", path.display()))
}

fn scaled(value: f64, (from, to): (f64, f64)) -> f64 {
    (value.clamp(from, to) / from).ln() / (to / from).ln()
}

fn x(per_second: f64) -> f64 {
    MARGIN[0] + scaled(per_second, RATES) * (WIDTH - MARGIN[0] - MARGIN[1])
}

fn y(millis: f64) -> f64 {
    HEIGHT - MARGIN[3] - scaled(millis, LATENCIES) * (HEIGHT - MARGIN[2] - MARGIN[3])
}

fn draw(curves: &[Curve]) -> String {
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><text x="{}" y="16">Latency (ms) against load (events/s), 2,000 sockets, one machine</text>"##,
        MARGIN[0]
    );
    axes(&mut svg);
    for (curve, colour) in curves.iter().zip(COLOURS) {
        line(&mut svg, curve, colour, "p99", |latency| latency.p99_us);
        line(&mut svg, curve, colour, "p50", |latency| latency.p50_us);
    }
    svg + "</svg>\n"
}

fn axes(svg: &mut String) {
    let (left, right) = (MARGIN[0], WIDTH - MARGIN[1]);
    for millis in [1.0, 5.0, 10.0, 25.0, 100.0, 1_000.0, 10_000.0] {
        let at = y(millis);
        put(
            svg,
            format_args!(
                r##"<path d="M{left} {at:.1}H{right}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end">{millis}</text>"##,
                left - 6.0,
                at + 4.0
            ),
        );
    }
    let (top, bottom) = (MARGIN[2], HEIGHT - MARGIN[3]);
    for (per_second, label) in
        [(500.0, "500"), (1e3, "1 k"), (5e3, "5 k"), (1e4, "10 k"), (3e4, "30 k"), (6e4, "60 k")]
    {
        let at = x(per_second);
        put(
            svg,
            format_args!(
                r##"<path d="M{at:.1} {top}V{bottom}" stroke="#eee"/><text x="{at:.1}" y="{}" text-anchor="middle">{label}</text>"##,
                bottom + 18.0
            ),
        );
    }
}

fn line(
    svg: &mut String,
    curve: &Curve,
    colour: &str,
    what: &str,
    of: impl Fn(&Percentiles) -> u64,
) {
    let place = |(per_second, late): &(u64, Percentiles)| {
        (x(float(*per_second)), y(ms(of(late)).max(LATENCIES.0)))
    };
    let places: Vec<(f64, f64)> = curve.points.iter().map(place).collect();
    let Some((right, height)) = places.last() else { return };
    let points: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dashes = if what == "p50" { r#" stroke-dasharray="4 4""# } else { "" };
    put(
        svg,
        format_args!(
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/><text x="{:.1}" y="{:.1}" fill="{colour}">{} {what}</text>"#,
            points.join(" "),
            right + 6.0,
            height + 4.0,
            curve.name
        ),
    );
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("formatting into a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_stay_within_the_plot_area() {
        let late = Percentiles { p50_us: 900, p99_us: 50_000_000, ..Percentiles::default() };
        let points = vec![(500, late), (100_000, late)];
        let svg = draw(&[Curve { name: "apache", points }]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("apache p99") && svg.ends_with("</svg>\n"));
        assert!((x(80_000.0) - (WIDTH - MARGIN[1])).abs() < 0.1 && y(50_000.0) >= MARGIN[2] - 0.1);
    }
}
