//! What a database's error means, and who must act.

use crate::store::StoreError;

/// How bad an error is.
enum Means {
    /// Trying again later may help by itself.
    Passing,
    /// Somebody must mend the file, the server or the rights.
    Lasting,
    /// A rule of the tables would have been broken.
    Rule,
    /// A defect of this program.
    Defect,
}

/// PostgreSQL ended the connection because a transaction was idle for too long.
const TOO_IDLE: &str = "25P03";

/// Says what an error means: for `map_err`, where no rule of the tables can have been broken.
pub(in crate::store) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| classify(doing, error)
}

fn classify(doing: &'static str, error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return StoreError::Closed,
        _ => {}
    }
    match means(&error) {
        Means::Passing => StoreError::Io { doing, is_transient: true, source: Box::new(error) },
        Means::Lasting => StoreError::Io { doing, is_transient: false, source: Box::new(error) },
        Means::Rule | Means::Defect => StoreError::Database { doing, source: Box::new(error) },
    }
}

/// Gives the rule of the tables that a statement would have broken, if that is why it failed.
pub(in crate::store) fn broken_rule(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    matches!(means(error), Means::Rule).then(|| database.message().to_owned())
}

/// Says whether trying again later may help by itself.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    matches!(means(error), Means::Passing)
}

/// Says whether the connection went while a statement ran, so that nobody knows whether it was carried out.
pub(in crate::store) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == TOO_IDLE)
        }
        _ => false,
    }
}

fn means(error: &sqlx::Error) -> Means {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            Means::Passing
        }
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            match database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                Some(_) => postgres(&code),
                None => sqlite(&code),
            }
        }
        _ => Means::Defect,
    }
}

/// By the low byte of SQLite's extended codes.
fn sqlite(code: &str) -> Means {
    match code.parse::<i32>().map(|code| code & 0xff) {
        // Busy, locked, out of memory, input or output failed, full.
        Ok(5 | 6 | 7 | 10 | 13) => Means::Passing,
        // Read-only, damaged, cannot be opened, not a database.
        Ok(8 | 11 | 14 | 26) => Means::Lasting,
        Ok(19) => Means::Rule,
        _ => Means::Defect,
    }
}

/// By the class of PostgreSQL's SQLSTATE.
fn postgres(code: &str) -> Means {
    match code {
        // Too many connections, a failed serialisation, a deadlock, a lock that is held, a statement that took too long.
        "53300" | "40001" | "40P01" | "55P03" | "57014" | TOO_IDLE => Means::Passing,
        _ => match code.get(..2) {
            // No connection, no room, stopped by its operator, failed in its system.
            Some("08" | "53" | "57" | "58") => Means::Passing,
            // The password, the database's name, a transaction that may only read, a right that is missing.
            Some("28" | "3D" | "25") => Means::Lasting,
            _ if code == "42501" => Means::Lasting,
            Some("23") => Means::Rule,
            _ => Means::Defect,
        },
    }
}
