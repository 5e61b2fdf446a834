//! The host's side of `tests/bench/alternatives`: rows instead of columns, and one call per record. The engine, and with it
//! every setting that costs something, is Sandbar's.

use std::hint::black_box;

use sandbar::guest::Engine;
use sandbar::model::batch::Batch;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../alternatives/wit",
        world: "alternatives",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::Alternatives;
use bindings::exports::sandbar::alternatives::crossings::{Row, Sent};

pub struct Crossings {
    store: Store<()>,
    module: Alternatives,
    _engine: Engine,
}

impl Crossings {
    pub fn new(component: &[u8]) -> Self {
        let engine = Engine::new().expect("an engine");
        let component = Component::new(engine.inner(), component).expect("a component");
        let mut store = Store::new(engine.inner(), ());
        store.set_hostcall_fuel(128 << 20);
        store.set_epoch_deadline(1 << 30);
        let module =
            Alternatives::instantiate(&mut store, &component, &Linker::new(engine.inner())).expect("it imports nothing");
        Self { store, module, _engine: engine }
    }

    pub fn rows(&mut self, batch: &Batch) {
        self.store.set_epoch_deadline(1000);
        let rows: Vec<Row<'_>> = (0..batch.len()).map(|index| row(batch, index)).collect();
        let crossings = self.module.sandbar_alternatives_crossings();
        let sent = crossings.call_rows(&mut self.store, &rows).expect("no trap").expect("no error");
        sent.iter().for_each(look_at);
    }

    pub fn one_by_one(&mut self, batch: &Batch) {
        for index in 0..batch.len() {
            self.store.set_epoch_deadline(1000);
            let crossings = self.module.sandbar_alternatives_crossings();
            let sent = crossings.call_one(&mut self.store, row(batch, index)).expect("no trap").expect("no error");
            sent.iter().for_each(look_at);
        }
    }
}

fn row(batch: &Batch, index: usize) -> Row<'_> {
    Row {
        offset: batch.offset(index),
        timestamp: batch.timestamps[index],
        key: batch.key(index),
        value: batch.value(index),
        headers: &[],
    }
}

fn look_at(sent: &Sent) {
    black_box((sent.target, sent.source, sent.key.as_deref(), sent.value.as_deref(), sent.headers.len()));
}
