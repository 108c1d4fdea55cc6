//! Reading a stored delivery once more, as if it had just come.

use gristmill_model::{ChangeId, DeliveryId, RepositoryName};
use gristmill_schedulers::input::{Input, Reply};

use super::route::{Hooks, NOT_NEXT, dialect, record, sighting, unkept};
use super::{Meaning, meaning};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The changes that were accepted.
    pub changes: Vec<ChangeId>,
    /// In a sentence; it is recorded with the delivery.
    pub result: String,
}

/// A delivery as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its number.
    pub delivery: DeliveryId,
    /// The repository whose hook was called.
    pub repository: &'a RepositoryName,
    /// The headers that were kept, as JSON.
    pub headers: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Reads a delivery once more. Its signature was checked when it came, so it is not checked again. Doing this twice does
/// no harm: a movement is taken only if it follows what was accepted.
///
/// # Errors
/// In words, if the repository has no webhook any more, or the engine does not take it.
pub async fn replay(hooks: &Hooks, stored: Stored<'_>) -> Result<Replayed, String> {
    let Stored { delivery, repository, headers, body } = stored;
    let (config, forge) = dialect(hooks, repository).ok_or_else(|| {
        format!("`{repository}` has no webhook any more; configure it again to replay its deliveries")
    })?;
    let (result, changes) = match meaning(forge, &config, &unkept(headers), body) {
        Meaning::Nothing(why) => (why, Vec::new()),
        Meaning::Look(why) => hooks.look(repository, &why).await,
        // Before the first look nothing is accepted, so nothing can follow.
        Meaning::Moved(_) if hooks.engine().tips(repository).await.is_none() => hooks.look(repository, NOT_NEXT).await,
        Meaning::Moved(update) if hooks.have_ready(repository, &update).await.is_err() => {
            hooks.look(repository, "what it tells of could not be fetched").await
        }
        Meaning::Moved(update) => match hooks.engine().accept(Input::Sight(sighting(repository, *update))).await? {
            Reply::Sighted { changes, look_again } if look_again.is_empty() => {
                let result = match changes.as_slice() {
                    [] => "nothing new".to_owned(),
                    some => format!("change {}", some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
                };
                (result, changes)
            }
            Reply::Refused(denial) => return Err(denial.to_string()),
            _ => hooks.look(repository, NOT_NEXT).await,
        },
    };
    let result = format!("replayed: {result}");
    record(hooks, delivery, result.clone()).await;
    Ok(Replayed { changes, result })
}
