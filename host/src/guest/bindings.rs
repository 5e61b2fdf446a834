//! wasmtime's bindings of the worlds, made from their WIT.

pub mod transformer {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "transformer",
        ownership: Borrowing { duplicate_if_necessary: true },
        // Over a limit, an access to a store traps.
        imports: { "sandbar:transform/state": trappable, "sandbar:transform/tables": trappable },
        with: {
            "sandbar:transform/state.store": crate::guest::context::StoreHandle,
            "sandbar:transform/tables.table": crate::guest::context::TableHandle,
        },
    });
}

pub mod ticker {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "ticker",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "sandbar:transform/types": super::transformer::sandbar::transform::types },
    });
}
