//! What `#[transform]` becomes: the function, and a type of its name that implements `Transform`.

use crate::lifetimes;
use crate::signature::{self, Signature};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, ReturnType};

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
    if !arguments.is_empty() {
        return Err(Error::new(arguments.span(), "`#[transform]` takes no arguments"));
    }
    let mut function: ItemFn =
        syn::parse2(item).map_err(|error| Error::new(error.span(), "`#[transform]` goes on a function"))?;
    let implementation = implementation(&function, &signature::parse(&function)?);
    lifetimes::name_elided(&mut function.sig);
    Ok(quote!(#function #implementation))
}

fn implementation(function: &ItemFn, signature: &Signature<'_>) -> TokenStream {
    let name = &function.sig.ident;
    let visibility = &function.vis;
    let documentation = format!("The transform of the function `{name}`.");
    let config_type = match signature.config {
        Some(config) => quote!(#config),
        None => quote!(::sandbar_sdk::__private::IgnoredAny),
    };
    let config = signature.config.map(|config| quote_spanned!(config.span()=> config,));
    let out = signature.output.then(|| quote!(out,));
    let record = quote_spanned!(signature.record.span()=> record);
    let returned = match &function.sig.output {
        ReturnType::Default => quote!(returned),
        ReturnType::Type(_, returned) => quote_spanned!(returned.span()=> returned),
    };
    quote! {
        #[doc = #documentation]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        const _: () = {
            impl ::sandbar_sdk::Transform for #name {
                type Config = #config_type;

                fn apply<'batch>(
                    record: ::sandbar_sdk::Record<'batch>,
                    config: &'batch Self::Config,
                    out: &mut ::sandbar_sdk::Output<'_>,
                ) -> ::sandbar_sdk::Result<()> {
                    let record = ::sandbar_sdk::Record::typed(record)?;
                    let returned = #name(#record, #config #out);
                    ::sandbar_sdk::Returned::send(#returned, out)
                }
            }

            #[cfg(target_arch = "wasm32")]
            type Exports = ::sandbar_sdk::__private::Exports<#name>;
            #[cfg(target_arch = "wasm32")]
            ::sandbar_sdk::bindings::export!(Exports);
        };
    }
}
