//! The queue without a database: the test controls the verb.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    sync::Semaphore,
    task::{JoinHandle, yield_now},
    time::{Duration, sleep},
};

use super::{Answer, LAST_TRY, Limits, Queue, Verb};
use crate::{
    error::{Error, ErrorKind, Result},
    token::SessionId,
};

const DEADLINE: Duration = Duration::from_secs(2);

/// An item: its session, and the result of the statement that contains it.
#[derive(Clone, Debug)]
struct Item {
    id: SessionId,
    bytes: usize,
    fails: Option<ErrorKind>,
    /// How many statements find it locked.
    locked: Arc<AtomicUsize>,
}

impl Item {
    fn answer(&self) -> Answer<SessionId> {
        let still_locked =
            self.locked.fetch_update(SeqCst, SeqCst, |times| times.checked_sub(1)).is_ok();
        if still_locked { Answer::Locked } else { Answer::Done(self.id) }
    }
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Vec<SessionId>>>);

/// Each statement waits for a permit, and answers every item with the item's id.
#[derive(Debug)]
struct Fake<const SHARES: bool> {
    permits: Arc<Semaphore>,
    log: Arc<Log>,
}

impl<const SHARES: bool> Verb for Fake<SHARES> {
    const NAME: &'static str = "fake";
    type Item = Item;
    type Output = SessionId;
    const SHARES: bool = SHARES;
    const WRITES: bool = !SHARES;

    fn id(item: &Item) -> SessionId {
        item.id
    }

    fn bytes(item: &Item) -> usize {
        item.bytes
    }

    async fn run(&self, items: &[Item]) -> Result<Vec<Answer<SessionId>>> {
        let ids = items.iter().map(|item| item.id).collect::<Vec<_>>();
        self.log.0.lock().unwrap().push(ids.clone());
        self.permits.acquire().await.unwrap().forget();
        assert!(items.iter().all(|item| item.bytes > 0), "an item of the tests' that panics");
        match items.iter().find_map(|item| item.fails) {
            Some(kind) => Err(Error::new(kind, "the statement failed").with_source("the source")),
            None => Ok(items.iter().map(Item::answer).collect()),
        }
    }
}

struct Bench<const SHARES: bool> {
    queue: Arc<Queue<Fake<SHARES>>>,
    permits: Arc<Semaphore>,
    log: Arc<Log>,
}

impl<const SHARES: bool> Bench<SHARES> {
    /// Whether nothing of any runtime is left in the queue.
    fn is_idle(&self) -> bool {
        self.queue.0.state.lock().unwrap().is_empty()
    }

    fn new(lanes: usize) -> Self {
        let (permits, log) = (Arc::new(Semaphore::new(0)), Arc::<Log>::default());
        let fake = Fake { permits: permits.clone(), log: log.clone() };
        let limits = Limits { lanes, rows: 256, deadline: DEADLINE };
        Self { queue: Arc::new(Queue::new(fake, limits)), permits, log }
    }

    /// A request in flight: it has a lane, or waits for one.
    async fn request(&self, item: Item) -> JoinHandle<Result<SessionId>> {
        let queue = self.queue.clone();
        let request = tokio::spawn(async move { queue.submit(item).await });
        settle().await;
        request
    }

    /// Lets this many statements end.
    async fn end(&self, statements: usize) {
        self.permits.add_permits(statements);
        settle().await;
    }

    fn sizes(&self) -> Vec<usize> {
        self.log.0.lock().unwrap().iter().map(Vec::len).collect()
    }
}

/// Lets every task run as far as it can: the tests' runtime has one thread.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

fn item() -> Item {
    Item { id: SessionId::generate(), bytes: 1, fails: None, locked: Arc::default() }
}

#[tokio::test]
async fn a_lone_request_runs_its_own_statement_at_once() {
    let bench = Bench::<true>::new(2);
    let item = item();
    let request = bench.request(item.clone()).await;
    assert_eq!(bench.sizes(), [1]);
    bench.end(1).await;
    assert_eq!(request.await.unwrap().unwrap(), item.id);
}

#[tokio::test]
async fn what_arrives_while_the_lanes_are_taken_is_one_statement_in_the_order_of_ids() {
    let bench = Bench::<true>::new(2);
    let mut requests = vec![bench.request(item()).await];
    requests.push(bench.request(item()).await);
    assert_eq!(bench.sizes(), [1], "one waits for the next statement of the lane");
    requests.push(bench.request(item()).await);
    assert_eq!(bench.sizes(), [1, 2], "two are enough for another lane");
    let mut items: Vec<Item> = (0..10).map(|_| item()).collect();
    items.reverse();
    for item in &items {
        requests.push(bench.request(item.clone()).await);
    }
    assert_eq!(bench.sizes(), [1, 2], "no third");
    bench.end(1).await;
    assert_eq!(bench.sizes(), [1, 2, 10]);
    bench.end(2).await;
    let batch = bench.log.0.lock().unwrap()[2].clone();
    assert!(batch.is_sorted());
    let mut answers = HashMap::new();
    for request in requests {
        *answers.entry(request.await.unwrap().unwrap()).or_insert(0) += 1;
    }
    assert!(items.iter().all(|item| answers[&item.id] == 1), "everybody has their own answer");
}

#[tokio::test]
async fn two_loads_of_a_session_share_a_statement_and_two_saves_do_not() {
    let (loads, saves) = (Bench::<true>::new(1), Bench::<false>::new(1));
    let item = item();
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(loads.request(item.clone()).await);
        requests.push(saves.request(item.clone()).await);
    }
    loads.end(2).await;
    saves.end(3).await;
    assert_eq!(loads.sizes(), [1, 2]);
    assert_eq!(saves.sizes(), [1, 1, 1], "each in its turn");
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), item.id);
    }
}

#[tokio::test]
async fn a_bad_row_fails_alone() {
    let bench = Bench::<true>::new(1);
    let first = bench.request(item()).await;
    let bad = bench.request(Item { fails: Some(ErrorKind::Database), ..item() }).await;
    let good = bench.request(item()).await;
    // One statement for the first request, one for the other two, and then one for each of these.
    bench.end(4).await;
    assert_eq!(bench.sizes(), [1, 2, 1, 1]);
    assert!(first.await.unwrap().is_ok() && good.await.unwrap().is_ok());
    assert!(bad.await.unwrap().is_err());
}

#[tokio::test]
async fn a_database_that_fails_does_so_to_everybody_with_the_source() {
    // Every single statement would fail the same way, so the queue tries none.
    for kind in [ErrorKind::Contention, ErrorKind::Schema] {
        let bench = Bench::<true>::new(1);
        let mut requests = vec![bench.request(item()).await];
        for _ in 0..3 {
            requests.push(bench.request(Item { fails: Some(kind), ..item() }).await);
        }
        bench.end(2).await;
        assert_eq!(bench.sizes(), [1, 3]);
        for request in requests.split_off(1) {
            let error = request.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the source");
        }
    }
}

#[tokio::test]
async fn a_dropped_request_takes_nobody_with_it() {
    let bench = Bench::<true>::new(1);
    let under_way = bench.request(item()).await;
    let waits = bench.request(item()).await;
    let given_up = bench.request(item()).await;
    under_way.abort();
    given_up.abort();
    settle().await;
    assert_eq!(bench.sizes(), [1], "the statement goes on");
    bench.end(1).await;
    assert_eq!(bench.sizes(), [1, 1], "who had given up is left out");
    let waits_too = bench.request(item()).await;
    let given_up_late = bench.request(item()).await;
    bench.end(1).await;
    assert!(waits.await.unwrap().is_ok());
    assert_eq!(bench.sizes(), [1, 1, 2]);
    given_up_late.abort();
    bench.end(1).await;
    assert!(waits_too.await.unwrap().is_ok(), "the statement that held both goes on");
    settle().await;
    assert!(bench.is_idle());
}

#[tokio::test]
async fn a_request_that_nobody_polls_holds_up_nobody() {
    let bench = Bench::<true>::new(1);
    let mut unpolled = Box::pin(bench.queue.submit(item()));
    assert!(is_pending(&mut unpolled).await);
    let requests =
        [bench.request(item()).await, bench.request(item()).await, bench.request(item()).await];
    bench.end(10).await;
    for request in requests {
        assert!(request.await.unwrap().is_ok());
    }
    assert!(unpolled.await.is_ok());
}

/// A request that was answered does not remove another request, although the queue was empty in between.
#[tokio::test]
async fn whoever_leaves_late_takes_nobody_with_it() {
    let bench = Bench::<true>::new(1);
    let mut answered = Box::pin(bench.queue.submit(item()));
    assert!(is_pending(&mut answered).await);
    bench.end(1).await;
    assert!(bench.is_idle());
    let mut waits = Box::pin(bench.queue.submit(item()));
    assert!(is_pending(&mut waits).await);
    drop(answered);
    bench.end(1).await;
    assert!(waits.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_locked_row_is_asked_for_again_and_holds_up_nobody() {
    let bench = Bench::<false>::new(1);
    bench.permits.add_permits(1000);
    let locked = Item { locked: Arc::new(AtomicUsize::new(3)), ..item() };
    let locked = bench.request(locked).await;
    for _ in 0..3 {
        assert!(bench.request(item()).await.is_finished());
    }
    assert!(!locked.is_finished());
    assert!(locked.await.unwrap().is_ok());
    let for_good = Item { locked: Arc::new(AtomicUsize::new(usize::MAX)), ..item() };
    let began = tokio::time::Instant::now();
    let error = bench.request(for_good).await.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Contention);
    assert!(began.elapsed() <= DEADLINE - LAST_TRY, "{:?}", began.elapsed());
    let statements = bench.sizes().len();
    assert!((30..150).contains(&statements), "{statements}: not at once, again and again");
}

#[tokio::test(start_paused = true)]
async fn everybody_is_answered_by_the_deadline() {
    let bench = Bench::<true>::new(1);
    let reads = [bench.request(item()).await, bench.request(item()).await];
    let writing = Bench::<false>::new(1);
    let writes = [writing.request(item()).await, writing.request(item()).await];
    sleep(DEADLINE / 2).await;
    assert!(!reads.iter().chain(&writes).any(JoinHandle::is_finished));
    sleep(DEADLINE / 2 + Duration::from_millis(1)).await;
    settle().await;
    assert!(reads.iter().chain(&writes).all(JoinHandle::is_finished));
    for read in reads {
        let error = read.await.unwrap().unwrap_err();
        assert!(error.is_transient() && error.kind() == ErrorKind::Database, "{error:?}");
    }
    let [begun, waited] = writes;
    let error = begun.await.unwrap().unwrap_err();
    assert!(!error.is_transient() && error.kind() == ErrorKind::OutcomeUnknown, "{error:?}");
    let error = waited.await.unwrap().unwrap_err();
    assert!(error.is_transient() && error.kind() == ErrorKind::Database, "{error:?}");
    assert!(error.to_string().ends_with("nothing was done"), "{error}");
    // The statements are dropped too, so that their connections are closed.
    settle().await;
    assert!(bench.is_idle() && writing.is_idle());
    assert_eq!((bench.sizes(), writing.sizes()), (vec![1], vec![1]));
}

/// A write that was refused a lock did nothing, so it is tried again, unless it had waited for the lock for long.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_a_lock_at_once_is_sent_again() {
    let refused = || Item { fails: Some(ErrorKind::Contention), ..item() };
    for (waits, statements) in [(Duration::ZERO, 30..150), (LAST_TRY, 1..2)] {
        let bench = Bench::<false>::new(1);
        let request = bench.request(refused()).await;
        sleep(waits).await;
        bench.end(1000).await;
        let error = request.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contention);
        assert!(statements.contains(&bench.sizes().len()), "{:?}", bench.sizes());
    }
}

/// Its deadline is not that of the statement, which began later.
#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_write_that_began_late_is_unknown_at_its_deadline() {
    let bench = Bench::<false>::new(1);
    let first = bench.request(item()).await;
    let late = bench.request(item()).await;
    sleep(DEADLINE / 2).await;
    bench.end(1).await;
    assert!(first.await.unwrap().is_ok());
    assert_eq!(bench.sizes(), [1, 1]);
    sleep(DEADLINE / 2 + Duration::from_millis(1)).await;
    settle().await;
    assert!(late.is_finished());
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
}

/// Each look takes a ticket, as a request does.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_looks_after_its_lane_once_a_second() {
    let bench = Bench::<true>::new(1);
    let request = bench.request(item()).await;
    let tickets = || bench.queue.0.tickets.load(SeqCst);
    assert_eq!(tickets(), 2);
    sleep(Duration::from_millis(1_500)).await;
    settle().await;
    assert_eq!(tickets(), 3);
    bench.end(1).await;
    assert!(request.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_waits_is_bounded_and_what_nobody_waits_for_is_gone() {
    let bench = Bench::<true>::new(1);
    let first = bench.request(item()).await;
    let waiting = |bytes, many| {
        let queue = &bench.queue;
        let items = (0..many).map(move |_| Item { bytes, ..item() });
        items.map(move |item| Box::pin(queue.submit(item))).collect::<Vec<_>>()
    };
    for (bytes, many) in [(1, 8_192), (1 << 20, 32)] {
        let mut requests = waiting(bytes, many);
        for request in &mut requests {
            assert!(is_pending(request).await);
        }
        let error = bench.queue.submit(item()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(error.is_transient());
        requests.pop();
        let mut fits = Box::pin(bench.queue.submit(item()));
        assert!(is_pending(&mut fits).await, "there is a place again");
    }
    // All of the waiting requests have left the queue.
    bench.end(1).await;
    assert!(first.await.unwrap().is_ok());
    settle().await;
    assert_eq!(bench.sizes(), [1]);
    assert!(bench.is_idle());
}

/// Polls once, and returns whether the future is pending.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
    })
    .await
}

#[tokio::test]
async fn a_statement_is_bounded_in_rows_and_in_bytes() {
    let bench = Bench::<true>::new(1);
    let mut requests = vec![bench.request(item()).await];
    for _ in 0..300 {
        requests.push(bench.request(item()).await);
    }
    bench.end(3).await;
    assert_eq!(bench.sizes(), [1, 256, 44]);

    let bench = Bench::<true>::new(1);
    requests.push(bench.request(item()).await);
    for bytes in [600 << 10, 600 << 10, 5 << 20, 1 << 19, 1 << 19, 1] {
        requests.push(bench.request(Item { bytes, ..item() }).await);
    }
    bench.end(6).await;
    assert_eq!(bench.sizes(), [1, 1, 1, 1, 2, 1]);
    for request in requests {
        assert!(request.await.unwrap().is_ok());
    }
}

#[test]
fn a_runtime_that_shuts_down_is_survived() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let bench = Bench::<true>::new(2);
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let queue = bench.queue.clone();
            runtime.spawn(async move { queue.submit(item()).await })
        })
        .collect();
    while bench.sizes().is_empty() {
        std::thread::yield_now();
    }
    drop(runtime);
    drop(requests);
    assert!(bench.is_idle());
}

#[tokio::test]
async fn a_statement_that_panics_takes_only_its_own_batch_with_it() {
    let bench = Bench::<true>::new(1);
    let first = bench.request(item()).await;
    let panics =
        bench.request(Item { fails: Some(ErrorKind::Configuration), bytes: 0, ..item() }).await;
    bench.end(1).await;
    assert!(first.await.unwrap().is_ok());
    let waits = bench.request(item()).await;
    bench.end(2).await;
    assert!(panics.await.unwrap().is_err());
    assert!(waits.await.unwrap().is_ok());
    assert!(bench.is_idle());
}

/// Each runtime has its own lanes.
#[test]
fn a_runtime_that_ends_takes_nothing_from_another_one() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let (ends, goes_on) = (runtime().unwrap(), runtime().unwrap());
    let bench = Bench::<false>::new(1);
    let submit = || {
        let queue = bench.queue.clone();
        async move { queue.submit(item()).await }
    };
    ends.spawn(submit());
    while bench.sizes().is_empty() {
        std::thread::yield_now();
    }
    ends.spawn(submit());
    let request = goes_on.spawn(submit());
    while bench.sizes().len() < 2 {
        std::thread::yield_now();
    }
    drop(ends);
    bench.permits.add_permits(1);
    assert!(goes_on.block_on(request).unwrap().is_ok());
    // The request's lane ends a moment after the answer.
    while !bench.is_idle() {
        std::thread::yield_now();
    }
}

/// Sends a request while it is dropped with its runtime.
struct AsksAtTheEnd(Arc<Queue<Fake<true>>>);

impl Drop for AsksAtTheEnd {
    fn drop(&mut self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut request = std::pin::pin!(self.0.submit(item()));
        assert!(request.as_mut().poll(&mut context).is_pending());
    }
}

#[test]
fn a_request_during_the_shutdown_leaves_nothing_behind() {
    let bench = Bench::<true>::new(2);
    let asks = AsksAtTheEnd(bench.queue.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.spawn(async move {
        let _asks = asks;
        std::future::pending::<()>().await;
    });
    runtime.block_on(yield_now());
    drop(runtime);
    assert!(bench.is_idle());
}

/// A thread that panics drops its runtime during the panic.
#[test]
fn a_runtime_that_a_panic_drops_is_survived() {
    let bench = Bench::<true>::new(2);
    let queue = bench.queue.clone();
    let panics = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut request = Box::pin(queue.submit(item()));
            assert!(is_pending(&mut request).await);
            settle().await;
            panic!("of the test's");
        });
    });
    assert!(panics.join().is_err());
    assert!(bench.is_idle());
}

/// The wait is short, because the statement of the lane may take long.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_company_for_longer_than_a_moment() {
    let bench = Bench::<true>::new(2);
    let first = bench.request(item()).await;
    let second = bench.request(item()).await;
    assert_eq!(bench.sizes(), [1]);
    sleep(Duration::from_millis(6)).await;
    settle().await;
    assert_eq!(bench.sizes(), [1, 1]);
    bench.end(2).await;
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
}

/// A request does not wait at all for a slow statement, whose end cannot be predicted.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_statement_that_takes_long() {
    let slow = Bench::<true>::new(2);
    let first = slow.request(item()).await;
    sleep(Duration::from_millis(6)).await;
    let second = slow.request(item()).await;
    assert_eq!(slow.sizes(), [1, 1]);
    slow.end(2).await;
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert!(slow.is_idle());
}
