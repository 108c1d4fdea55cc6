//! What the web and the sources may ask of the engine.

use std::sync::Arc;

use async_trait::async_trait;
use gristmill_model::{Catalog, Reason, RepositoryName, RequestId, SecretName, Seq};
use gristmill_schedulers::input::Tips;
use gristmill_schedulers::{Input, Reply};
use tokio::sync::watch;

use crate::config;
use crate::engine::{self, Engine, EngineError};
use crate::sources::webhook::replay::{self, Replayed, Stored};
use crate::sources::webhook::route::Hooks;
use crate::sources::{self, Accept};
use crate::web::{Control, NotSubmitted, Once};

/// Finds a secret's value.
///
/// # Errors
/// In words that name the secret and never hold its value.
pub(super) fn secret(catalog: &Catalog, name: &SecretName) -> Result<String, String> {
    let source = catalog.secrets.get(name).ok_or_else(|| format!("secret `{name}` is not configured"))?;
    config::resolve_secret(source).map_err(|problem| format!("secret `{name}`: {}", crate::chain::chain(&problem)))
}

/// Finds the token that those must show who change something.
pub(super) fn token(catalog: &Catalog) -> Option<String> {
    let name = catalog.settings.token.as_ref()?;
    secret(catalog, name).map_err(|problem| tracing::error!("nobody can change anything by the web: {problem}")).ok()
}

/// The engine and the sources, as the web sees them.
#[derive(Debug)]
pub(super) struct Controls {
    pub(super) engine: Engine,
    pub(super) sources: sources::Handle,
    pub(super) hooks: Hooks,
}

#[async_trait]
impl Control for Controls {
    async fn submit(&self, input: Input) -> Result<Reply, String> {
        self.engine.submit(input).await.map_err(|problem| problem.to_string())
    }

    async fn submit_once(&self, once: Once, input: Input) -> Result<Reply, NotSubmitted> {
        let once = engine::Once { key: once.key, request_sha256: once.request_sha256 };
        self.engine.submit_once(input, once).await.map_err(|problem| match problem {
            EngineError::KeyReused => NotSubmitted::KeyTaken,
            problem => NotSubmitted::Failed(problem.to_string()),
        })
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.engine.catalog()
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.engine.head()
    }

    async fn explain(&self, request: RequestId) -> Vec<Reason> {
        self.engine.explain(request).await
    }

    async fn sweep(&self, repository: RepositoryName) -> Result<(), String> {
        self.sources.sweep_now(&repository).await.map(drop)
    }

    async fn replay(&self, stored: Stored<'_>) -> Result<Replayed, String> {
        replay::replay(&self.hooks, stored).await
    }
}

#[async_trait]
impl Accept for Engine {
    async fn accept(&self, input: Input) -> Result<Reply, String> {
        self.submit(input).await.map_err(|problem| problem.to_string())
    }

    async fn tips(&self, repository: &RepositoryName) -> Option<Tips> {
        Self::tips(self, repository).await
    }

    fn catalog(&self) -> Arc<Catalog> {
        Self::catalog(self)
    }
}
