//! stub
use crate::store::Reader;
use gristmill_model::*;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::sync::watch;
pub struct Options {
    pub file: PathBuf,
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub worker: bool,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ServiceError;
pub struct Service {
    reader: Reader,
    head: watch::Receiver<Seq>,
}
impl Service {
    pub async fn start(_: Options) -> Result<Self, ServiceError> {
        Err(ServiceError)
    }
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
    pub fn head(&self) -> watch::Receiver<Seq> {
        self.head.clone()
    }
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
    pub async fn stop(self) {}
    pub async fn settle(&self) {}
    pub async fn sweep(&self, _: &RepositoryName) {}
}
