//! What pages of results have in common: nothing is loaded from elsewhere, and they are legible on light and dark
//! grounds.

use crate::plot::Plot;

/// The style sheet, with a form on a dark ground for every colour that plots use.
pub const STYLE: &str = include_str!("style.css");

/// A page from its beginning to its heading.
pub fn head(title: &str) -> String {
    head_with(title, "")
}

/// The same, with more elements in its head.
pub fn head_with(title: &str, elements: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n\
         <style>\n{STYLE}</style>\n{elements}</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escape(title),
    )
}

/// The end of a page.
pub const TAIL: &str = "</main>\n</body>\n</html>\n";

/// The drawing itself, described for those who do not see it.
pub fn figure(plot: &Plot) -> String {
    let described = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(&plot.description));
    format!("<figure>\n{}\n</figure>\n", plot.svg.trim().replacen("<svg ", &described, 1))
}

/// A text as it stands in a page, also within an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
        let page = head("<i>");
        assert!(page.contains("<title>&lt;i&gt;</title>") && page.contains("<h1>&lt;i&gt;</h1>"), "{page}");
        let plot =
            Plot { name: "x".into(), description: "what \"it\" shows".into(), svg: "<svg width=\"1\"></svg>\n".into() };
        let figure = figure(&plot);
        assert!(figure.contains("<svg role=\"img\" aria-label=\"what &quot;it&quot; shows\" width=\"1\">"), "{figure}");
    }
}
