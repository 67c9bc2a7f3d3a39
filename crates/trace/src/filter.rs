//! A small language that selects records: `kind == lost && to ~ "node-1*" && at > 40s`.
//!
//! ```text
//! either     = both { "||" both }
//! both       = one { "&&" one }
//! one        = "!" one | "(" either ")" | flag | field compare value
//! compare    = "==" | "!=" | "~" | "!~" | "<" | "<=" | ">" | ">="
//! value      = a word, or a text in double quotes, in which \" is a quote and \\ a backslash
//! ```
//!
//! `~` compares with a pattern, in which `*` stands for any characters and `?` for one. A comparison with a field that
//! the record does not have is false, whatever the operator; `!(...)` inverts that.
//!
//! The language has no fields of its own. The caller of [`Filter::parse`] passes the [`Field`]s, and the caller of
//! [`Filter::accepts`] passes their [`Value`]s.

use std::fmt;
use std::ops::Range;

/// Longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting of parentheses and `!`.
pub const DEPTH_MAX: usize = 32;

/// A field that a record may have.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name of the field.
    pub name: &'static str,
    /// Type of its values.
    pub sort: Sort,
}

/// Type of a field.
#[derive(Clone, Debug)]
pub enum Sort {
    /// A word. If the list is not empty, the word must be in it, and a pattern must match a word of it.
    Word(Vec<String>),
    /// A number. The function converts the text, or returns the problem and a fix.
    Figure(fn(&str) -> Result<u64, [String; 2]>),
    /// A condition that holds or not, without a value.
    Flag,
}

/// Value of a field in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The record does not have the field.
    None,
    /// A word.
    Word(&'a str),
    /// Two words, each of which is a name for it.
    Words(&'a str, &'a str),
    /// A number.
    Figure(u64),
    /// All numbers from the first to the last.
    Figures(u64, u64),
    /// True if the condition holds.
    Flag(bool),
}

/// Error in the text of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The problem, in one line.
    pub message: String,
    /// Location of the error, as bytes of the text; empty at the end if something is missing.
    pub place: Range<usize>,
    /// A fix.
    pub help: String,
    /// The unknown word, and the known words in its place.
    pub unknown: Option<(String, Vec<String>)>,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.help)
    }
}

impl std::error::Error for FilterError {}

/// A condition on records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of these accept the record; true if there are none.
    All(Vec<Filter>),
    /// One of these accepts the record.
    Any(Vec<Filter>),
    /// This does not accept the record.
    Not(Box<Filter>),
    /// The condition of the field with this index holds.
    Flag(usize),
    /// The field with this index is a word, or matches a pattern.
    Word {
        /// The field.
        field: usize,
        /// The word or pattern.
        text: String,
        /// True if `*` and `?` are wildcards.
        is_pattern: bool,
        /// False for the opposite: the field must not match.
        is: bool,
    },
    /// The field with this index compares to a number.
    Figure {
        /// The field.
        field: usize,
        /// Operator.
        compare: Compare,
        /// Right operand.
        than: u64,
    },
}

/// Comparison of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    /// If the text is not of this language, or has an unknown field, word or number.
    pub fn parse(text: &str, fields: &[Field]) -> Result<Filter, FilterError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(FilterError {
                message: format!("the filter is longer than {TEXT_BYTES_MAX} bytes"),
                place: 0..0,
                help: "say the same in fewer words: patterns take many names at once".into(),
                unknown: None,
            });
        }
        let mut parser = Parser { text, at: 0, fields, depth: 0 };
        let filter = parser.either()?;
        match parser.next()? {
            (Token::End, _) => Ok(filter),
            (_, place) => Err(wrong("the filter goes on where it could end", place, "join two with `&&` or `||`")),
        }
    }

    /// Compares the field with this index with a word, as `==` does; for options of the command line. The text may be a
    /// pattern.
    ///
    /// # Errors
    /// If the field cannot have this value. The location is in the text.
    pub fn equal(field: usize, text: &str, fields: &[Field]) -> Result<Filter, FilterError> {
        let sign = if text.contains(['*', '?']) { Sign::Like } else { Sign::Equal };
        compared(field, fields, sign, text, 0..text.len(), 0..text.len())
    }

    /// True if the record is selected; `of` returns its value of the field with an index.
    pub fn accepts<'a>(&self, of: &mut impl FnMut(usize) -> Value<'a>) -> bool {
        match self {
            Filter::All(all) => all.iter().all(|one| one.accepts(of)),
            Filter::Any(any) => any.iter().any(|one| one.accepts(of)),
            Filter::Not(not) => !not.accepts(of),
            Filter::Flag(field) => of(*field) == Value::Flag(true),
            Filter::Word { field, text, is_pattern, is } => {
                let same = |word: &str| if *is_pattern { fits(text, word) } else { text == word };
                match of(*field) {
                    Value::Word(word) => same(word) == *is,
                    Value::Words(one, other) => (same(one) || same(other)) == *is,
                    _ => false,
                }
            }
            Filter::Figure { field, compare, than } => {
                let (low, high) = match of(*field) {
                    Value::Figure(figure) => (figure, figure),
                    Value::Figures(low, high) => (low, high),
                    _ => return false,
                };
                match compare {
                    Compare::Equal => (low..=high).contains(than),
                    Compare::Unequal => !(low..=high).contains(than),
                    Compare::Less => low < *than,
                    Compare::AtMost => low <= *than,
                    Compare::More => high > *than,
                    Compare::AtLeast => high >= *than,
                }
            }
        }
    }
}

/// True if a word matches a pattern. Takes time in proportion to the product of both lengths, and no more.
fn fits(pattern: &str, word: &str) -> bool {
    let (pattern, word): (Vec<char>, Vec<char>) = (pattern.chars().collect(), word.chars().collect());
    let (mut p, mut w, mut star) = (0, 0, None);
    while w < word.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, w));
                p += 1;
            }
            Some(c) if *c == '?' || *c == word[w] => (p, w) = (p + 1, w + 1),
            _ => {
                // The last `*` matches one more character.
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, w) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

impl Filter {
    /// True if it may accept one of many records, of which `leaf` says whether a single condition may hold for one. It
    /// is not asked for what stands under [`Filter::Not`].
    pub fn may_accept(&self, leaf: &mut impl FnMut(&Filter) -> bool) -> bool {
        match self {
            Filter::All(all) => all.iter().all(|one| one.may_accept(leaf)),
            Filter::Any(any) => any.iter().any(|one| one.may_accept(leaf)),
            Filter::Not(_) => true,
            Filter::Flag(_) | Filter::Word { .. } | Filter::Figure { .. } => leaf(self),
        }
    }

    /// True if this is a [`Filter::Word`] and accepts a field that is this word.
    pub fn takes(&self, word: &str) -> bool {
        matches!(self, Filter::Word { field, .. } if self.accepts(&mut |of| if of == *field { Value::Word(word) } else { Value::None }))
    }
}

fn wrong(message: impl Into<String>, place: Range<usize>, help: impl Into<String>) -> FilterError {
    FilterError { message: message.into(), place, help: help.into(), unknown: None }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Equal,
    Unequal,
    Like,
    Unlike,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Longer ones first: the first match is taken.
const SIGNS: [(&str, Sign); 9] = [
    ("==", Sign::Equal),
    ("!=", Sign::Unequal),
    ("!~", Sign::Unlike),
    ("<=", Sign::AtMost),
    (">=", Sign::AtLeast),
    ("=", Sign::Equal),
    ("~", Sign::Like),
    ("<", Sign::Less),
    (">", Sign::More),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Not,
    And,
    Or,
    Sign(Sign),
    /// A word; true if it was in quotes.
    Text(String, bool),
    End,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    fields: &'a [Field],
    depth: usize,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Filter, FilterError> {
        self.list(Token::Or, Filter::Any, Parser::both)
    }

    fn both(&mut self) -> Result<Filter, FilterError> {
        self.list(Token::And, Filter::All, Parser::one)
    }

    fn list(
        &mut self,
        between: Token,
        join: fn(Vec<Filter>) -> Filter,
        part: fn(&mut Self) -> Result<Filter, FilterError>,
    ) -> Result<Filter, FilterError> {
        let first = part(self)?;
        let mut parts = Vec::new();
        while self.take(&between)? {
            parts.push(part(self)?);
        }
        if parts.is_empty() {
            return Ok(first);
        }
        parts.insert(0, first);
        Ok(join(parts))
    }

    /// Takes the next token if it is this one.
    fn take(&mut self, wanted: &Token) -> Result<bool, FilterError> {
        let before = self.at;
        let is_it = self.next()?.0 == *wanted;
        if !is_it {
            self.at = before;
        }
        Ok(is_it)
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        let (token, place) = self.next()?;
        match token {
            Token::Not | Token::Open => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    let help = format!("at most {DEPTH_MAX} parentheses and `!` stand within each other");
                    return Err(wrong("the filter is too deep", place, help));
                }
                let filter = if token == Token::Not {
                    Filter::Not(self.one()?.into())
                } else {
                    let inner = self.either()?;
                    let (token, close) = self.next()?;
                    if token != Token::Close {
                        let what = "something else stands where the parenthesis could close";
                        let message = if token == Token::End { "a parenthesis is not closed" } else { what };
                        let at = if token == Token::End { place } else { close };
                        return Err(wrong(
                            message,
                            at,
                            "each `(` needs its `)`; two filters are joined by `&&` or `||`",
                        ));
                    }
                    inner
                };
                self.depth -= 1;
                Ok(filter)
            }
            Token::Text(name, false) => self.comparison(&name, place),
            Token::End => Err(wrong("something is missing here", place, "write as in `kind == lost && at > 40s`")),
            _ => Err(wrong("a field should stand here", place, "write as in `kind == lost && at > 40s`")),
        }
    }

    fn comparison(&mut self, name: &str, place: Range<usize>) -> Result<Filter, FilterError> {
        let Some(field) = self.fields.iter().position(|field| field.name == name) else {
            let names: Vec<String> = self.fields.iter().map(|field| field.name.to_owned()).collect();
            let help = format!("the fields are {}", names.join(", "));
            let message = format!("there is no field `{name}`");
            return Err(FilterError { unknown: Some((name.into(), names)), ..wrong(message, place, help) });
        };
        let before = self.at;
        let (token, sign_place) = self.next()?;
        let Token::Sign(sign) = token else {
            self.at = before;
            return match self.fields[field].sort {
                Sort::Flag => Ok(Filter::Flag(field)),
                _ => Err(wrong(
                    format!("`{name}` is compared with nothing"),
                    place,
                    format!("write {}", example(&self.fields[field])),
                )),
            };
        };
        let (token, value_place) = self.next()?;
        let Token::Text(text, _) = token else {
            let help = format!("write {}", example(&self.fields[field]));
            return Err(wrong("a value should stand here", value_place, help));
        };
        compared(field, self.fields, sign, &text, sign_place, value_place)
    }

    /// The next token, and its location.
    fn next(&mut self) -> Result<(Token, Range<usize>), FilterError> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[start..];
        let fixed = [("&&", Token::And), ("||", Token::Or), ("(", Token::Open), (")", Token::Close)];
        let sign = || SIGNS.iter().find(|(text, _)| rest.starts_with(text));
        let (token, len) = if rest.is_empty() {
            (Token::End, 0)
        } else if let Some((text, token)) = fixed.into_iter().find(|(text, _)| rest.starts_with(text)) {
            (token, text.len())
        } else if let Some((text, sign)) = sign() {
            (Token::Sign(*sign), text.len())
        } else if rest.starts_with('!') {
            (Token::Not, 1)
        } else if rest.starts_with('"') {
            quoted(rest).ok_or_else(|| {
                wrong("a quote is not closed", start..self.text.len(), "a text ends with `\"`; `\\\"` is a quote in it")
            })?
        } else {
            let is_end = |c: char| c.is_whitespace() || "()!=<>~&|\"".contains(c);
            let len = rest.find(is_end).unwrap_or(rest.len());
            if len == 0 {
                return Err(wrong("one `&` or `|` joins nothing", start..start + 1, "write `&&` or `||`"));
            }
            (Token::Text(rest[..len].into(), false), len)
        };
        self.at = start + len;
        Ok((token, start..self.at))
    }
}

/// The quoted text at the start of the rest, and its length in bytes.
fn quoted(rest: &str) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Token::Text(text, true), at + 1)),
            '\\' => text.push(chars.next()?.1),
            _ => text.push(c),
        }
    }
    None
}

fn example(field: &Field) -> String {
    match &field.sort {
        Sort::Word(known) => {
            let word = known.first().map_or("name", String::as_str);
            let is_plain = word.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
            let quote = if is_plain { "" } else { "\"" };
            format!("`{} == {quote}{word}{quote}`", field.name)
        }
        Sort::Figure(read) => {
            let value = ["10s", "10"].into_iter().find(|text| read(text).is_ok()).unwrap_or("10");
            format!("`{} > {value}`", field.name)
        }
        Sort::Flag => format!("`{0}` or `!{0}`", field.name),
    }
}

fn compared(
    field: usize,
    fields: &[Field],
    sign: Sign,
    text: &str,
    sign_place: Range<usize>,
    place: Range<usize>,
) -> Result<Filter, FilterError> {
    let it = &fields[field];
    let name = it.name;
    match &it.sort {
        Sort::Flag => {
            let help = format!("write {}", example(it));
            Err(wrong(format!("`{name}` holds or not, and is compared with nothing"), sign_place, help))
        }
        Sort::Word(known) => {
            let (is_pattern, is) = match sign {
                Sign::Equal => (false, true),
                Sign::Unequal => (false, false),
                Sign::Like => (true, true),
                Sign::Unlike => (true, false),
                _ => {
                    let help = format!("compare `{name}` by ==, !=, ~ or !~");
                    return Err(wrong("words have no order", sign_place, help));
                }
            };
            let is_known = |word: &String| if is_pattern { fits(text, word) } else { word == text };
            if !known.is_empty() && !known.iter().any(is_known) {
                let never = if is_pattern { "never fits" } else { "is never" };
                let help = format!("`{name}` is one of {}", listed(known));
                let unknown = (!is_pattern).then(|| (text.to_owned(), known.clone()));
                let message = format!("`{name}` {never} `{text}`");
                return Err(FilterError { unknown, ..wrong(message, place, help) });
            }
            Ok(Filter::Word { field, text: text.into(), is_pattern, is })
        }
        Sort::Figure(read) => {
            let compare = match sign {
                Sign::Equal => Compare::Equal,
                Sign::Unequal => Compare::Unequal,
                Sign::Less => Compare::Less,
                Sign::AtMost => Compare::AtMost,
                Sign::More => Compare::More,
                Sign::AtLeast => Compare::AtLeast,
                Sign::Like | Sign::Unlike => {
                    let help = format!("compare `{name}` by ==, !=, <, <=, > or >=");
                    return Err(wrong("a number fits no pattern", sign_place, help));
                }
            };
            let than = read(text).map_err(|[message, help]| wrong(message, place, help))?;
            Ok(Filter::Figure { field, compare, than })
        }
    }
}

/// The first words of a list, and the number of the others.
fn listed(words: &[String]) -> String {
    const SHOWN_MAX: usize = 24;
    let mut text = words.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if words.len() > SHOWN_MAX {
        text += &format!(" and {} more", words.len() - SHOWN_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields() -> Vec<Field> {
        let whole = |text: &str| text.parse().map_err(|_| ["no number".to_owned(), "write 7".to_owned()]);
        let known = ["node-1", "node-12", "odd \"name\" & <b>\n"].map(str::to_owned).to_vec();
        vec![
            Field { name: "to", sort: Sort::Word(known) },
            Field { name: "any", sort: Sort::Word(vec![]) },
            Field { name: "at", sort: Sort::Figure(whole) },
            Field { name: "lost", sort: Sort::Flag },
        ]
    }

    fn accepts(text: &str, values: [Value<'_>; 4]) -> bool {
        let filter = Filter::parse(text, &fields()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        filter.accepts(&mut |field| values[field])
    }

    #[test]
    fn a_filter_accepts_exactly_the_records_that_it_describes() {
        let it = [Value::Word("node-12"), Value::Words("a", "b"), Value::Figures(3, 5), Value::Flag(true)];
        for (text, expected) in [
            ("lost", true),
            ("!lost", false),
            ("to == node-12 && lost", true),
            ("to=node-1||lost", true),
            ("to == node-1 && lost || at == 9", false),
            ("to == node-1 && (lost || at == 4)", false),
            ("to ~ \"node-1*\"", true),
            ("to ~ node-? ", false),
            ("to ~ *de-?2", true),
            ("to !~ node-1*", false),
            ("to != node-1", true),
            ("any == a && any == b", true),
            ("any != a", false),
            ("at == 4 && at != 6 && at < 4 && at > 4 && at >= 5 && at <= 3", true),
            ("at < 3 || at > 5 || at == 2", false),
            ("!!(!(lost) || at > 3)", true),
        ] {
            assert_eq!(accepts(text, it), expected, "{text}");
        }
        let nothing = [Value::None; 4];
        for text in ["to == node-1", "to != node-1", "at < 9", "at != 9", "lost", "any !~ x*"] {
            assert!(!accepts(text, nothing), "{text}");
            assert!(accepts(&format!("!({text})"), nothing), "{text}");
        }
        let odd = [Value::Word("odd \"name\" & <b>\n"), Value::None, Value::None, Value::None];
        assert!(accepts("to == \"odd \\\"name\\\" & <b>\n\"", odd));
    }

    #[test]
    fn errors_are_reported_with_their_location() {
        for (text, wrong, place) in [
            ("", "something is missing here", ""),
            ("lost &&", "something is missing here", ""),
            ("(lost", "a parenthesis is not closed", "("),
            ("lost lost", "the filter goes on where it could end", "lost"),
            ("lost & at > 3", "one `&` or `|` joins nothing", "&"),
            ("knd == 3", "there is no field `knd`", "knd"),
            ("to == nod-1", "`to` is never `nod-1`", "nod-1"),
            ("to ~ x*", "`to` never fits `x*`", "x*"),
            ("to < node-1", "words have no order", "<"),
            ("lost == true", "`lost` holds or not, and is compared with nothing", "=="),
            ("at", "`at` is compared with nothing", "at"),
            ("at > soon", "no number", "soon"),
            ("at ~ 3", "a number fits no pattern", "~"),
            ("at > &&", "a value should stand here", "&&"),
            ("any == \"x", "a quote is not closed", "\"x"),
            ("== 3", "a field should stand here", "=="),
        ] {
            let error = Filter::parse(text, &fields()).unwrap_err();
            assert_eq!((error.message.as_str(), &text[error.place.clone()]), (wrong, place), "{text}: {error:?}");
        }
        let deep = |depth: usize| format!("{}lost{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Filter::parse(&deep(DEPTH_MAX), &fields()).is_ok());
        assert_eq!(Filter::parse(&deep(DEPTH_MAX + 1), &fields()).unwrap_err().message, "the filter is too deep");
        assert!(Filter::parse(&"lost||".repeat(2_000), &fields()).is_err());
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_defined(pattern in "[ab*?]{0,8}", word in "[ab]{0,8}") {
            fn slow(pattern: &[u8], word: &[u8]) -> bool {
                match (pattern, word) {
                    ([], _) => word.is_empty(),
                    ([b'*', rest @ ..], _) => (0..=word.len()).any(|taken| slow(rest, &word[taken..])),
                    ([b'?', rest @ ..], [_, after @ ..]) => slow(rest, after),
                    ([c, rest @ ..], [d, after @ ..]) => c == d && slow(rest, after),
                    (_, []) => false,
                }
            }
            prop_assert_eq!(fits(&pattern, &word), slow(pattern.as_bytes(), word.as_bytes()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z=!~<>&|()\"\\\\* ö]{0,40}") {
            if let Err(error) = Filter::parse(&text, &fields()) {
                prop_assert!(text.get(error.place.clone()).is_some(), "{:?}", error);
            }
        }
    }
}
