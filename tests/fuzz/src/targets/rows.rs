//! A database in which something else stands than was written.

use std::cell::OnceCell;

use axum::body::Body;
use axum::http::Request;
use gristmill_model::Seq;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::blind_seeds;
use super::world::{HOST, World};
use crate::Target;
use crate::source::Source;

pub(super) const ROWS: Target = Target {
    seeds: blind_seeds,
    words: &[
        "{}",
        "[]",
        "null",
        "{\"trigger\":",
        "\"changes\"",
        "9223372036854775807",
        "-9223372036854775808",
        "\"",
        "success",
        "main",
    ],
    size_max: 512,
    short: 40,
    millis_max: 3_000,
    ..Target::new(
        "rows",
        "whatever stands in any column, loading says what cannot be read or makes a state, and every page and list answers; with the column put right \
         the state is what it was",
        run,
    )
};

struct Damaged {
    world: World,
    connection: tokio::sync::Mutex<SqliteConnection>,
    /// Table, column, and whether it holds text.
    columns: Vec<(String, String, bool)>,
}

thread_local! {
    static DAMAGED: OnceCell<Damaged> = const { OnceCell::new() };
}

fn prepare() -> Damaged {
    let world = World::lived();
    let options = SqliteConnectOptions::new().filename(world.database()).foreign_keys(false);
    let (connection, columns) = world.wait(async {
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        run_sql(&mut connection, "PRAGMA ignore_check_constraints = ON").await;
        let tables = rows(&mut connection, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").await;
        let mut columns = Vec::new();
        for table in tables.iter().filter(|name| !name.starts_with("sqlite")) {
            run_sql(&mut connection, &format!("CREATE TEMP TABLE kept_{table} AS SELECT * FROM main.{table}")).await;
            for kind in ["TEXT", "INTEGER"] {
                let names = format!("SELECT name FROM pragma_table_info('{table}') WHERE type = '{kind}'");
                let names = rows(&mut connection, &names).await;
                columns.extend(names.into_iter().map(|name| (table.clone(), name, kind == "TEXT")));
            }
        }
        (connection, columns)
    });
    Damaged { world, connection: tokio::sync::Mutex::new(connection), columns }
}

async fn run_sql(connection: &mut SqliteConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

async fn rows(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

fn run(bytes: &[u8]) {
    DAMAGED.with(|cell| attack(cell.get_or_init(prepare), &mut Source::new(bytes)));
}

fn attack(damaged: &Damaged, source: &mut Source<'_>) {
    let Damaged { world, connection, columns } = damaged;
    let (table, column, is_text) = &columns[(source.below(256) * 256 + source.below(256)) % columns.len()];
    let before = world.wait(world.store.load()).expect("nothing is damaged yet");
    let sql = format!("UPDATE main.{table} SET {column} = ?");
    let done = world.wait(async {
        let mut connection = connection.lock().await;
        let query = sqlx::query(AssertSqlSafe(sql));
        let query = match is_text {
            true if source.once_in(4) => query.bind(source.text()),
            true => query.bind(String::from_utf8_lossy(source.bytes(300)).into_owned()),
            false => query.bind(source.number()),
        };
        query.execute(&mut *connection).await
    });
    if done.is_ok() {
        look(world, source);
    }
    world.wait(async {
        let mut connection = connection.lock().await;
        run_sql(&mut connection, "BEGIN IMMEDIATE").await;
        run_sql(&mut connection, &format!("DELETE FROM main.{table}")).await;
        run_sql(&mut connection, &format!("INSERT INTO main.{table} SELECT * FROM temp.kept_{table}")).await;
        run_sql(&mut connection, "COMMIT").await;
    });
    assert!(world.wait(world.store.load()).expect("it is put right") == before, "another state");
}

/// Reads everything that there is to read. An answer may be an error, in words.
fn look(world: &World, source: &mut Source<'_>) {
    if let Err(error) = world.wait(world.store.load()) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = world.wait(world.store.reader().events_after(Seq(0), 1000)) {
        assert!(!error.to_string().is_empty());
    }
    const PATHS: [&str; 24] = [
        "/",
        "/changes",
        "/changes/1",
        "/buildsets",
        "/buildsets/1",
        "/builds",
        "/builds/1",
        "/requests/1",
        "/queue",
        "/schedulers",
        "/workers",
        "/messages",
        "/api/v1/status",
        "/api/v1/changes",
        "/api/v1/changes/1",
        "/api/v1/buildsets/1",
        "/api/v1/builds/1",
        "/api/v1/builds/1/suspects",
        "/api/v1/requests/1",
        "/api/v1/incidents",
        "/api/v1/schedulers",
        "/api/v1/deliveries",
        "/api/v1/messages",
        "/api/v1/why?build=1",
    ];
    let first = source.below(PATHS.len());
    // A few of them each time, so that all come about.
    for at in 0..6 {
        let path = PATHS[(first + at * 5) % PATHS.len()];
        let request = Request::get(path).header("host", HOST).body(Body::empty()).unwrap();
        let answer = world.ask(request);
        let is_answer = answer.status.is_success()
            || answer.status.is_redirection()
            || matches!(answer.status.as_u16(), 400 | 404 | 500);
        assert!(is_answer && !answer.bytes.is_empty(), "{path}: {}", answer.status);
    }
}
