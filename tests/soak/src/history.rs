//! The histories of some sessions, in a form that another program's checker of linearizability takes: each session is a
//! counter that is raised and read until it ends.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    sync::LazyLock,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use sessile::SessionId;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use crate::{
    facts::{Asked, COUNTER},
    protocol::{Act, Answer, View},
};

/// The most calls of one history: the time of the check grows fast with their number.
const LONGEST: usize = 24;
/// The most histories of a run.
const MOST: usize = 20_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What was done with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Add,
    Read,
    End,
}

/// The counter's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    Count(u64),
    Gone,
    Done,
}

/// One call, with its times in microseconds. Without an answer, it may have happened or not.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub begun: u64,
    pub op: Op,
    pub answered: Option<(u64, Ret)>,
}

/// The calls of one session. The counter begins with `initial`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OneHistory {
    pub session: SessionId,
    pub initial: u64,
    pub calls: Vec<Entry>,
}

/// The histories of the sessions that a run has begun, as many as there is room for.
#[derive(Debug, Default)]
pub struct History {
    sessions: HashMap<SessionId, OneHistory>,
}

/// The reference: a counter that may end.
#[derive(Clone, Debug)]
struct Counter(Option<u64>);

impl SequentialSpec for Counter {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match (op, &mut self.0) {
            (Op::Add, Some(count)) => {
                *count += 1;
                Ret::Count(*count)
            }
            (Op::Read, Some(count)) => Ret::Count(*count),
            (Op::Add | Op::Read, None) => Ret::Gone,
            (Op::End, state) => {
                *state = None;
                Ret::Done
            }
        }
    }
}

fn micros(at: Instant) -> u64 {
    at.saturating_duration_since(*START).as_micros() as u64
}

impl History {
    fn add(&mut self, id: SessionId, asked: &Asked<'_>, op: Op, ret: Option<Ret>) {
        let Some(history) = self.sessions.get_mut(&id) else { return };
        if history.calls.len() < LONGEST {
            let answered = ret.map(|ret| (micros(asked.span.answered), ret));
            history.calls.push(Entry { begun: micros(asked.span.begun), op, answered });
        }
    }

    /// A request has read its session. A node with a cache may answer with an old copy, which is not a history.
    pub fn read(&mut self, asked: &Asked<'_>, answer: &Answer) {
        let Some(view) = &answer.view else { return };
        if let (Some(id), true) = (view.id, asked.bound.is_zero()) {
            self.add(id, asked, Op::Read, Some(Ret::Count(count(view))));
        }
    }

    pub fn acted(&mut self, asked: &Asked<'_>, act: &Act, before: &View, answer: &Answer) {
        let Some(view) = &answer.view else { return };
        if let Some(id) = view.id.filter(|id| before.id != Some(*id) && self.sessions.len() < MOST)
        {
            let (initial, calls) = (count(view), Vec::new());
            self.sessions.entry(id).or_insert(OneHistory { session: id, initial, calls });
            return;
        }
        let Some(id) = before.id else { return };
        match (act, &answer.result) {
            (Act::Update(_), Ok(sum)) => {
                let ret = sum.as_u64().map(Ret::Count);
                self.add(id, asked, Op::Add, ret);
            }
            (Act::Update(_), Err(kind)) => match kind.as_str() {
                "session_ended" => self.add(id, asked, Op::Add, Some(Ret::Gone)),
                "outcome_unknown" => self.add(id, asked, Op::Add, None),
                _ => {}
            },
            (Act::LogOut, Ok(_)) => self.add(id, asked, Op::End, Some(Ret::Done)),
            (Act::LogOut, Err(kind)) if kind == "outcome_unknown" => {
                self.add(id, asked, Op::End, None);
            }
            _ => {}
        }
    }

    pub fn unanswered(&mut self, asked: &Asked<'_>, act: &Act, before: &View) {
        let Some(id) = before.id else { return };
        match act {
            Act::Update(_) => self.add(id, asked, Op::Add, None),
            Act::LogOut => self.add(id, asked, Op::End, None),
            _ => {}
        }
    }

    /// Writes the histories, one in each line of JSON.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for history in self.sessions.values().filter(|history| history.calls.len() > 1) {
            serde_json::to_writer(&mut to, history)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Reads what [`History::write`] wrote.
pub fn read(from: impl BufRead) -> io::Result<Vec<OneHistory>> {
    from.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

impl OneHistory {
    /// Whether there is an order of the calls, within their times, in which a counter would have answered the same:
    /// asked of [stateright](https://docs.rs/stateright), a model checker.
    ///
    /// Sessions also end by calls that are not in the history, such as a revocation. So one end without an answer is
    /// under way all the time: it may happen at any moment, or never.
    pub fn is_linearizable(&self) -> bool {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, call) in self.calls.iter().enumerate() {
            moments.push((call.begun, false, number));
            moments.extend(call.answered.map(|(at, _)| (at, true, number)));
        }
        // Of two in the same microsecond, the beginning counts as earlier: then more orders are allowed.
        moments.sort_unstable();
        let mut tester = LinearizabilityTester::new(Counter(Some(self.initial)));
        let other = self.calls.len();
        let mut told = tester.on_invoke(other, Op::End).map(drop);
        for (_, is_answer, number) in moments {
            let call = self.calls[number];
            told = told.and(match call.answered.filter(|_| is_answer) {
                Some((_, ret)) => tester.on_return(number, ret).map(drop),
                None => tester.on_invoke(number, call.op).map(drop),
            });
        }
        told.expect("each call has a thread of its own");
        tester.is_consistent()
    }
}

fn count(view: &View) -> u64 {
    view.data.get(COUNTER).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it was made, and when and how it was answered.
    type Call = (u64, Op, Option<(u64, Ret)>);

    fn history(calls: &[Call]) -> OneHistory {
        let calls = calls.iter().map(|(begun, op, answered)| Entry {
            begun: *begun,
            op: *op,
            answered: *answered,
        });
        OneHistory {
            session: "0198c5ca-7b1e-7c3a-9f53-2f4de0c7a911".parse().unwrap(),
            initial: 0,
            calls: calls.collect(),
        }
    }

    #[test]
    fn only_an_order_that_a_counter_can_have_passes() {
        use Op::{Add, End, Read};
        use Ret::{Count, Done, Gone};
        // Two additions at once may be in either order, and a read sees one of them.
        let overlapping = [
            (0, Add, Some((10, Count(2)))),
            (1, Add, Some((9, Count(1)))),
            (2, Read, Some((8, Count(1)))),
        ];
        assert!(history(&overlapping).is_linearizable());
        // A lost addition, a read of the past, and a session that revives.
        let lost = [(0, Add, Some((1, Count(1)))), (2, Add, Some((3, Count(1))))];
        let past = [(0, Add, Some((1, Count(1)))), (2, Read, Some((3, Count(0))))];
        let revived = [(0, End, Some((1, Done))), (2, Read, Some((3, Count(0))))];
        for wrong in [&lost[..], &past, &revived] {
            assert!(!history(wrong).is_linearizable(), "{wrong:?}");
        }
        // A call without an answer may happen late, or never.
        let unknown =
            [(0, Add, None), (2, Read, Some((3, Count(0)))), (4, Read, Some((5, Count(1))))];
        assert!(history(&unknown).is_linearizable());
        // Another call has ended the session.
        assert!(history(&[(0, Add, Some((1, Gone)))]).is_linearizable());
    }
}
