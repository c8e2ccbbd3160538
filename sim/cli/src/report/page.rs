//! One page with everything: nothing is loaded from elsewhere, which its policy forbids as well.

use std::fmt::Write as _;

use shoal_sim::{
    page::{TAIL, escape, figure, head_with},
    plot::Plot,
};

use super::Report;

/// Only what stands in the page itself may run or be shown.
const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
                      style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n";
const STYLE: &str = include_str!("page/animation.css");
const STAGE: &str = include_str!("page/animation.html");
const SCRIPT: &str = include_str!("page/animation.js");

impl Report {
    /// The page with its plots.
    pub(super) fn page(&self, plots: &[Plot]) -> String {
        let mut page =
            head_with(&format!("Shoal simulator: {}", self.title()), &format!("{POLICY}<style>\n{STYLE}</style>\n"));
        let _ = writeln!(page, "<p>{}</p>", escape(&self.setting()));
        page.push_str(&self.summary_list());
        page.push_str(&self.systems_html());
        page.push_str(&self.stage());
        for plot in plots {
            page.push_str(&figure(plot));
        }
        page.push_str(&self.figures_table());
        page.push_str(&self.origin());
        page.push_str(TAIL);
        page
    }

    fn summary_list(&self) -> String {
        let mut text = "<h2>In short</h2>\n<ul class=\"summary\">\n".to_owned();
        for sentence in self.summary() {
            let _ = writeln!(text, "<li>{}</li>", escape(&sentence));
        }
        text.push_str("</ul>\n");
        text
    }

    /// The animation, its data and its script; nothing where there is no moment to show.
    fn stage(&self) -> String {
        let Some(animation) = self.animation() else { return String::new() };
        // Numbers, plain letters and fault kinds only, but whatever it is, it must not end the element.
        let data = serde_json::to_string(&animation).expect("its keys are names").replace("</", "<\\/");
        format!("{STAGE}<script type=\"application/json\" id=\"run\">{data}</script>\n<script>\n{SCRIPT}</script>\n")
    }

    fn figures_table(&self) -> String {
        let mut text = "<h2>Figures</h2>\n<div class=\"wide\"><table>\n<tbody>\n".to_owned();
        for (name, value, note) in self.rows() {
            let _ = writeln!(
                text,
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"text\">{}</td></tr>",
                escape(name),
                escape(&value),
                escape(&note)
            );
        }
        text.push_str("</tbody>\n</table></div>\n");
        text
    }

    /// How to get the same again.
    fn origin(&self) -> String {
        format!(
            "<h2>The run</h2>\n<p>Shoal {}; simulated, in virtual time. What the simulator models and what not is in \
             docs/simulator.md. Equal scenarios, seeds and versions give equal runs.</p>\n<pre>{}</pre>\n\
             <p class=\"muted\">Event hash {}.</p>\n<details><summary>The scenario as it ran</summary>\n<pre>{}</pre>\n\
             </details>\n",
            escape(&self.context.version),
            escape(&self.context.command),
            escape(&self.figures.event_hash),
            escape(&self.scenario.to_toml()),
        )
    }
}
