//! What is read, as it is written.

mod answers;
mod build;
mod buildset;
mod change;
mod configured;
mod request;
mod status;

use axum::http::StatusCode;
use expect_test::Expect;

use super::world::{World, pretty};

pub(super) async fn check(world: &World, path: &str, expected: Expect) {
    let answer = world.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    expected.assert_eq(&pretty(&answer.json()));
}
