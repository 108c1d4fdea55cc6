//! What only a server can do: end under us, stand still, be another's, promise less than it must.

use crate::postgres::{Postgres, ask};

#[test]
fn a_crashed_server_of_a_test_comes_back_with_what_it_had() {
    let server = Postgres::start();
    let url = server.database();
    ask(&url, "CREATE TABLE kept (a TEXT)").unwrap();
    ask(&url, "INSERT INTO kept VALUES ('yes')").unwrap();
    server.crash();
    assert!(matches!(ask(&url, "SELECT a FROM kept"), Err(sqlx::Error::Io(_))));
    server.resurrect();
    assert_eq!(ask(&url, "SELECT a FROM kept").unwrap(), ["yes"]);
    server.pause();
    server.unpause();
    server.stop();
    server.resurrect();
    assert_eq!(ask(&url, "SELECT a FROM kept").unwrap(), ["yes"]);
}
