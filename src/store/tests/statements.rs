//! Every statement is run on both databases, so that none is written in what only one of them speaks.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::{Column as _, Executor as _, SqlStr, Statement as _, TypeInfo as _};

use super::{Kind, with_kinds};
use crate::store::database::{Connection, Place, Statement, Text, broken_rule, bulk, sql};
use crate::store::{Database, commit, copy, inspect, leader, load, migrate, read, retire, rows, usage};

type Named = (&'static str, Text);

/// Lists every statement, by file.
fn all() -> Vec<(&'static str, Vec<Named>)> {
    let mut all = vec![
        ("commit.rs", commit::statements()),
        ("database/bulk.rs", bulk::statements()),
        ("database/mod.rs", crate::store::database::statements()),
        ("load.rs", load::statements()),
        ("migrate.rs", migrate::statements()),
        ("copy.rs", copy::statements()),
        ("leader.rs", leader::statements()),
        ("retire/builds.rs", retire::builds::statements()),
        ("retire/facts.rs", retire::facts::statements()),
        ("retire/mod.rs", retire::statements()),
        ("retire/rest.rs", retire::rest::statements()),
        ("usage.rs", usage::statements()),
    ];
    all.extend(read::statements());
    all.extend(rows::statements());
    all.extend(inspect::all_statements());
    all
}

/// Finds the constants that a file's statements are.
fn constants_of(text: &str) -> BTreeSet<String> {
    let is_constant =
        regex::Regex::new(r"(?m)^(?:pub\S*(?: [a-z:]+\))? )?const ([A-Z_0-9]+): (?:&str|Text) =").unwrap();
    is_constant.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn no_statement_is_forgotten() {
    // Settings and names, which are no statements; and what is said to one kind alone.
    const OTHERS: [&str; 27] = [
        "AMCHECK",
        "DANGLING",
        "DUMP",
        "EXPORT",
        "HAS_AMCHECK",
        "MEANS",
        "MEND",
        "MEND_ROWS",
        "PATTERN",
        "RESTORE",
        "TAKES_ALL",
        "WAL_PAGES",
        "WHOLE",
        "LOOK_MAX",
        "CHECK",
        "CHECK_REFERENCES",
        "GIVE_BACK",
        "DATABASE_FILE",
        "ESCAPED_ZERO",
        "IDLE_IN_TRANSACTION_MAX",
        "ITSELF",
        "LOCK_FILE",
        "LOCK_WAIT_MAX",
        "STATEMENT_MAX",
        "TOO_IDLE",
        "VERSION",
        "ZERO",
    ];
    let others: BTreeSet<String> = OTHERS.into_iter().map(ToOwned::to_owned).collect();
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let listed = all();
    for folder in ["", "database", "inspect", "read", "retire", "rows"] {
        for entry in std::fs::read_dir(store.join(folder)).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if !path.is_file() {
                continue;
            }
            let name = path.strip_prefix(&store).unwrap().to_str().unwrap();
            let constants = constants_of(&std::fs::read_to_string(&path).unwrap());
            let known = listed.iter().filter(|(file, _)| *file == name).flat_map(|(_, known)| known);
            let known: BTreeSet<String> = known.map(|(constant, _)| (*constant).to_owned()).collect();
            let forgotten: Vec<&String> = constants.difference(&known).filter(|name| !others.contains(*name)).collect();
            assert!(forgotten.is_empty(), "{name}: {forgotten:?}");
        }
    }
}

async fn open(database: &Database, folder: &Path) -> Connection {
    let place = Place::of(folder, database).unwrap();
    let mut connection = place.open_writer().await.unwrap();
    migrate::bring_up_to_date(&mut connection, "here").await.unwrap();
    connection
}

/// Says how PostgreSQL understands a statement: the kinds of its places, and of the columns of its answer.
async fn understood(
    connection: &mut Connection,
    text: &'static str,
) -> Result<(Vec<String>, Vec<String>), sqlx::Error> {
    let Connection::Postgres(link) = connection else { unreachable!("it is asked of PostgreSQL alone") };
    let statement = link.plain.prepare(SqlStr::from_static(with_kinds(text).leak())).await?;
    let places = match statement.parameters() {
        Some(sqlx::Either::Left(places)) => places.iter().map(|kind| kind.name().to_owned()).collect(),
        _ => Vec::new(),
    };
    Ok((places, statement.columns().iter().map(|column| column.type_info().name().to_owned()).collect()))
}

/// Gives every place a value that means nothing.
fn with_nothing(text: Text, places: &[String]) -> Statement {
    places.iter().fold(sql(text), |statement, kind| match kind.as_str() {
        // SQLite has no LIMIT that is nothing.
        "INT8" | "INT4" => statement.bind(0_i64),
        "BYTEA" => statement.bind(&[][..]),
        "TEXT" | "JSON" => statement.bind(None::<String>),
        other => panic!("{other} is no kind of value that the store has"),
    })
}

#[tokio::test]
async fn every_statement_runs_on_both_and_answers_in_kinds_that_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let database = Kind::Postgres.database();
    let mut postgres = open(&database, folder.path()).await;
    // Apart, because a connection keeps how it understood a statement when nobody said the kinds of its values.
    let mut asked = open(&database, folder.path()).await;
    let mut sqlite = open(&Kind::Sqlite.database(), folder.path()).await;
    let mut problems = String::new();
    for (file, statements) in all() {
        for (name, text) in statements {
            let (places, columns) = match understood(&mut asked, text.postgres()).await {
                Ok(understood) => understood,
                Err(error) => {
                    problems += &format!("{file} {name}: {error}\n");
                    continue;
                }
            };
            for column in columns
                .iter()
                .filter(|kind| !["INT8", "INT4", "BOOL", "TEXT", "BYTEA", "VOID"].contains(&kind.as_str()))
            {
                problems += &format!("{file} {name}: it answers with {column}\n");
            }
            for connection in [&mut postgres, &mut sqlite] {
                // What begins a transaction would nest in another.
                let begins = text.postgres().starts_with("BEGIN");
                if !begins {
                    connection.script(Text::Same("BEGIN")).await.unwrap();
                }
                match with_nothing(text, &places).execute(&mut *connection).await {
                    Ok(_) => {}
                    // Nothing is no value for what must have one.
                    Err(error) if broken_rule(&error).is_some() => {}
                    Err(error) => problems += &format!("{file} {name}: {error}\n"),
                }
                connection.script(Text::Same("ROLLBACK")).await.unwrap();
            }
        }
    }
    assert_eq!(problems, "");
}
