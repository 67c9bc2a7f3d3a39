//! Self-contained pictures: SVG without scripts, fonts or external resources, in light and dark.

/// Style sheet. The colours are those of the report.
const STYLE: &str = "\
svg{background:#fff;font:12px system-ui,-apple-system,\"Segoe UI\",\"DejaVu Sans\",sans-serif}\
text{fill:#15191e;paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}.mut{fill:#59636e}.line{stroke:#b4bcc5}.msg{stroke:#2f7fbf;fill:none}.head{fill:#2f7fbf}\
.odd{stroke:#e3a512;stroke-dasharray:5 3;fill:none}.oddhead{fill:#e3a512}\
.bad{stroke:#c2410c;stroke-dasharray:5 3;fill:none}.badink{fill:#a8370a}.cross{stroke:#c2410c;stroke-width:2}\
.box{fill:#f6f7f9;stroke:#b4bcc5}.ok{fill:#00745a}.title{font-size:15px;font-weight:650}\
@media(prefers-color-scheme:dark){svg{background:#121518}text{fill:#e8ebee;stroke:#121518}.mut{fill:#9ba6b1}.line{stroke:#69747f}\
.msg{stroke:#4f9bd6}.head{fill:#4f9bd6}.odd{stroke:#f3dc83}.oddhead{fill:#f3dc83}.bad{stroke:#f26a2e}.badink{fill:#ff9a6b}\
.cross{stroke:#f26a2e}.box{fill:#1a1e23;stroke:#69747f}.ok{fill:#3ecfa5}}";

/// A whole picture of this size in pixels, with this content; `label` describes it for screen readers.
pub fn svg(width: f64, height: f64, label: &str, content: &str) -> String {
    let label = escaped(label);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n<title>{label}</title>\n\
         <style>{STYLE}</style>\n{content}</svg>\n"
    )
}

/// A text at a place, which it begins (`start`), ends (`end`) or stands around (`middle`).
pub fn text(x: f64, y: f64, anchor: &str, class: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>\n", escaped(text))
}

/// A straight line.
pub fn line(x1: f64, y1: f64, x2: f64, y2: f64, class: &str) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>\n")
}

/// The head of an arrow that comes from a place and ends at another.
pub fn head(x1: f64, y1: f64, x2: f64, y2: f64, class: &str) -> String {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = dx.hypot(dy).max(1e-9);
    let (dx, dy) = (dx / length, dy / length);
    let (bx, by) = (x2 - dx * 8.0, y2 - dy * 8.0);
    format!(
        "<path d=\"M{x2:.1} {y2:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" class=\"{class}\"/>\n",
        bx - dy * 3.5,
        by + dx * 3.5,
        bx + dy * 3.5,
        by - dx * 3.5,
    )
}

/// A cross at a place.
pub fn cross(x: f64, y: f64) -> String {
    line(x - 4.0, y - 4.0, x + 4.0, y + 4.0, "cross") + &line(x - 4.0, y + 4.0, x + 4.0, y - 4.0, "cross")
}

/// A text as XML has it. What XML cannot hold is replaced.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
