//! Every list is driven by an index: its cost depends on what it shows, never on how much there is.

use super::*;
use crate::store::Store;
use crate::store::database::{Connection, Place, Text, sql};
use crate::store::tests::{Kind, with_kinds};

/// Tables with one row per thing that is configured, of which all rows are shown.
const SMALL: [&str; 3] = ["SCAN timer", "SCAN worker", "SCAN repository"];

async fn plan(reader: &Reader, text: Text) -> Vec<String> {
    let text = text.sqlite();
    let explain: &'static str = format!("EXPLAIN QUERY PLAN {text}").leak();
    let rows = sql(explain).fetch_all(reader.pool()).await.unwrap_or_else(|error| panic!("{error}: {text}"));
    rows.iter().map(|row| row.value("detail").unwrap()).collect()
}

/// All lists, by noun.
const ALL: [(&str, &[(&str, Text)]); 11] = [
    ("result", &result::LISTS),
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

#[tokio::test]
async fn no_list_scans_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let reader = store.reader();
    let mut scans = String::new();
    for (noun, lists) in ALL {
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

/// Says how PostgreSQL would carry out a statement whose values it does not know, if it could not just read whole tables.
async fn plan_of_postgres(connection: &mut Connection, number: usize, text: Text) -> Vec<String> {
    let text = with_kinds(text.postgres());
    let mut places = 0;
    while text.contains(&format!("${}", places + 1)) {
        places += 1;
    }
    let nothing = if places == 0 { String::new() } else { format!("({})", vec!["NULL"; places].join(", ")) };
    let prepare: &'static str = format!("PREPARE list_{number} AS {text}").leak();
    connection.script(Text::Same(prepare)).await.unwrap_or_else(|error| panic!("{error}: {text}"));
    let explain: &'static str = format!("EXPLAIN EXECUTE list_{number}{nothing}").leak();
    let rows = sql(explain).fetch_all(&mut *connection).await.unwrap();
    rows.iter().map(|row| row.value::<String>("QUERY PLAN").unwrap().trim().to_owned()).collect()
}

#[tokio::test]
async fn no_list_needs_to_scan_a_table_of_postgresql() {
    /// Tables of which the state is loaded whole: they have a row for each thing that is, not for what was.
    const WHOLE: [&str; 10] =
        ["finding", "pace", "rating", "recipe", "repository", "ref_tip", "standing", "timer", "token", "worker"];
    const SETTINGS: &str =
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan";
    let folder = tempfile::tempdir().unwrap();
    let database = Kind::Postgres.database();
    Store::open_database(folder.path(), &database).await.unwrap().close().await;
    let mut connection = Place::of(folder.path(), &database).unwrap().open_writer().await.unwrap();
    connection.script(Text::Same(SETTINGS)).await.unwrap();
    let mut problems = String::new();
    let loads = crate::store::rows::LOADS.map(|text| ("", Text::Same(text)));
    let lists = ALL.into_iter().chain([("load", &loads[..])]);
    let lists = lists.flat_map(|(noun, lists)| lists.iter().map(move |list| (noun, *list)));
    for (number, (noun, (name, text))) in lists.enumerate() {
        let plan = plan_of_postgres(&mut connection, number, text).await;
        let is_whole = |table: &str| noun == "load" && WHOLE.contains(&table.split(' ').next().unwrap());
        let scans =
            plan.iter().filter(|step| step.split_once("Seq Scan on ").is_some_and(|(_, table)| !is_whole(table)));
        // Keyset pages: what they show is found in its order.
        let is_keyset = ["build", "buildset", "change"].contains(&noun);
        let is_page = is_keyset && !name.starts_with("of a") && !name.starts_with("by revision") && name != "by ids";
        let sorts = plan.iter().filter(|step| is_page && step.contains("Sort "));
        for step in scans.chain(sorts) {
            problems += &format!("{noun} {name}: {step} {text:?}\n");
        }
    }
    expect_test::expect![[""]].assert_eq(&problems);
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
