//! Gives the elided lifetimes of a transform one name.
//!
//! Rust would ask which of several inputs the return type borrows from. Here the answer is always the same: the record
//! and the configuration both outlive the call, so one lifetime stands for all of them.

use syn::visit_mut::{self, VisitMut};
use syn::{FnArg, Lifetime, ParenthesizedGenericArguments, ReturnType, Signature, TypeBareFn, TypeReference};
use syn::{parse_quote, parse_quote_spanned, spanned::Spanned};

/// Names the lifetimes that are elided in the record, the configuration and the return type. A function that declares
/// lifetimes of its own, or returns nothing borrowed, stays as it is.
pub(crate) fn name_elided(signature: &mut Signature) {
    if !signature.generics.params.is_empty() {
        return;
    }
    let mut named = Name::default();
    if let ReturnType::Type(_, returned) = &mut signature.output {
        named.visit_type_mut(returned);
    }
    if !named.found {
        return;
    }
    for parameter in &mut signature.inputs {
        match parameter {
            FnArg::Typed(parameter) if !is_output(&parameter.ty) => named.visit_type_mut(&mut parameter.ty),
            _ => {}
        }
    }
    signature.generics = parse_quote!(<'batch>);
}

fn is_output(parameter: &syn::Type) -> bool {
    matches!(parameter, syn::Type::Reference(TypeReference { mutability: Some(_), .. }))
}

#[derive(Default)]
struct Name {
    found: bool,
}

// === impl Name ===

impl VisitMut for Name {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = Lifetime::new("'batch", lifetime.span());
            self.found = true;
        }
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.is_none() {
            reference.lifetime = Some(parse_quote_spanned!(reference.and_token.span()=> 'batch));
            self.found = true;
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    // The lifetimes of function types are theirs.
    fn visit_type_bare_fn_mut(&mut self, _: &mut TypeBareFn) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}
