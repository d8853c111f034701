//! The queue without a database: a verb that does what the test says, when the test says so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::Semaphore,
    task::{JoinHandle, yield_now},
    time::{Duration, sleep},
};

use super::{queue::Queue, verbs::Verb};
use crate::{
    error::{Error, ErrorKind, Result},
    token::SessionId,
};

/// An item: which session, and how the statement that holds it ends.
#[derive(Clone, Debug)]
struct Item {
    id: SessionId,
    bytes: usize,
    fails: Option<ErrorKind>,
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Vec<SessionId>>>);

/// Statements wait for a permit each, and answer every item with its own id.
#[derive(Debug)]
struct Fake<const SHARES: bool> {
    permits: Arc<Semaphore>,
    log: Arc<Log>,
}

impl<const SHARES: bool> Verb for Fake<SHARES> {
    type Item = Item;
    type Output = SessionId;
    const SHARES: bool = SHARES;

    fn id(item: &Item) -> SessionId {
        item.id
    }

    fn bytes(item: &Item) -> usize {
        item.bytes
    }

    async fn run(&self, items: &[Item]) -> Result<Vec<SessionId>> {
        let ids = items.iter().map(|item| item.id).collect::<Vec<_>>();
        self.log.0.lock().unwrap().push(ids.clone());
        self.permits.acquire().await.unwrap().forget();
        assert!(items.iter().all(|item| item.bytes > 0), "an item of the tests' that panics");
        match items.iter().find_map(|item| item.fails) {
            Some(kind) => Err(Error::new(kind, "the statement failed").with_source("the source")),
            None => Ok(ids),
        }
    }
}

struct Bench<const SHARES: bool> {
    queue: Arc<Queue<Fake<SHARES>>>,
    permits: Arc<Semaphore>,
    log: Arc<Log>,
}

impl<const SHARES: bool> Bench<SHARES> {
    fn new(lanes: usize) -> Self {
        let (permits, log) = (Arc::new(Semaphore::new(0)), Arc::<Log>::default());
        let fake = Fake { permits: permits.clone(), log: log.clone() };
        Self { queue: Arc::new(Queue::new(fake, lanes)), permits, log }
    }

    /// A request that is under way: it has its lane, or waits for one.
    async fn request(&self, item: Item) -> JoinHandle<Result<SessionId>> {
        let queue = self.queue.clone();
        let request = tokio::spawn(async move { queue.submit(item).await });
        settle().await;
        request
    }

    /// Lets so many statements end.
    async fn end(&self, statements: usize) {
        self.permits.add_permits(statements);
        settle().await;
    }

    fn sizes(&self) -> Vec<usize> {
        self.log.0.lock().unwrap().iter().map(Vec::len).collect()
    }
}

/// Lets every task go as far as it can: the tests' runtime has one thread.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

fn item() -> Item {
    Item { id: SessionId::generate(), bytes: 1, fails: None }
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
    let mut requests = vec![bench.request(item()).await, bench.request(item()).await];
    assert_eq!(bench.sizes(), [1, 1], "two lanes");
    let mut items: Vec<Item> = (0..10).map(|_| item()).collect();
    items.reverse();
    for item in &items {
        requests.push(bench.request(item.clone()).await);
    }
    assert_eq!(bench.sizes(), [1, 1], "no third");
    bench.end(1).await;
    assert_eq!(bench.sizes(), [1, 1, 10]);
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
    // The first one's, theirs together, and then each by itself.
    bench.end(4).await;
    assert_eq!(bench.sizes(), [1, 2, 1, 1]);
    assert!(first.await.unwrap().is_ok() && good.await.unwrap().is_ok());
    assert!(bad.await.unwrap().is_err());
}

#[tokio::test]
async fn a_database_that_fails_does_so_to_everybody_with_the_source() {
    let bench = Bench::<true>::new(1);
    let mut requests = vec![bench.request(item()).await];
    for _ in 0..3 {
        // A transient kind: every single statement would fail the same way, so none is tried.
        requests.push(bench.request(Item { fails: Some(ErrorKind::Contention), ..item() }).await);
    }
    bench.end(2).await;
    assert_eq!(bench.sizes(), [1, 3]);
    for request in requests.split_off(1) {
        let error = request.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contention);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the source");
    }
}

#[tokio::test]
async fn a_dropped_request_takes_nobody_with_it() {
    let bench = Bench::<true>::new(1);
    let inline = bench.request(item()).await;
    let waits = bench.request(item()).await;
    let given_up = bench.request(item()).await;
    inline.abort();
    given_up.abort();
    settle().await;
    assert_eq!(bench.sizes(), [1, 1], "the lane goes on to who still waits");
    let waits_too = bench.request(item()).await;
    let given_up_late = bench.request(item()).await;
    bench.end(1).await;
    assert!(waits.await.unwrap().is_ok());
    assert_eq!(bench.sizes(), [1, 1, 2]);
    given_up_late.abort();
    bench.end(1).await;
    assert!(waits_too.await.unwrap().is_ok(), "the statement that held both goes on");
    let next = bench.request(item()).await;
    bench.end(1).await;
    assert!(next.await.unwrap().is_ok(), "the lane is free again");
}

#[tokio::test]
async fn a_request_that_nobody_polls_holds_up_nobody() {
    let bench = Bench::<true>::new(2);
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

/// Polls once; whether it is pending.
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
    for bytes in [600 << 10, 600 << 10, 5 << 20, 1] {
        requests.push(bench.request(Item { bytes, ..item() }).await);
    }
    bench.end(5).await;
    assert_eq!(bench.sizes(), [1, 1, 1, 1, 1]);
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
    while bench.sizes().len() < 2 {
        std::thread::yield_now();
    }
    drop(runtime);
    drop(requests);
    assert!(bench.queue.is_idle());
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
    assert!(bench.queue.is_idle());
}

/// Past the tenth of a second, on a paused clock.
async fn stall() {
    sleep(Duration::from_millis(150)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn statements_that_take_long_hold_up_nobody() {
    let bench = Bench::<true>::new(2);
    let mut requests = vec![bench.request(item()).await, bench.request(item()).await];
    requests.push(bench.request(item()).await);
    assert_eq!(bench.sizes(), [1, 1], "both lanes are taken");
    stall().await;
    assert_eq!(bench.sizes(), [1, 1, 1], "who waited has the lane of one of them");
    requests.push(bench.request(item()).await);
    assert_eq!(bench.sizes(), [1, 1, 1, 1], "and who comes later the other one's");
    requests.push(bench.request(item()).await);
    assert_eq!(bench.sizes().len(), 4, "no more than two that are not late");
    for _ in 0..10 {
        stall().await;
        requests.push(bench.request(item()).await);
    }
    let lanes_and_stalled = bench.sizes().len();
    assert_eq!(lanes_and_stalled, 6, "each has a connection");
    bench.end(20).await;
    for request in requests {
        assert!(request.await.unwrap().is_ok());
    }
    settle().await;
    assert!(bench.queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_store_of_one_lane_runs_one_statement_at_a_time() {
    let bench = Bench::<true>::new(1);
    let requests = [bench.request(item()).await, bench.request(item()).await];
    stall().await;
    assert_eq!(bench.sizes(), [1]);
    bench.end(2).await;
    for request in requests {
        assert!(request.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_that_took_long_gives_its_place_back() {
    let bench = Bench::<true>::new(2);
    let late = bench.request(item()).await;
    stall().await;
    assert!(!bench.queue.is_idle());
    late.abort();
    settle().await;
    assert!(bench.queue.is_idle());
}

/// What asks for something while it is dropped with its runtime.
struct AsksAtTheEnd(Arc<Queue<Fake<true>>>, std::sync::mpsc::Sender<bool>);

impl Drop for AsksAtTheEnd {
    fn drop(&mut self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut alone = std::pin::pin!(self.0.submit(item()));
        let mut second = std::pin::pin!(self.0.submit(item()));
        assert!(alone.as_mut().poll(&mut context).is_pending());
        let lost = second.as_mut().poll(&mut context);
        self.1.send(matches!(lost, std::task::Poll::Ready(Err(_)))).unwrap();
    }
}

#[test]
fn a_request_during_the_shutdown_is_told_so() {
    let bench = Bench::<true>::new(2);
    let (sender, told) = std::sync::mpsc::channel();
    let queue = bench.queue.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asks = AsksAtTheEnd(queue, sender);
        runtime.spawn(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        });
        runtime.block_on(yield_now());
        drop(runtime);
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true));
}
