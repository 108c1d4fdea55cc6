//! The installation: which one it is after a restore, and which numbers count as given out.

use gristmill_model::{Digest, InstanceEpoch, LastIds, Timestamp};

use crate::store::database::sql;
use crate::store::writes::Writes;

/// An installation never goes back to an earlier one.
const RESTORE: &str = "UPDATE instance SET epoch = $1, restored_at = $2 WHERE one = 1 AND epoch < $1";
const RAISE: &str = "INSERT INTO number_floor (noun, last) VALUES ($1, $2)
    ON CONFLICT (noun) DO UPDATE SET last = excluded.last WHERE number_floor.last <= excluded.last";
/// A recipe that a request still refers to cannot go.
const RETIRE_RECIPE: &str = "DELETE FROM recipe WHERE digest = $1";

pub(super) fn restored(writes: &mut Writes, instance: InstanceEpoch, last: &LastIds, at: Timestamp) {
    writes.one("instance", instance.0, sql(RESTORE).bind(instance.0).bind(at.0));
    for (noun, last) in floors(last) {
        writes.one("number_floor", noun, sql(RAISE).bind(noun).bind(last));
    }
}

pub(super) fn recipes_retired(writes: &mut Writes, recipes: &[Digest]) {
    for recipe in recipes {
        writes.one("recipe", recipe, sql(RETIRE_RECIPE).bind(recipe.as_str()));
    }
}

/// Lists the numbers by the names under which they are stored.
fn floors(last: &LastIds) -> [(&'static str, i64); 7] {
    let LastIds { change, delivery, buildset, request, build, incident, message } = *last;
    [
        ("change", change.0),
        ("delivery", delivery.0),
        ("buildset", buildset.0),
        ("request", request.0),
        ("build", build.0),
        ("incident", incident.0),
        ("message", message.0),
    ]
}

/// Raises the number of one noun to its floor.
pub(in crate::store) fn raise(last: &mut LastIds, noun: &str, floor: i64) {
    let number = match noun {
        "change" => &mut last.change.0,
        "delivery" => &mut last.delivery.0,
        "buildset" => &mut last.buildset.0,
        "request" => &mut last.request.0,
        "build" => &mut last.build.0,
        "incident" => &mut last.incident.0,
        "message" => &mut last.message.0,
        _ => return,
    };
    *number = floor.max(*number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_is_stored_is_read_back() {
        let mut read = LastIds::default();
        for (index, (noun, _)) in floors(&read).into_iter().enumerate() {
            raise(&mut read, noun, i64::try_from(index).unwrap() + 1);
            raise(&mut read, noun, 0);
        }
        assert_eq!(floors(&read).map(|(_, last)| last), [1, 2, 3, 4, 5, 6, 7]);
    }
}

#[cfg(test)]
crate::store::database::statements![RESTORE, RAISE, RETIRE_RECIPE];
