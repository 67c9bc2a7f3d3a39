//! Suggestions for a wrong command line.
//!
//! clap proposes words with the same beginning; these are proposed by the rule for the words of a file (a letter too
//! many, too few, wrong, or two exchanged): `rnu` is `run`.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};
use meshsim_experiment::nearest;

/// The error, with a suggestion if there is one. `line` is the command line, the program's name first.
pub(crate) fn suggest(mut error: Error, command: &Command, line: &[String]) -> Error {
    let words = line.get(1..).unwrap_or_default();
    let at = words.iter().fold(command, |at, word| at.find_subcommand(word).unwrap_or(at));
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let found = match error.kind() {
        ErrorKind::InvalidSubcommand => text(ContextKind::InvalidSubcommand).and_then(|wrong| {
            let near = nearest(&wrong, at.get_subcommands().map(Command::get_name))?;
            Some((ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near.into()])))
        }),
        ErrorKind::InvalidValue => text(ContextKind::InvalidValue).and_then(|wrong| {
            let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue) else { return None };
            let near = nearest(&wrong, valid.iter().map(String::as_str))?;
            Some((ContextKind::SuggestedValue, ContextValue::String(near.into())))
        }),
        ErrorKind::UnknownArgument => text(ContextKind::InvalidArg).and_then(|wrong| match wrong.strip_prefix("--") {
            Some(wrong) => {
                let longs = at.get_arguments().filter_map(|arg| arg.get_long());
                let near = format!("--{}", nearest(wrong, longs)?);
                Some((ContextKind::SuggestedArg, ContextValue::String(near)))
            }
            None => {
                let tip = format!("write it in one word: `{}`", in_one_word(at, words)?);
                Some((ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)])))
            }
        }),
        ErrorKind::ArgumentConflict => misspelt(at, words).map(|near| {
            let tip = format!("did you mean `{near}`?");
            (ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]))
        }),
        _ => None,
    };
    if let Some((kind, value)) = found
        && error.get(kind).is_none()
    {
        error.insert(kind, value);
    }
    error
}

/// The subcommand that was meant, where the command takes something else in its place: `trace graph` of `trace grpah`.
fn misspelt<'a>(command: &'a Command, words: &[String]) -> Option<&'a str> {
    let after = words.iter().position(|word| word == command.get_name())? + 1;
    nearest(words.get(after)?, command.get_subcommands().map(Command::get_name))
}

/// `--trace=jsonl` of `--trace jsonl`: an option whose value is optional takes it in the same word.
fn in_one_word(command: &Command, words: &[String]) -> Option<String> {
    words.windows(2).find_map(|pair| {
        let [option, value] = pair else { return None };
        let long = option.strip_prefix("--")?;
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long) && arg.is_require_equals_set())?;
        let is_value = arg.get_possible_values().iter().any(|known| known.matches(value, false));
        is_value.then(|| format!("--{long}={value}"))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Tips for a wrong command line, beside its error.
    fn tips(line: &str) -> String {
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let command = crate::Cli::command();
        let error = command.clone().try_get_matches_from(&line).unwrap_err();
        let text = suggest(error, &command, &line).to_string();
        text.lines().filter(|line| line.contains("tip:")).map(str::trim).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_misspelt_command_option_or_value_is_answered_with_what_was_meant() {
        let table = [
            ("meshsim rnu mesh.yaml", "run"),
            ("meshsim chekc mesh.yaml", "check"),
            ("meshsim ctl sotp", "stop"),
            ("meshsim run mesh.yaml --sede 7", "--seed"),
            ("meshsim run mesh.yaml --otu x", "--out"),
            ("meshsim run mesh.yaml --trace jsonl", "`--trace=jsonl`"),
            ("meshsim run --trace jsonl mesh.yaml", "`--trace=jsonl`"),
            ("meshsim run mesh.yaml --trace=jsnol", "jsonl"),
            ("meshsim import compsoe file.yaml", "compose"),
            ("meshsim schema sumary", "summary"),
            ("meshsim completions bsah", "bash"),
            ("meshsim trace grpah last", "graph"),
        ];
        for (line, meant) in table {
            assert!(tips(line).contains(meant), "{line}: {:?}", tips(line));
        }
        assert_eq!(tips("meshsim xyzzy"), "");
    }
}
