//! The diagram as Mermaid draws it in Markdown: <https://mermaid.js.org/syntax/sequenceDiagram.html>.

use meshsim_report::plural;

use super::{Arrow, Diagram};

/// Mermaid refuses a text of 50,000 characters (`maxTextSize`).
const CHARS_MAX: usize = 48_000;

/// Of these, left for the comment at the end.
const COMMENT_CHARS: usize = 60;

/// The text, and how many messages found no room in it.
pub(in crate::command) fn write(diagram: &Diagram) -> (String, u64) {
    let mut text = String::from("sequenceDiagram\n");
    for (at, name) in diagram.actors.iter().enumerate() {
        text += &format!("    participant p{at} as {}\n", escaped(name));
    }
    let mut chars = text.chars().count();
    for (at, message) in diagram.messages.iter().enumerate() {
        let arrow = match message.arrow() {
            Arrow::Lost => "-x",
            Arrow::Plain => "->>",
            Arrow::Odd => "-->>",
        };
        let (from, to) = (message.from, message.to);
        let line = format!("    p{from}{arrow}p{to}: {}\n", escaped(&message.label()));
        chars += line.chars().count();
        if chars > CHARS_MAX - COMMENT_CHARS {
            let no_room = (diagram.messages.len() - at) as u64;
            return (text + &comment(diagram.left_out + no_room), no_room);
        }
        text += &line;
    }
    (text + &comment(diagram.left_out), 0)
}

/// Says in a comment how many messages are left out.
fn comment(left_out: u64) -> String {
    if left_out == 0 { String::new() } else { format!("    %% {} left out\n", plural(left_out, "message")) }
}

/// Characters that Mermaid or the page around it would take for more than text, by their numbers.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " -_.,:+()/!?=".contains(c) => out.push(c),
            c => out += &format!("#{};", u32::from(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_in_a_name_is_taken_for_more_than_text() {
        assert_eq!(escaped("a-0.b: +1ms é"), "a-0.b: +1ms é");
        assert_eq!(escaped("<b>\"x\";#\n%"), "#60;b#62;#34;x#34;#59;#35;#10;#37;");
    }
}
