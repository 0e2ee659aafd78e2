//! Parts of a whole, shared out among the threads.

use std::{
    hint,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the caller waits for those at work before it sleeps.
const PATIENCE: Duration = Duration::from_micros(50);

/// Scores that are worth waking a thread: they take several times as long as that.
const SCORES_PER_HELPER: usize = if cfg!(miri) { 1 } else { 10 << 15 };

/// Runs over all parts, each with a value that a thread makes for itself and uses again.
///
/// The calling thread takes part: those of the pool may be asleep, and waking one takes
/// as long as hundreds of thousands of exponentials. A thread that wakes late finds less
/// to do.
///
/// `scores` is the number of scores in all parts.
pub fn share<P: Send, T>(
    scores: usize,
    parts: impl ExactSizeIterator<Item = P> + Send,
    own: impl Fn() -> T + Sync,
    each: impl Fn(&mut T, P) + Sync,
) {
    let count = parts.len();
    let parts = Mutex::new(parts);
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let Some(first) = next() else { return };
        let mut own = own();
        each(&mut own, first);
        while let Some(part) = next() {
            each(&mut own, part);
        }
    };
    // The last one that wakes is waited for, so each must have enough to do.
    let helpers = (rayon::current_num_threads() - 1)
        .min(count.saturating_sub(1))
        .min(scores / SCORES_PER_HELPER);
    if helpers == 0 {
        return work();
    }
    let active = AtomicUsize::new(0);
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| {
                let _guard = Active::new(&active);
                work();
            });
        }
        work();
        // To fall asleep and be woken takes longer than the rest of a part. A thread of
        // the pool has better things to do.
        let end = Instant::now();
        while rayon::current_thread_index().is_none()
            && active.load(Ordering::Acquire) > 0
            && end.elapsed() < PATIENCE
        {
            hint::spin_loop();
        }
    });
}

/// Counts a thread while it works.
struct Active<'a>(&'a AtomicUsize);

impl<'a> Active<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_part_is_taken_once_by_any_thread() {
        for count in [0, 1, 2, 3, 1000] {
            let run = |scores: usize| {
                let (sum, threads) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let own = || threads.fetch_add(1, Ordering::Relaxed);
                share(scores, 0..count, own, |_, part| {
                    sum.fetch_add(part + 1, Ordering::Relaxed);
                });
                assert_eq!(sum.into_inner(), count * (count + 1) / 2);
                assert!(threads.into_inner() <= count);
            };
            for scores in [0, usize::MAX] {
                run(scores);
                // Within the pool, too.
                rayon::join(|| run(scores), || run(scores));
            }
        }
    }

    #[test]
    #[should_panic(expected = "seventh")]
    fn a_panic_reaches_the_caller() {
        share(
            usize::MAX,
            0..100,
            || (),
            |_, part| assert!(part != 7, "seventh"),
        );
    }
}
