//! The command line: the real binary against canned answers and against `sandbar dev`.

mod access;
mod canned;
pub mod command;
mod folder;
mod folder_files;
mod hostile;
mod keyring;
mod new;
mod registry;
pub mod run;
mod secrets;
mod signing;
mod support;
mod teams;
mod tls;
mod topics;
mod verbs;
