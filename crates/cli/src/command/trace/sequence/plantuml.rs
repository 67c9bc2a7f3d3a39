//! The diagram as PlantUML draws it: <https://plantuml.com/sequence-diagram>.

use meshsim_report::plural;

use super::{Arrow, Diagram};

pub(in crate::command) fn write(diagram: &Diagram) -> String {
    let mut text = String::from("@startuml\n");
    for (at, name) in diagram.actors.iter().enumerate() {
        text += &format!("participant \"{}\" as p{at}\n", escaped(name));
    }
    for message in &diagram.messages {
        let arrow = match message.arrow() {
            Arrow::Lost => "->x",
            Arrow::Plain => "->",
            Arrow::Odd => "-->",
        };
        let (from, to) = (message.from, message.to);
        text += &format!("p{from} {arrow} p{to} : {}\n", escaped(&message.label()));
    }
    if diagram.left_out > 0 {
        text += &format!("' {} left out\n", plural(diagram.left_out, "message"));
    }
    text + "@enduml\n"
}

/// Characters that PlantUML would take for more than text, by their numbers.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " .,:+()".contains(c) => out.push(c),
            // Two of them in a row would begin a style.
            '-' | '_' | '/' | '#' if !out.ends_with(c) => out.push(c),
            c => out += &format!("<U+{:04X}>", u32::from(c)),
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
        assert_eq!(escaped("<b>\"x\"\n--s--"), "<U+003C>b<U+003E><U+0022>x<U+0022><U+000A>-<U+002D>s-<U+002D>");
    }
}
