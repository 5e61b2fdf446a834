//! The raw bindings, generated from the WIT contract. Transforms rarely need them: they are public for modules that
//! must speak the columns themselves.

#![allow(missing_docs, reason = "generated: the documentation is that of the WIT file")]

wit_bindgen::generate!({
    path: "wit",
    world: "transformer",
    pub_export_macro: true,
    default_bindings_module: "::sandbar_sdk::bindings",
    additional_derives: [Clone, PartialEq],
});
