//! The signatures that the attribute takes. Every refusal points at the part to change.

use syn::{Error, FnArg, GenericParam, ItemFn, Pat, PatType, Result, Type, TypeReference};

/// The parameters' types.
pub(crate) struct Signature<'a> {
    pub(crate) record: &'a Type,
    pub(crate) config: Option<&'a Type>,
    pub(crate) output: Option<&'a Type>,
}

/// Reads the signature of `function`.
pub(crate) fn parse(function: &ItemFn) -> Result<Signature<'_>> {
    refuse_qualifiers(function)?;
    let mut types = function.sig.inputs.iter().map(parameter_type).collect::<Result<Vec<_>>>()?.into_iter();
    let record = match types.next() {
        Some(Type::Reference(reference)) => {
            return Err(Error::new_spanned(reference, "the first parameter is the record, by value: `Record<'_, V>`"));
        }
        Some(record) => record,
        None => {
            return Err(Error::new_spanned(
                &function.sig.ident,
                "a transform takes the record as its first parameter: `record: Record<'_, V>`",
            ));
        }
    };
    let mut signature = Signature { record, config: None, output: None };
    for parameter in types {
        match parameter {
            Type::Reference(TypeReference { mutability: None, elem, .. })
                if signature.config.is_none() && signature.output.is_none() =>
            {
                signature.config = Some(elem);
            }
            Type::Reference(TypeReference { mutability: Some(_), .. }) if signature.output.is_none() => {
                signature.output = Some(parameter)
            }
            Type::Reference(_) => {
                return Err(Error::new_spanned(
                    parameter,
                    "after the record come at most `config: &Config` and then `out: &mut Output`",
                ));
            }
            _ => {
                return Err(Error::new_spanned(
                    parameter,
                    "after the record, parameters are references: `config: &Config`, `out: &mut Output`",
                ));
            }
        }
    }
    Ok(signature)
}

fn refuse_qualifiers(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new_spanned(token, "a transform cannot be async: it has nothing to wait for"));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new_spanned(token, "a transform cannot be unsafe"));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, "a transform is a Rust function: the attribute makes the exports"));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new_spanned(variadic, "a transform cannot be variadic"));
    }
    match signature.generics.params.iter().find(|parameter| !matches!(parameter, GenericParam::Lifetime(_))) {
        Some(parameter) => Err(Error::new_spanned(parameter, "a transform cannot be generic: the host calls just one")),
        None => Ok(()),
    }
}

fn parameter_type(parameter: &FnArg) -> Result<&Type> {
    match parameter {
        FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, "a transform is a free function, without `self`")),
        FnArg::Typed(PatType { ty, .. }) if matches!(**ty, Type::ImplTrait(_)) => {
            Err(Error::new_spanned(ty, "a transform cannot be generic: the host calls just one"))
        }
        FnArg::Typed(PatType { pat, ty, .. }) => match **pat {
            Pat::Rest(_) => Err(Error::new_spanned(pat, "a transform cannot be variadic")),
            _ => Ok(ty),
        },
    }
}
