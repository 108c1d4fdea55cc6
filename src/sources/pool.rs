//! Where looking blocks: a few threads of our own, because a look cannot be stopped from outside and must not keep the
//! runtime's own blocking threads from their work.
//!
//! Repositories on this machine have threads to themselves, so that a push here never waits for a server elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// Looks at servers that go on at once.
pub const REMOTE_THREADS: usize = 4;
/// Looks at repositories on this machine that go on at once.
pub const LOCAL_THREADS: usize = 2;
/// Looks that wait for a thread of their kind; whoever asks for one more waits to ask.
pub const QUEUE_MAX: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped and their work is done.
#[derive(Debug)]
pub struct Pool {
    local: mpsc::Sender<Job>,
    remote: mpsc::Sender<Job>,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self { local: lane("git-local", LOCAL_THREADS)?, remote: lane("git-remote", REMOTE_THREADS)? })
    }

    /// Runs `job` on a thread; `None` if it panicked. Dropping the future does not end a job that has begun.
    pub async fn run<T: Send + 'static>(&self, is_local: bool, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let lane = if is_local { &self.local } else { &self.remote };
        let job = Box::new(move || {
            // Nobody may be waiting any more.
            sender.send(job()).ok();
        });
        lane.send(job).await.ok()?;
        receiver.await.ok()
    }
}

fn lane(name: &str, threads: usize) -> std::io::Result<mpsc::Sender<Job>> {
    let (sender, receiver) = mpsc::channel::<Job>(QUEUE_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..threads {
        let receiver = Arc::clone(&receiver);
        std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
            while let Some(job) = next(&receiver) {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a look at a repository panicked; what it was about is tried again later");
                }
            }
        })?;
    }
    Ok(sender)
}

fn next(receiver: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_told_and_the_thread_goes_on() {
        let pool = Pool::start().expect("threads can be had");
        for _ in 0..2 * LOCAL_THREADS {
            assert_eq!(pool.run(true, || std::panic::resume_unwind(Box::new(()))).await, None::<()>);
        }
        assert_eq!(pool.run(true, || 7).await, Some(7));
    }
}
