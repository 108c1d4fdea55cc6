//! "Did you mean": the nearest known name.

/// Longer names are not compared: whoever mistypes one has other problems, and comparing is quadratic.
const NAME_BYTES_MAX: usize = 100;
/// Names compared with one mistyped one.
const CANDIDATES_MAX: usize = 2_000;

/// Finds the candidate nearest to `wanted`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    if wanted.is_empty() || wanted.len() > NAME_BYTES_MAX {
        return None;
    }
    let tolerated = match wanted.chars().count() {
        1..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter(|candidate| candidate.len().abs_diff(wanted.len()) <= 8 && candidate.len() <= NAME_BYTES_MAX)
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= tolerated && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Counts edits; `_` for `-`, a plural, or one name within the other count as near.
fn distance(wanted: &str, candidate: &str) -> usize {
    if wanted.replace('_', "-") == candidate.replace('_', "-") {
        return 0;
    }
    let is_part =
        wanted.len() >= 4 && candidate.len() >= 4 && (candidate.starts_with(wanted) || wanted.starts_with(candidate));
    let edits = strsim::osa_distance(wanted, candidate);
    if is_part { edits.min(3) } else { edits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_recognised_and_strangers_are_not() {
        let known = ["linux-x64", "docs", "on-failure", "repositories", "git"];
        for (wanted, found) in [
            ("linux-x46", Some("linux-x64")),
            ("doc", Some("docs")),
            ("on_failure", Some("on-failure")),
            ("repository", Some("repositories")),
            ("Git", Some("git")),
            ("repositorys", Some("repositories")),
            ("windows", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, known), found, "{wanted}");
        }
    }
}
