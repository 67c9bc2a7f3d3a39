//! External text in a page, escaped so that it stays text: in HTML, and as JSON in a block of its own.

use std::fmt::Write;

use ring::digest::{SHA256, digest};

/// Text for HTML, in an element or in a quoted attribute.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A name within a sentence, isolated so that its direction of writing does not affect the text beside it.
pub(crate) fn name(name: &str) -> String {
    format!("<bdi>{}</bdi>", text(name))
}

/// JSON for a script element: no part of it can end the element, and its value is the same.
pub(crate) fn json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // In JSON these occur only in strings, where an escape means the same.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// Content security policy of a page with this script and this style: no other script runs, and no request is sent.
pub(crate) fn policy(script: &str, style: &str) -> String {
    let (script, style) = (sha256(script), sha256(style));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; \
         connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
}

fn sha256(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for bytes in digest(&SHA256, text.as_bytes()).as_ref().chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(bytes.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= bytes.len() { letter } else { '=' });
        }
    }
    out
}

/// A template with each `{{name}}` replaced. What is filled in is not looked at again.
pub(crate) fn filled(template: &str, fill: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        out.push_str(before);
        out.push_str(&fill(name));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</script><script>hit()</script>\"'&\u{2028}\u{202e}<!--{{data}}\\";

    #[test]
    fn json_in_a_page_means_the_same_and_cannot_end_its_element() {
        let plain = serde_json::to_string(HOSTILE).unwrap();
        let escaped = json(&plain);
        assert!(!escaped.contains(['<', '>', '&', '\u{2028}']), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), HOSTILE);
    }

    #[test]
    fn text_in_a_page_has_no_markup() {
        assert!(!text(HOSTILE).contains(['<', '>', '"', '\'']));
    }

    #[test]
    fn what_is_filled_in_is_no_template() {
        assert_eq!(filled("a{{x}}b{{y}}", |name| format!("{{{{{name}}}}}")), "a{{x}}b{{y}}");
    }

    #[test]
    fn a_hash_is_what_a_browser_computes() {
        assert_eq!(sha256("alert('Hello, world.');"), "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
    }
}
