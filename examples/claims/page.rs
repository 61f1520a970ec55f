//! The rows as text and as a page.

use std::fmt::Write as _;

use hanzo_examples::chart::escape;

use crate::row::{Group, Row, Verdict};

/// Widths of source, claim, measured and verdict.
const WIDTHS: [usize; 4] = [16, 42, 54, 46];

/// What the numbers of the sources stand for.
const SOURCES: &str = "Sources: 000 Hanzo Network, v2025.09; 001 the README of hanzo-hmm 0.1.2; 002 Hanzo DSO; 003 Hanzo ACI; \
                       004 Zoo Network, v2025.09.";

/// Marks figures that are timings.
const TIMED: &str = " (timings of this machine)";

/// How many rows have each kind of verdict.
fn counts(groups: &[Group]) -> [usize; 4] {
    let mut counts = [0; 4];
    for row in groups.iter().flat_map(|group| &group.rows) {
        counts[row.verdict().kind()] += 1;
    }
    counts
}

fn cells(row: &Row) -> [String; 4] {
    let measured = format!("{}{}", row.measured, if row.timed { TIMED } else { "" });
    [row.source.to_owned(), row.claim.to_owned(), measured, row.verdict().text()]
}

/// The table in columns.
pub(crate) fn text(groups: &[Group]) -> String {
    let mut out = format!("{SOURCES}\n\n");
    line(&mut out, &["source", "claim", "measured or computed", "verdict"].map(str::to_owned));
    for group in groups {
        let _ = writeln!(out, "\n== {}", group.name);
        for row in &group.rows {
            line(&mut out, &cells(row));
        }
    }
    let counts = counts(groups);
    let _ = write!(out, "\n{} claims:", counts.iter().sum::<usize>());
    for (kind, count) in Verdict::KINDS.iter().zip(counts) {
        let _ = write!(out, " {kind} {count};");
    }
    out.pop();
    out.push('\n');
    out
}

/// One row of the table, as many lines as its longest cell takes, and an empty one.
fn line(out: &mut String, cells: &[String; 4]) {
    let wrapped: Vec<Vec<String>> = cells.iter().zip(WIDTHS).map(|(cell, width)| wrap(cell, width)).collect();
    for i in 0..wrapped.iter().map(Vec::len).max().unwrap_or(0) {
        let mut text = String::new();
        for (column, width) in wrapped.iter().zip(WIDTHS) {
            let part = column.get(i).map_or("", String::as_str);
            let _ = write!(text, "{part:width$} | ");
        }
        out.push_str(text.trim_end_matches(['|', ' ']));
        out.push('\n');
    }
    out.push('\n');
}

/// Words in lines of at most `width` characters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The table as a page.
pub(crate) fn html(groups: &[Group]) -> String {
    let mut page = String::from(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>The claims, tested</title><style>\
         body{font:15px/1.45 sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}\
         table{border-collapse:collapse;width:100%;table-layout:fixed;margin-bottom:2em}\
         th,td{border-bottom:1px solid #ddd;padding:.5em .6em;text-align:left;vertical-align:top;overflow-wrap:break-word}\
         th{border-bottom:2px solid #888}col.s{width:13%}col.c{width:25%}col.m{width:32%}col.v{width:30%}\
         td:first-child,.timed{color:#666;font-size:13px}b{display:inline-block;padding:.05em .5em;border-radius:.3em}\
         .k0{background:#cfe8d5}.k1{background:#dbeaf7}.k2{background:#f7dccf}.k3{background:#e6e6e6}</style>\
         <h1>The claims, tested</h1><p>Every figure was computed for this page, by the crates or from what they gave, and every \
         verdict follows from comparing figures with the claim's numbers. ",
    );
    page.push_str(SOURCES);
    page.push_str("</p><p>");
    for (kind, (name, count)) in Verdict::KINDS.iter().zip(counts(groups)).enumerate() {
        let _ = write!(page, "<b class='k{kind}'>{name}: {count}</b> ");
    }
    page.push_str("</p>");
    for group in groups {
        let _ = write!(
            page,
            "<h2>{}</h2><table><colgroup><col class='s'><col class='c'><col class='m'><col class='v'></colgroup>\
             <tr><th>source<th>claim<th>measured or computed<th>verdict</tr>",
            escape(group.name)
        );
        for row in &group.rows {
            let verdict = row.verdict();
            let kind = verdict.kind();
            let said = verdict.text();
            // The kind in colour, then the rest.
            let (head, rest) = match verdict {
                Verdict::Holds => (said.as_str(), ""),
                Verdict::Untestable(reason) => ("cannot be tested here", reason.as_str()),
                _ => said.split_once(':').unwrap_or((&said, "")),
            };
            let because = if kind == 3 { "because " } else { "" };
            let timed = if row.timed { "<div class='timed'>timings of this machine</div>" } else { "" };
            let _ = write!(
                page,
                "<tr><td>{}<td>{}<td>{}{timed}<td><b class='k{kind}'>{}</b> {because}{}</tr>",
                escape(row.source),
                escape(row.claim),
                escape(&row.measured),
                escape(head),
                escape(rest)
            );
        }
        page.push_str("</table>");
    }
    page.push_str("</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::equal;

    #[test]
    fn cells_wrap_and_are_escaped() {
        assert_eq!(wrap("aa bb  cc dddddd", 5), ["aa bb", "cc", "dddddd"]);
        let row = Row::new("000 1", "x < y", "3 < 4".into(), Verdict::Untestable("<none>".into()))
            .when([equal(3.0, 4.0)], Verdict::Holds)
            .timed();
        let groups = [Group { name: "hanzo-x", rows: vec![row] }];
        let table = text(&groups);
        assert!(table.contains("== hanzo-x") && table.contains("1 claims:"), "{table}");
        assert!(table.lines().skip(1).all(|line| line.chars().count() <= WIDTHS.iter().sum::<usize>() + 9), "{table}");
        let page = html(&groups);
        assert!(page.contains("x &lt; y") && page.contains("because &lt;none&gt;") && page.contains("of this machine"));
    }
}
