//! The expansion of `#[transform]`: the function, and a type of its name that implements `Transform`.

use crate::arguments::{self, Arguments};
use crate::lifetimes;
use crate::signature::{self, Signature};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemFn, Path, Result, ReturnType};

pub(crate) fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expand(arguments, item.clone()) {
        Ok(expansion) => expansion,
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #item)
        }
    }
}

fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = arguments::parse(arguments)?;
    let mut function: ItemFn =
        syn::parse2(item).map_err(|error| Error::new(error.span(), "`#[transform]` goes on a function"))?;
    let implementation = implementation(&function, &signature::parse(&function)?, &arguments);
    lifetimes::name_elided(&mut function.sig);
    Ok(quote!(#function #implementation))
}

fn implementation(function: &ItemFn, signature: &Signature<'_>, arguments: &Arguments) -> TokenStream {
    // Names of the expansion cannot collide with the user's names, and errors point at the user's types.
    let site = Span::mixed_site();
    let at = |node: &dyn Spanned| site.located_at(node.span());

    let name = &function.sig.ident;
    let visibility = &function.vis;
    let documentation = format!("The transform of the function `{name}`.");
    let config_type = match signature.config {
        Some(config) => quote!(#config),
        None => quote!(::sandbar_sdk::__private::IgnoredAny),
    };
    let record = quote_spanned!(at(signature.record)=> ::sandbar_sdk::Record::typed(record)?);
    let config = signature.config.map(|config| quote_spanned!(at(config)=> config,));
    let out = signature.output.map(|output| quote_spanned!(at(output)=> out,));
    let returned = match &function.sig.output {
        ReturnType::Default => quote_spanned!(site=> returned),
        ReturnType::Type(_, returned) => quote_spanned!(at(returned)=> returned),
    };
    let stores = arguments.stores.iter().flatten();
    let tables = arguments.tables.iter().flatten();
    let ticks = arguments.tick.as_ref().map(|function| ticks(name, function));
    quote_spanned! { site=>
        #[doc = #documentation]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        const _: () = {
            impl ::sandbar_sdk::Transform for #name {
                type Config = #config_type;
                const STORES: &'static [&'static str] = &[#(#stores),*];
                const TABLES: &'static [&'static str] = &[#(#tables),*];

                fn apply<'batch>(
                    record: ::sandbar_sdk::Record<'batch>,
                    config: &'batch Self::Config,
                    out: &mut ::sandbar_sdk::Output<'_>,
                ) -> ::sandbar_sdk::Result<()> {
                    let returned = #name(#record, #config #out);
                    ::sandbar_sdk::Returned::send(#returned, out)
                }
            }

            // A use in native builds, which export nothing, so that they do not call the function dead code.
            const _: () = ::sandbar_sdk::__private::used::<#name>();
            #[cfg(target_arch = "wasm32")]
            type Exports = ::sandbar_sdk::__private::Exports<#name>;
            #[cfg(target_arch = "wasm32")]
            ::sandbar_sdk::bindings::export!(Exports);
            #ticks
        };
    }
}

/// Only a module with a tick exports one, and says so.
fn ticks(name: &Ident, function: &Path) -> TokenStream {
    let site = Span::mixed_site();
    let call = quote_spanned! { site.located_at(function.span())=>
        ::sandbar_sdk::__private::call_tick(#function, tick, config, out)
    };
    quote_spanned! { site=>
        impl ::sandbar_sdk::Ticks for #name {
            fn tick(
                tick: ::sandbar_sdk::Tick<'_>,
                config: &Self::Config,
                out: &mut ::sandbar_sdk::Output<'_>,
            ) -> ::sandbar_sdk::Result<()> {
                #call
            }
        }

        #[cfg(target_arch = "wasm32")]
        type TickExports = ::sandbar_sdk::__private::TickExports<#name>;
        #[cfg(target_arch = "wasm32")]
        ::sandbar_sdk::bindings::ticker::export_ticks!(TickExports);
    }
}
