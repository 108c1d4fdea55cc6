//! One code per kind of mistake, and what `gristmill explain` says of it.
//!
//! G1… the text cannot be read as YAML; G2… what it says cannot be taken; G3… it can, but does not do what was probably
//! meant. A code never changes its meaning.

use std::fmt;

use super::diagnostic::Severity;

/// A kind of mistake, such as `G2103`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(&'static str);

impl Code {
    /// Gives it as it is shown.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Says whether the configuration can be used in spite of it.
    pub fn severity(self) -> Severity {
        if self.0.starts_with("G3") { Severity::Warning } else { Severity::Mistake }
    }

    /// Says whether what stands there may be a password, which is then not shown.
    pub(super) fn conceals(self) -> bool {
        [SECRET_VALUE, PASSWORD_IN_URL].contains(&self)
    }

    /// Gives all codes.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|&(code, _)| code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Explains a code in a paragraph; upper or lower case.
pub fn explain(code: &str) -> Option<&'static str> {
    let wanted = code.trim().to_ascii_uppercase();
    TABLE.iter().find(|(code, _)| code.0 == wanted).map(|&(_, text)| text)
}

macro_rules! codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(pub(super) const $name: Code = Code($code);)*
        const TABLE: &[(Code, &str)] = &[$(($name, $text)),*];
    };
}

codes! {
    UNREADABLE = "G1001",
        "The file cannot be read: it does not exist, is a folder, or may not be read by this user. Say which file is meant \
         (`gristmill check FILE`), or let `gristmill init` write one.";
    TOO_LARGE = "G1002",
        "The file is larger than a configuration may be. Generated rows usually belong into a matrix, and long scripts \
         into the repository that is built.";
    NOT_UTF8 = "G1003",
        "The file is not text in UTF-8. Save it as UTF-8; other encodings, compressed and binary files are not read.";
    CONTROL_CHARACTER = "G1004",
        "The file contains a character that cannot be meant, such as NUL. In a quoted text, write it as an escape \
         (\"\\u0007\").";
    SYNTAX = "G1005",
        "The text is not YAML. Nothing after this place was understood, so there may be more mistakes. The usual \
         causes: a bracket or quote that is not closed; a text with `: `, ` #`, `{`, `[`, `*`, `&`, `!`, `%` or `@` in \
         front that is not quoted; lines of one map that do not start in the same column.";
    TAB = "G1006",
        "YAML allows no tab where a line is indented. Use spaces, by custom two a level.";
    TOO_DEEP = "G1007",
        "Lists and maps are nested deeper than any configuration needs. Reading stops at once, so that a malicious or \
         damaged file costs nothing.";
    TOO_MANY = "G1008",
        "The text has too many values, counting each use of an alias anew. A few lines of aliases can stand for \
         billions of values; reading stops before they are made.";
    DUPLICATE_KEY = "G1009",
        "The same key stands twice in one map. Only one of them could hold, and which one is a guess; so neither is \
         taken. Rename or remove one.";
    SEVERAL_DOCUMENTS = "G1010",
        "A line `---` starts a second document. One file is one configuration.";
    NOTHING = "G1011",
        "The file has nothing in it. The smallest configuration has one repository, one builder and one scheduler; \
         `gristmill init` writes one for the repository it stands in.";
    YAML_FEATURE = "G1012",
        "The text uses a part of YAML that this language does without: tags (`!name`), keys that are lists or maps, an \
         alias within what it stands for. Anchors (`&name`), aliases (`*name`) and merge keys (`<<: *name`) are fine; \
         keep shared pieces under top-level keys that start with `x-`.";
    UNKNOWN_KEY = "G2001",
        "There is no such key here. Unknown keys are refused, so that a typing mistake never switches something off \
         without a word. `gristmill schema` prints all keys; editors complete them from it.";
    WRONG_TYPE = "G2002",
        "The value is of another kind than is needed here: a list where a text belongs, nothing where a map belongs. An \
         empty value (`key:`) is not the same as no key.";
    MISSING_KEY = "G2003",
        "A key that must be there is not. Nothing sensible could be assumed in its place.";
    UNKNOWN_WORD = "G2004",
        "Only a few words are possible here, and this is none of them. The help line lists them.";
    BAD_NAME = "G2005",
        "Names stand in addresses of pages, in files, in mails and on IRC. So they have 1 to 70 characters of `a-z`, \
         `A-Z`, `0-9`, `.`, `_` and `-`, and start with a letter or digit. Values in a matrix may be any short text \
         without `[`, `]` and `,`.";
    EXCLUDING_KEYS = "G2006",
        "These keys do not go together, or one of them is needed and none is there. A step, for instance, is either a \
         `checkout`, a `run` or a `trigger`.";
    BAD_DURATION = "G2010",
        "A duration is a number with a unit, `ms`, `s`, `m`, `h` or `d`, or several of them: `30s`, `10m`, `1h30m`, \
         `2d`. A number alone is refused, because its unit would be a guess.";
    BAD_NUMBER = "G2011", "A whole number is needed, within the limits that the message names.";
    BAD_CRON = "G2012",
        "A cron expression has five fields (minute, hour, day of month, month, day of week), six if it starts with \
         seconds, or is one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. If day of month and day of week \
         are both restricted, either is enough. Times are local to `timezone`.";
    BAD_TIMEZONE = "G2013",
        "A time zone is a name of the IANA database, such as `Europe/Berlin` or `UTC`. Abbreviations like `CEST` are \
         refused: they do not say when summer time begins.";
    BAD_PATTERN = "G2014",
        "A pattern cannot be read. A pattern is a glob (`release/*`, `src/**/*.rs`, `{a,b}`); `re:` in front makes it a \
         regular expression that must match the whole text; `!` in front of either takes away what it matches.";
    BAD_ADDRESS = "G2015",
        "An address cannot be used: a repository is `https://…`, `ssh://…`, `git@host:path`, `git://…`, `file://…` or \
         a path; a mail server is `smtp://host:587` or `smtps://host:465`; an IRC server and `listen` are `host:port`.";
    BAD_RECIPIENT = "G2016",
        "Somebody cannot be told this way. Mail goes to `culprits` (the authors since the last good build), `owners` \
         (of the project) or an address; IRC goes to channels that the notifier joins.";
    BAD_TEMPLATE = "G2017",
        "A template of a message cannot be read, or uses a name that no message has. Templates are checked at load, so \
         that no message is lost to one.";
    BAD_BRANCH = "G2018",
        "This can never be the name of a branch or of a folder in git. Patterns belong into `when` and `branches`; \
         where one branch is meant, it is named exactly.";
    BAD_VARIABLE = "G2019",
        "An environment variable's name has letters, digits and `_`, and does not start with a digit. Names that start \
         with `GRISTMILL_` are set by the service.";
    BAD_SUBSTITUTION = "G2020",
        "Only `${matrix.NAME}` is replaced, when the file is read, by the row's value. Nothing that comes from a push \
         is ever pasted into a script, because a branch may be named `$(rm -rf ~)`. What the build knows is in \
         environment variables: GRISTMILL_BRANCH, GRISTMILL_REVISION, GRISTMILL_BUILDER, GRISTMILL_BUILD and others; \
         use them in quotes. `${HOME}` and all else that the shell knows is left to the shell.";
    BARE_STEP = "G2021",
        "A step that is a text alone can only be `checkout`. Commands are written `run: …`, so that a typing mistake is \
         not run.";
    BAD_FOLDER = "G2022",
        "A folder is a relative path that stays below the build's own folder: no `/` in front, no `..` in it. Two \
         codebases cannot be checked out into one another, because cleaning one would remove the other.";
    BAD_REQUIREMENT = "G2030",
        "What is asked of a worker's label cannot be read. A requirement is a value, alternatives (`linux|freebsd`), a \
         comparison of dotted numbers (`\">=12\"`, `\">=12 <14\"`), a glob (`clang-*`), or any of them with `!` in front.";
    BAD_WINDOW = "G2031",
        "A window says on which days and from when to when builds may begin: `mon-fri 20:00-06:00`, `sat,sun`, or \
         `22:00-05:00` for every day. One that ends before it begins ends on the next day.";
    UNKNOWN_REPOSITORY = "G2101", "No repository has this name. Repositories are named under `repositories`.";
    UNKNOWN_PROJECT = "G2102", "No project has this name. Projects are named under `projects`.";
    UNKNOWN_BUILDER = "G2103",
        "No builder has this name. Builders are named under `builders`; a row of a builder with a matrix is \
         `name[value]`, and the name alone means all rows.";
    UNKNOWN_SCHEDULER = "G2104", "No scheduler has this name. Schedulers are named under `schedulers`.";
    UNKNOWN_NODE = "G2105",
        "`needs` names nodes of the same `build:`. What another scheduler builds is reached with a scheduler of kind \
         `dependent`.";
    UNKNOWN_SECRET = "G2106",
        "No secret has this name. Passwords, tokens and keys are never written here: name them under `secrets` with \
         the environment variable (`env`) or `file` that holds the value, and use the name.";
    UNKNOWN_NOTIFIER = "G2107", "No notifier has this name. Notifiers are named under `notifiers`.";
    UNKNOWN_ROW = "G2108", "The matrix has no such axis, or the axis has no such value.";
    SECRET_VALUE = "G2109",
        "A value stands where the name of a secret belongs. This file is read, copied and shown by many; so name the \
         secret under `secrets` with the environment variable (`env`) or `file` that holds the value, and use the name. \
         If the value was ever pushed or shared, change it.";
    CYCLE = "G2110",
        "Nodes of a `build:` need each other in a circle, so that none of them could ever start. Remove one of the \
         edges.";
    SCHEDULER_CYCLE = "G2111",
        "Schedulers set each other off in a circle, by `upstream` or by steps that trigger: one push would build for \
         ever. Remove one of the edges.";
    NOT_TRIGGERABLE = "G2112",
        "A trigger step starts a scheduler of kind `triggerable`, and nothing else. Give what it should build a \
         scheduler of that kind.";
    SECRET_NOT_FOR_BUILDS = "G2113",
        "Passwords of mail servers and keys of repositories are no business of any build. So a secret is given to \
         builders only if the place where it is defined says which: `projects`, `branches`, or both.";
    EMPTY = "G2120", "Something is there but has nothing in it, and so could never do anything.";
    NAME_TAKEN = "G2121", "Two things would have the same name, and could not be told apart on pages and in mails.";
    WRONG_FIELD = "G2122",
        "A match asks for something that what is matched never has, so it could never say yes. Schedulers judge \
         changes (repository, project, branch, tag, author, files, message, movement); routes judge what came of them \
         as well.";
    MIXED_CODEBASE = "G2123",
        "Builders of one scheduler are built from the same frozen revisions, one per codebase. So a codebase's name \
         must mean the same repository in all of them.";
    TOO_BIG = "G2124", "A limit of the language is passed. The limits keep a typing mistake from making a million builds.";
    CANNOT_RUN = "G3001",
        "No worker that this file knows of has what the builder requires; its builds would wait until one joins. \
         Labels of the built-in worker are set under `gristmill: labels:`; `os` and `arch` are found out.";
    NEVER_BUILT = "G3002", "No scheduler builds it, so it never runs.";
    NEVER_STARTED = "G3003", "A triggerable scheduler is started by `trigger` steps, and no step names it.";
    UNUSED = "G3004", "Nothing uses it. It may be left over, or what should use it names something else.";
    NEVER_MATCHES = "G3005",
        "A pattern can match nothing that this file defines, so the rule can never fire. Patterns over repositories, \
         projects, builders, schedulers and other fixed words are compared with what there is.";
    PASSWORD_IN_URL = "G3006",
        "The address has a password in it, which everybody who may read this file, its history and its page can read. \
         Use `credentials` with a secret.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_and_explained() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::all() {
            assert!(seen.insert(code), "{code} is there twice");
            let text = explain(&code.as_str().to_lowercase()).expect("it is explained");
            assert!(text.ends_with('.') && !text.contains("  ") && !text.contains('\n'), "{code}: {text}");
        }
        assert_eq!(explain("G9999"), None);
    }
}
