//! The pool refuses, survives and forgets as it should.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use tintype_thumbnails::{Pool, PoolError};
use tokio::task::{JoinHandle, yield_now};

fn pool(threads: usize, queue: usize) -> Arc<Pool> {
    Arc::new(Pool::new(NonZeroUsize::new(threads).unwrap(), queue).unwrap())
}

/// Keeps one thread of the pool busy until the sender is used or dropped.
async fn occupy(pool: &Arc<Pool>) -> (Sender<()>, JoinHandle<Result<(), PoolError>>) {
    let (release, released) = channel::<()>();
    let pool = Arc::clone(pool);
    let busy = pool.running();
    let task = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(move || released.recv().unwrap_or(())).await }
    });
    while pool.running() == busy {
        yield_now().await;
    }
    (release, task)
}

/// Puts a job into the queue that says whether it was run.
async fn enqueue(pool: &Arc<Pool>) -> (Arc<AtomicBool>, JoinHandle<Result<(), PoolError>>) {
    let ran = Arc::new(AtomicBool::new(false));
    let queued = pool.queued();
    let task = tokio::spawn({
        let (pool, ran) = (Arc::clone(pool), Arc::clone(&ran));
        async move { pool.run(move || ran.store(true, Ordering::SeqCst)).await }
    });
    while pool.queued() == queued {
        yield_now().await;
    }
    (ran, task)
}

#[tokio::test]
async fn a_result_comes_back_and_its_thread_is_free_again() {
    let pool = pool(1, 0);

    let results = [pool.run(|| 40 + 2).await, pool.run(|| 43).await];

    assert_eq!(results, [Ok(42), Ok(43)]);
    assert_eq!((pool.running(), pool.queued()), (0, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_works_off_what_it_took() {
    let pool = pool(2, 1);
    let (release_first, first) = occupy(&pool).await;
    let (release_second, second) = occupy(&pool).await;
    let (ran, queued) = enqueue(&pool).await;

    let refused = pool.run(|| ()).await;

    assert_eq!(refused, Err(PoolError::Full));
    assert_eq!((pool.running(), pool.queued()), (2, 1));
    drop((release_first, release_second));
    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(second.await.unwrap(), Ok(()));
    assert_eq!(queued.await.unwrap(), Ok(()));
    assert!(ran.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_panicking_job_does_not_take_its_thread_along() {
    let pool = pool(1, 1);

    let panicked = pool.run(|| panic!("a decoder's assertion")).await;
    let next = pool.run(|| 7).await;

    assert_eq!(panicked, Err::<(), _>(PoolError::Panicked));
    assert_eq!(next, Ok(7));
}

#[tokio::test]
async fn a_job_whose_asker_has_gone_is_not_begun() {
    let pool = pool(1, 2);
    let (release, busy) = occupy(&pool).await;
    let (ran, abandoned) = enqueue(&pool).await;

    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    drop(release);
    busy.await.unwrap().unwrap();
    pool.run(|| ()).await.unwrap();

    assert!(!ran.load(Ordering::SeqCst));
}

#[tokio::test]
async fn abandoned_jobs_make_room_for_others() {
    let pool = pool(1, 1);
    let (release, busy) = occupy(&pool).await;
    let (_, abandoned) = enqueue(&pool).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());

    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(|| 1).await }
    });
    yield_now().await;
    drop(release);

    assert_eq!(waiting.await.unwrap(), Ok(1));
    busy.await.unwrap().unwrap();
}
