//! Parts shared by the files for other engines: text as YAML and as words of a shell, the pieces of a Kubernetes
//! manifest, the files of the experiment (`inputs`) and the processes of a live run (`processes`).

pub(crate) mod inputs;
pub(crate) mod processes;

use meshsim_experiment::Experiment;

use crate::error::Error;

/// A double-quoted YAML scalar.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Characters that YAML refuses or folds.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => out += &format!("\\u{:04x}", c as u32),
            c if c.is_control() => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A double-quoted YAML scalar for an engine that replaces variables: Compose, and Kubernetes in arguments, take `$$`
/// for a dollar.
pub(crate) fn argument(text: &str) -> String {
    quoted(text).replace('$', "$$")
}

/// A word of a POSIX shell.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The longest name that is made here; Kubernetes allows 63 characters, and a Job gives its pods a longer one.
const NAME_CHARS_MAX: usize = 40;

/// A name for an object of Kubernetes (RFC 1123 label): what is not allowed in one becomes `-`.
pub(crate) fn label(text: &str) -> String {
    let name: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(NAME_CHARS_MAX)
        .collect();
    match name.trim_matches('-') {
        "" => "experiment".into(),
        name => name.into(),
    }
}

/// The largest content of a ConfigMap, in bytes; it has 1 MiB for all.
const CONFIG_BYTES_MAX: usize = 1_000_000;

/// The experiment, with the overrides applied, and the files that it names, as a ConfigMap and as a volume.
pub(crate) struct Config {
    /// Files: the key in the ConfigMap, the name beside the experiment, and the text.
    files: Vec<(String, String, String)>,
    /// Folder in the container. A run without a name of its own is called after the folder of its `mesh.yaml`.
    folder: String,
}

impl Config {
    /// # Errors
    /// If the files are larger than a ConfigMap.
    pub(crate) fn new(experiment: &Experiment) -> Result<Self, Error> {
        let bytes = experiment.text.len() + experiment.files.iter().map(|file| file.text.len()).sum::<usize>();
        if bytes > CONFIG_BYTES_MAX {
            let why = format!("the experiment and its files are {bytes} bytes, and a ConfigMap has room for 1 MB");
            return Err(Error::WrongInput(why, "leave out what this run does not need".into()));
        }
        // Keys have fewer characters than names of files.
        let mut files = vec![("mesh.yaml".to_owned(), "mesh.yaml".to_owned(), experiment.text.to_string())];
        let others = experiment.files.iter().enumerate();
        files.extend(others.map(|(n, file)| (format!("file-{n}"), file.name.clone(), file.text.to_string())));
        Ok(Config { files, folder: format!("/experiment/{}", experiment.name.replace([':', '/'], "-")) })
    }

    /// The experiment in the container.
    pub(crate) fn path(&self) -> String {
        format!("{}/mesh.yaml", self.folder)
    }

    /// The files: the key of each, and its text.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(key, _, text)| (key.as_str(), text.as_str()))
    }

    /// The folder in the container.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// The ConfigMap.
    pub(crate) fn render(&self, name: &str, labels: &str) -> String {
        let mut out =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  labels: {labels}\ndata:\n");
        for (key, _, text) in &self.files {
            out += &format!("  {key}: {}\n", block(text, "    "));
        }
        out
    }

    /// The files of the volume: each by its key, under its name.
    pub(crate) fn items(&self, indent: &str) -> String {
        self.files
            .iter()
            .map(|(key, name, _)| format!("{indent}- {{ key: {key}, path: {} }}\n", quoted(name)))
            .collect()
    }
}

/// A text as a literal block where YAML can have it so, which a person can read; else quoted.
fn block(text: &str, indent: &str) -> String {
    let is_literal =
        |c: char| c == '\n' || (!c.is_control() && !"\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}\u{85}".contains(c));
    if text.is_empty()
        || text.starts_with([' ', '\n'])
        || !text.ends_with('\n')
        || text.ends_with("\n\n")
        || !text.chars().all(is_literal)
    {
        return quoted(text);
    }
    let lines = text.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("{indent}{line}\n") });
    format!("|\n{}", lines.collect::<String>().trim_end_matches('\n'))
}

/// Security of a pod, by the restricted profile of Kubernetes' Pod Security Standards. 65532 is the user of the image.
pub(crate) const POD_SECURITY: &str = "      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile: { type: RuntimeDefault }
";

/// Security of a container, by the same profile.
pub(crate) const CONTAINER_SECURITY: &str = "          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: { drop: [ALL] }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_for_yaml_for_variables_and_for_a_shell() {
        assert_eq!(quoted("a \"b\"\n$c"), r#""a \"b\"\u000a$c""#);
        assert_eq!(argument("$HOME"), "\"$$HOME\"");
        assert_eq!(word("it's 5"), r"'it'\''s 5'");
        assert_eq!(word("services.geo.instances=1..4"), "services.geo.instances=1..4");
    }

    #[test]
    fn any_name_becomes_a_label_of_kubernetes() {
        for (name, expected) in [("Größe 1", "gr--e-1"), ("null", "null"), ("---", "experiment"), ("", "experiment")]
        {
            assert_eq!(label(name), expected);
        }
        assert_eq!(label(&"a".repeat(300)).len(), NAME_CHARS_MAX);
    }

    #[test]
    fn a_text_that_a_literal_block_would_change_is_quoted() {
        assert_eq!(block("a: 1\n\nb: 2\n", "  "), "|\n  a: 1\n\n  b: 2");
        for text in ["", "a", " a\n", "\na\n", "a\n\n", "a\tb\n", "a\r\n", "a\u{2028}\n"] {
            assert!(block(text, "  ").starts_with('"'), "{text:?}");
        }
    }
}
