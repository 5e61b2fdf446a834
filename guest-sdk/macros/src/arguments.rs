//! The arguments in the brackets of `#[transform(..)]`.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprArray, ExprLit, Lit, LitStr, MetaNameValue, Path, Result, Token};

/// The arguments; all are optional.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) stores: Option<Vec<LitStr>>,
    pub(crate) tables: Option<Vec<LitStr>>,
    pub(crate) tick: Option<Path>,
}

const HINT: &str = "`#[transform]` takes `stores = [\"..\"]`, `tables = [\"..\"]` and `tick = function`";

/// Reads the arguments.
pub(crate) fn parse(tokens: TokenStream) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    let parser = Punctuated::<MetaNameValue, Token![,]>::parse_terminated;
    let given = parser.parse2(tokens).map_err(|error| Error::new(error.span(), HINT))?;
    for MetaNameValue { path, value, .. } in given {
        let name = path.get_ident().map(ToString::to_string).unwrap_or_default();
        let is_again = match name.as_str() {
            "stores" => arguments.stores.replace(names(value)?).is_some(),
            "tables" => arguments.tables.replace(names(value)?).is_some(),
            "tick" => arguments.tick.replace(function(value)?).is_some(),
            _ => return Err(Error::new_spanned(path, HINT)),
        };
        if is_again {
            return Err(Error::new_spanned(path, format!("`{name}` is there twice")));
        }
    }
    Ok(arguments)
}

fn names(value: Expr) -> Result<Vec<LitStr>> {
    let Expr::Array(ExprArray { elems, .. }) = value else {
        return Err(Error::new_spanned(value, "a list of names: `[\"..\", \"..\"]`"));
    };
    let mut names: Vec<LitStr> = Vec::new();
    for element in elems {
        match element {
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) if names.iter().any(|known| known.value() == name.value()) => {
                return Err(Error::new_spanned(name, "this name is there twice"));
            }
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => names.push(name),
            other => return Err(Error::new_spanned(other, "a name in quotes")),
        }
    }
    Ok(names)
}

fn function(value: Expr) -> Result<Path> {
    match value {
        Expr::Path(function) => Ok(function.path),
        other => Err(Error::new_spanned(other, "the name of a function: `fn on_tick(tick: Tick, ..)`")),
    }
}
