//! Tasks in the background, and blocking work, in one form each.
//!
//! tokio's own code for a task is generated anew for every kind of future and closure. In a box they are all of one kind,
//! which makes the library a tenth smaller and quicker to build; the box costs an allocation for each task.

use std::pin::Pin;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Begins a task that needs no waiting for.
pub(crate) fn background(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
    tokio::spawn(task)
}

/// Runs blocking work on a thread of its own; a panic in it goes on here.
pub(crate) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, mut result) = oneshot::channel();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        // The waiting task may be gone.
        let _ = done.send(work());
    });
    finished(tokio::task::spawn_blocking(work)).await;
    match result.try_recv() {
        Ok(result) => result,
        Err(_) => unreachable!("work that has ended gives its result"),
    }
}

/// The result of a thread; a panic in it goes on here.
pub(crate) async fn finished<T>(thread: JoinHandle<T>) -> T {
    match thread.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and the waiting task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
