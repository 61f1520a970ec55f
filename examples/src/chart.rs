//! Small self-contained SVG charts for the HTML reports: lines, stacked bands, bars. No script, no fonts, no network.

use std::fmt::Write as _;

/// One line of a [`Lines`] chart.
#[derive(Debug, Clone)]
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Points by ascending x.
    pub points: Vec<(f64, f64)>,
    /// Drawn as a staircase (counts) rather than as straight segments.
    pub steps: bool,
    /// Dashed, for expectations and references.
    pub dashed: bool,
}

/// A coloured stretch of the x axis behind the lines.
#[derive(Debug, Clone)]
pub struct Band {
    /// From, on the x axis.
    pub from: f64,
    /// To, on the x axis.
    pub to: f64,
    /// Index of its name in [`Lines::band_names`].
    pub kind: usize,
}

/// Lines over a common x axis.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// Label of the x axis, with its unit.
    pub x_label: String,
    /// Label of the y axis, with its unit.
    pub y_label: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// Stretches behind them.
    pub bands: Vec<Band>,
    /// What the kinds of stretches mean.
    pub band_names: Vec<String>,
}

/// Shares that add up to a whole in each column.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// Label of the x axis.
    pub x_label: String,
    /// Names of the layers, bottom first.
    pub names: Vec<String>,
    /// One row a column, one count a layer.
    pub columns: Vec<Vec<u64>>,
}

/// A named quantity with the text that is printed beside its bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What it is.
    pub name: String,
    /// Its length.
    pub value: f64,
    /// The exact figure, as text.
    pub text: String,
}

impl Lines {
    /// The chart as an `<svg>` element.
    pub fn to_svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|l| l.points.iter().copied());
        let x = Axis::over(points().map(|p| p.0).chain(self.bands.iter().flat_map(|b| [b.from, b.to])), false);
        let y = Axis::over(points().map(|p| p.1), true);
        let mut svg = open(&self.x_label, &self.y_label);
        for band in &self.bands {
            let (from, to) = (left(&x, band.from), left(&x, band.to));
            let _ = write!(
                svg,
                "<rect x='{from:.1}' y='{TOP}' width='{:.1}' height='{PLOT_HEIGHT}' fill='{}' opacity='0.30'/>",
                (to - from).max(0.0),
                shade(band.kind)
            );
        }
        grid(&mut svg, &x, &y);
        for (i, line) in self.lines.iter().enumerate() {
            let mut path = String::new();
            let mut last_y = 0.0;
            for (n, &(px, py)) in line.points.iter().enumerate() {
                let (cx, cy) = (left(&x, px), top(&y, py));
                if n == 0 {
                    let _ = write!(path, "M{cx:.1} {cy:.1}");
                } else {
                    if line.steps {
                        let _ = write!(path, "L{cx:.1} {last_y:.1}");
                    }
                    let _ = write!(path, "L{cx:.1} {cy:.1}");
                }
                last_y = cy;
            }
            let dash = if line.dashed { " stroke-dasharray='6 4'" } else { "" };
            let _ = write!(svg, "<path d='{path}' fill='none' stroke='{}' stroke-width='1.8'{dash}/>", colour(i));
        }
        let lines = self.lines.iter().enumerate().map(|(i, l)| {
            let form = if l.dashed { Swatch::Dashed } else { Swatch::Full };
            (colour(i), l.name.as_str(), form)
        });
        let bands = self.band_names.iter().enumerate().map(|(i, n)| (shade(i), n.as_str(), Swatch::Pale));
        legend(&mut svg, lines.chain(bands));
        svg.push_str("</svg>");
        svg
    }
}

impl Stack {
    /// The chart as an `<svg>` element; an empty column is left blank.
    pub fn to_svg(&self) -> String {
        let count = self.columns.len().max(1) as f64;
        let x = Axis::over([0.0, count].into_iter(), false);
        let y = Axis { min: 0.0, max: 100.0, step: 25.0 };
        let mut svg = open(&self.x_label, "share of requests (%)");
        grid(&mut svg, &x, &y);
        for (c, column) in self.columns.iter().enumerate() {
            let total: u64 = column.iter().sum();
            let mut below = 0u64;
            for (layer, &part) in column.iter().enumerate().filter(|(_, part)| **part > 0) {
                let share = |n: u64| 100.0 * n as f64 / total as f64;
                let (low, high) = (top(&y, share(below)), top(&y, share(below + part)));
                let (from, to) = (left(&x, c as f64), left(&x, (c + 1) as f64));
                let _ = write!(
                    svg,
                    "<rect x='{:.1}' y='{high:.1}' width='{:.1}' height='{:.1}' fill='{}'/>",
                    from + 0.5,
                    (to - from - 1.0).max(0.5),
                    low - high,
                    colour(layer)
                );
                below += part;
            }
        }
        legend(&mut svg, self.names.iter().enumerate().map(|(i, n)| (colour(i), n.as_str(), Swatch::Full)));
        svg.push_str("</svg>");
        svg
    }
}

/// Horizontal bars, longest scale first come, each with its figure.
pub fn bars(bars: &[Bar]) -> String {
    const ROW: f64 = 26.0;
    const NAME: f64 = 190.0;
    const FIGURE: f64 = 210.0;
    let longest = bars.iter().map(|b| b.value).fold(f64::MIN_POSITIVE, f64::max);
    let height = ROW * bars.len() as f64 + 8.0;
    let mut svg = format!("<svg viewBox='0 0 {WIDTH} {height}' role='img'>");
    for (i, bar) in bars.iter().enumerate() {
        let y = ROW * i as f64 + 4.0;
        let length = (bar.value / longest).clamp(0.0, 1.0) * (WIDTH - NAME - FIGURE);
        let _ = write!(
            svg,
            "<text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>\
             <rect x='{NAME}' y='{y:.1}' width='{length:.1}' height='{:.1}' fill='{}'/>\
             <text x='{:.1}' y='{:.1}'>{}</text>",
            NAME - 8.0,
            y + 15.0,
            escape(&bar.name),
            ROW - 6.0,
            colour(i),
            NAME + length + 6.0,
            y + 15.0,
            escape(&bar.text)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Text for HTML and for attributes in quotes.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
        out
    })
}

/// Colour of the i-th series (Okabe and Ito's palette without its yellow, black last; told apart by colour-blind readers).
pub fn colour(i: usize) -> &'static str {
    const PALETTE: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#888888", "#000000"];
    PALETTE[i % PALETTE.len()]
}

fn shade(i: usize) -> &'static str {
    const SHADES: [&str; 5] = ["#a6cee3", "#b2df8a", "#fb9a99", "#fdbf6f", "#cab2d6"];
    SHADES[i % SHADES.len()]
}

/// A range with round ticks.
struct Axis {
    min: f64,
    max: f64,
    step: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, room: bool) -> Self {
        let (min, max) = values
            .filter(|v| v.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if min > max {
            return Self { min: 0.0, max: 1.0, step: 0.25 };
        }
        let spread = if max > min { max - min } else { max.abs().max(1.0) };
        let raw = spread / 6.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(raw);
        if room {
            let (low, high) = ((min / step).floor() * step, (max / step).ceil() * step);
            return Self { min: low, max: if high > low { high } else { low + step }, step };
        }
        Self { min, max: if max > min { max } else { min + spread }, step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        let first = (self.min / self.step).ceil() as i64;
        let last = (self.max / self.step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step)
    }

    fn label(&self, value: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        let decimals = if (self.step * 10f64.powi(decimals as i32)).fract() > 1e-9 { decimals + 1 } else { decimals };
        let text = format!("{value:.decimals$}");
        if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text }
    }
}

fn open(x_label: &str, y_label: &str) -> String {
    format!(
        "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>\
         <text x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text>\
         <text transform='translate(14 {:.1}) rotate(-90)' text-anchor='middle'>{}</text>",
        LEFT + PLOT_WIDTH / 2.0,
        HEIGHT - 4.0,
        escape(x_label),
        TOP + PLOT_HEIGHT / 2.0,
        escape(y_label)
    )
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    for tick in y.ticks() {
        let cy = top(y, tick);
        let _ = write!(
            svg,
            "<line x1='{LEFT}' x2='{:.1}' y1='{cy:.1}' y2='{cy:.1}' class='grid'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
            LEFT + PLOT_WIDTH,
            LEFT - 6.0,
            cy + 4.0,
            y.label(tick)
        );
    }
    for tick in x.ticks() {
        let cx = left(x, tick);
        let _ = write!(
            svg,
            "<text x='{cx:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            TOP + PLOT_HEIGHT + 16.0,
            x.label(tick)
        );
    }
}

/// How an entry of the legend looks.
#[derive(Debug, Clone, Copy)]
enum Swatch {
    /// A line or a layer.
    Full,
    Dashed,
    /// A band behind the lines.
    Pale,
}

fn legend<'a>(svg: &mut String, entries: impl Iterator<Item = (&'static str, &'a str, Swatch)>) {
    let mut at = LEFT;
    for (colour, name, form) in entries {
        let _ = match form {
            Swatch::Full => write!(svg, "<rect x='{at:.1}' y='6' width='12' height='12' fill='{colour}'/>"),
            Swatch::Pale => {
                write!(svg, "<rect x='{at:.1}' y='6' width='12' height='12' fill='{colour}' opacity='0.45'/>")
            }
            Swatch::Dashed => {
                write!(svg, "<path d='M{at:.1} 12h12' stroke='{colour}' stroke-width='2.4' stroke-dasharray='5 2'/>")
            }
        };
        let _ = write!(svg, "<text x='{:.1}' y='16'>{}</text>", at + 16.0, escape(name));
        at += 34.0 + 6.8 * name.chars().count() as f64;
    }
}

fn left(axis: &Axis, value: f64) -> f64 {
    LEFT + PLOT_WIDTH * (value - axis.min) / (axis.max - axis.min)
}

fn top(axis: &Axis, value: f64) -> f64 {
    TOP + PLOT_HEIGHT * (1.0 - (value - axis.min) / (axis.max - axis.min))
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const TOP: f64 = 28.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - 14.0;
const PLOT_HEIGHT: f64 = HEIGHT - TOP - 44.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_cover_the_data_and_are_round() {
        let axis = Axis::over([0.3, 9.4].into_iter(), true);
        assert!(axis.min <= 0.3 && axis.max >= 9.4);
        assert_eq!(axis.ticks().map(|t| axis.label(t)).collect::<Vec<_>>(), ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn degenerate_data_draw_without_nan() {
        for points in [vec![], vec![(1.0, 5.0)], vec![(0.0, 0.0), (1.0, 0.0)], vec![(0.0, f64::NAN)]] {
            let line = Line { name: "a".into(), points, steps: true, dashed: false };
            let svg = Lines { lines: vec![line], ..Lines::default() }.to_svg();
            let axes = svg.split("<path").next().unwrap();
            assert!(!axes.contains("NaN") && !axes.contains("inf"), "{svg}");
        }
        assert!(!Stack { columns: vec![vec![0, 0]], ..Stack::default() }.to_svg().contains("NaN"));
    }

    #[test]
    fn names_are_escaped() {
        let svg = bars(&[Bar { name: "<b>&'".into(), value: 1.0, text: "\"1\"".into() }]);
        assert!(svg.contains("&lt;b&gt;&amp;&#39;") && svg.contains("&quot;1&quot;"));
    }
}
