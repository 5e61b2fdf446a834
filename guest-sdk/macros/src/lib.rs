//! The `#[transform]` attribute. Use it through `sandbar-sdk`, which documents it.

#![forbid(unsafe_code)]

mod arguments;
mod expand;
mod lifetimes;
mod signature;

use proc_macro::TokenStream;

/// Makes a function this module's transform.
///
/// ```text
/// #[transform]
/// fn slim(order: Record<'_, Json<Order>>, config: &Config, out: &mut Output) -> Result<Option<Message<'_>>>
/// ```
///
/// Its parameters, in this order:
///
/// | parameter | |
/// |---|---|
/// | `Record<'_, V>` | required; the value is read as `V`, by default `Option<&[u8]>` |
/// | `&C` | `C: DeserializeOwned`: the spec's `config`, parsed once for each instance; a parse error refuses it |
/// | `&mut Output` | the output, for transforms that do not just return their messages |
///
/// The function returns `()`, `Message`, `Option<Message>`, `Vec<Message>` or a `Result` of one of these. The returned
/// messages follow those that it has sent itself. A value that is no `V`, or a returned error, fails the record alone.
///
/// `'_` in its signature stands for the life of the batch, in the record, the configuration and the return type alike,
/// so messages may borrow from both. A function that names lifetimes of its own is left as it is.
///
/// Its arguments, all of them optional:
///
/// ```text
/// #[transform(stores = ["levels"], tables = ["products"], tick = on_tick)]
/// ```
///
/// | argument | |
/// |---|---|
/// | `stores` | the names of the stores that it opens. Each must be in the spec (`state`), or the deployment is refused |
/// | `tables` | those of the tables that it opens, likewise (`tables` of the spec) |
/// | `tick` | a function that the host calls in the interval that the spec says (`tick: 10s`): `fn on_tick(tick: Tick, config: &Config, out: &mut Output) -> Result<()>`, of which configuration and output may be left out, as the transform's. It returns one of the types that a transform may return, but nothing borrowed. An error undoes its messages and writes |
///
/// The function stays an ordinary one. Beside it there is a type of the same name that implements `Transform`, for
/// `testing::Harness`; where the function is public, its configuration must be too. A module has one transform: it is
/// exported, in builds for wasm32 only.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::transform(arguments.into(), item.into()).into()
}
