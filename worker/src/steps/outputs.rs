//! Values that a step writes to `$GRISTMILL_OUTPUT`: one `name=value` a line. Pure.

use std::collections::BTreeMap;

use gristmill_model::step::limit;

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// The values by name; the last one of a name counts.
    pub(crate) values: BTreeMap<String, String>,
    /// What was left out, and why.
    pub(crate) remarks: Vec<String>,
}

/// Reads the file's text. Only names that the step declares count.
pub(crate) fn read(text: &str, declared: &[String]) -> Outputs {
    let mut outputs = Outputs::default();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
        let problem = match line.split_once('=') {
            None => "it has no `=`".to_owned(),
            Some((name, _)) if !declared.iter().any(|known| known == name.trim()) => {
                format!(
                    "the step declares no output `{}`",
                    crate::conclude::one_line(&name.chars().take(70).collect::<String>())
                )
            }
            Some((_, value)) if value.len() > limit::OUTPUT_BYTES_MAX => {
                format!("its value has more than {} bytes", limit::OUTPUT_BYTES_MAX)
            }
            Some((name, value)) => {
                outputs.values.insert(name.trim().to_owned(), value.to_owned());
                continue;
            }
        };
        outputs.remarks.push(format!("line {number} of the outputs is left out: {problem}"));
    }
    outputs.remarks.truncate(limit::OUTPUTS_MAX);
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_values_count_and_others_are_named() {
        let declared = ["version".to_owned(), "empty".to_owned()];
        let outputs = read(
            &format!("version=1\nversion=2=3\n\nempty=\nother=x\nnonsense\nversion={}", "x".repeat(9999)),
            &declared,
        );
        let values: Vec<(&str, &str)> =
            outputs.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(values, [("empty", ""), ("version", "2=3")]);
        assert_eq!(
            outputs.remarks,
            [
                "line 5 of the outputs is left out: the step declares no output `other`",
                "line 6 of the outputs is left out: it has no `=`",
                "line 7 of the outputs is left out: its value has more than 4096 bytes",
            ]
        );
    }
}
