//! The page around the plots: where the figures come from, and all of them as tables.

use super::super::figures::Line;
use super::super::table::{Cells, latencies, summary};
use super::theme::{FAINT, GRID, INK, PAPER, Pair, hex};
use std::fmt::Write;

/// The page, complete in itself.
pub(super) fn around(plots: &str, lines: &[Line], about: &str) -> String {
    let setup = lines.first().map(|line| line.setup);
    let settings = setup.map(|setup| {
        let duration = match (setup.seconds, setup.count) {
            (_, Some(count)) => format!("{count} jobs"),
            (seconds, None) => format!("{} s", seconds.unwrap_or(0.0)),
        };
        format!(
            "{duration} each, after {} s of warm-up; payloads of {} bytes; producers: {}, workers: {}, queues: {}, \
             keys: {}, groups: {}, other jobs waiting: {}.",
            setup.warm_up_seconds,
            setup.payload_bytes,
            setup.producers,
            setup.workers,
            setup.queues,
            setup.keys,
            setup.groups,
            setup.waiting
        )
    });
    let mut page = String::new();
    let parts = [
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n",
        "<title>jobraft bench</title>\n",
        &style(),
        "</head>\n<body>\n<h1>jobraft bench</h1>\n<p>",
        &escaped(about),
        "</p>\n<p class=\"faint\">",
        &escaped(&settings.unwrap_or_default()),
        "</p>\n<figure>\n",
        plots,
        "</figure>\n",
        &table(&summary(lines)),
        &table(&latencies(lines)),
        "<p class=\"faint\">enqueue: of a request, from when it was to be sent to its answer. dispatch: of a job, from that \
         answer to the beginning of its handler. complete: of a job, from the end of its handler to the confirmed \
         completion. Each figure is to be read beside the disk's: fdatasync is the median of 100 right before.</p>\n",
        "</body>\n</html>\n",
    ];
    parts.iter().for_each(|part| page.push_str(part));
    page
}

fn style() -> String {
    let variables = |pick: fn(Pair) -> plotters::style::RGBColor| {
        let names = [("ink", INK), ("faint", FAINT), ("grid", GRID), ("paper", PAPER)];
        names.map(|(name, pair)| format!("--{name}:{};", hex(pick(pair)))).concat()
    };
    format!(
        "<style>:root{{color-scheme:light dark;{}}}@media (prefers-color-scheme: dark){{:root{{{}}}}}\
         body{{margin:2rem auto;max-width:70rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);\
         background:var(--paper)}}h1{{font-size:1.5rem}}.faint{{color:var(--faint)}}figure{{margin:1.5rem 0}}\
         svg{{width:100%;height:auto}}div{{overflow-x:auto}}table{{border-collapse:collapse;margin:1.5rem 0;\
         font-variant-numeric:tabular-nums;white-space:nowrap}}th,td{{padding:.3rem .8rem;text-align:right;\
         border-bottom:1px solid var(--grid)}}th:first-child,td:first-child{{text-align:left;padding-left:0}}\
         th{{font-weight:600;font-size:.8rem;color:var(--faint)}}</style>\n",
        variables(|pair| pair.light),
        variables(|pair| pair.dark),
    )
}

fn table(cells: &Cells) -> String {
    let mut html = String::from("<div><table>\n<tr>");
    let mut put = |text: String| html.push_str(&text);
    cells.columns.iter().for_each(|column| put(format!("<th>{}</th>", escaped(column.trim_start_matches('>')))));
    put("</tr>\n".to_owned());
    for row in &cells.rows {
        let mut line = String::new();
        for cell in row {
            write!(line, "<td>{}</td>", escaped(cell)).expect("a string takes everything");
        }
        put(format!("<tr>{line}</tr>\n"));
    }
    put("</table></div>\n".to_owned());
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
