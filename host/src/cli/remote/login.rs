//! `sandbar login` and `logout`: the token of a context.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use rustix::termios::{self, LocalModes, OptionalActions};

use crate::api_types::CallerView;
use crate::bounded_input;
use crate::model::text::OneLine;

use super::super::error::{Error, Result};
use super::super::text;
use super::access::Token;
use super::client::Client;
use super::context::{Context, Contexts, Store};
use super::provider;
use super::session::{Remote, SessionOptions};

/// The context of somebody who has none yet.
const NAME_DEFAULT: &str = "default";
/// Longest text that is read for a token: white space may be around it.
const TEXT_BYTES_MAX: u64 = 32 * 1024;

#[derive(Debug, Args)]
pub struct LoginArgs {
    /// A file with the token [default: it is asked for, or read from standard input]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Sign in at the identity provider that the host names: this prints a URL and a code to enter there. The tokens are
    /// kept in the file of contexts, as they change with every renewal
    #[arg(long, conflicts_with_all = ["token_file", "store"])]
    oidc: bool,
    /// The place of the token [default: the keyring if there is one, else the file]
    #[arg(long, value_name = "PLACE")]
    store: Option<Store>,
}

#[derive(Debug, Args)]
pub struct LogoutArgs {}

/// Asks the host who the token stands for, and keeps it if the host knows it.
pub fn login(verb: Remote<LoginArgs>) -> Result<()> {
    let (args, options) = verb.into_parts();
    let context = options.context_with_certificates()?;
    let context = match args.oidc {
        true => Context { keyring: None, ..provider::sign_in(&asking(&options, &context)?, context)? },
        false => Context { token: Some(read(args.token_file)?.trim().to_owned()), provider: None, keyring: None, ..context },
    };
    let token = context.token.clone().unwrap_or_default();
    let client = Client::new(&context.url, options.access(&context, Some(Token::new(&token)?)))?;
    let caller: CallerView = client.get("/v1/whoami")?.parse()?;
    let url = OneLine(&context.url).to_string();
    let named = Named::of(&options, &context)?;
    let store = if args.oidc { Some(Store::File) } else { args.store };
    let (context, place) = context.keep_token(&token, store)?;
    // Another command may have changed the contexts meanwhile.
    let _lock = Contexts::lock()?;
    let name = Named { contexts: Contexts::load()?, ..named }.keep(context)?;
    let grants: Vec<&str> = caller.grants.iter().map(|grant| &**grant).collect();
    text::emit(&format!(
        "{url} knows you as {} ({}); the token is in context {name}, {place}\n",
        caller.name,
        grants.join(" ")
    ))
}

/// A client for the question where to sign in. The answer needs the protection of a token: whoever changes it on the way
/// sends a person to a provider of their own.
fn asking(options: &SessionOptions, context: &Context) -> Result<Client> {
    Client::new(&context.url, options.access(context, Some(Token::new("none")?)))
}

/// Forgets the token of the context, and ends the sign-in at an identity provider. The host is not asked: `sandbar token
/// revoke` ends a token of the cluster.
pub fn logout(verb: Remote<LogoutArgs>) -> Result<()> {
    let (_, options) = verb.into_parts();
    // A renewal that is under way ends first, and none begins.
    let _lock = Contexts::lock()?;
    let given = options.context()?;
    let named = Named::of(&options, &given)?;
    let before = named.contexts.get(&named.name).cloned().unwrap_or(given);
    if let Err(error) = provider::signed_out(&before) {
        text::tell(format_args!("{error}\nthe provider was not told: the sign-in ends there by itself"));
    }
    before.forget()?;
    let name = named.keep(Context { token: None, keyring: None, provider: None, ..before })?;
    text::emit(&format!("context {name} has no token any more\n"))
}

/// The contexts, and the name that a context has among them.
struct Named {
    contexts: Contexts,
    name: String,
}

// === impl Named ===

impl Named {
    fn of(options: &SessionOptions, context: &Context) -> Result<Self> {
        let contexts = Contexts::load()?;
        let name = match (options.context_name(), contexts.current_name()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(current)) if contexts.get(current)?.url == context.url => current.to_owned(),
            // Another cluster must not take the place of the current one.
            (None, Some(_)) => {
                let hint = "name it: `sandbar context set NAME --url URL`, then `sandbar login --context NAME`";
                return Err(Error::usage("the current context is of another URL").with_hint(hint));
            }
            (None, None) => NAME_DEFAULT.to_owned(),
        };
        Ok(Self { contexts, name })
    }

    /// Writes the context under its name, which it returns.
    fn keep(self, context: Context) -> Result<String> {
        let Self { mut contexts, name } = self;
        let before = contexts.get(&name).ok().cloned();
        contexts.put(name.clone(), context);
        contexts.save()?;
        // The new context is kept already, and needs nothing of the one before.
        let _ = before.map(|before| before.forget());
        Ok(name)
    }
}

fn read(file: Option<PathBuf>) -> Result<String> {
    if let Some(path) = file {
        let text = File::open(&path).and_then(|file| bounded_input::read_text(file, TEXT_BYTES_MAX));
        return text.map_err(|error| Error::file(&path, error));
    }
    let failed = |error: io::Error| Error::usage(format_args!("no token: {error}")).with_hint("give --token-file FILE");
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return bounded_input::read_text(stdin, TEXT_BYTES_MAX).map_err(failed);
    }
    // Whoever sees no question can answer it all the same.
    let _ = write!(io::stderr(), "Token: ");
    let mut text = String::new();
    let shown = without_echo(|| stdin.lock().read_line(&mut text));
    text::tell("");
    shown.map_err(failed)?;
    Ok(text)
}

/// Runs `read` while the terminal does not show what is typed.
fn without_echo<T>(read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let terminal = io::stdin();
    let before = termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(&terminal, OptionalActions::Now, &silent)?;
    let done = read();
    termios::tcsetattr(&terminal, OptionalActions::Now, &before)?;
    done
}
