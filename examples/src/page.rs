//! The HTML pages that examples write: one file, one look, nothing fetched, no script.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::chart::escape;

/// A page under construction. Text is escaped; what [`chart::Lines::to_svg`](crate::chart::Lines::to_svg) and its like give is not.
#[derive(Debug, Clone)]
pub struct Page(String);

impl Page {
    /// A page with a title, which is its first heading too.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self(format!("{HEAD}<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\n"))
    }

    /// A heading.
    #[must_use]
    pub fn heading(mut self, text: &str) -> Self {
        self.0 += &format!("<h2>{}</h2>\n", escape(text));
        self
    }

    /// A paragraph.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0 += &format!("<p>{}</p>\n", escape(text));
        self
    }

    /// Elements as they are: a chart, a table.
    #[must_use]
    pub fn element(mut self, element: &str) -> Self {
        self.0 += element;
        self.0.push('\n');
        self
    }

    /// A heading and the chart below it.
    #[must_use]
    pub fn chart(self, heading: &str, svg: &str) -> Self {
        self.heading(heading).element(svg)
    }

    /// The whole page, ending with what the example printed.
    #[must_use]
    pub fn with_figures(self, printed: &str) -> String {
        self.heading("All figures").element(&format!("<pre>{}</pre>", escape(printed))).finish()
    }

    /// The whole page.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0 += "</body></html>\n";
        self.0
    }
}

/// Writes a file into a folder, which is made where there is none; its path.
///
/// # Errors
///
/// One line that names what cannot be written.
pub fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let said = |path: &Path, error: &dyn Display| format!("cannot write {}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| said(folder, &error))?;
    let file = folder.join(name);
    std::fs::write(&file, text).map_err(|error| said(&file, &error))?;
    Ok(file)
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\
    <meta name='viewport' content='width=device-width, initial-scale=1'>";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
    h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 0}p{margin:.25rem 0 .75rem;color:#555}\
    svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#444}.grid{stroke:#ddd;stroke-width:1}\
    pre{font-size:12px;line-height:1.45;overflow-x:auto;background:#f6f6f6;padding:1rem}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_elements_are_closed() {
        let page = Page::new("a < b").text("c & d").chart("'e'", "<svg></svg>").with_figures("f > g");
        for part in
            ["<title>a &lt; b</title>", "<h1>a &lt; b</h1>", "c &amp; d", "&#39;e&#39;", "<svg></svg>", "f &gt; g"]
        {
            assert!(page.contains(part), "{part} in {page}");
        }
        for tag in ["html", "head", "body", "style", "pre", "p", "h1", "h2", "svg"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag} in {page}");
        }
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = std::env::temp_dir().join(format!("hanzo-page-{}", std::process::id()));
        let file = write(&folder, "page.html", "text").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        let error = write(&file, "page.html", "text").unwrap_err();
        assert!(error.starts_with("cannot write") && error.contains("page.html"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
