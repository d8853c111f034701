//! The library against the reference model: random calls of every kind, from several handles, on three nodes of which
//! one is another process, on both databases, plain and through what can be around a store.
//!
//! A failure prints the shortest calls that fail, and keeps their seed in the folder `proptest-regressions`.
//! `PROPTEST_CASES` sets the number of cases.

#![allow(clippy::unwrap_used)]

#[path = "../../../servers/bouncer.rs"]
mod bouncer;
mod calls;
#[path = "../../../servers/keeper.rs"]
mod keeper;
mod system;
mod world;

use proptest::test_runner::{Config, FileFailurePersistence};
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use sessile_soak::model::Op;

use crate::{
    calls::{Calls, Reference},
    system::System,
    world::{World, worlds},
};

fn config() -> Config {
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel(
            "proptest-regressions",
        ))),
        max_shrink_iters: 2_000,
        ..Config::with_cases(cases())
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

macro_rules! models {
    ($($world:ident),* $(,)?) => {
        $(
            mod $world {
                use super::*;

                struct Test;

                impl StateMachineTest for Test {
                    type SystemUnderTest = System;
                    type Reference = Calls;

                    fn init_test(_: &Reference) -> System {
                        System::new(World::get(stringify!($world)))
                    }

                    fn apply(mut system: System, reference: &Reference, op: Op) -> System {
                        system.apply(reference, &op);
                        system
                    }

                    fn teardown(system: System, reference: Reference) {
                        system.compare_events(&reference.model);
                    }
                }

                prop_state_machine! {
                    #![proptest_config(config())]
                    #[test]
                    fn behaves_as_the_model(sequential 1..60 => Test);
                }
            }
        )*
    };
}

worlds!(models);
