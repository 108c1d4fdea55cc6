//! Circles among edges: a request that needs itself, however indirectly, waits for ever (S13).

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;

use super::check::Looked;
use crate::store::StoreError;
use crate::store::database::{Connection, failed, sql};
use crate::store::record::Record;

/// Edges by buildset, of those buildsets where one points at a later request: where all point back there is no circle.
const EDGES: &str = "SELECT request.buildset, edge.request, edge.needs
    FROM edge JOIN request ON request.id = edge.request
    WHERE request.buildset IN (SELECT later.buildset FROM edge AS upward JOIN request AS later ON later.id = upward.request
        WHERE upward.needs > upward.request)
    ORDER BY request.buildset";

/// Looks at one buildset's edges at a time.
pub(super) async fn look(connection: &mut Connection) -> Result<Looked, StoreError> {
    let mut found = Vec::new();
    let mut edges = Vec::new();
    let mut current = None;
    let mut rows = sql(EDGES).stream(connection);
    while let Some(row) = rows.try_next().await.map_err(failed("read edges"))? {
        let row = Record::of("edge", &row);
        let buildset = row.int("buildset")?;
        if current.is_some_and(|current| current != buildset) {
            found.extend(current.and_then(|current| circle_in(current, &edges)));
            edges.clear();
        }
        current = Some(buildset);
        edges.push((row.int("request")?, row.int("needs")?));
    }
    found.extend(current.and_then(|current| circle_in(current, &edges)));
    let count = found.len();
    found.truncate(super::ROWS_NAMED);
    Ok(Looked::of_rows(found, count, "the requests of the circle wait for each other for ever"))
}

fn circle_in(buildset: i64, edges: &[(i64, i64)]) -> Option<String> {
    let left = in_circles(edges);
    let names: Vec<String> = left.iter().take(super::ROWS_NAMED).map(ToString::to_string).collect();
    (!left.is_empty()).then(|| format!("requests {} of buildset {buildset} need each other", names.join(", ")))
}

/// Gives what is left when everything is taken away, again and again, that needs nothing that is left.
fn in_circles(edges: &[(i64, i64)]) -> Vec<i64> {
    let mut needs: BTreeMap<i64, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (request, needed) in edges {
        *needs.entry(*request).or_default() += 1;
        needs.entry(*needed).or_default();
        needed_by.entry(*needed).or_default().push(*request);
    }
    let mut free: Vec<i64> = needs.iter().filter(|(_, count)| **count == 0).map(|(request, _)| *request).collect();
    while let Some(done) = free.pop() {
        needs.remove(&done);
        for request in needed_by.get(&done).into_iter().flatten() {
            if let Some(count) = needs.get_mut(request) {
                *count -= 1;
                if *count == 0 {
                    free.push(*request);
                }
            }
        }
    }
    needs.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_what_is_left() {
        assert!(in_circles(&[(2, 1), (3, 2), (3, 1)]).is_empty());
        assert!(in_circles(&[(1, 3), (2, 3), (3, 4)]).is_empty());
        assert_eq!(in_circles(&[(2, 1), (1, 2), (4, 3)]), [1, 2]);
        assert_eq!(in_circles(&[(2, 1), (3, 2), (1, 3), (5, 3)]), [1, 2, 3, 5]);
    }
}

#[cfg(test)]
crate::store::database::statements![EDGES];
