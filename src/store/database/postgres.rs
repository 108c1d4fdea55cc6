//! PostgreSQL: how a server is reached, and which settings keep what is acknowledged.

use std::fmt;
use std::io::ErrorKind;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Row as _};

use super::packet::Link;
use super::{failed, failure};
use crate::store::StoreError;

/// The oldest version that is tested, as `server_version_num` says it: 14.
const VERSION_MIN: i32 = 140_000;
/// How long a statement may take. A turn takes milliseconds.
const STATEMENT_MAX: &str = "30s";
/// How long a statement of somebody who looks at everything may take, and its transaction may be idle meanwhile.
const LOOK_MAX: &str = "600s";
/// How long a statement waits for a lock that somebody else has.
const LOCK_WAIT_MAX: &str = "5s";
/// How long a transaction may be idle before the server ends it: what a dead master left open heals by this.
const IDLE_IN_TRANSACTION_MAX: &str = "15s";
/// How long opening a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an answer is waited for: longer than the server lets a statement take, so that only a server that cannot be
/// reached any more is given up.
const ANSWER_MAX: Duration = Duration::from_secs(45);
/// The same for somebody who looks at everything: longer than [`LOOK_MAX`].
const LOOK_ANSWER_MAX: Duration = Duration::from_secs(615);
/// How long closing a connection in order may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Connections for readers.
const READERS: u32 = 8;
/// How long a reader waits for a connection.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long an idle reader's connection is kept.
const READER_IDLE_MAX: Duration = Duration::from_secs(600);
/// Prepared statements kept per connection: more than there are.
const STATEMENTS_KEPT: usize = 256;

/// A database on a server.
#[derive(Clone)]
pub(in crate::store) struct Server {
    options: PgConnectOptions,
}

impl Server {
    /// Reads an address such as `postgres://user@host/database`. What it does not say is taken from `PGPASSWORD` and
    /// its kin, and from the user's password file.
    pub(in crate::store) fn parse(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::Address { why: error.to_string().replace(url, "it") })?
            .application_name("gristmill")
            .statement_cache_capacity(STATEMENTS_KEPT)
            .options([
                ("statement_timeout", STATEMENT_MAX),
                ("lock_timeout", LOCK_WAIT_MAX),
                ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX),
                // A backslash in a literal is a backslash.
                ("standard_conforming_strings", "on"),
            ])
            .disable_statement_logging();
        Ok(Self { options })
    }

    /// Gives what PostgreSQL's own programs are told by their environment, the password included.
    pub(in crate::store) fn environment(&self) -> Vec<(&'static str, String)> {
        let options = &self.options;
        let host = options.get_socket().map_or(options.get_host().into(), |socket| socket.to_string_lossy());
        let mut told = vec![
            ("PGHOST", host.into_owned()),
            ("PGPORT", options.get_port().to_string()),
            ("PGUSER", options.get_username().to_owned()),
            ("PGDATABASE", self.database().to_owned()),
            ("PGAPPNAME", "gristmill".to_owned()),
        ];
        // The other parts can only be had as an address; names that could not stand in one are told above.
        let mut address = options.clone().username("user").host("localhost").to_url_lossy();
        for (key, value) in address.query_pairs() {
            let name = match &*key {
                "sslmode" => "PGSSLMODE",
                "sslrootcert" => "PGSSLROOTCERT",
                "sslcert" => "PGSSLCERT",
                "sslkey" => "PGSSLKEY",
                _ => continue,
            };
            told.push((name, value.into_owned()));
        }
        if let Some(password) = address.password().map(|password| format!("password={password}")) {
            address.set_query(Some(&password));
            told.extend(address.query_pairs().map(|(_, password)| ("PGPASSWORD", password.into_owned())));
        }
        told
    }

    /// Names the database for a program that must be told by an argument; the rest is in its environment.
    pub(in crate::store) fn conninfo(&self) -> String {
        format!("dbname='{}'", self.database().replace('\\', "\\\\").replace('\'', "\\'"))
    }

    fn database(&self) -> &str {
        self.options.get_database().unwrap_or(self.options.get_username())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database();
        match self.options.get_socket() {
            Some(socket) => write!(f, "`{database}` at {}", socket.display()),
            None => write!(f, "`{database}` at {}:{}", self.options.get_host(), self.options.get_port()),
        }
    }
}

impl fmt::Debug for Server {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&format_args!("{self}")).finish()
    }
}

/// Opens the connection that writes, and checks that it keeps what it acknowledges.
pub(super) async fn open_writer(server: &Server) -> Result<Link, StoreError> {
    let mut connection: PgConnection =
        within(CONNECT_MAX, server.options.connect()).await.map_err(|source| StoreError::Unreached {
            server: server.to_string(),
            is_transient: failure::is_passing(&source),
            source: Box::new(source),
        })?;
    check_version(&mut connection).await?;
    let found: String = ask(&mut connection, "SELECT current_setting('synchronous_commit')").await?;
    // Everything else than these two may lose what was acknowledged when the server's machine loses power.
    if !matches!(found.as_str(), "on" | "remote_apply") {
        return Err(StoreError::Setting { setting: "synchronous_commit = on".to_owned(), found });
    }
    let found: String = ask(&mut connection, "SELECT current_setting('fsync')").await?;
    if found != "on" {
        return Err(StoreError::Setting { setting: "fsync = on".to_owned(), found });
    }
    Ok(Link::new(connection, ANSWER_MAX))
}

/// Opens a connection that only reads, and whose statements may take long.
pub(super) async fn open_looker(server: &Server) -> Result<Link, StoreError> {
    let options = server.options.clone().options([
        ("default_transaction_read_only", "on"),
        ("statement_timeout", LOOK_MAX),
        ("idle_in_transaction_session_timeout", LOOK_MAX),
    ]);
    let connection = within(CONNECT_MAX, options.connect()).await.map_err(failed("reach the database"))?;
    Ok(Link::new(connection, LOOK_ANSWER_MAX))
}

/// Makes the connections for readers, which cannot write; each is opened when it is first needed.
pub(super) fn open_readers(server: &Server) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT_MAX)
        .idle_timeout(READER_IDLE_MAX)
        .connect_lazy_with(server.options.clone().options([("default_transaction_read_only", "on")]))
}

/// Waits for an answer on a connection of one's own. One that does not come leaves the connection in doubt.
pub(super) async fn answered<T>(
    answer_max: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(answer_max, answer).await
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

/// Closes a connection, whoever is at its other end.
pub(super) async fn close(plain: PgConnection) -> Result<(), sqlx::Error> {
    use sqlx::Connection as _;
    within(CLOSE_MAX, plain.close()).await
}

async fn check_version(connection: &mut PgConnection) -> Result<(), StoreError> {
    let number = ask(connection, "SELECT current_setting('server_version_num')").await?;
    let name = ask(connection, "SELECT current_setting('server_version')").await?;
    refuse_old(&number, &name)
}

fn refuse_old(number: &str, name: &str) -> Result<(), StoreError> {
    if number.parse().unwrap_or(0) < VERSION_MIN {
        let wanted = (VERSION_MIN / 10_000).to_string();
        return Err(StoreError::ServerTooOld { found: format!("PostgreSQL {name}"), wanted });
    }
    Ok(())
}

async fn ask(connection: &mut PgConnection, text: &'static str) -> Result<String, StoreError> {
    let row = sqlx::query(text).fetch_one(connection).await.map_err(failed("ask the database for its settings"))?;
    row.try_get(0).map_err(failed("ask the database for its settings"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Database;

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_a_lost_connection() {
        let error = within(Duration::ZERO, std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert!(crate::store::database::is_lost(&error));
        assert!(failed("wait")(error).is_transient());
    }

    #[tokio::test]
    async fn an_answer_is_waited_for_longer_than_the_server_lets_a_statement_take() {
        let seconds = |setting: &str| Duration::from_secs(setting.strip_suffix('s').unwrap().parse().unwrap());
        let Database::Server(url) = crate::store::tests::Kind::Postgres.database() else { unreachable!("it is one") };
        let server = Server::parse(&url).unwrap();
        for (mut link, max) in [
            (open_writer(&server).await.unwrap(), seconds(STATEMENT_MAX)),
            (open_looker(&server).await.unwrap(), seconds(LOOK_MAX)),
        ] {
            let told = ask(&mut link.plain, "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'").await;
            assert_eq!(told.unwrap(), max.as_millis().to_string());
            assert!(link.answer_max > max, "{:?}", link.answer_max);
            close(link.plain).await.unwrap();
        }
    }

    #[test]
    fn an_old_server_is_refused_with_both_versions() {
        refuse_old("140000", "14.0").unwrap();
        let error = refuse_old("130014", "13.14 (Debian 13.14-1)").unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 13.14") && error.contains("needs PostgreSQL 14 or newer"), "{error}");
        refuse_old("CockroachDB", "CockroachDB").unwrap_err();
    }

    #[test]
    fn the_servers_programs_are_told_what_was_said() {
        let server =
            Server::parse("postgres://a%40da:p%40s%2Bs%20w@db.example.org:5433/mi'll?sslmode=require").unwrap();
        let told = server.environment();
        let of =
            |name: &str| told.iter().filter(|(told, _)| *told == name).map(|(_, value)| &**value).collect::<Vec<_>>();
        assert_eq!((of("PGHOST"), of("PGPORT"), of("PGUSER")), (vec!["db.example.org"], vec!["5433"], vec!["a@da"]));
        assert_eq!((of("PGDATABASE"), of("PGSSLMODE")), (vec!["mi'll"], vec!["require"]));
        assert_eq!(of("PGPASSWORD"), ["p@s+s w"]);
        assert_eq!(server.conninfo(), r"dbname='mi\'ll'");
        let told = Server::parse("postgres:///mill?host=/run/postgresql&user=ada").unwrap().environment();
        assert!(told.contains(&("PGHOST", "/run/postgresql".to_owned())), "{told:?}");
    }

    #[test]
    fn a_server_is_named_without_its_password() {
        let server = Server::parse("postgres://ada:secret@db.example.org:5433/mill").unwrap();
        assert_eq!(server.to_string(), "`mill` at db.example.org:5433");
        assert!(!format!("{server:?}").contains("secret"));
        let error = Server::parse("postgres://ada:secret@db:port/mill").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
