//! Every list is driven by an index: its cost depends on what it shows, never on how much there is.

use super::*;
use crate::store::Store;
use crate::store::database::{Text, sql};

/// Tables with one row per thing that is configured, of which all rows are shown.
const SMALL: [&str; 3] = ["SCAN timer", "SCAN worker", "SCAN repository"];

async fn plan(reader: &Reader, text: Text) -> Vec<String> {
    let text = text.sqlite();
    let explain: &'static str = format!("EXPLAIN QUERY PLAN {text}").leak();
    let rows = sql(explain).fetch_all(reader.pool()).await.unwrap_or_else(|error| panic!("{error}: {text}"));
    rows.iter().map(|row| row.value("detail").unwrap()).collect()
}

#[tokio::test]
async fn no_list_scans_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let reader = store.reader();
    let all: [(&str, &[(&str, Text)]); 10] = [
        ("build", &build::LISTS),
        ("buildset", &buildset::LISTS),
        ("change", &change::LISTS),
        ("incident", &incident::LISTS),
        ("journal", &journal::LISTS),
        ("blame", &blame::LISTS),
        ("outside", &outside::LISTS),
        ("overview", &overview::LISTS),
        ("request", &request::LISTS),
        ("scheduler", &scheduler::LISTS),
    ];
    let mut scans = String::new();
    for (noun, lists) in all {
        for (name, text) in lists {
            for step in plan(reader, *text).await {
                let is_fine = !step.starts_with("SCAN")
                    || step.contains("json_each")
                    || step.contains("CONSTANT ROW")
                    // A partial index of what is open is as short as what is open.
                    || step.contains("_open")
                    || SMALL.contains(&step.as_str());
                if !is_fine {
                    scans += &format!("{noun} {name}: {step}\n");
                }
            }
        }
    }
    expect_test::expect![[""]].assert_eq(&scans);
}

#[tokio::test]
async fn keyset_lists_are_not_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let mut sorted = String::new();
    for (noun, lists) in [("build", &build::LISTS[..]), ("buildset", &buildset::LISTS), ("change", &change::LISTS)] {
        for (name, text) in lists {
            let is_sorted = plan(store.reader(), *text).await.iter().any(|step| step.contains("TEMP B-TREE"));
            // Few rows each, and no page follows.
            if is_sorted && !name.starts_with("of a") && !name.starts_with("by revision") {
                sorted += &format!("{noun} {name}\n");
            }
        }
    }
    expect_test::expect![[""]].assert_eq(&sorted);
}
