//! The raw bindings, generated from the WIT contract. Transforms rarely need them: they are public for modules that
//! must speak the columns themselves.
//!
//! There are two worlds, so that a module without a tick neither exports nor mentions `ticks`: wit-bindgen describes
//! the exports of a world in its `export!` macro, which only crates with a tick expand. An unused import is dropped
//! when the module becomes a component.

#![allow(missing_docs, reason = "generated: the documentation is that of the WIT file")]

wit_bindgen::generate!({
    path: "wit",
    world: "transformer",
    pub_export_macro: true,
    default_bindings_module: "::sandbar_sdk::bindings",
    additional_derives: [Clone, PartialEq],
});

/// The world of a tick. It shares the types of the other one.
pub mod ticker {
    wit_bindgen::generate!({
        path: "wit",
        world: "ticker",
        pub_export_macro: true,
        export_macro_name: "export_ticks",
        default_bindings_module: "::sandbar_sdk::bindings::ticker",
        additional_derives: [Clone, PartialEq],
        with: { "sandbar:transform/types@0.1.0": crate::bindings::sandbar::transform::types },
    });
}
