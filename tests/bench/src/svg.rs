//! Plots as SVG, written by hand: a few rectangles, lines and texts need no library. Equal figures give equal files.

use std::fmt::Write;

use crate::stats::Spread;
use crate::table::number;

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
const TITLE: f64 = 50.0;
const BAR: f64 = 22.0;
const GAP: f64 = 12.0;
/// The width of the bars' names, and the room for the figures behind the bars.
const NAMES: f64 = 290.0;
const FIGURES: f64 = 150.0;
const COLOURS: [&str; 5] = ["#2563eb", "#d97706", "#059669", "#9333ea", "#475569"];

/// A horizontal bar for each figure, from zero to the median, with a line from the least to the most.
pub fn bars(title: &str, unit: &str, figures: &[(&str, Spread)]) -> String {
    let height = TITLE + figures.len() as f64 * (BAR + GAP) + MARGIN;
    let most = figures.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - FIGURES) / most;
    let mut svg = open(height, title, unit);
    for (index, (name, Spread { min, median, max })) in figures.iter().enumerate() {
        let top = TITLE + index as f64 * (BAR + GAP);
        let middle = top + BAR / 2.0;
        let colour = if name.starts_with("Sandbar") { COLOURS[0] } else { COLOURS[4] };
        let text = middle + 4.0;
        line(
            &mut svg,
            format_args!("<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>", NAMES - 8.0, escaped(name)),
        );
        let width = median * scale;
        line(
            &mut svg,
            format_args!("<rect x=\"{NAMES}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"),
        );
        let [from, to] = [min, max].map(|value| NAMES + value * scale);
        line(&mut svg, format_args!("<path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"#000\"/>"));
        line(&mut svg, format_args!("<text x=\"{:.1}\" y=\"{text:.1}\">{}</text>", to + 8.0, number(*median)));
    }
    svg.push_str("</svg>\n");
    svg
}

/// A curve.
#[derive(Debug)]
pub struct Curve<'a> {
    pub name: &'a str,
    /// (x, y), with x above zero.
    pub points: Vec<(f64, f64)>,
}

/// Curves over a logarithmic axis; the other one is linear and begins at zero.
pub fn curves(title: &str, unit: &str, axis: &str, curves: &[Curve<'_>]) -> String {
    const HEIGHT: f64 = 420.0;
    const LEFT: f64 = 90.0;
    const BOTTOM: f64 = HEIGHT - 60.0;
    let all = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let first = all().map(|(x, _)| x.ln()).fold(f64::INFINITY, f64::min);
    let last = all().map(|(x, _)| x.ln()).fold(f64::NEG_INFINITY, f64::max);
    let most = all().map(|(_, y)| y).fold(f64::MIN_POSITIVE, f64::max);
    let span = if last > first { last - first } else { 1.0 };
    let across = |x: f64| LEFT + (x.ln() - first) / span * (WIDTH - LEFT - 2.0 * MARGIN);
    let down = |y: f64| BOTTOM - y / most * (BOTTOM - TITLE - 20.0);
    let mut svg = open(HEIGHT, title, unit);
    line(&mut svg, format_args!("<path d=\"M{LEFT} {TITLE}V{BOTTOM}H{WIDTH}\" fill=\"none\" stroke=\"#000\"/>"));
    for y in [0.0, most / 2.0, most] {
        let height = down(y) + 4.0;
        line(
            &mut svg,
            format_args!("<text x=\"{:.1}\" y=\"{height:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, number(y)),
        );
    }
    let mut ticks: Vec<f64> = all().map(|(x, _)| x).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    for x in ticks {
        let text = if x < 1000.0 { format!("{x}") } else { number(x) };
        line(
            &mut svg,
            format_args!("<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", across(x), BOTTOM + 18.0),
        );
    }
    line(&mut svg, format_args!("<text x=\"{LEFT}\" y=\"{}\">{}</text>", BOTTOM + 42.0, escaped(axis)));
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<String> = curve.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y))).collect();
        let points = points.join(" ");
        line(&mut svg, format_args!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        let x = LEFT + 220.0 * (index + 1) as f64;
        line(
            &mut svg,
            format_args!("<text x=\"{x}\" y=\"{}\" fill=\"{colour}\">{}</text>", BOTTOM + 42.0, escaped(curve.name)),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn open(height: f64, title: &str, unit: &str) -> String {
    let mut svg = String::new();
    line(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">"
        ),
    );
    line(&mut svg, format_args!("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"));
    line(
        &mut svg,
        format_args!("<text x=\"{MARGIN}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>", escaped(title)),
    );
    line(&mut svg, format_args!("<text x=\"{MARGIN}\" y=\"40\" fill=\"#475569\">{}</text>", escaped(unit)));
    svg
}

fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(svg, "{text}").expect("a String takes all");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: [(&str, Spread); 2] = [
        ("Sandbar <serde>", Spread { min: 90.0, median: 100.0, max: 110.0 }),
        ("Kafka Streams", Spread { min: 380.0, median: 400.0, max: 640.0 }),
    ];

    #[test]
    fn bars_have_lengths_of_their_medians() {
        let svg = bars("A & B", "ns", &FIGURES);
        assert_eq!(svg, bars("A & B", "ns", &FIGURES), "equal figures give equal files");
        assert!(svg.contains("A &amp; B") && svg.contains("Sandbar &lt;serde&gt;"), "{svg}");
        assert!(svg.contains("width=\"50.0\"") && svg.contains("width=\"200.0\""), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 3, "the ground and two bars");
    }

    #[test]
    fn a_curve_goes_from_the_left_to_the_right() {
        let curve = Curve { name: "Sandbar", points: vec![(1.0, 0.0), (10.0, 50.0), (100.0, 100.0)] };
        let svg = curves("Growth", "ns", "keys", &[curve]);
        assert!(svg.contains("points=\"90.0,360.0 405.0,215.0 720.0,70.0\""), "{svg}");
    }

    #[test]
    fn a_single_point_is_drawn() {
        let curve = Curve { name: "Sandbar", points: vec![(4.0, 7.0)] };
        assert!(!curves("One", "ns", "keys", &[curve]).contains("NaN"));
    }
}
